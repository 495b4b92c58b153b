//! Time on skewed clocks, timers and the order of waking.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use madsim::runtime::Handle;
use quorate::runtime::{AsyncRuntime, Instant, Watch, WatchReceiver, WatchSender};

use super::*;

fn simulate<T>(seed: u64, future: impl Future<Output = T>) -> T {
    SimRuntime::seeded(seed).block_on(future)
}

#[test]
fn a_sleep_lasts_as_long_as_the_clock_of_its_node_says() {
    simulate(1, async {
        let node = Handle::current().create_node().build();
        set_clock(node.id(), Clock { offset_ns: 1_000_000_000, drift_ppm: 100_000 });
        let before = time();
        let there = node.spawn(async {
            let began = SimInstant::now();
            SimRuntime::sleep(Duration::from_millis(1_100)).await;
            SimInstant::now() - began
        });
        let there = there.await.expect("it ends");
        assert!((1_100..1_102).contains(&there.as_millis()), "{there:?}");
        let here = time().saturating_sub(before);
        assert!((1_000..1_002).contains(&here.as_millis()), "{here:?}");
        forget_clocks();
    });
}

#[test]
fn a_deadline_is_never_early_whatever_the_clock() {
    simulate(2, async {
        let node = Handle::current().create_node().build();
        for drift_ppm in [-300_000, -1, 0, 1, 777, 300_000] {
            set_clock(node.id(), Clock { offset_ns: -12_345_678_901, drift_ppm });
            let slept = node.spawn(async {
                for ms in 1..50 {
                    let deadline = SimInstant::now() + Duration::from_millis(ms);
                    SimRuntime::sleep_until(deadline).await;
                    assert!(SimInstant::now() >= deadline);
                }
            });
            slept.await.expect("it ends");
        }
        forget_clocks();
    });
}

#[test]
fn a_watch_wakes_in_the_order_of_waiting_and_tells_of_its_end() {
    simulate(3, async {
        let (tx, rx) = SimWatch::channel(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let waiters: Vec<_> = (0..4).map(|_| rx.clone()).collect();
        let waits = waiters.into_iter().enumerate().map(|(name, mut rx)| {
            let woken = woken.clone();
            async move {
                while rx.changed().await.is_ok() {
                    woken.lock().expect("one thread").push((name, *rx.borrow_watched()));
                }
            }
        });
        let waits = futures::future::join_all(waits);
        let sends = async {
            SimRuntime::sleep(Duration::from_millis(1)).await;
            assert!(tx.send(7).is_ok());
            SimRuntime::sleep(Duration::from_millis(1)).await;
            drop(tx);
        };
        futures::join!(waits, sends);
        assert_eq!(*woken.lock().expect("one thread"), [(0, 7), (1, 7), (2, 7), (3, 7)]);
    });
}

#[test]
fn a_send_to_nobody_is_an_error() {
    let (tx, rx) = SimWatch::channel(0);
    drop(rx);
    assert!(tx.send(1).is_err());
}

#[test]
fn a_timeout_ends_what_takes_too_long_and_nothing_else() {
    simulate(4, async {
        let slow = SimRuntime::timeout(Duration::from_millis(5), std::future::pending::<()>());
        assert_eq!(slow.await, Err(Elapsed));
        let quick = SimRuntime::timeout(Duration::from_millis(5), async { 3 });
        assert_eq!(quick.await, Ok(3));
    });
}
