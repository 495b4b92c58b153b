//! Cases about what goes on beside an apply.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread;

use super::history::{History, Point, told_record};
use super::life::{Life, apply_batch, told, view};
use super::{DurableHarness, run};
use crate::state_machine::DurableStateMachine;
use crate::testing::Seeded;
use crate::testing::run::doing;

/// How often a thread gives way to another that it waits for. That one may wait for it, too: a machine
/// may answer nothing while it applies. Then both go on without having met.
const TURNS: u32 = 64;
/// How often it looks in each turn. On a busy machine a turn is long, and elsewhere this makes it so.
const LOOKS: u32 = 2_000;

/// Whether it came to that.
fn give_way(turns: u32, until: impl Fn() -> bool) -> bool {
    (0..turns).any(|_| {
        thread::yield_now();
        (0..LOOKS).any(|_| {
            spin_loop();
            until()
        })
    })
}

/// What a thread does again and again.
struct Rounds {
    begun: AtomicU64,
    done: AtomicU64,
    /// Whether there will be no more.
    over: AtomicBool,
    /// How often who waits for one gives way: less and less if in vain.
    turns: AtomicU32,
}

impl Rounds {
    fn new() -> Self {
        Self {
            begun: AtomicU64::new(0),
            done: AtomicU64::new(0),
            over: AtomicBool::new(false),
            turns: AtomicU32::new(TURNS),
        }
    }

    fn round(&self, body: impl FnOnce()) {
        let round = 1 + self.begun.fetch_add(1, SeqCst);
        body();
        self.done.store(round, SeqCst);
    }

    /// Gives way to a round that begins after this.
    fn wait(&self) {
        let (next, turns) = (1 + self.begun.load(SeqCst), self.turns.load(SeqCst));
        let met = give_way(turns, || self.done.load(SeqCst) >= next || self.over.load(SeqCst));
        self.turns.store(if met { TURNS.min(2 * turns) } else { 1.max(turns / 2) }, SeqCst);
    }
}

/// Sets it at the end, also at that of a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Which of the known points a view has the record of.
fn seen<H: DurableHarness>(known: &[Point<H>], view: &<H::Machine as DurableStateMachine>::View) -> usize {
    let record = H::Machine::applied(view).unwrap_or_else(|error| panic!("no record: {}", told(error)));
    let seen = known.iter().position(|point| point.has_record(record.as_ref()));
    seen.unwrap_or_else(|| {
        let record = told_record(record.as_deref());
        panic!("beside an apply the record is {record}, behind which no batch ended")
    })
}

/// Fails unless the machine is whole, and no point before that which was seen `last`; says at which.
fn look<H: DurableHarness>(machine: &H::Machine, known: &[Point<H>], last: usize) -> usize {
    let first = view(machine);
    let now = seen(known, &first);
    assert!(
        now >= last,
        "beside an apply the state went back: the record is {}, and was {}",
        known[now],
        known[last]
    );
    let checked = known[now].check_state(machine, first, "beside an apply");
    checked.unwrap_or_else(|error| panic!("beside an apply a view cannot be read: {error}"));
    let deadline = known[now].deadline(machine, "beside an apply");
    let next = seen(known, &view(machine));
    assert!(
        next >= now,
        "beside an apply the state went back: the record is {}, and was {}",
        known[next],
        known[now]
    );
    if next == now {
        known[now].check_deadline(deadline, "beside an apply");
    }
    next
}

/// How many logs are applied beside looks: on a busy computer the threads may miss each other in one.
const LOGS: usize = 5;

/// While one thread applies, and flushes are made beside it, views are of whole batches, with the record
/// of the last, and never of an earlier one than before; so are queries and deadlines.
pub fn views_are_whole_beside_apply<H: DurableHarness>() {
    run::<H>("views_are_whole_beside_apply", || {
        let mut rng = Seeded::announced();
        for _ in 0..LOGS {
            look_beside_apply::<H>(&mut rng);
        }
    });
}

fn look_beside_apply<H: DurableHarness>(rng: &mut Seeded) {
    let history = History::<H>::drawn(rng, 60);
    let mut life = Life::new(&history);
    let mut known = vec![history.point(0)];
    while let Some(left) = history.left_behind(&known[known.len() - 1]) {
        let last = known[known.len() - 1].upto;
        known.push(history.point(last + rng.draw(1..left.min(4) + 1)));
    }
    let (machine, known) = (&life.machine, &known);
    let (looks, over) = (Rounds::new(), AtomicBool::new(false));
    thread::scope(|scope| {
        let (flush, flushes) = channel();
        let flushing = scope.spawn(move || flushes.iter().try_for_each(|()| machine.flush().map_err(told)));
        let (looks, over) = (&looks, &over);
        let applying = scope.spawn(move || {
            let _over = Over(over);
            known.windows(2).try_for_each(|two| {
                // One that does not flush any more says why.
                let _ = flush.send(());
                apply_batch(machine, two[0].upto, &two[1], || looks.wait())?;
                looks.wait();
                Ok::<(), String>(())
            })
        });
        let _over = Over(&looks.over);
        let mut last = 0;
        while !over.load(SeqCst) {
            doing(format!("look at what is applied, after entry {}", known[last].upto));
            looks.round(|| last = look(machine, known, last));
            thread::yield_now();
        }
        for (thread, what) in [(applying, "applied"), (flushing, "flushed")] {
            let done = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            done.unwrap_or_else(|error| panic!("beside views it was not {what}: {error}"));
        }
    });
    life.went_on_to(&known[known.len() - 1], false);
    life.check_now("everything was applied");
    life.flush();
    life = life.crash();
    life.check("everything was applied beside views and flushed, and the power failed");
}

/// A flush in the midst of a batch makes durable what was applied before that, and of the batch all or
/// nothing.
pub fn flush_beside_apply_is_of_whole_batches<H: DurableHarness>() {
    run::<H>("flush_beside_apply_is_of_whole_batches", || {
        let mut rng = Seeded::announced();
        let history = History::<H>::drawn(&mut rng, 120);
        let mut life = Life::new(&history);
        for round in 0..12 {
            life.apply(rng.draw(1..4));
            let (from, next) = (life.at.upto, history.point(life.at.upto + rng.draw(4..6)));
            let commands: usize = (from + 1..=next.upto).map(|index| history.entry(index).len()).sum();
            // Behind one command at least, perhaps behind the last.
            let mut before = rng.draw(1..commands as u64 + 1);
            doing(format!("flush in the midst of entries {}..={}", from + 1, next.upto));
            let (machine, flushed) = (&life.machine, AtomicBool::new(false));
            thread::scope(|scope| {
                let (flush, told_to) = channel();
                let flushed = &flushed;
                let flushing = scope.spawn(move || {
                    let _over = Over(flushed);
                    told_to.recv().map_or(Ok(()), |()| machine.flush().map_err(told))
                });
                let applied = apply_batch(machine, from, &next, || {
                    if before == 0 {
                        let _ = flush.send(());
                        give_way(TURNS, || flushed.load(SeqCst));
                    }
                    before = before.wrapping_sub(1);
                });
                drop(flush);
                applied.unwrap_or_else(|error| panic!("beside a flush it was not applied: {error}"));
                let done = flushing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                done.unwrap_or_else(|error| panic!("beside an apply it was not flushed: {error}"));
            });
            life.went_on_to(&next, true);
            life.check_now("applied beside a flush");
            life = life.crash();
            life.check(&format!("round {round}: flushed in the midst of a batch, and the power failed"));
        }
    });
}
