//! The state machine: the same register as ours, behind a mutex that queries share.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, RaftSnapshotBuilder};
use quorate::storage::Storage;
use quorate::types::{LogIndex, Term};

use super::types::{Command, GROUP, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use super::wire::{Input, put_snapshot_meta, read_snapshot_meta};
use crate::machine::Register;

#[derive(Default)]
struct State {
    register: Register,
    applied: Option<LogId>,
    membership: StoredMembership,
}

/// The machine. Cheap to clone: every clone is the same machine.
#[derive(Clone)]
pub(super) struct Machine {
    state: Arc<Mutex<State>>,
    storage: Arc<dyn Storage>,
}

impl Machine {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self { state: Arc::default(), storage }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many values were put.
    pub(super) fn puts(&self) -> u64 {
        self.lock().register.puts()
    }

    /// Stores a snapshot: what it covers, and then the register as postcard.
    async fn store(&self, meta: &SnapshotMeta, register: &Bytes) -> io::Result<()> {
        let Some(last) = meta.last_log_id else { return Ok(()) };
        let mut head = BytesMut::new();
        put_snapshot_meta(&mut head, meta);
        let covers = quorate::types::LogId { term: Term(last.leader_id.term), index: LogIndex(last.index) };
        let mut writer = self.storage.snapshot_writer(GROUP).await.map_err(io::Error::other)?;
        writer.write(head.freeze()).await.map_err(io::Error::other)?;
        writer.write(register.clone()).await.map_err(io::Error::other)?;
        writer.commit(covers).await.map_err(io::Error::other)
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let state = self.lock();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let response = {
                let mut state = self.lock();
                state.applied = Some(entry.log_id);
                match entry.payload {
                    EntryPayload::Blank => 0,
                    EntryPayload::Normal(Command::Put { value }) => state.register.put(value),
                    EntryPayload::Membership(membership) => {
                        state.membership = StoredMembership::new(Some(entry.log_id), membership);
                        0
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
        // The register is captured when the snapshot is built: it has everything applied by then.
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> Result<(), io::Error> {
        self.store(meta, &snapshot).await?;
        let register = postcard::from_bytes(&snapshot).map_err(io::Error::other)?;
        let membership = meta.last_membership.clone();
        *self.lock() = State { register, applied: meta.last_log_id, membership };
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
        let (meta, register) = {
            let state = self.lock();
            let meta = SnapshotMeta { last_log_id: state.applied, last_membership: state.membership.clone() };
            (meta, postcard::to_allocvec(&state.register).map_err(io::Error::other)?)
        };
        let snapshot = Bytes::from(register);
        self.store(&meta, &snapshot).await?;
        Ok(Snapshot { meta, snapshot })
    }
}
