//! Whether a peer is heard from.
//!
//! A dial that nobody answers may mean that every connection to the peer leads nowhere, as after a
//! restart at another address, and then all must go. It may also mean that the peer is busy, and then
//! to reset them would cut what it is just answering.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use futures::StreamExt;

use crate::transport::Duplex;

/// After so many dials without an answer in a row, what is heard counts no more: it may come by
/// connections of the peer's own, while ours lead nowhere.
const ENOUGH: u32 = 3;

/// What has been heard of a peer.
#[derive(Debug, Default)]
pub(super) struct Heard {
    frames: AtomicU64,
    unanswered: AtomicU32,
}

impl Heard {
    /// How much has been heard so far.
    pub(super) fn so_far(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// A dial was answered.
    pub(super) fn answered(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// A dial was not answered that began when so much had been heard. Says whether the connections
    /// to the peer lead nowhere, as far as one can tell.
    pub(super) fn is_lost_since(&self, so_far: u64) -> bool {
        let unanswered = self.unanswered.fetch_add(1, Ordering::Relaxed) + 1;
        self.so_far() == so_far || unanswered.is_multiple_of(ENOUGH)
    }

    /// Notes what comes in over a stream of the peer.
    pub(super) fn listen(self: &Arc<Self>, stream: Duplex) -> Duplex {
        let heard = self.clone();
        let rx = stream.rx.inspect(move |frame| {
            if frame.is_ok() {
                heard.frames.fetch_add(1, Ordering::Relaxed);
            }
        });
        Duplex { tx: stream.tx, rx: Box::pin(rx) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use async_trait::async_trait;

    use super::*;
    use crate::engine::rig::{CLUSTER, member};
    use crate::engine::runtime::{TokioRuntime, now};
    use crate::error::TransportError;
    use crate::format::frame;
    use crate::host::{Call, Host, HostParts, OpenError, Roster};
    use crate::storage::Identity;
    use crate::transport::{Incoming, Lane, MemoryNetwork, MemoryTransport, Transport};
    use crate::types::{BootId, DiskId, Member, NodeId, PeerId};

    /// A transport that never gets through on one lane.
    #[derive(Debug)]
    struct OneLaneStuck {
        inner: MemoryTransport,
        resets: Arc<AtomicUsize>,
    }

    #[async_trait]
    impl Transport for OneLaneStuck {
        fn identity(&self) -> PeerId {
            self.inner.identity()
        }
        fn address(&self) -> String {
            self.inner.address()
        }
        async fn connect(&self, peer: &Member, lane: Lane) -> Result<Duplex, TransportError> {
            if lane == Lane::Append {
                std::future::pending::<()>().await;
            }
            self.inner.connect(peer, lane).await
        }
        async fn accept(&self) -> Result<Incoming, TransportError> {
            self.inner.accept().await
        }
        fn reset(&self, _: &PeerId) {
            self.resets.fetch_add(1, Ordering::Relaxed);
        }
        async fn close(&self) {
            self.inner.close().await;
        }
    }

    fn host(node: u64, transport: impl Transport) -> Arc<Host<TokioRuntime>> {
        let members: BTreeMap<NodeId, Member> = (1..=2).map(|node| (NodeId(node), member(node))).collect();
        let disk_id = DiskId([node as u8; 16]);
        let host = Host::new(HostParts {
            transport: Arc::new(transport),
            identity: Identity { cluster_id: CLUSTER, node_id: NodeId(node), disk_id },
            boot_id: BootId(node),
            machines: Vec::new(),
            roster: Roster::unborn(members),
            connect_timeout: Duration::from_millis(500),
            silence: Duration::from_millis(250),
            queue_bytes: 1 << 20,
        });
        host.serve();
        host
    }

    #[tokio::test(start_paused = true)]
    async fn a_dial_without_an_answer_is_not_held_against_a_peer_that_is_heard() {
        let network = MemoryNetwork::new();
        let resets = Arc::new(AtomicUsize::new(0));
        let ours = host(1, OneLaneStuck { inner: network.endpoint("n1"), resets: resets.clone() });
        let theirs = host(2, network.endpoint("n2"));
        let mut often = tokio::time::interval(Duration::from_millis(50));
        let talk = async {
            loop {
                often.tick().await;
                let deadline = now::<TokioRuntime>() + Duration::from_secs(1);
                let link = ours.link(NodeId(2), Lane::Control);
                link.call(frame::NODE, Call::Census, bytes::Bytes::new(), deadline).await.expect("it lives");
            }
        };
        let dial =
            || async { assert!(matches!(ours.open(NodeId(2), Lane::Append).await, Err(OpenError::Timeout))) };
        tokio::select! { () = dial() => (), () = talk => () }
        assert_eq!(resets.load(Ordering::Relaxed), 0, "it was heard all the while");
        dial().await;
        assert_eq!(resets.load(Ordering::Relaxed), 1, "not a word");
        ours.close().await;
        theirs.close().await;
    }

    #[test]
    fn what_is_heard_does_not_count_for_ever() {
        let heard = Heard::default();
        let unanswered = || {
            let so_far = heard.so_far();
            heard.frames.fetch_add(1, Ordering::Relaxed);
            heard.is_lost_since(so_far)
        };
        assert_eq!([unanswered(), unanswered(), unanswered(), unanswered()], [false, false, true, false]);
        heard.answered();
        assert_eq!([unanswered(), unanswered(), unanswered()], [false, false, true]);
    }
}
