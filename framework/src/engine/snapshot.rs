//! Writing a snapshot out beside apply, and what a stored one is.

use std::future::Future;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::ThreadId;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;

use super::runtime::{Bug, Runtime};
use super::types::{SnapshotMeta, StoredMembership, from_log_id, from_raw_membership};
use crate::error::StorageError;
use crate::format::snapshot::{Decoder, Encoder, Header, MAX_PIECE_BYTES};
use crate::state_machine::erased::SnapshotJob;
use crate::storage::{SnapshotWriter, Storage, StoredSnapshot};
use crate::types::{GroupId, LogId};

/// How many bytes are handed on at once.
const PIECE_BYTES: usize = 256 << 10;
/// How many bytes may wait for the storage while the machine writes on.
const PIPE_BYTES: usize = 4 << 20;
const _: () = assert!(PIECE_BYTES <= MAX_PIECE_BYTES);

/// A snapshot on its way through the library.
pub(super) enum SnapshotData {
    /// Nothing was applied yet.
    Nothing,
    /// In a storage, readable.
    Stored(Box<Stored>),
    /// Received whole, checked, and not committed yet.
    Received(Box<dyn SnapshotWriter>),
    /// A view of a machine on a disk, written out as it is sent.
    View(Box<Header>, SnapshotJob),
}

/// A stored snapshot whose header has been read.
pub(super) struct Stored {
    pub(super) header: Header,
    pub(super) len: u64,
    /// Of all bytes, where the storage knows it.
    pub(super) fingerprint: Option<u32>,
    read: Vec<Bytes>,
    snapshot: StoredSnapshot,
}

pub(super) fn corrupt(group: GroupId, detail: impl ToString) -> StorageError {
    StorageError::Corrupt { what: format!("the snapshot of {group}"), detail: detail.to_string() }
}

/// What the library wants to know of a snapshot.
pub(super) fn meta(header: &Header) -> Result<SnapshotMeta, StorageError> {
    let membership = from_raw_membership(&header.membership)
        .map_err(|()| corrupt(header.group, "its membership has a voter without a record"))?;
    Ok(SnapshotMeta {
        last_log_id: Some(from_log_id(header.last_applied)),
        last_membership: StoredMembership::new(header.membership_log_id.map(from_log_id), membership),
    })
}

impl Stored {
    /// The group's current snapshot, its header read.
    pub(super) async fn current(storage: &dyn Storage, group: GroupId) -> Result<Option<Self>, StorageError> {
        let Some(mut snapshot) = storage.snapshot(group).await? else { return Ok(None) };
        let mut decoder = Decoder::default();
        let mut read = Vec::new();
        while decoder.header().is_none() {
            let Some(chunk) = snapshot.reader.next().await? else {
                return Err(corrupt(group, "it ends within its header"));
            };
            decoder.push(&chunk).map_err(|error| corrupt(group, error))?;
            read.push(chunk);
        }
        read.reverse();
        let header = decoder.header().cloned().ok_or_else(|| corrupt(group, "it has no header"))?;
        let fingerprint = snapshot.reader.fingerprint();
        Ok(Some(Self { header, len: snapshot.len, fingerprint, read, snapshot }))
    }

    /// The next bytes, from the beginning.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        match self.read.pop() {
            Some(chunk) => Ok(Some(chunk)),
            None => self.snapshot.reader.next().await,
        }
    }

    /// Reads all of it and checks it.
    pub(super) async fn verify(mut self) -> Result<(), StorageError> {
        let group = self.header.group;
        let mut decoder = Decoder::default();
        while let Some(chunk) = self.next().await? {
            drop(decoder.push(&chunk).map_err(|error| corrupt(group, error))?);
        }
        decoder.finish().map(drop).map_err(|error| corrupt(group, error))
    }
}

/// How many bytes are between the machine and the storage, so that memory stays bounded.
#[derive(Default)]
struct Pipe {
    waiting: Mutex<(usize, bool)>,
    drained: Condvar,
}

impl Pipe {
    fn update(&self, change: impl FnOnce(&mut (usize, bool))) {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.drained.notify_all();
    }

    /// Adds `len` bytes; waits for room when another thread makes it.
    fn add(&self, len: usize, may_wait: bool) -> io::Result<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while may_wait && waiting.0 > PIPE_BYTES && !waiting.1 {
            waiting = self.drained.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.1 {
            return Err(io::Error::other("the storage takes no more of the snapshot"));
        }
        waiting.0 += len;
        Ok(())
    }
}

