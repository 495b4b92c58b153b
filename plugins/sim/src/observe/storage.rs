//! A storage, with an eye on what it is given and what it promises; and, to show that the oracles
//! see, what a storage that breaks its promises would do.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use quorate::error::StorageError;
use quorate::storage::{
    Flushed, GroupState, Health, Identity, ResumedSnapshot, SnapshotId, SnapshotReader, SnapshotWriter,
    Storage, StoredSnapshot, Write,
};
use quorate::types::{GroupId, LogId, LogIndex};
use quorate::watch::Watcher;

use super::{EntryMark, Log, Members, Observation, Observer, Op, VoteMark};
use crate::mutations::{self, Mutation};

/// A storage that tells what it is given.
pub struct ObservedStorage<S> {
    storage: Arc<S>,
    observer: Observer,
    node: u64,
    boot: u64,
    mutation: Option<Mutation>,
    /// A vote that waits to be written behind what comes next.
    held: Mutex<Option<Write>>,
}

impl<S: Storage> ObservedStorage<S> {
    /// Wraps the storage of a boot of a node.
    pub fn new(storage: S, observer: Observer, node: u64, boot: u64, mutation: Option<Mutation>) -> Self {
        Self { storage: Arc::new(storage), observer, node, boot, mutation, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Option<Write>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the vote that is held once `flushed` is told, which is of what was asked for after it.
    fn overtaking(&self, group: GroupId, flushed: Flushed) -> Flushed {
        let Some(vote) = self.held().take() else { return flushed };
        let storage = self.storage.clone();
        Flushed::new(move |result| {
            match result {
                Ok(()) => flushed.durable(),
                Err(error) => flushed.failed(error),
            }
            // Not from within the storage, which tells of this.
            drop(madsim::task::spawn(async move { storage.write(group, vote, Flushed::ignored()) }));
        })
    }

    /// A receipt that tells of its use, and then uses `flushed`.
    fn telling(&self, op: Op, flushed: Flushed) -> Flushed {
        let (observer, node, boot) = (self.observer.clone(), self.node, self.boot);
        Flushed::new(move |result| match result {
            Ok(()) => {
                if observer.is_boot(node, boot) {
                    observer.see(node, &Observation::Flushed { op: &op });
                }
                flushed.durable();
            }
            Err(error) => flushed.failed(error),
        })
    }

    /// Tells whom the entries of a write name as members.
    fn members_of(&self, write: &Write) {
        let Write::Append { first, entries } = write else { return };
        for (index, entry) in (first.get()..).zip(entries) {
            if let Some(members) = &Members::of(entry) {
                let term = EntryMark::of(index, entry).term;
                self.observer.see(self.node, &Observation::Members { index, term, members });
            }
        }
    }

    /// What is in the storage, read back whole.
    async fn found(&self, group: GroupId, state: &GroupState) -> Result<Log, StorageError> {
        let mut log = Log { vote: state.vote.as_ref().and_then(VoteMark::found), ..Log::default() };
        // One before the first, when anything was ever purged.
        log.purged = state.purged.as_ref().and_then(|_| state.log.start.checked_sub(1));
        let mut next = state.log.start;
        while next < state.log.end {
            let range = LogIndex(next)..LogIndex(state.log.end);
            let entries = self.storage.read(group, range, 1 << 20).await?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                log.entries.insert(next, EntryMark::found(next, &entry));
                next += 1;
            }
        }
        Ok(log)
    }
}

#[async_trait]
impl<S: Storage> Storage for ObservedStorage<S> {
    async fn identity(&self) -> Result<Option<Identity>, StorageError> {
        self.storage.identity().await
    }

    async fn set_identity_once(&self, identity: &Identity) -> Result<(), StorageError> {
        self.storage.set_identity_once(identity).await
    }

    async fn open(&self, group: GroupId) -> Result<GroupState, StorageError> {
        let state = self.storage.open(group).await?;
        let found = self.found(group, &state).await?;
        if self.observer.is_boot(self.node, self.boot) {
            self.observer.reopened(self.node, &found);
        }
        Ok(state)
    }

