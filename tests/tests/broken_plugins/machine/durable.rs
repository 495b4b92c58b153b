//! Machines on a disk that are broken, each in one way.

use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quorate::state_machine::{
    AnyMachine, ApplyContext, ArgumentReader, ArgumentWriter, DecodeError, DurableStateMachine, EncodeError,
    QueryContext, Replicated, RestoreError, Wire, read_postcard, write_postcard,
};
use quorate::testing::Seeded;
use quorate::testing::durable_machine::{DurableHarness, functions};

use crate::verdict::assert_fails;

/// One way to be broken: everything that it does not override is right.
trait Break: Send + Sync + 'static {
    /// Whether the record is on the disk before the effects are.
    const RECORD_IS_EARLY: bool = false;
    /// Whether a flush does nothing.
    const FLUSH_LIES: bool = false;
    /// Whether what is flushed counts.
    const COUNTS_FLUSHES: bool = false;
    /// Whether a view shows what comes later.
    const VIEW_THAWS: bool = false;
    /// Whether the record of a restored state is on the disk before the state is.
    const RESTORE_TEARS: bool = false;
    /// Whether the old state goes before the new one is read.
    const RESTORE_CLEARS: bool = false;
}

#[derive(Clone, Default)]
struct State {
    sum: u64,
    record: Option<Vec<u8>>,
}

#[derive(Default)]
struct Image {
    seen: Arc<Mutex<State>>,
    flushed: State,
    /// How many changes of what is flushed the power lasts for.
    fuse: Option<u64>,
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
}

/// A sum.
struct Sum<B> {
    image: Arc<Mutex<Image>>,
    how: PhantomData<B>,
}

struct Number(u64);

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
    type View = Arc<Mutex<State>>;
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
        let mut responses = Vec::new();
        for (_, Number(number)) in commands {
            seen.sum += number;
            responses.push(Number(seen.sum));
        }
        seen.record = Some(record.to_vec());
        Ok(responses)
    }

    fn flush(&self) -> Result<(), io::Error> {
        let mut image = lock(&self.image);
        if B::FLUSH_LIES {
            return Ok(());
        }
        if B::COUNTS_FLUSHES {
            lock(&image.seen).sum += 1;
        }
        let seen = lock(&image.seen).clone();
        image.change(|flushed| *flushed = seen)
    }

    fn view(&self) -> Result<Self::View, io::Error> {
        let seen = lock(&self.image).seen.clone();
        let frozen = lock(&seen).clone();
        Ok(if B::VIEW_THAWS { seen } else { Arc::new(Mutex::new(frozen)) })
    }

    fn applied(view: &Self::View) -> Result<Option<Bytes>, io::Error> {
        Ok(lock(view).record.clone().map(Bytes::from))
    }

    fn query(&self, view: &Self::View, _: &QueryContext, _: Number) -> Result<Number, io::Error> {
        Ok(Number(lock(view).sum))
    }

    fn write(view: Self::View, out: &mut dyn Write) -> io::Result<()> {
        write_postcard(&lock(&view).sum, out)
    }

    fn restore(&self, record: &[u8], input: &mut dyn Read) -> Result<(), RestoreError> {
        let mut image = lock(&self.image);
        if B::RESTORE_CLEARS {
            *lock(&image.seen) = State::default();
        }
        let state = State { sum: read_postcard(input)?, record: Some(record.to_vec()) };
        let failed = |error: io::Error| RestoreError::Store { source: error.into() };
        if B::RESTORE_TEARS {
            image.change(|flushed| flushed.record = Some(record.to_vec())).map_err(failed)?;
        }
        image.change(|flushed| *flushed = state.clone()).map_err(failed)?;
        *lock(&image.seen) = state;
        Ok(())
    }
}

struct Harness<B>(PhantomData<B>);

impl<B: Break> DurableHarness for Harness<B> {
    type Machine = Sum<B>;
    type Place = Arc<Mutex<Image>>;

    fn place() -> Self::Place {
        Arc::default()
    }

    fn open(place: &Self::Place) -> Sum<B> {
        Sum { image: place.clone(), how: PhantomData }
    }

    fn crash(place: &mut Self::Place, _: Sum<B>) {
        let mut image = lock(place);
        image.fuse = None;
        image.seen = Arc::new(Mutex::new(image.flushed.clone()));
    }

    fn cut_power_after(place: &Self::Place, points: u64) -> bool {
        lock(place).fuse = Some(points);
        true
    }

    fn command(rng: &mut Seeded) -> Number {
        Number(rng.draw(1..1000))
    }
}

/// Nothing is broken: what every other test compares with.
mod sound {
    use super::{Break, Harness};

    broken!(Sound:);
    quorate::durable_machine_conformance!(Harness<Sound>);
}

broken!(RecordIsEarly: const RECORD_IS_EARLY: bool = true;);

#[test]
fn stores_the_record_before_the_effects() {
    assert_fails(
        functions::<Harness<RecordIsEarly>>(),
        &[("state_and_record_are_of_one_batch_after_crash", "and the state is another one")],
    );
}

broken!(FlushLies: const FLUSH_LIES: bool = true;);

#[test]
fn flushes_nothing() {
    assert_fails(
        functions::<Harness<FlushLies>>(),
        &[
            ("flushed_batches_survive_crash", "the record is of batch 0, and 1 were flushed of 1"),
            ("state_and_record_are_of_one_batch_after_crash", "the record is of batch 0, and "),
        ],
    );
}

broken!(CountsFlushes: const COUNTS_FLUSHES: bool = true;);

#[test]
fn comes_to_something_else_when_it_is_flushed() {
    assert_fails(
        functions::<Harness<CountsFlushes>>(),
        &[("two_machines_come_to_the_same", "the number of batches after which the states differ")],
    );
}

broken!(ViewThaws: const VIEW_THAWS: bool = true;);

#[test]
fn changes_a_view() {
    let cases = functions::<Harness<ViewThaws>>();
    assert_fails(cases, &[("view_stays_as_it_was", "the record in a view of batch 3")]);
}

broken!(RestoreTears: const RESTORE_TEARS: bool = true;);

#[test]
fn restores_the_record_before_the_state() {
    assert_fails(
        functions::<Harness<RestoreTears>>(),
        &[("restore_is_whole_or_not_at_all_after_crash", "the state is not that of record 99")],
    );
}

broken!(RestoreClears: const RESTORE_CLEARS: bool = true;);

#[test]
fn clears_the_old_state_before_it_has_read_the_new_one() {
    assert_fails(
        functions::<Harness<RestoreClears>>(),
        &[("failed_restore_keeps_the_old_state", "an input failed after 0 bytes: the record is of batch 0")],
    );
}
