//! A snapshot whose transfer breaks off goes on where it was.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::Sink;
use quorate::client::Consistency;
use quorate::error::{StorageError, TransportError};
use quorate::node::config::ConfigBuilder;
use quorate::node::status::Status;
use quorate::transport::{Admission, Duplex, FrameSink, Incoming, Lane, MemoryTransport, Transport};
use quorate::types::{LogIndex, Member, PeerId};
use quorate_redb::RedbStorage;
use quorate_tests::cluster::Cluster;
use quorate_tests::ledger::LedgerCommand;
use quorate_tests::rig::Rig;
use quorate_tests::small_disk::SmallDiskRig;

/// What passes on the lane of snapshots.
#[derive(Clone, Debug)]
struct Meter {
    sent: Arc<AtomicU64>,
    /// How many more bytes pass before the stream breaks.
    left: Arc<AtomicU64>,
    /// Whether the streams after that one break as well, until more bytes are left.
    stays_broken: Arc<AtomicBool>,
}

impl Default for Meter {
    fn default() -> Self {
        Self { sent: Arc::default(), left: Arc::new(AtomicU64::new(u64::MAX)), stays_broken: Arc::default() }
    }
}

struct MeteredSink {
    inner: FrameSink,
    meter: Meter,
}

impl Sink<Bytes> for MeteredSink {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.as_mut().poll_ready(cx)
    }
    fn start_send(mut self: Pin<&mut Self>, frame: Bytes) -> Result<(), TransportError> {
        let len = frame.len() as u64;
        let left = self.meter.left.load(Ordering::SeqCst);
        if left < len {
            let left = if self.meter.stays_broken.load(Ordering::SeqCst) { 0 } else { u64::MAX };
            self.meter.left.store(left, Ordering::SeqCst);
            return Err(TransportError::Reset { source: None });
        }
        self.meter.left.store(left - len, Ordering::SeqCst);
        self.meter.sent.fetch_add(len, Ordering::SeqCst);
        self.inner.as_mut().start_send(frame)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.as_mut().poll_flush(cx)
    }
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.as_mut().poll_close(cx)
    }
}

struct Metered {
    inner: MemoryTransport,
    meter: Meter,
}

#[async_trait]
impl Transport for Metered {
    fn identity(&self) -> PeerId {
        self.inner.identity()
    }
    fn address(&self) -> String {
        self.inner.address()
    }
    async fn connect(&self, peer: &Member, lane: Lane) -> Result<Duplex, TransportError> {
        let stream = self.inner.connect(peer, lane).await?;
        if lane != Lane::Snapshot {
            return Ok(stream);
        }
        Ok(Duplex::new(MeteredSink { inner: stream.tx, meter: self.meter.clone() }, stream.rx))
    }
    async fn accept(&self) -> Result<Incoming, TransportError> {
        self.inner.accept().await
    }
    fn reset(&self, peer: &PeerId) {
        self.inner.reset(peer);
    }
    async fn close(&self) {
        self.inner.close().await;
    }
    fn set_admission(&self, admission: Admission) {
        self.inner.set_admission(admission);
    }
}

struct MeteredRig {
    rig: SmallDiskRig,
    meter: Meter,
}

#[async_trait]
impl Rig for MeteredRig {
    type Storage = RedbStorage;
    type Transport = Metered;

    fn new(nodes: u64) -> Self {
        Self { rig: SmallDiskRig::new(nodes), meter: Meter::default() }
    }
    fn members(&self) -> Vec<Member> {
        self.rig.members()
    }
    fn open(&self, node: u64) -> Result<RedbStorage, StorageError> {
        self.rig.open(node)
    }
    async fn transport(&self, node: u64) -> Metered {
        Metered { inner: self.rig.transport(node).await, meter: self.meter.clone() }
    }
    fn cut_power(&self, node: u64) {
        self.rig.cut_power(node);
    }
    fn wipe(&self, node: u64) {
        self.rig.wipe(node);
    }
    fn flip(&self, node: u64, index: LogIndex, text: &str) {
        self.rig.flip(node, index, text);
    }
    async fn rogue(&self, node: u64) -> Metered {
        self.transport(node).await
    }
}

const STATE: u64 = 8 << 20;

/// A leader with a state of 8 MiB that its log no longer has, and a follower that has none of it.
async fn behind() -> (Cluster<MeteredRig>, u64, u64) {
    let mut cluster = Cluster::<MeteredRig>::new(3);
    let config = ConfigBuilder::from(cluster.config.clone()).snapshot_log_bytes(64 << 10);
    let config = config.snapshot_keep_entries(2).snapshot_chunk_bytes(64 << 10);
    cluster.config = config.build().expect("a good configuration");
    cluster.start_all().await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    cluster.shut_down(follower).await;
    let mut last = LogIndex(0);
    for note in 0..16 {
        let text = format!("{note:03} ").repeat(STATE as usize / 16 / 4);
        last = cluster.write_shown(leader, LedgerCommand::Note { name: note.to_string(), text }).await;
    }
    let whole = |status: &Status| status.snapshot.is_some_and(|covers| covers.index >= last);
    cluster.until(leader, "has a snapshot of all of it", whole).await;
    cluster.until(leader, "has purged all of it", |status| status.purged.is_some()).await;
    (cluster, leader, follower)
}

async fn assert_caught_up(cluster: &Cluster<MeteredRig>, leader: u64, follower: u64) {
    cluster.settle().await;
    let client = cluster.client(follower).with_consistency(Consistency::Local);
    assert_eq!(client.all().await, cluster.client(leader).all().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_breaks_off_sends_the_rest_and_not_all_of_it_again() {
    let (mut cluster, leader, follower) = behind().await;
    let meter = cluster.rig.meter.clone();
    meter.sent.store(0, Ordering::SeqCst);
    meter.left.store(STATE * 3 / 4, Ordering::SeqCst);
    cluster.start(follower).await;
    assert_caught_up(&cluster, leader, follower).await;
    assert!(meter.left.load(Ordering::SeqCst) > STATE, "the transfer was never broken off");
    let sent = meter.sent.load(Ordering::SeqCst);
    // What was on its way when the stream broke is sent twice: at most a window of eight chunks.
    assert!(sent > STATE && sent < STATE + STATE / 4, "{sent} bytes for a state of {STATE}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_receiver_keeps_what_has_arrived() {
    let (mut cluster, leader, follower) = behind().await;
    let meter = cluster.rig.meter.clone();
    meter.sent.store(0, Ordering::SeqCst);
    meter.left.store(STATE * 3 / 4, Ordering::SeqCst);
    meter.stays_broken.store(true, Ordering::SeqCst);
    cluster.start(follower).await;
    // The transfer breaks off, and the receiver goes down before it can go on.
    let kept = cluster.rig.rig.dir(follower).join("snap");
    let arrived = async {
        while !std::fs::read_dir(&kept)
            .expect("there")
            .any(|file| file.expect("readable").file_name().to_string_lossy().ends_with(".kept"))
        {
            tokio::task::yield_now().await;
        }
    };
    quorate_tests::cluster::within("part of the snapshot is kept", arrived).await;
    cluster.shut_down(follower).await;
    meter.left.store(u64::MAX, Ordering::SeqCst);
    cluster.start(follower).await;
    assert_caught_up(&cluster, leader, follower).await;
    let sent = meter.sent.load(Ordering::SeqCst);
    assert!(sent > STATE && sent < STATE + STATE / 2, "{sent} bytes for a state of {STATE}");
}
