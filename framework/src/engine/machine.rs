//! Step 7 of a write: committed entries reach the user's machine, in log order and in batches.
//!
//! A snapshot of a machine in memory is written into the storage. A machine on a disk *is* its own:
//! to build one is to flush it, and one that is sent is written out from a view of it.

use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt, Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{RaftSnapshotBuilder, Snapshot};

use super::applier::{Applier, Batch};
use super::restore::restore;
use super::runtime::{Bug, Point, Runtime, Sight};
use super::snapshot::{self, SnapshotData, Stored};
use super::types::{
    Answers, CommittedLeaderId, RaftLogId, Record, SnapshotMeta, StoredMembership, TypeConfig, to_log_id,
};
use crate::error::StorageError;
use crate::format::snapshot::Header;
use crate::state_machine::erased::{AnswerError, Replied, SnapshotJob};
use crate::storage::Storage;
use crate::types::LogId;

/// How many bytes of entries are applied together: enough for a transaction to be worth its while,
/// and so few that queries of a machine in memory wait for next to nothing.
const BATCH_BYTES: u64 = 256 << 10;

/// The machine as the library drives it.
pub(super) struct Machine<RT> {
    pub(super) applier: Arc<Applier>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) runtime: PhantomData<fn() -> RT>,
}

fn to_io(error: StorageError) -> io::Error {
    io::Error::other(error)
}

type MachineSnapshot = Snapshot<CommittedLeaderId, u64, Record, SnapshotData>;

/// The entries of a batch, and who waits for their answers.
struct Gathered<RT: Runtime> {
    batch: Batch,
    /// For each entry how many commands it has.
    waiting: Vec<(usize, Option<ApplyResponder<TypeConfig<RT>>>)>,
    last: u64,
}

impl<RT: Runtime> Machine<RT> {
    /// Takes what there is of `entries`, up to [`BATCH_BYTES`]; waits for the first alone. `None` at
    /// the end.
    async fn gather<Strm>(&self, entries: &mut Strm) -> io::Result<Option<Gathered<RT>>>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig<RT>>, io::Error>> + Unpin + Send,
    {
        let mut next = entries.next().await;
        let mut gathered = Gathered { batch: self.applier.batch(), waiting: Vec::new(), last: 0 };
        while let Some(item) = next {
            let (entry, responder) = item.map_err(|error| self.applier.fail(error))?;
            let commands = self.applier.add(&mut gathered.batch, &entry)?;
            gathered.waiting.push((commands, responder));
            gathered.last = entry.log_id.index;
            if gathered.batch.bytes >= BATCH_BYTES || RT::reaches(Point::LoneEntry) {
                break;
            }
            next = entries.next().now_or_never().flatten();
        }
        Ok((!gathered.waiting.is_empty()).then_some(gathered))
    }

    async fn current_snapshot(&self) -> io::Result<Option<MachineSnapshot>> {
        let stored = Stored::current(&*self.storage, self.applier.group).await.map_err(to_io)?;
        if self.applier.durable() {
            let applied = self.applier.state().0;
            let newer = stored
                .as_ref()
                .is_some_and(|stored| Some(stored.header.last_applied) > applied.as_ref().map(to_log_id));
            if !newer {
                return self.view().await;
            }
        }
        let Some(stored) = stored else { return Ok(None) };
        let meta = snapshot::meta(&stored.header).map_err(to_io)?;
        Ok(Some(Snapshot { meta, snapshot: SnapshotData::Stored(Box::new(stored)) }))
    }

    /// What a machine on a disk holds now, to be written out while it goes on.
    async fn view(&self) -> io::Result<Option<MachineSnapshot>> {
        let captured = self.applier.run::<RT, _>(Applier::capture).await?;
        let Some((header, job)) = captured else { return Ok(None) };
        let meta = snapshot::meta(&header).map_err(to_io)?;
        Ok(Some(Snapshot { meta, snapshot: SnapshotData::View(Box::new(header), job) }))
    }

    /// Makes the snapshot the stored one, unless it is already, and gives it back opened.
    async fn keep(&self, covers: LogId, data: SnapshotData) -> Result<Stored, StorageError> {
        let group = self.applier.group;
        match data {
            SnapshotData::Nothing | SnapshotData::View(..) => {}
            SnapshotData::Received(writer) => writer.commit(covers).await?,
            SnapshotData::Stored(stored) => {
                let current = self.storage.snapshot(group).await?;
                if current.is_none_or(|current| current.covers < covers) {
                    snapshot::copy(&*self.storage, *stored).await?;
                }
            }
        }
        let stored = Stored::current(&*self.storage, group).await?;
        stored.filter(|stored| stored.header.last_applied >= covers).ok_or_else(|| StorageError::Corrupt {
            what: format!("the snapshot of {group}"),
            detail: format!("it does not cover {covers}, to which it was committed"),
        })
    }
}

