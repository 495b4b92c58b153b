//! The state machine: the host's state, behind a mutex that queries share.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, RaftSnapshotBuilder};
use quorate::storage::Storage;
use quorate::types::{LogIndex, Term};

use super::super::host::{self, Response};
use super::types::{GROUP, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use super::wire::{Input, put_snapshot_meta, read_snapshot_meta};

#[derive(Default)]
struct Applied {
    state: host::State,
    last: Option<LogId>,
    membership: StoredMembership,
}

/// The machine. Cheap to clone: every clone is the same machine.
#[derive(Clone)]
pub(crate) struct Machine {
    state: Arc<Mutex<Applied>>,
    storage: Arc<dyn Storage>,
}

impl Machine {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        Self { state: Arc::default(), storage }
    }

    fn lock(&self) -> MutexGuard<'_, Applied> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&host::State) -> T) -> T {
        look(&self.lock().state)
    }

    /// Stores a snapshot: what it covers, and then the state as postcard.
    async fn store(&self, meta: &SnapshotMeta, state: &Bytes) -> io::Result<()> {
        let Some(last) = meta.last_log_id else { return Ok(()) };
        let mut head = BytesMut::new();
        put_snapshot_meta(&mut head, meta);
        let covers = quorate::types::LogId { term: Term(last.leader_id.term), index: LogIndex(last.index) };
        let mut writer = self.storage.snapshot_writer(GROUP).await.map_err(io::Error::other)?;
        writer.write(head.freeze()).await.map_err(io::Error::other)?;
        writer.write(state.clone()).await.map_err(io::Error::other)?;
        writer.commit(covers).await.map_err(io::Error::other)
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let applied = self.lock();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let response = {
                let mut applied = self.lock();
                applied.last = Some(entry.log_id);
                match entry.payload {
                    EntryPayload::Blank => Response::default(),
                    EntryPayload::Normal(command) => host::apply(&mut applied.state, command),
                    EntryPayload::Membership(membership) => {
                        applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                        Response::default()
                    }
                }
            };
            if let Some(responder) = responder {
                responder.send(response);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        // The state is captured when the snapshot is built: it has everything applied by then.
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> Result<(), io::Error> {
        self.store(meta, &snapshot).await?;
        let state = postcard::from_bytes(&snapshot).map_err(io::Error::other)?;
        let membership = meta.last_membership.clone();
        *self.lock() = Applied { state, last: meta.last_log_id, membership };
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let Some(mut stored) = self.storage.snapshot(GROUP).await.map_err(io::Error::other)? else {
            return Ok(None);
        };
        let mut bytes = BytesMut::new();
        while let Some(chunk) = stored.reader.next().await.map_err(io::Error::other)? {
            bytes.extend_from_slice(&chunk);
        }
        let mut input = Input(bytes.freeze());
        let meta = read_snapshot_meta(&mut input)?;
        Ok(Some(Snapshot { meta, snapshot: input.0 }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let (meta, state) = {
            let applied = self.lock();
            let last_membership = applied.membership.clone();
            let meta = SnapshotMeta { last_log_id: applied.last, last_membership };
            (meta, postcard::to_allocvec(&applied.state).map_err(io::Error::other)?)
        };
        let snapshot = Bytes::from(state);
        self.store(&meta, &snapshot).await?;
        Ok(Snapshot { meta, snapshot })
    }
}
