//! The library's own store suite, run against the adapters over a storage of ours.

use std::future::Future;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use openraft::testing::log::{StoreBuilder, Suite};

use super::applier::{Applier, ApplierOptions};
use super::log::Log;
use super::machine::Machine;
use super::runtime::{AsyncRuntime, TokioRuntime};
use super::types::TypeConfig;
use crate::error::StorageError;
use crate::log_clock::LogClock;
use crate::state_machine::erased::Typed;
use crate::state_machine::{
    ApplyContext, DecodeError, EncodeError, QueryContext, RestoreError, StateMachine, Wire,
};
use crate::storage::{Flushed, GroupState, Identity, SnapshotWriter, Storage, StoredSnapshot, Write};
use crate::types::{ClusterId, GroupId, LogId, LogIndex};

type C = TypeConfig<TokioRuntime>;

/// A machine without commands: the suite appends none.
#[derive(Debug)]
pub(crate) struct Idle;

/// Nothing that could be sent.
#[derive(Debug)]
pub(crate) enum Never {}

impl Wire for Never {
    fn encode(&self, _: &mut Vec<u8>) -> Result<(), EncodeError> {
        match *self {}
    }
    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        Err(DecodeError::TooShort { len: input.len() })
    }
    fn label(&self) -> &'static str {
        match *self {}
    }
}

impl StateMachine for Idle {
    const NAME: &'static str = "idle";
    const VERSION: u32 = 1;
    type Command = Never;
    type Response = Never;
    type Query = Never;
    type Answer = Never;
    type Snapshot = ();

    fn apply(&mut self, _: &mut ApplyContext, command: Never) -> Never {
        command
    }
    fn query(&self, _: &QueryContext, query: Never) -> Never {
        query
    }
    fn snapshot(&self) {}
    fn write((): (), _: &mut dyn std::io::Write) -> std::io::Result<()> {
        Ok(())
    }
    fn restore(&mut self, _: &mut dyn std::io::Read) -> Result<(), RestoreError> {
        Ok(())
    }
}

/// The suite begins logs at any index, which a leader never does: the storage below is told that
/// what comes before is purged.
struct Shifted<S> {
    inner: S,
    fresh: AtomicBool,
}

#[async_trait]
impl<S: Storage> Storage for Shifted<S> {
    async fn identity(&self) -> Result<Option<Identity>, StorageError> {
        self.inner.identity().await
    }
    async fn set_identity_once(&self, identity: &Identity) -> Result<(), StorageError> {
        self.inner.set_identity_once(identity).await
    }
    async fn open(&self, group: GroupId) -> Result<GroupState, StorageError> {
        self.inner.open(group).await
    }
    fn write(&self, group: GroupId, write: Write, flushed: Flushed) {
        match &write {
            Write::Append { first, .. } if self.fresh.swap(false, Ordering::Relaxed) && first.0 > 0 => {
                let upto = LogIndex(first.0 - 1);
                self.inner.write(group, Write::Purge { upto, marker: Bytes::new() }, Flushed::ignored());
            }
            Write::Purge { .. } => self.fresh.store(false, Ordering::Relaxed),
            _ => {}
        }
        self.inner.write(group, write, flushed);
    }
    async fn read(
        &self,
        group: GroupId,
        range: Range<LogIndex>,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        self.inner.read(group, range, max_bytes).await
    }
    async fn snapshot_writer(&self, group: GroupId) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        self.inner.snapshot_writer(group).await
    }
    async fn snapshot(&self, group: GroupId) -> Result<Option<StoredSnapshot>, StorageError> {
        self.inner.snapshot(group).await
    }
    async fn remove_snapshot(&self, group: GroupId, upto: LogId) -> Result<(), StorageError> {
        self.inner.remove_snapshot(group, upto).await
    }
    fn snapshot_room(&self) -> Option<u64> {
        self.inner.snapshot_room()
    }
    fn make_room(&self, wanted: bool) {
        self.inner.make_room(wanted);
    }
}

struct Stores<F, G, S> {
    open: F,
    cache_bytes: usize,
    opened: PhantomData<fn() -> (G, S)>,
}

impl<F, Fut, G, S> StoreBuilder<C, Log, Machine<TokioRuntime>, G> for Stores<F, G, S>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = (G, S)> + Send,
    G: Send + Sync,
    S: Storage,
{
    async fn build(&self) -> Result<(G, Log, Machine<TokioRuntime>), openraft::StorageError<C>> {
        let (guard, storage) = (self.open)().await;
        let storage: Arc<dyn Storage> = Arc::new(Shifted { inner: storage, fresh: AtomicBool::new(true) });
        let broken = |error: StorageError| openraft::StorageError::read(openraft::AnyError::new(&error));
        let group = GroupId::MAIN;
        let clock = Arc::new(LogClock::new(|| Duration::ZERO));
        let found = storage.open(group).await.map_err(broken)?;
        let log = Log::open(storage.clone(), group, &found, self.cache_bytes, clock.clone())
            .await
            .map_err(broken)?;
        let applier = Applier::new(ApplierOptions {
            cluster: ClusterId([1; 32]),
            group,
            machine: Arc::new(Typed::new(Idle)),
            snapshot_bytes: u64::MAX,
            clock,
            consecutive: false,
            dedupe: true,
        })
        .expect("a machine in memory");
        Ok((guard, log, Machine { applier, storage, runtime: PhantomData }))
    }
}

/// Runs the suite over the storages that `open` makes, each with what must outlive it. Once with
/// everything cached, and once with nothing, so that the storage itself is read.
///
/// # Panics
/// When a case fails.
#[allow(unreachable_pub, reason = "public in `testing`")]
pub fn run<G, S, F, Fut>(open: F)
where
    F: Fn() -> Fut + Send + Sync + Clone,
    Fut: Future<Output = (G, S)> + Send,
    G: Send + Sync,
    S: Storage,
{
    for cache_bytes in [usize::MAX, 0] {
        let stores = Stores { open: open.clone(), cache_bytes, opened: PhantomData };
        let mut runtime = TokioRuntime::new(2);
        let outcome = runtime.block_on(Suite::test_all(stores));
        assert!(outcome.is_ok(), "with a cache of {cache_bytes} bytes: {outcome:?}");
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::MemoryStorage;

    #[test]
    fn the_suite_passes_over_memory() {
        super::run(|| async { ((), MemoryStorage::new()) });
    }
}
