//! The log as the library drives it, over a [`Storage`] of ours.
//!
//! What the library calls must be readable at once and durable later: entries go into the cache,
//! and their bytes into the storage's queue together with the receipt.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::Stream;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, RaftLogReader};

use super::applier::Applier;
use super::cache::Cache;
use super::runtime::{Bug, Point, Runtime};
use super::types::{
    Entry, RaftLogId, TypeConfig, Vote, from_log_id, from_vote_record, to_log_id, to_vote_record,
};
use crate::error::StorageError;
use crate::format::marker::{VoteRecord, decode_committed, decode_purged, encode_committed, encode_purged};
use crate::log_clock::LogClock;
use crate::storage::{Flushed, GroupState, Storage, Write};
use crate::types::{GroupId, LogId, LogIndex};

/// How many bytes one read of the storage asks for.
const READ_BYTES: usize = 1 << 20;

/// The log of a group. Cheap to clone: every clone is the same log.
#[derive(Clone)]
pub(super) struct Log {
    storage: Arc<dyn Storage>,
    group: GroupId,
    clock: Arc<LogClock>,
    state: Arc<Mutex<State>>,
    /// A machine on a disk, which has to be flushed before what it applied is purged.
    machine: Option<Arc<Applier>>,
}

impl Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log({})", self.group)
    }
}

#[derive(Debug)]
struct State {
    vote: Option<Vote>,
    committed: Option<RaftLogId>,
    purged: Option<RaftLogId>,
    last: Option<RaftLogId>,
    /// The index of the first entry present; of the next to come when there is none.
    first: u64,
    cache: Cache,
}

fn corrupt(what: String, detail: impl ToString) -> StorageError {
    StorageError::Corrupt { what, detail: detail.to_string() }
}

fn to_io(error: StorageError) -> io::Error {
    io::Error::other(error)
}

impl Log {
    /// Opens the log of `group` from what the storage found.
    pub(super) async fn open(
        storage: Arc<dyn Storage>,
        group: GroupId,
        found: &GroupState,
        cache_bytes: usize,
        clock: Arc<LogClock>,
    ) -> Result<Self, StorageError> {
        let marker =
            |name: &str, error: crate::format::FormatError| corrupt(format!("the {name} of {group}"), error);
        let vote =
            found.vote.as_ref().map(VoteRecord::decode).transpose().map_err(|error| marker("vote", error))?;
        let committed = found
            .committed
            .as_ref()
            .map(decode_committed)
            .transpose()
            .map_err(|error| marker("commit marker", error))?;
        let purged = found
            .purged
            .as_ref()
            .map(decode_purged)
            .transpose()
            .map_err(|error| marker("purge marker", error))?;
        let first = purged.map_or(0, |purged| purged.index.0 + 1);
        if !found.log.is_empty() && found.log.start != first {
            let detail = format!("it begins at {} where {first} was expected", found.log.start);
            return Err(corrupt(format!("the log of {group}"), detail));
        }
        let end = if found.log.is_empty() { first } else { found.log.end };
        let log = Self {
            storage,
            group,
            clock,
            state: Arc::new(Mutex::new(State {
                vote: vote.map(from_vote_record),
                committed: committed.map(from_log_id),
                purged: purged.map(from_log_id),
                last: purged.map(from_log_id),
                first: end.min(first),
                cache: Cache::new(end, cache_bytes),
            })),
            machine: None,
        };
        if !found.log.is_empty() {
            let last = log.read_stored(end - 1..end).await?.pop();
            let last =
                last.ok_or_else(|| corrupt(format!("entry {} of {group}", end - 1), "it is missing"))?;
            log.clock.seen(last.clock);
            log.lock().last = Some(last.log_id);
        }
        Ok(log)
    }

    /// Whether the entry at `index`, which must be there, is flushed.
    pub(super) fn is_flushed(&self, index: u64) -> bool {
        let state = self.lock();
        index < state.first || index < state.cache.flushed_end()
    }

