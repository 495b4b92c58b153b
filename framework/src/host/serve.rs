//! Accepting streams: hello first, then what the lane is for.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, SinkExt, StreamExt};

use super::dial::next_frame;
use super::link::{SIGN_OF_LIFE, encode_reply};
use super::{Call, Census, Host, OpenError, Reply, Session, Status};
use crate::engine::runtime::{Runtime, Select3, before, now};
use crate::format::frame::{self, Frame, Kind};
use crate::format::hello::{Hello, Refusal};
use crate::format::{FormatError, Reader};
use crate::transport::{Duplex, Incoming, Lane};
use crate::types::{GroupId, NodeId};

/// How many requests of one stream are worked on at once; beyond it the stream is not read.
const MAX_CONCURRENT: usize = 1024;

impl<RT: Runtime> Host<RT> {
    /// Serves streams of peers from now on.
    pub(crate) fn serve(self: &Arc<Self>) {
        let host = self.clone();
        self.tasks.spawn::<RT>(async move {
            while let Ok(incoming) = host.parts.transport.accept().await {
                let serving = host.clone();
                host.tasks.spawn::<RT>(async move {
                    let (peer, lane) = (incoming.peer.clone(), incoming.lane);
                    if let Err(error) = serving.serve_stream(incoming).await {
                        tracing::warn!(%peer, %lane, %error, "stream of a peer closed");
                    }
                });
            }
        });
    }

