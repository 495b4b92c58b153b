//! A sum on a disk, which can be broken in one way at a time.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use quorate::state_machine::{
    AnyMachine, ApplyContext, ArgumentReader, ArgumentWriter, DecodeError, DurableStateMachine, EncodeError,
    Keep, Kept, QueryContext, Replicated, RestoreError, Row, Wire, read_postcard, write_postcard,
};
use quorate::storage::Health;
use quorate::types::LogTime;

use super::how::Break;

/// More operations than the kit goes through one by one.
const MANY: u64 = 1000;
/// How many of the operations tear what they are part of.
const TORN: u64 = 200;

#[derive(Clone, Default)]
pub(super) struct State {
    sum: u64,
    changed: LogTime,
    record: Option<Bytes>,
    rows: BTreeMap<Bytes, Bytes>,
}

impl State {
    fn keep<B: Break>(&mut self, kept: Kept) -> Result<(), io::Error> {
        self.record = Some(kept.record);
        for Row { key, value } in kept.rows {
            let Some(value) = value else {
                let gone = if B::REMOVED_ROWS_STAY { None } else { self.rows.remove(&key) };
                if B::REMOVAL_NEEDS_A_ROW && gone.is_none() {
                    return Err(io::Error::other("there is no such row"));
                }
                continue;
            };
            self.rows.insert(key, value);
        }
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct Image {
    /// What is in the memory of the operating system.
    pub(super) seen: Arc<Mutex<State>>,
    pub(super) flushed: State,
    /// How many steps of the making of the place were done.
    made: u64,
    /// How many changes of what is flushed the power lasts for.
    pub(super) fuse: Option<u64>,
    pub(super) views: Vec<Weak<Mutex<State>>>,
    /// How often it was opened.
    opened: u64,
    /// How often a state was written.
    written: u64,
}

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
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

    /// What is done to a place when a machine is opened there.
    pub(super) fn repair<B: Break>(&mut self) -> Result<(), io::Error> {
        if B::OPEN_MAKES_HALF && self.made == 1 {
            return Err(io::Error::other("the place is half made"));
        }
        while self.made < 2 {
            self.change(|_| ())?;
            self.made = if B::OPEN_MAKES_HALF { self.made + 1 } else { 2 };
        }
        if B::OPEN_TEARS {
            let sum = self.flushed.sum;
            self.change(|flushed| flushed.sum = 0)?;
            self.change(|flushed| flushed.sum = sum)?;
        }
        self.busy(2)
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
    /// The state in the midst of a batch.
    midst: Mutex<Option<State>>,
    /// The state before the last batch.
    before: Mutex<Option<State>>,
    how: PhantomData<B>,
}

impl<B> Sum<B> {
    pub(super) fn opened(place: &Arc<Mutex<Image>>, image: &mut Image) -> Self {
        image.opened += 1;
        Self {
            opened: image.opened,
            image: place.clone(),
            dirty: AtomicBool::default(),
            restored: AtomicBool::default(),
            applied: AtomicU64::default(),
            changed: Mutex::default(),
            cache: Mutex::default(),
            midst: Mutex::default(),
            before: Mutex::default(),
            how: PhantomData,
        }
    }
}

pub(super) struct Number(pub(super) u64);

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

impl<B: Break> Sum<B> {
    /// Reads a state.
    fn read(&self, input: &mut dyn Read) -> Result<(u64, LogTime), RestoreError> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        let decode = |bytes: &[u8]| read_postcard::<(u64, LogTime, u64)>(&mut &*bytes);
        while B::RESTORE_PADS && bytes.len() < 30 && decode(&bytes).is_err() {
            bytes.push(0);
        }
        let read = decode(&bytes);
        if read.is_err() && B::BAD_STATE_CLEARS {
            *lock(&lock(&self.image).seen) = State::default();
        }
        assert!(read.is_ok() || !B::BAD_STATE_PANICS, "a state cannot be decoded");
        let (sum, changed, _) = read?;
        Ok((sum, changed))
    }
}

impl<B: Break> DurableStateMachine for Sum<B> {
    type View = View<B>;
    type Error = io::Error;

