//! A sum on a disk, which can be broken in one way at a time.

use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use quorate::state_machine::{
    AnyMachine, ApplyContext, ArgumentReader, ArgumentWriter, DecodeError, DurableStateMachine, EncodeError,
    QueryContext, Replicated, RestoreError, Wire, read_postcard, write_postcard,
};
use quorate::testing::Seeded;
use quorate::testing::durable_machine::DurableHarness;
use quorate::types::LogTime;

/// One way to be broken: everything that it does not override is right.
pub(super) trait Break: Send + Sync + 'static {
    /// Whether the record is on the disk before the effects are.
    const RECORD_IS_EARLY: bool = false;
    /// Whether a flush does nothing.
    const FLUSH_LIES: bool = false;
    /// Whether what is flushed counts.
    const COUNTS_FLUSHES: bool = false;
    /// Whether a flush puts the record on the disk before the effects, after much else.
    const FLUSH_TEARS_LATE: bool = false;
    /// Whether a flush does nothing after the machine was opened, until something is applied.
    const FLUSH_SKIPS_WHAT_IT_FOUND: bool = false;
    /// Whether a flush does nothing until a command is applied.
    const FLUSH_SKIPS_EMPTY: bool = false;
    /// Whether a flush does nothing once a state was restored.
    const FLUSH_STAYS_BEHIND: bool = false;
    /// Whether a batch without commands is not applied.
    const SKIPS_EMPTY: bool = false;
    /// Whether every batch counts.
    const COUNTS_BATCHES: bool = false;
    /// Whether every command of a batch is answered with the sum after the last.
    const ANSWERS_LATE: bool = false;
    /// Whether a response says how many commands were applied since the machine was opened.
    const COUNTS_SINCE_OPEN: bool = false;
    /// Whether a view shows what comes later.
    const VIEW_THAWS: bool = false;
    /// Whether a view shows the last state once the machine is closed.
    const VIEW_MOVES_AT_CLOSE: bool = false;
    /// Whether the place cannot be opened while there is a view.
    const VIEW_LOCKS: bool = false;
    /// Whether a view that outlives its machine puts its state back.
    const VIEW_PUTS_BACK: bool = false;
    /// Whether a query is answered from the last state, and not from its view.
    const QUERY_IGNORES_THE_VIEW: bool = false;
    /// Whether the deadline is kept in memory alone.
    const DEADLINE_IS_FORGOTTEN: bool = false;
    /// Whether the record of a restored state is on the disk before the state is.
    const RESTORE_TEARS: bool = false;
    /// The same, after much else.
    const RESTORE_TEARS_LATE: bool = false;
    /// Whether the old state goes before the new one is read.
    const RESTORE_CLEARS: bool = false;
    /// Whether what is applied after a restore goes on from the state before it.
    const RESTORE_KEEPS_A_CACHE: bool = false;
    /// Whether nothing is answered while a state is restored.
    const RESTORE_LOCKS: bool = false;
    /// Whether the new record is seen while the new state is read.
    const RESTORE_SHOWS: bool = false;
    /// Whether its harness can cut the power between two calls, and nothing else.
    const HARNESS_IS_PLAIN: bool = false;
    /// How long a case may take.
    const LIMIT: Duration = Duration::from_mins(2);
}

/// More operations than the kit goes through one by one.
const MANY: u64 = 1000;
/// How many of the operations tear what they are part of.
const TORN: u64 = 200;

#[derive(Clone, Default)]
pub(super) struct State {
    sum: u64,
    changed: LogTime,
    record: Option<Vec<u8>>,
}

#[derive(Default)]
pub(super) struct Image {
    /// What is in the memory of the operating system.
    seen: Arc<Mutex<State>>,
    flushed: State,
    /// How many changes of what is flushed the power lasts for.
    fuse: Option<u64>,
    views: Vec<Weak<Mutex<State>>>,
    /// How often it was opened.
    opened: u64,
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Image {
    fn change(&mut self, change: impl FnOnce(&mut State)) -> Result<(), io::Error> {
        if self.fuse == Some(0) {
            return Err(io::Error::other("no power"));
        }
        self.fuse = self.fuse.map(|left| left - 1);
        change(&mut self.flushed);
        Ok(())
    }

    /// Changes so often what is not part of the state.
    fn busy(&mut self, times: u64) -> Result<(), io::Error> {
        (0..times).try_for_each(|_| self.change(|_| ()))
    }

    /// Puts the record on the disk, and the effects later.
    fn tear(&mut self, state: &State) -> Result<(), io::Error> {
        self.busy(MANY)?;
        self.change(|flushed| flushed.record.clone_from(&state.record))?;
        self.busy(TORN)
    }
}

/// A sum.
pub(super) struct Sum<B> {
    image: Arc<Mutex<Image>>,
    opened: u64,
    dirty: AtomicBool,
    restored: AtomicBool,
    applied: AtomicU64,
    changed: Mutex<LogTime>,
    cache: Mutex<Option<u64>>,
    how: PhantomData<B>,
}

pub(super) struct Number(u64);

impl Wire for Number {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        ArgumentWriter::new(out, 1, "number").argument("n", &self.0)
    }
    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ArgumentReader::new(input)?.item("number");
        let number = Self(reader.argument("n")?);
        reader.finish()?;
        Ok(number)
    }
    fn label(&self) -> &'static str {
        "number"
    }
}