impl<RT: Runtime> RaftStateMachine<TypeConfig<RT>> for Machine<RT> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder<RT>;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, StoredMembership), io::Error> {
        Ok(self.applier.state())
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig<RT>>, io::Error>> + Unpin + Send,
    {
        while let Some(Gathered { batch, waiting, last }) = self.gather(&mut entries).await? {
            RT::pause(Point::BeforeApply).await;
            let answers = self.applier.run::<RT, _>(move |applier| applier.apply(batch)).await?;
            if RT::reaches(Point::EarlySnapshot) {
                self.applier.compact();
            }
            self.applier.wake(last);
            RT::pause(Point::BeforeAnswers).await;
            answers.iter().filter_map(sight).for_each(RT::saw);
            let mut answers = answers.into_iter();
            for (commands, responder) in waiting {
                let answers = Answers(answers.by_ref().take(commands).collect());
                if let Some(responder) = responder {
                    responder.send(answers);
                }
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder<RT> {
        // Nothing is applied meanwhile: the one worker that applies is the one that is here. Queries
        // go on.
        let captured = if self.applier.durable() {
            let (last_log_id, last_membership) = self.applier.state();
            Ok(Captured::Flush(Box::new(SnapshotMeta { last_log_id, last_membership })))
        } else {
            self.applier
                .capture()
                .map(|captured| Captured::Memory(captured.map(mislabelled::<RT>).map(Box::new)))
        };
        self.applier.snapshot_begun();
        Builder { captured: Mutex::new(Some(captured)), applier: self.applier.clone(), machine: self.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> Result<(), io::Error> {
        let Some(covers) = meta.last_log_id.as_ref().map(to_log_id) else {
            return Err(io::Error::other("a snapshot that covers nothing"));
        };
        let stored = self.keep(covers, data).await.map_err(to_io)?;
        let header = stored.header.clone();
        if header.cluster_id != self.applier.cluster {
            return Err(self.applier.fail(format!("the snapshot is of cluster {}", header.cluster_id)));
        }
        // All of it is checked before anything of the machine is touched.
        stored.verify().await.map_err(|error| self.applier.fail(error))?;
        let stored = Stored::current(&*self.storage, self.applier.group).await.map_err(to_io)?;
        let stored = stored.filter(|stored| stored.header == header);
        let stored =
            stored.ok_or_else(|| self.applier.fail("the snapshot changed while it was installed"))?;
        RT::pause(Point::BeforeRestore).await;
        self.applier.set_restoring(true);
        RT::pause(Point::DuringRestore).await;
        let restored = restore::<RT>(stored, self.applier.clone()).await;
        self.applier.set_restoring(false);
        restored?;
        if self.applier.durable() {
            snapshot::forget(&*self.storage, self.applier.group, header.last_applied).await;
        }
        self.applier.wake(header.last_applied.index.0);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<MachineSnapshot>, io::Error> {
        self.current_snapshot().await
    }
}

/// What a simulated run wants to know of an answer.
fn sight(replied: &Replied) -> Option<Sight> {
    match &replied.answer {
        Err(AnswerError::NoSession) => Some(Sight::SessionEnded),
        _ if replied.again => Some(Sight::RepeatKnown),
        _ => None,
    }
}

/// The snapshot as it is; in a simulated run it may be asked to say otherwise.
fn mislabelled<RT: Runtime>((mut header, job): (Header, SnapshotJob)) -> (Header, SnapshotJob) {
    let index = &mut header.last_applied.index.0;
    if RT::planted(Bug::SnapshotOneBehind) {
        *index = index.saturating_sub(1);
    }
    if RT::planted(Bug::SnapshotWithoutSessions) {
        header.sessions = bytes::Bytes::new();
    }
    let index = &mut header.last_applied.index.0;
    if RT::planted(Bug::SnapshotOneAhead) {
        *index += 1;
    }
    (header, job)
}

impl<RT> Clone for Machine<RT> {
    fn clone(&self) -> Self {
        Self { applier: self.applier.clone(), storage: self.storage.clone(), runtime: PhantomData }
    }
}

/// What a snapshot is built from.
enum Captured {
    /// A view of a machine in memory, when anything was applied.
    Memory(Option<Box<(Header, SnapshotJob)>>),
    /// A machine on a disk, which is flushed at least up to here.
    Flush(Box<SnapshotMeta>),
}

/// Builds one snapshot, beside apply.
pub(super) struct Builder<RT> {
    /// In a mutex only because the library wants builders to be `Sync`: it is never locked.
    captured: Mutex<Option<io::Result<Captured>>>,
    applier: Arc<Applier>,
    machine: Machine<RT>,
}

impl<RT: Runtime> RaftSnapshotBuilder<TypeConfig<RT>> for Builder<RT> {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<MachineSnapshot, io::Error> {
        let captured = self.captured.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let nothing = || Snapshot { meta: SnapshotMeta::default(), snapshot: SnapshotData::Nothing };
        match captured.transpose()? {
            None | Some(Captured::Memory(None)) => Ok(nothing()),
            Some(Captured::Memory(Some(captured))) => {
                let (header, job) = *captured;
                let built = snapshot::build::<RT>(&*self.machine.storage, header, job).await;
                // The log is whole without it, and room may come back: an error here would stop the
                // node.
                if let Err(error @ StorageError::Full { .. }) = built {
                    tracing::warn!(%error, "there is no room for a snapshot");
                    self.applier.not_built();
                    return Ok(self.machine.current_snapshot().await?.unwrap_or_else(nothing));
                }
                built.map_err(to_io)?;
                let current = self.machine.current_snapshot().await?;
                current.ok_or_else(|| io::Error::other("the snapshot just committed is not there"))
            }
            Some(Captured::Flush(meta)) => {
                self.applier.run::<RT, _>(Applier::flush).await?;
                Ok(Snapshot { meta: *meta, snapshot: SnapshotData::Nothing })
            }
        }
    }
}
