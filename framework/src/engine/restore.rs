//! Restoring a stored snapshot: streamed into the machine, in bounded memory.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::channel::mpsc;
use futures::executor::block_on;
use futures::{SinkExt, StreamExt};

use super::applier::Applier;
use super::runtime::Runtime;
use super::snapshot::{Stored, corrupt};
use super::workers::blocking_has_its_own_thread;
use crate::error::StorageError;
use crate::format::snapshot::Decoder;

/// How many pieces wait for the machine while the storage is read on.
const PIECES_AHEAD: usize = 8;

/// What the machine reads from: pieces, and an empty one after the last.
enum Input {
    /// Pieces as the storage gives them; waits for the next.
    Streamed(mpsc::Receiver<io::Result<Bytes>>),
    /// All pieces, gathered before.
    Gathered(std::vec::IntoIter<Bytes>),
}

struct PieceReader {
    input: Input,
    piece: Bytes,
    ended: bool,
}

impl PieceReader {
    fn new(input: Input) -> Self {
        Self { input, piece: Bytes::new(), ended: false }
    }
}

impl Read for PieceReader {
    #[allow(
        clippy::disallowed_methods,
        reason = "it streams only where blocking work has a thread of its own"
    )]
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !self.ended && !out.is_empty() {
            let next = match &mut self.input {
                Input::Streamed(pieces) => block_on(pieces.next()),
                Input::Gathered(pieces) => pieces.next().map(Ok),
            };
            // Whoever feeds it is gone: the rest will not come.
            self.piece = next.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
            self.ended = self.piece.is_empty();
        }
        let len = self.piece.len().min(out.len());
        self.piece.copy_to_slice(&mut out[..len]);
        Ok(len)
    }
}

/// Decodes the machine's bytes out of a stored snapshot.
struct Pieces {
    stored: Stored,
    decoder: Decoder,
}

impl Pieces {
    fn new(stored: Stored) -> Self {
        Self { stored, decoder: Decoder::default() }
    }

    /// The next pieces, maybe none of them yet; `None` after the end, which was checked.
    async fn next(&mut self) -> Result<Option<Vec<Bytes>>, StorageError> {
        let group = self.stored.header.group;
        if let Some(chunk) = self.stored.next().await? {
            return self.decoder.push(&chunk).map(Some).map_err(|error| corrupt(group, error));
        }
        let decoder = std::mem::take(&mut self.decoder);
        decoder.finish().map(|_| None).map_err(|error| corrupt(group, error))
    }

    async fn gather(mut self) -> Result<Input, StorageError> {
        let mut all = Vec::new();
        while let Some(pieces) = self.next().await? {
            all.extend(pieces);
        }
        all.push(Bytes::new());
        Ok(Input::Gathered(all.into_iter()))
    }

    /// Feeds the machine until the end, or until it reads no more.
    async fn feed(mut self, mut tx: mpsc::Sender<io::Result<Bytes>>) {
        loop {
            let (pieces, last) = match self.next().await {
                Ok(Some(pieces)) => (pieces.into_iter().map(Ok).collect(), false),
                Ok(None) => (vec![Ok(Bytes::new())], true),
                Err(error) => (vec![Err(io::Error::other(error))], true),
            };
            for piece in pieces {
                if tx.send(piece).await.is_err() {
                    return;
                }
            }
            if last {
                return;
            }
        }
    }
}

/// Restores the machine from `stored`, which was checked before and is checked again on the way.
pub(super) async fn restore<RT: Runtime>(stored: Stored, applier: Arc<Applier>) -> io::Result<()> {
    let header = stored.header.clone();
    let pieces = Pieces::new(stored);
    let restoring = applier.clone();
    let restored = if blocking_has_its_own_thread::<RT>().await? {
        let (tx, rx) = mpsc::channel(PIECES_AHEAD);
        let restore = RT::spawn_blocking(move || {
            restoring.restore(&header, &mut PieceReader::new(Input::Streamed(rx)))
        });
        futures::join!(restore, pieces.feed(tx)).0
    } else {
        let input = pieces.gather().await.map_err(|error| applier.fail(error))?;
        RT::spawn_blocking(move || restoring.restore(&header, &mut PieceReader::new(input))).await
    };
    restored.map_err(|error| applier.fail(error))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::membership::RawMembership;
    use crate::format::snapshot::{Encoder, Header};
    use crate::storage::{MemoryStorage, Storage};
    use crate::types::{ClusterId, GroupId, LogId, LogTime};

    const GROUP: GroupId = GroupId::MAIN;

    /// A stored snapshot whose machine has many pieces, or one that ends before its end.
    fn stored(whole: bool) -> (MemoryStorage, Vec<u8>) {
        let header = Header {
            cluster_id: ClusterId([1; 32]),
            group: GROUP,
            machine: "kv".into(),
            version: 1,
            last_applied: LogId::new(1, 5),
            clock: LogTime::ZERO,
            membership_log_id: None,
            membership: RawMembership::default(),
            sessions: Bytes::new(),
        };
        let storage = MemoryStorage::new();
        let mut machine = Vec::new();
        block_on(async {
            let mut writer = storage.snapshot_writer(GROUP).await.expect("memory");
            let (mut encoder, begin) = Encoder::begin(&header);
            writer.write(begin).await.expect("memory");
            for number in 0..200_u8 {
                let piece = vec![number; 1 + usize::from(number) * 100];
                writer.write(encoder.piece(&piece)).await.expect("memory");
                machine.extend(piece);
            }
            if whole {
                writer.write(encoder.end()).await.expect("memory");
            }
            writer.commit(header.last_applied).await.expect("memory");
        });
        (storage, machine)
    }

    fn opened(storage: &MemoryStorage) -> Stored {
        block_on(Stored::current(storage, GROUP)).expect("readable").expect("committed")
    }

    fn streamed(stored: Stored) -> io::Result<Vec<u8>> {
        let (tx, rx) = mpsc::channel(PIECES_AHEAD);
        let reading = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            PieceReader::new(Input::Streamed(rx)).read_to_end(&mut bytes).map(|_| bytes)
        });
        block_on(Pieces::new(stored).feed(tx));
        reading.join().expect("no panic")
    }

    #[test]
    fn what_is_streamed_and_what_is_gathered_is_the_machine() {
        let (storage, machine) = stored(true);
        assert!(streamed(opened(&storage)).expect("whole") == machine);
        let input = block_on(Pieces::new(opened(&storage)).gather()).expect("whole");
        let mut bytes = Vec::new();
        PieceReader::new(input).read_to_end(&mut bytes).expect("whole");
        assert!(bytes == machine);
        block_on(opened(&storage).verify()).expect("whole");
    }

    #[test]
    fn what_is_cut_short_never_looks_like_an_end() {
        let (storage, _) = stored(false);
        streamed(opened(&storage)).expect_err("the end is missing");
        assert!(block_on(Pieces::new(opened(&storage)).gather()).is_err());
        block_on(opened(&storage).verify()).expect_err("the end is missing");
        let (tx, rx) = mpsc::channel(1);
        drop(tx);
        let mut bytes = Vec::new();
        let error =
            PieceReader::new(Input::Streamed(rx)).read_to_end(&mut bytes).expect_err("nobody feeds it");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_machine_that_reads_no_more_stops_the_feeder() {
        let (storage, _) = stored(true);
        let (tx, rx) = mpsc::channel(1);
        drop(rx);
        block_on(Pieces::new(opened(&storage)).feed(tx));
    }
}
