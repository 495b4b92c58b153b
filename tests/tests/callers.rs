//! Callers that give up, and what that is to the others.

use futures::FutureExt;
use futures::future::join_all;
use quorate_tests::cluster::Cluster;
use quorate_tests::rig::Rig;

quorate_tests::over_both_rigs!(a_caller_that_gives_up_takes_nobody_with_it);

async fn a_caller_that_gives_up_takes_nobody_with_it<R: Rig>() {
    const PATIENT: u64 = 8;
    let cluster = Cluster::<R>::started(3).await;
    let leader = cluster.leader().await;
    for node in [leader, leader % 3 + 1] {
        let client = cluster.client(node);
        for round in 0..20 {
            let serial = node * 100 + round;
            let patient = (0..PATIENT).map(|writer| {
                let client = client.clone();
                tokio::spawn(async move { client.record(writer, serial).await })
            });
            let patient: Vec<_> = patient.collect();
            // Begun among the others, and dropped where the first wait is.
            for writer in PATIENT..2 * PATIENT {
                drop(client.record(writer, serial).now_or_never());
                tokio::task::yield_now().await;
            }
            for outcome in join_all(patient).await {
                assert_eq!(outcome.expect("no panic"), Ok(1), "at n{node}, round {round}");
            }
        }
        for round in 0..20 {
            for writer in PATIENT..2 * PATIENT {
                let times = client.times(writer, node * 100 + round).await.expect("a healthy cluster");
                assert!(times <= 1, "given up, and applied {times} times");
            }
        }
    }
}