/// The state as it was.
pub(super) struct View<B: Break> {
    state: Arc<Mutex<State>>,
    image: Arc<Mutex<Image>>,
    opened: u64,
    how: PhantomData<B>,
}

impl<B: Break> Drop for View<B> {
    fn drop(&mut self) {
        let image = lock(&self.image);
        if B::VIEW_PUTS_BACK && image.opened != self.opened {
            *lock(&image.seen) = lock(&self.state).clone();
        }
    }
}

impl<B: Break> Replicated for Sum<B> {
    const NAME: &'static str = "sum";
    const VERSION: u32 = 1;
    type Command = Number;
    type Response = Number;
    type Query = Number;
    type Answer = Number;

    fn into_machine(self) -> AnyMachine {
        AnyMachine::on_disk(self)
    }
}

impl<B: Break> DurableStateMachine for Sum<B> {
    type View = View<B>;
    type Error = io::Error;

    fn apply(
        &self,
        commands: &mut dyn Iterator<Item = (ApplyContext, Number)>,
        record: &[u8],
    ) -> Result<Vec<Number>, io::Error> {
        let mut image = lock(&self.image);
        if B::RECORD_IS_EARLY {
            image.change(|flushed| flushed.record = Some(record.to_vec()))?;
        }
        let mut seen = lock(&image.seen);
        if let Some(cached) = lock(&self.cache).filter(|_| B::RESTORE_KEEPS_A_CACHE) {
            seen.sum = cached;
        }
        seen.sum += u64::from(B::COUNTS_BATCHES);
        let mut responses = Vec::new();
        for (ctx, Number(number)) in commands {
            seen.sum += number;
            seen.changed = ctx.time();
            *lock(&self.changed) = ctx.time();
            let applied = self.applied.fetch_add(1, Relaxed);
            responses.push(Number(if B::COUNTS_SINCE_OPEN { applied } else { seen.sum }));
        }
        if B::ANSWERS_LATE {
            for response in &mut responses {
                response.0 = seen.sum;
            }
        }
        *lock(&self.cache) = Some(seen.sum);
        if responses.is_empty() && B::SKIPS_EMPTY {
            return Ok(responses);
        }
        if !(responses.is_empty() && B::FLUSH_SKIPS_EMPTY) {
            self.dirty.store(true, Relaxed);
        }
        seen.record = Some(record.to_vec());
        Ok(responses)
    }

    fn flush(&self) -> Result<(), io::Error> {
        let mut image = lock(&self.image);
        let clean = B::FLUSH_SKIPS_EMPTY || B::FLUSH_SKIPS_WHAT_IT_FOUND;
        let behind = B::FLUSH_STAYS_BEHIND && self.restored.load(Relaxed);
        if B::FLUSH_LIES || behind || clean && !self.dirty.swap(false, Relaxed) {
            return Ok(());
        }
        if B::COUNTS_FLUSHES {
            lock(&image.seen).sum += 1;
        }
        let seen = lock(&image.seen).clone();
        if B::FLUSH_TEARS_LATE {
            image.tear(&seen)?;
        }
        image.change(|flushed| *flushed = seen)
    }

    fn view(&self) -> Result<Self::View, io::Error> {
        let mut image = lock(&self.image);
        let seen = image.seen.clone();
        let frozen = lock(&seen).clone();
        let state = if B::VIEW_THAWS { seen } else { Arc::new(Mutex::new(frozen)) };
        image.views.retain(|view| view.strong_count() > 0);
        image.views.push(Arc::downgrade(&state));
        Ok(View { state, image: self.image.clone(), opened: self.opened, how: PhantomData })
    }

    fn applied(view: &Self::View) -> Result<Option<Bytes>, io::Error> {
        Ok(lock(&view.state).record.clone().map(Bytes::from))
    }