/// Where the machine writes to.
struct PieceWriter {
    encoder: Encoder,
    buffer: Vec<u8>,
    tx: mpsc::UnboundedSender<Bytes>,
    pipe: Arc<Pipe>,
    /// A simulated runtime runs blocking work on the thread of everything else: waiting there for
    /// room would wait for ever.
    own_thread: bool,
}

impl PieceWriter {
    fn send(&self, chunk: Bytes) -> io::Result<()> {
        self.pipe.add(chunk.len(), self.own_thread)?;
        self.tx.unbounded_send(chunk).map_err(|_| io::Error::other("the snapshot was abandoned"))
    }

    fn end_piece(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = self.encoder.piece(&self.buffer);
        self.buffer.clear();
        self.send(chunk)
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(PIECE_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..len]);
        if self.buffer.len() == PIECE_BYTES {
            self.end_piece()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_out<RT: Runtime>(
    header: &Header,
    job: SnapshotJob,
    tx: mpsc::UnboundedSender<Bytes>,
    pipe: Arc<Pipe>,
    caller: ThreadId,
) -> io::Result<()> {
    let (encoder, begin) = Encoder::begin(header);
    let own_thread = std::thread::current().id() != caller;
    let mut writer = PieceWriter { encoder, buffer: Vec::with_capacity(PIECE_BYTES), tx, pipe, own_thread };
    writer.send(begin)?;
    job(&mut writer)?;
    if !RT::planted(Bug::SnapshotCutShort) {
        writer.end_piece()?;
    }
    let end = writer.encoder.end();
    writer.send(end)
}

/// Takes the bytes of a snapshot as they are written out.
pub(super) trait Sink: Send {
    /// Why it takes no more.
    type Error: From<StorageError> + Send;

    /// Takes the next bytes.
    fn put(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Lets the writer go when whoever takes its bytes is gone.
struct Closing(Arc<Pipe>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.update(|waiting| waiting.1 = true);
    }
}

/// Writes a captured view into `sink`, in bounded memory.
pub(super) async fn write_view<RT: Runtime, S: Sink>(
    header: Header,
    job: SnapshotJob,
    sink: &mut S,
) -> Result<(), S::Error> {
    let (tx, mut rx) = mpsc::unbounded::<Bytes>();
    let pipe = Arc::new(Pipe::default());
    let write = {
        let pipe = pipe.clone();
        let caller = std::thread::current().id();
        RT::spawn_blocking(move || write_out::<RT>(&header, job, tx, pipe, caller))
    };
    let closing = Closing(pipe);
    let drain = async {
        let closing = closing;
        while let Some(chunk) = rx.next().await {
            closing.0.update(|waiting| waiting.0 -= chunk.len());
            sink.put(chunk).await?;
        }
        Ok(())
    };
    let (written, drained): (_, Result<(), S::Error>) = futures::join!(write, drain);
    drained?;
    let written = written.and_then(|result| result);
    Ok(written.map_err(|source| StorageError::io("write out the machine", None, source))?)
}

/// A snapshot that goes into the storage.
struct Target(Box<dyn SnapshotWriter>);

impl Sink for Target {
    type Error = StorageError;

    async fn put(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        self.0.write(chunk).await
    }
}

/// Writes a captured view into the storage and commits it.
pub(super) async fn build<RT: Runtime>(
    storage: &dyn Storage,
    header: Header,
    job: SnapshotJob,
) -> Result<(), StorageError> {
    let covers = header.last_applied;
    let mut target = Target(storage.snapshot_writer(header.group).await?);
    write_view::<RT, _>(header, job, &mut target).await?;
    target.0.commit(covers).await
}

/// Removes the stored snapshot that covers what a machine on a disk has by itself: it is its own.
pub(super) async fn forget(storage: &dyn Storage, group: GroupId, upto: LogId) {
    if let Err(error) = storage.remove_snapshot(group, upto).await {
        // It takes space and nothing else; the next start tries again.
        tracing::warn!(%error, "a snapshot of no more use stays");
    }
}

/// Copies a snapshot of another storage into this one.
pub(super) async fn copy(storage: &dyn Storage, mut from: Stored) -> Result<(), StorageError> {
    let covers = from.header.last_applied;
    let mut target = storage.snapshot_writer(from.header.group).await?;
    while let Some(chunk) = from.next().await? {
        target.write(chunk).await?;
    }
    target.commit(covers).await
}