    async fn serve_stream(self: Arc<Self>, incoming: Incoming) -> Result<(), OpenError> {
        let Incoming { peer, lane, mut stream } = incoming;
        let deadline = now::<RT>() + self.parts.connect_timeout;
        let first = before::<RT, _>(deadline, next_frame(&mut stream)).await.ok_or(OpenError::Timeout)?;
        let hello = match first {
            Ok(Some(frame)) if frame.kind == Kind::Hello => Hello::decode(frame.body),
            Ok(Some(frame)) => {
                Err(FormatError::Unknown { what: "a hello", field: "kind", found: frame.kind as u64 })
            }
            Ok(None) => return Ok(()),
            Err(OpenError::Format(error)) => Err(error),
            Err(error) => return Err(error),
        };
        let admitted = match hello {
            Ok(hello) => self.admit_stream(&peer, &hello, lane).map(|node| (node, hello.boot_id)),
            Err(error) => Err(Refusal::Malformed(error.to_string())),
        };
        let (node, boot) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                stream.tx.send(refusal.encode()).await?;
                stream.tx.close().await?;
                // The peer closes once it has read why; until then the answer must not be cut off.
                before::<RT, _>(deadline, stream.rx.next()).await;
                return Err(OpenError::Unfit(refusal));
            }
        };
        if self.restarted(&peer, boot) {
            tracing::info!(%node, "peer has restarted");
            self.parts.transport.reset(&peer);
            return Err(OpenError::Restarted);
        }
        stream.tx.send(self.hello().encode()).await?;
        let stream = self.heard(node).listen(stream);
        match lane {
            Lane::Control | Lane::Client => self.serve_calls(node, lane, stream).await,
            Lane::Append | Lane::Snapshot => self.serve_group(node, lane, stream).await,
        }
    }

    fn admit_stream(
        &self,
        peer: &crate::types::PeerId,
        hello: &Hello,
        lane: Lane,
    ) -> Result<NodeId, Refusal> {
        let node = self.check(peer, hello, None).inspect_err(|refusal| {
            // Also one that has a number or a key again may be known to others.
            if matches!(refusal, Refusal::UnknownPeer | Refusal::OtherNode(_) | Refusal::OtherDisk { .. }) {
                self.knocks.set(true);
            }
        })?;
        if self.tasks.stopping().get() {
            return Err(Refusal::ShuttingDown);
        }
        // An unborn node answers a census and nothing else: it does not even vote. One that joins takes
        // what it is to be born of.
        let roster = self.roster();
        let serves = roster.joining && matches!(lane, Lane::Append | Lane::Snapshot);
        if lane != Lane::Control && !roster.born && !serves {
            return Err(Refusal::Unborn);
        }
        Ok(node)
    }

    async fn serve_group(&self, node: NodeId, lane: Lane, mut stream: Duplex) -> Result<(), OpenError> {
        let Some(frame) = next_frame(&mut stream).await? else { return Ok(()) };
        let Some(service) = self.group(frame.group) else {
            return Err(OpenError::Unfit(Refusal::Unborn));
        };
        let expected = if lane == Lane::Append { Kind::Append } else { Kind::SnapshotBegin };
        if frame.kind != expected {
            let error = FormatError::Unknown { what: "a frame", field: "kind", found: frame.kind as u64 };
            return Err(error.into());
        }
        let session = Session { stream };
        match lane {
            Lane::Append => service.append(node, frame.body, session).await,
            _ => service.snapshot(node, frame.body, session).await,
        }
        Ok(())
    }

    async fn serve_calls(self: Arc<Self>, node: NodeId, lane: Lane, stream: Duplex) -> Result<(), OpenError> {
        let Duplex { mut tx, mut rx } = stream;
        let mut working = FuturesUnordered::new();
        let pause = self.parts.silence / 3;
        let mut timer = Box::pin(RT::sleep(pause));
        loop {
            let may_read = working.len() < MAX_CONCURRENT;
            let reading = async { if may_read { rx.next().await } else { futures::future::pending().await } };
            let answering = async {
                match working.next().await {
                    Some(reply) => reply,
                    None => futures::future::pending().await,
                }
            };
            match RT::select3(answering, reading, timer.as_mut()).await {
                // A request that takes its time is not to be taken for a stream that leads nowhere.
                Select3::Third(()) => {
                    timer.set(RT::sleep(pause));
                    if !working.is_empty() {
                        let alive = Reply::empty(Status::Done);
                        tx.send(encode_reply(frame::NODE, SIGN_OF_LIFE, &alive)).await?;
                    }
                }
                Select3::First(reply) => {
                    tx.feed(reply).await?;
                    // Whatever else is ready goes out with the same flush.
                    while let Some(Some(reply)) = working.next().now_or_never() {
                        tx.feed(reply).await?;
                    }
                    tx.flush().await?;
                }
                Select3::Second(Some(bytes)) => {
                    let frame = Frame::decode(bytes?)?;
                    let (correlation, call, body) = decode_request(&frame, lane)?;
                    let (host, group) = (self.clone(), frame.group);
                    working.push(async move {
                        let reply = match call {
                            Some(call) => host.answer(node, group, call, body).await,
                            None => Reply::empty(Status::Malformed),
                        };
                        encode_reply(group, correlation, &reply)
                    });
                }
                Select3::Second(None) => return Ok(()),
            }
        }
    }

    async fn answer(self: Arc<Self>, node: NodeId, group: GroupId, call: Call, body: Bytes) -> Reply {
        if group == frame::NODE {
            if call != Call::Census {
                return Reply::empty(Status::Malformed);
            }
            return Reply::done(Census::of(&self).encode());
        }
        match self.group(group) {
            Some(service) => service.call(node, call, body).await,
            None => Reply::empty(Status::NoSuchGroup),
        }
    }
}

fn decode_request(frame: &Frame, lane: Lane) -> Result<(u64, Option<Call>, Bytes), FormatError> {
    let mut reader = Reader::new("a request", frame.body.clone());
    if frame.kind != Kind::Request {
        return Err(reader.unknown("kind", frame.kind as u64));
    }
    let correlation = reader.u64("correlation")?;
    // A call of a newer build is answered, not punished: its sender learns that it is not known.
    let call = Call::from_wire(reader.u8("call")?, lane);
    Ok((correlation, call, reader.rest()))
}