    fn query(&self, view: &Self::View, _: &QueryContext, Number(more): Number) -> Result<Number, io::Error> {
        let seen = lock(&self.image).seen.clone();
        let state = if B::QUERY_IGNORES_THE_VIEW { &seen } else { &view.state };
        Ok(Number(lock(state).sum + more))
    }

    fn write(view: Self::View, out: &mut dyn Write) -> io::Result<()> {
        let State { sum, changed, .. } = lock(&view.state).clone();
        write_postcard(&(sum, changed), out)
    }

    fn restore(&self, record: &[u8], input: &mut dyn Read) -> Result<(), RestoreError> {
        let locked = B::RESTORE_LOCKS.then(|| lock(&self.image));
        let read = {
            let seen = if B::RESTORE_CLEARS || B::RESTORE_SHOWS {
                Some(lock(&self.image).seen.clone())
            } else {
                None
            };
            let before = seen.as_ref().map(|seen| lock(seen).clone());
            if let Some(seen) = &seen {
                if B::RESTORE_CLEARS {
                    *lock(seen) = State::default();
                } else {
                    lock(seen).record = Some(record.to_vec());
                }
            }
            let read = read_postcard(input);
            if let (true, Some(seen), Some(before)) = (B::RESTORE_SHOWS && read.is_err(), seen, before) {
                *lock(&seen) = before;
            }
            read
        };
        let (sum, changed) = read?;
        drop(locked);
        let mut image = lock(&self.image);
        let state = State { sum, changed, record: Some(record.to_vec()) };
        let failed = |error: io::Error| RestoreError::Store { source: error.into() };
        if B::RESTORE_TEARS {
            image.change(|flushed| flushed.record = Some(record.to_vec())).map_err(failed)?;
        }
        if B::RESTORE_TEARS_LATE {
            image.tear(&state).map_err(failed)?;
        }
        image.change(|flushed| *flushed = state.clone()).map_err(failed)?;
        *lock(&self.changed) = state.changed;
        *lock(&image.seen) = state;
        self.restored.store(true, Relaxed);
        Ok(())
    }

    fn deadline(&self, now: LogTime) -> Result<Option<LogTime>, io::Error> {
        let seen = lock(&self.image).seen.clone();
        let changed = if B::DEADLINE_IS_FORGOTTEN { *lock(&self.changed) } else { lock(&seen).changed };
        Ok(Some(changed.saturating_add(Duration::from_secs(1))).filter(|next| *next > now))
    }

    fn close(&self) {
        let image = lock(&self.image);
        for view in image.views.iter().filter_map(Weak::upgrade).filter(|_| B::VIEW_MOVES_AT_CLOSE) {
            *lock(&view) = lock(&image.seen).clone();
        }
    }
}

pub(super) struct Harness<B>(PhantomData<B>);

impl<B: Break> DurableHarness for Harness<B> {
    type Machine = Sum<B>;
    type Place = Arc<Mutex<Image>>;

    const LIMIT: Duration = B::LIMIT;

    fn place() -> Self::Place {
        Arc::default()
    }

    fn open(place: &Self::Place) -> Sum<B> {
        let mut image = lock(place);
        image.opened += 1;
        let views = image.views.iter().filter(|view| view.strong_count() > 0).count();
        assert!(!B::VIEW_LOCKS || views == 0, "the place is open: it has {views} views");
        Sum {
            opened: image.opened,
            image: place.clone(),
            dirty: AtomicBool::default(),
            restored: AtomicBool::default(),
            applied: AtomicU64::default(),
            changed: Mutex::default(),
            cache: Mutex::default(),
            how: PhantomData,
        }
    }

    fn crash(place: &mut Self::Place, _: Sum<B>) {
        let mut image = lock(place);
        image.fuse = None;
        image.seen = Arc::new(Mutex::new(image.flushed.clone()));
    }

    fn kill(place: &mut Self::Place, machine: Sum<B>) -> bool {
        if B::HARNESS_IS_PLAIN {
            machine.close();
            return false;
        }
        lock(place).fuse = None;
        true
    }

    fn cut_power_after(place: &Self::Place, points: u64) -> bool {
        if !B::HARNESS_IS_PLAIN {
            lock(place).fuse = Some(points);
        }
        !B::HARNESS_IS_PLAIN
    }

    fn command(rng: &mut Seeded) -> Number {
        Number(rng.draw(1..1000))
    }

    fn query(rng: &mut Seeded) -> Option<Number> {
        Some(Number(rng.draw(0..10)))
    }
}