    fn apply(
        &self,
        commands: &mut dyn Iterator<Item = (ApplyContext, Number)>,
        keep: Keep<'_, Number>,
    ) -> Result<(), io::Error> {
        let shared = lock(&self.image).seen.clone();
        let before = lock(&shared).clone();
        let mut state = before.clone();
        if let Some(cached) = lock(&self.cache).filter(|_| B::RESTORE_KEEPS_A_CACHE) {
            state.sum = cached;
        }
        state.sum += u64::from(B::COUNTS_BATCHES);
        let mut responses = Vec::new();
        // Views are opened, and flushes made, beside it.
        let locked = B::APPLY_LOCKS.then(|| lock(&self.image));
        for (ctx, Number(number)) in commands {
            state.sum += number;
            state.changed = ctx.time();
            *lock(&self.changed) = ctx.time();
            let applied = self.applied.fetch_add(1, Relaxed);
            responses.push(Number(if B::COUNTS_SINCE_OPEN { applied } else { state.sum }));
            *lock(&self.midst) = Some(state.clone());
            if B::RECORD_MOVES_LATER {
                lock(&shared).sum = state.sum;
            }
        }
        if B::ANSWERS_LATE {
            for response in &mut responses {
                response.0 = state.sum;
            }
        }
        *lock(&self.cache) = Some(state.sum);
        *lock(&self.midst) = None;
        let count = responses.len();
        let kept = keep(responses);
        if count == 0 && B::SKIPS_EMPTY || kept.rows.is_empty() && B::SKIPS_ROWLESS {
            return Ok(());
        }
        if !(count == 0 && B::FLUSH_SKIPS_EMPTY) {
            self.dirty.store(true, Relaxed);
        }
        state.keep::<B>(kept)?;
        let (record, rows) = (state.record.clone(), state.rows.clone());
        *lock(&self.before) = Some(before);
        *lock(&shared) = state;
        drop(locked);
        // The effects come with the next flush.
        if B::RECORD_IS_EARLY {
            lock(&self.image).change(|flushed| flushed.record = record)?;
        } else if B::ROWS_ARE_EARLY {
            lock(&self.image).change(|flushed| flushed.rows = rows)?;
        }
        Ok(())
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
        let mut seen = lock(&image.seen).clone();
        if B::FLUSH_NEEDS_A_RECORD && seen.record.is_none() {
            return Err(io::Error::other("there is nothing to flush"));
        }
        if let Some(midst) = lock(&self.midst).as_ref().filter(|_| B::FLUSH_TAKES_HALF_A_BATCH) {
            seen.sum = midst.sum;
        }
        if B::FLUSH_TEARS_LATE {
            image.tear(&seen)?;
        }
        image.change(|flushed| {
            if B::ROWS_ARE_NOT_FLUSHED {
                seen.rows = std::mem::take(&mut flushed.rows);
            }
            *flushed = seen;
        })
    }

    fn view(&self) -> Result<Self::View, io::Error> {
        let mut image = lock(&self.image);
        let seen = image.seen.clone();
        let mut frozen = lock(&seen).clone();
        if B::VIEW_GOES_BACK && lock(&self.midst).is_some() {
            frozen = lock(&self.before).clone().unwrap_or_default();
        }
        let state = if B::VIEW_THAWS { seen } else { Arc::new(Mutex::new(frozen)) };
        image.views.retain(|view| view.strong_count() > 0);
        image.views.push(Arc::downgrade(&state));
        Ok(View { state, image: self.image.clone(), opened: self.opened, how: PhantomData })
    }

    fn applied(view: &Self::View) -> Result<Option<Bytes>, io::Error> {
        let record = lock(&view.state).record.clone();
        Ok(record.or_else(|| B::FRESH_HAS_A_RECORD.then(Bytes::new)))
    }