    fn write(&self, group: GroupId, write: Write, flushed: Flushed) {
        let Some(op) = Op::of(&write) else { return self.storage.write(group, write, flushed) };
        if self.observer.is_boot(self.node, self.boot) {
            self.members_of(&write);
            self.observer.see(self.node, &Observation::Queued { op: &op });
        }
        let flushed = self.telling(op.clone(), flushed);
        let Some(mutation) = self.mutation else { return self.storage.write(group, write, flushed) };
        let nothing = Write::Truncate { from: LogIndex(u64::MAX) };
        match (mutation, write) {
            (Mutation::EarlyAcknowledgement, write) => {
                flushed.durable();
                self.storage.write(group, write, Flushed::ignored());
            }
            // In its place something that does nothing, so that receipts stay in order.
            (Mutation::ForgottenVote, Write::Vote(_))
            | (Mutation::SkippedTruncation, Write::Truncate { .. }) => {
                self.storage.write(group, nothing, flushed);
            }
            (Mutation::ShortTruncation, Write::Truncate { from }) => {
                self.storage.write(group, Write::Truncate { from: LogIndex(from.0 + 1) }, flushed);
            }
            (Mutation::LongPurge, Write::Purge { upto, marker }) => {
                self.storage.write(group, Write::Purge { upto: LogIndex(upto.0 + 1), marker }, flushed);
            }
            (Mutation::LostReceipt, Write::Append { first, entries }) if first.0 % 32 == 31 => {
                std::mem::forget(flushed);
                self.storage.write(group, Write::Append { first, entries }, Flushed::ignored());
            }
            (Mutation::VoteOvertaken, vote @ Write::Vote(_)) => {
                *self.held() = Some(vote);
                flushed.durable();
            }
            (Mutation::VoteOvertaken, write) => {
                self.storage.write(group, write, self.overtaking(group, flushed));
            }
            (_, write) => self.storage.write(group, write, flushed),
        }
    }

    async fn read(
        &self,
        group: GroupId,
        range: Range<LogIndex>,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        let entries = self.storage.read(group, range, max_bytes).await?;
        let rotten = self.mutation == Some(Mutation::ChecksumNotVerified)
            && self.observer.with_world(|world| world.lost.contains_key(&self.node));
        Ok(if rotten { entries.iter().map(mutations::rotten).collect() } else { entries })
    }

    async fn snapshot_writer(&self, group: GroupId) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        if self.observer.is_boot(self.node, self.boot) {
            self.observer.writes_a_snapshot(self.node);
        }
        self.storage.snapshot_writer(group).await
    }

    async fn resume_snapshot(
        &self,
        group: GroupId,
        id: &SnapshotId,
    ) -> Result<ResumedSnapshot, StorageError> {
        if self.observer.is_boot(self.node, self.boot) {
            self.observer.receives_a_snapshot(self.node);
        }
        let ResumedSnapshot { writer, held } = self.storage.resume_snapshot(group, id).await?;
        let held = Held { held, observer: Some(self.observer.clone()) };
        Ok(ResumedSnapshot { writer, held: Box::new(held) })
    }

    async fn snapshot(&self, group: GroupId) -> Result<Option<StoredSnapshot>, StorageError> {
        self.storage.snapshot(group).await
    }

    async fn remove_snapshot(&self, group: GroupId, upto: LogId) -> Result<(), StorageError> {
        self.storage.remove_snapshot(group, upto).await
    }

    fn health(&self) -> Watcher<Health> {
        self.storage.health()
    }

    fn snapshot_room(&self) -> Option<u64> {
        self.storage.snapshot_room()
    }

    fn make_room(&self, wanted: bool) {
        self.storage.make_room(wanted);
    }

    async fn close(&self) {
        self.storage.close().await;
    }
}

/// What is there of a snapshot that did not arrive whole; tells when there is anything.
struct Held {
    held: Box<dyn SnapshotReader>,
    /// `None` once it has told.
    observer: Option<Observer>,
}

#[async_trait]
impl SnapshotReader for Held {
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        let next = self.held.next().await?;
        if next.is_some()
            && let Some(observer) = self.observer.take()
        {
            observer.goes_on_with_a_snapshot();
        }
        Ok(next)
    }
}
