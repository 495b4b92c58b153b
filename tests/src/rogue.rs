//! A peer that misbehaves: it speaks the protocol by hand, and wrongly.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use quorate::error::TransportError;
use quorate::transport::{Duplex, Lane, Transport};
use quorate::types::{ClusterId, DiskId, Member, NodeId};

use crate::cluster::within;

/// The group of frames that belong to no group.
const NODE: [u8; 8] = [255; 8];
/// The only group there is.
const MAIN: [u8; 8] = [0; 8];

/// Who the rogue says it is.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The disk.
    pub disk: DiskId,
}

impl Claim {
    /// A hello frame, by hand.
    pub fn hello(&self) -> Vec<u8> {
        let mut frame = vec![1, 1];
        frame.extend(NODE);
        frame.extend(b"QRTE");
        frame.extend([1, 0, 1, 0]);
        frame.extend(self.cluster.0);
        frame.extend(self.node.get().to_le_bytes());
        frame.extend(self.disk.0);
        frame.extend(7_u64.to_le_bytes());
        frame.extend([0, 0]);
        frame
    }
}

/// A request frame, by hand.
pub fn request(correlation: u64, call: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![1, 3];
    frame.extend(MAIN);
    frame.extend(correlation.to_le_bytes());
    frame.push(call);
    frame.extend(body);
    frame
}

/// The body of a request to write `command`.
pub fn write_request(command: &[u8]) -> Vec<u8> {
    let mut body = 5_000_u32.to_le_bytes().to_vec();
    // No session.
    body.extend([0; 24]);
    body.extend(command);
    body
}

/// Says hello as a new process of a member: the node drops whatever it had with the old one, this
/// stream with it.
pub async fn introduce<T: Transport>(transport: &T, to: &Member, claim: &Claim) {
    if let Ok(mut stream) = send(transport, to, Lane::Control, &[claim.hello()]).await {
        until_closed(&mut stream).await;
    }
}

/// Opens a stream and sends `frames`; gives the stream.
pub async fn send<T: Transport>(
    transport: &T,
    to: &Member,
    lane: Lane,
    frames: &[Vec<u8>],
) -> Result<Duplex, TransportError> {
    let mut stream = within("the node can be dialled", transport.connect(to, lane)).await?;
    for frame in frames {
        stream.tx.send(Bytes::from(frame.clone())).await?;
    }
    Ok(stream)
}

/// Every frame that comes back until the node closes the stream.
pub async fn until_closed(stream: &mut Duplex) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while let Some(Ok(frame)) = within("the node closes the stream", stream.rx.next()).await {
        frames.push(frame);
    }
    frames
}