    fn rows(view: &Self::View, row: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), io::Error> {
        let seen = lock(&view.image).seen.clone();
        let state = if B::ROWS_IGNORE_THE_VIEW { &seen } else { &view.state };
        let mut rows: Vec<_> = lock(state).rows.clone().into_iter().collect();
        if B::ROWS_ARE_UNORDERED {
            rows.reverse();
        }
        for (key, value) in rows {
            row(&key, &value);
        }
        Ok(())
    }

    fn query(&self, view: &Self::View, _: &QueryContext, Number(more): Number) -> Result<Number, io::Error> {
        let seen = lock(&self.image).seen.clone();
        let state = if B::QUERY_IGNORES_THE_VIEW { &seen } else { &view.state };
        Ok(Number(lock(state).sum + more))
    }

    fn write(view: Self::View, out: &mut dyn Write) -> io::Result<()> {
        let State { sum, changed, .. } = lock(&view.state).clone();
        let mut image = lock(&view.image);
        image.written += u64::from(B::WRITES_UNEVENLY);
        write_postcard(&(sum, changed, image.written), out)
    }

    fn restore(&self, kept: Kept, input: &mut dyn Read) -> Result<(), RestoreError> {
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
                    lock(seen).record = Some(kept.record.clone());
                }
            }
            let read = self.read(input);
            if let (true, Some(seen), Some(before)) = (B::RESTORE_SHOWS && read.is_err(), seen, before) {
                *lock(&seen) = before;
            }
            read
        };
        let failed = |error: io::Error| RestoreError::Store { source: error.into() };
        if let (true, Err(error)) = (B::FAILED_RESTORE_TEARS, &read) {
            let torn = lock(&self.image).change(|flushed| flushed.record = Some(kept.record.clone()));
            torn.map_err(failed)?;
            return Err(RestoreError::Decode { detail: error.to_string() });
        }
        let (sum, changed) = read?;
        drop(locked);
        let mut image = lock(&self.image);
        let rows = if B::RESTORE_KEEPS_ROWS { lock(&image.seen).rows.clone() } else { BTreeMap::new() };
        let mut state = State { sum, changed, record: None, rows };
        state.keep::<B>(kept).map_err(failed)?;
        if B::RESTORE_TEARS {
            image.change(|flushed| flushed.record.clone_from(&state.record)).map_err(failed)?;
        }
        if B::RESTORE_TEARS_LATE {
            image.tear(&state).map_err(failed)?;
        }
        if !B::RESTORE_OF_FRESH_IS_LAZY || lock(&image.seen).record.is_some() {
            image.change(|flushed| *flushed = state.clone()).map_err(failed)?;
        }
        *lock(&self.changed) = state.changed;
        *lock(&image.seen) = state;
        self.restored.store(true, Relaxed);
        Ok(())
    }

    fn deadline(&self, now: LogTime) -> Result<Option<LogTime>, io::Error> {
        let seen = lock(&self.image).seen.clone();
        let mut changed = if B::DEADLINE_IS_FORGOTTEN { *lock(&self.changed) } else { lock(&seen).changed };
        if let Some(midst) = lock(&self.midst).as_ref().filter(|_| B::DEADLINE_RUNS_AHEAD) {
            changed = midst.changed;
        }
        Ok(Some(changed.saturating_add(Duration::from_secs(1))).filter(|next| *next > now))
    }

    fn health(&self) -> Health {
        if B::FAILS_LATE && self.opened > 1 { Health::Failed } else { Health::Ok }
    }

    fn room_for(&self, snapshot_bytes: u64) -> Result<(), RestoreError> {
        if B::ROOM_IS_REFUSED && snapshot_bytes > 2 {
            return Err(RestoreError::NoRoom { needed: snapshot_bytes, available: 2 });
        }
        if B::ROOM_IS_DAMAGE && snapshot_bytes > 1 << 40 {
            return Err(RestoreError::Decode { detail: "it is too large".to_owned() });
        }
        Ok(())
    }

    fn close(&self) {
        let image = lock(&self.image);
        for view in image.views.iter().filter_map(Weak::upgrade).filter(|_| B::VIEW_MOVES_AT_CLOSE) {
            *lock(&view) = lock(&image.seen).clone();
        }
    }
}