    /// The last entry that was purged.
    pub(super) fn purged(&self) -> Option<LogId> {
        self.lock().purged.as_ref().map(to_log_id)
    }

    /// Purges nothing that `machine` has not flushed.
    pub(super) fn purge_after(&mut self, machine: Arc<Applier>) {
        self.machine = Some(machine);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads entries of the storage, checks them, and never shows a hole.
    async fn read_stored(&self, range: Range<u64>) -> Result<Vec<Entry>, StorageError> {
        let indices = LogIndex(range.start)..LogIndex(range.end);
        let read = self.storage.read(self.group, indices, READ_BYTES).await?;
        let mut entries = Vec::with_capacity(read.len());
        for (index, bytes) in range.zip(read) {
            let what = || format!("entry {index} of {}", self.group);
            let entry = Entry::open(self.group, bytes).map_err(|error| corrupt(what(), error))?;
            if entry.log_id.index != index {
                return Err(corrupt(what(), format!("entry {} stands in its place", entry.log_id.index)));
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Reads from the start of `range` until about `max_bytes`, from storage and cache.
    async fn read_some<RT: Runtime>(
        &self,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let max_bytes = if RT::reaches(Point::SmallRead) { 1 } else { max_bytes };
        loop {
            let (first, missing_before) = {
                let state = self.lock();
                let start = range.start.max(state.first);
                let end = range.end.min(state.last.map_or(0, |last| last.index + 1));
                if start >= end {
                    return Ok(Vec::new());
                }
                let stored = state.cache.flushed_end();
                if stored > start && RT::reaches(Point::CacheMiss) {
                    (start, end.min(stored))
                } else {
                    let cached = state.cache.read(start..end, max_bytes);
                    if !cached.is_empty() {
                        return Ok(cached);
                    }
                    (start, end.min(state.cache.first().max(start + 1)))
                }
            };
            let read = self.read_stored(first..missing_before).await?;
            if !read.is_empty() {
                return Ok(read);
            }
            // Purged or truncated between the look and the read: then the next look shows it.
            // Otherwise the storage lost an entry.
            let state = self.lock();
            let purged = state.first > first;
            let truncated = state.last.is_none_or(|last| last.index < first);
            if !purged && !truncated && state.cache.get(first).is_none() {
                return Err(corrupt(format!("entry {first} of {}", self.group), "it is missing"));
            }
        }
    }

    /// Reads all of `range` that the log has.
    async fn read_all<RT: Runtime>(&self, mut range: Range<u64>) -> Result<Vec<Entry>, StorageError> {
        let mut entries = Vec::new();
        while range.start < range.end {
            let some = self.read_some::<RT>(range.clone(), READ_BYTES).await?;
            let Some(last) = some.last() else { break };
            range.start = last.log_id.index + 1;
            entries.extend(some);
        }
        Ok(entries)
    }

    async fn write(&self, write: Write) -> io::Result<()> {
        let (flushed, receipt) = Flushed::pair();
        self.storage.write(self.group, write, flushed);
        receipt.await.map_err(to_io)
    }

    fn add(&self, entries: impl Iterator<Item = Entry>) -> (u64, Vec<Bytes>) {
        let mut state = self.lock();
        let mut bytes = Vec::new();
        let mut first = None;
        for mut entry in entries {
            let term = *entry.log_id.leader_id;
            entry.seal(self.group, || self.clock.stamp(term));
            self.clock.seen(entry.clock);
            first.get_or_insert(entry.log_id.index);
            bytes.push(entry.encoded.clone());
            if state.last.is_none_or(|last| last.index < state.first) {
                state.first = entry.log_id.index;
            }
            state.last = Some(entry.log_id);
            state.cache.push(entry);
        }
        (first.unwrap_or_default(), bytes)
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl<RT: Runtime> RaftLogReader<TypeConfig<RT>> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read_all::<RT>(bounds(&range)).await.map_err(to_io)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.lock().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read_some::<RT>(start..end, READ_BYTES).await.map_err(to_io)
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<Entry, io::Error>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        // A part at a time, so that a long log is never in memory whole.
        let parts =
            futures::stream::try_unfold((self.clone(), bounds(&range)), |(log, mut range)| async move {
                let some = log.read_some::<RT>(range.clone(), READ_BYTES).await.map_err(to_io)?;
                let Some(last) = some.last() else { return Ok::<_, io::Error>(None) };
                range.start = last.log_id.index + 1;
                let entries = futures::stream::iter(some.into_iter().map(Ok::<_, io::Error>));
                Ok(Some((entries, (log, range))))
            });
        Box::pin(futures::TryStreamExt::try_flatten(parts))
    }
}

impl<RT: Runtime> RaftLogStorage<TypeConfig<RT>> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig<RT>>, io::Error> {
        let state = self.lock();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        RT::pause(Point::BeforeVote).await;
        let write = Write::Vote(to_vote_record(vote).encode());
        if RT::planted(Bug::VoteNotAwaited) {
            self.storage.write(self.group, write, Flushed::ignored());
        } else {
            self.write(write).await?;
        }
        self.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> Result<(), io::Error> {
        self.lock().committed = committed;
        if let Some(committed) = committed
            && !RT::reaches(Point::CommitNotMarked)
            && !RT::planted(Bug::LeaderRestored)
        {
            let bytes = encode_committed(to_log_id(&committed));
            self.storage.write(self.group, Write::Committed(bytes), Flushed::ignored());
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<RaftLogId>, io::Error> {
        // Lazy, so after a crash it may point past a log whose tail was lost or behind its head.
        let state = self.lock();
        let committed = if RT::planted(Bug::CommitMarkerIgnored) { state.last } else { state.committed };
        Ok(committed.min(state.last))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig<RT>>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut answers_early = false;
        let (first, entries) = self.add(entries.into_iter().inspect(|entry| {
            // What a leader sent comes encoded.
            answers_early |= RT::planted(Bug::FollowerAnswersEarly) && !entry.encoded.is_empty();
        }));
        if entries.is_empty() {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        let end = first + entries.len() as u64;
        let state = self.state.clone();
        let flushed = Flushed::new(move |result| {
            if result.is_ok() {
                state.lock().unwrap_or_else(PoisonError::into_inner).cache.flushed(end);
            }
            let result = if RT::planted(Bug::FlushErrorIgnored) { Ok(()) } else { result };
            callback.io_completed(result.map_err(to_io));
        });
        let flushed = if answers_early {
            flushed.durable();
            Flushed::ignored()
        } else {
            flushed
        };
        self.storage.write(self.group, Write::Append { first: LogIndex(first), entries }, flushed);
        Ok(())
    }

    async fn truncate_after(&mut self, last_kept: Option<RaftLogId>) -> Result<(), io::Error> {
        let from = last_kept.map_or(0, |kept| kept.index + 1);
        {
            let mut state = self.lock();
            if state.last.is_none_or(|last| last.index < from) {
                return Ok(());
            }
            state.cache.truncate(from);
            state.first = state.first.min(from);
            state.last = last_kept.max(state.purged);
        }
        self.write(Write::Truncate { from: LogIndex(from) }).await
    }

    async fn purge(&mut self, upto: RaftLogId) -> Result<(), io::Error> {
        RT::pause(Point::BeforePurge).await;
        // The library's core waits here: most often there is nothing to wait for.
        if let Some(machine) = self.machine.as_ref().filter(|machine| !machine.needs_no_more(upto.index)) {
            machine.run::<RT, _>(move |machine| machine.covers(upto.index)).await?;
        }
        {
            let mut state = self.lock();
            if state.purged.is_some_and(|purged| purged >= upto) {
                return Ok(());
            }
            state.purged = Some(upto);
            state.cache.purge(upto.index + 1);
            state.first = state.first.max(upto.index + 1);
            if state.last.is_none_or(|last| last.index <= upto.index) {
                state.last = Some(upto);
            }
        }
        let marker = encode_purged(to_log_id(&upto));
        self.write(Write::Purge { upto: LogIndex(upto.index), marker }).await
    }
}
