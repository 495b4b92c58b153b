//! The log over a storage: every entry that is not purged is in memory as well, so nothing is read
//! back but at the start.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, RaftLogReader};
use quorate::error::StorageError;
use quorate::storage::{Flushed, Storage, Write};
use quorate::types::LogIndex;

use super::types::{Entry, GROUP, LogId, TypeConfig, Vote};
use super::wire::{Input, put_entry, put_log_id, put_vote, read_entry};

/// How many bytes one read of the storage asks for.
const READ_BYTES: usize = 1 << 20;

/// The log. Cheap to clone: every clone is the same log.
#[derive(Clone)]
pub(crate) struct Log {
    storage: Arc<dyn Storage>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// Consecutive, from one past the purged index.
    entries: VecDeque<Entry>,
}

impl State {
    fn first(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.purged)
    }
}

impl Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

fn to_io(error: StorageError) -> io::Error {
    io::Error::other(error)
}

impl Log {
    /// Opens the log and reads it into memory.
    pub(crate) async fn open(storage: Arc<dyn Storage>) -> io::Result<Self> {
        let found = storage.open(GROUP).await.map_err(to_io)?;
        let marker = |bytes: Option<Bytes>| bytes.map(|bytes| Input(bytes).log_id()).transpose();
        let mut state = State {
            vote: found.vote.map(|bytes| Input(bytes).vote()).transpose()?,
            committed: marker(found.committed)?,
            purged: marker(found.purged)?,
            entries: VecDeque::new(),
        };
        let mut next = found.log.start;
        while next < found.log.end {
            let range = LogIndex(next)..LogIndex(found.log.end);
            let read = storage.read(GROUP, range, READ_BYTES).await.map_err(to_io)?;
            if read.is_empty() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the log has a hole"));
            }
            next += read.len() as u64;
            for bytes in read {
                state.entries.push_back(read_entry(&mut Input(bytes))?);
            }
        }
        Ok(Self { storage, state: Arc::new(Mutex::new(state)) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, write: Write) -> io::Result<()> {
        let (flushed, receipt) = Flushed::pair();
        self.storage.write(GROUP, write, flushed);
        receipt.await.map_err(to_io)
    }
}

fn encoded(put: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    put(&mut out);
    out.freeze()
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let state = self.lock();
        let (first, len) = (state.first(), state.entries.len());
        let place = |index: u64| usize::try_from(index.saturating_sub(first)).unwrap_or(len).min(len);
        let start = match range.start_bound() {
            Bound::Included(start) => place(*start),
            Bound::Excluded(start) => place(start + 1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => place(end + 1),
            Bound::Excluded(end) => place(*end),
            Bound::Unbounded => len,
        };
        Ok(state.entries.range(start..end.max(start)).cloned().collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.lock().vote)
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let state = self.lock();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.write(Write::Vote(encoded(|out| put_vote(out, vote)))).await?;
        self.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.lock().committed = committed;
        if let Some(committed) = committed {
            let bytes = encoded(|out| put_log_id(out, &committed));
            self.storage.write(GROUP, Write::Committed(bytes), Flushed::ignored());
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let state = self.lock();
        Ok(state.committed.min(state.last()))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut first = None;
        let mut encoded = Vec::new();
        {
            // One allocation for all of them.
            let mut out = BytesMut::new();
            let mut state = self.lock();
            for entry in entries {
                first.get_or_insert(entry.log_id.index);
                put_entry(&mut out, &entry);
                encoded.push(out.split().freeze());
                state.entries.push_back(entry);
            }
        }
        let Some(first) = first else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let flushed = Flushed::new(move |result| callback.io_completed(result.map_err(to_io)));
        self.storage.write(GROUP, Write::Append { first: LogIndex(first), entries: encoded }, flushed);
        Ok(())
    }

    async fn truncate_after(&mut self, last_kept: Option<LogId>) -> Result<(), io::Error> {
        let from = last_kept.map_or(0, |kept| kept.index + 1);
        {
            let mut state = self.lock();
            let kept = from.saturating_sub(state.first());
            state.entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        }
        self.write(Write::Truncate { from: LogIndex(from) }).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        {
            let mut state = self.lock();
            let gone = (upto.index + 1).saturating_sub(state.first());
            let gone = usize::try_from(gone).unwrap_or(usize::MAX).min(state.entries.len());
            state.entries.drain(..gone);
            state.purged = Some(upto);
        }
        let marker = encoded(|out| put_log_id(out, &upto));
        self.write(Write::Purge { upto: LogIndex(upto.index), marker }).await
    }
}
