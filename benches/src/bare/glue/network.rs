//! What a node sends to its peers: appends pipelined on a stream of their own, everything else one
//! by one on another.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, Stream, StreamExt, stream};
use openraft::AsyncRuntime;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, stream_append_sequential};
use openraft::raft::SnapshotResponse;
use openraft::{EmptyNode, RaftNetworkFactory, RaftNetworkV2};
use quorate::error::TransportError;
use quorate::transport::{Duplex, Lane, Transport};
use quorate::types::Member;

use super::super::host::Runtime;
use super::types::{
    AppendRequest, AppendResponse, AppendResult, Snapshot, TypeConfig, Vote, VoteRequest, VoteResponse,
};
use super::wire::{
    Input, append_request, put_append_request, put_snapshot_meta, put_vote, put_vote_request,
    read_append_response, read_append_result, read_vote_response,
};

/// What a request of its own asks for: the first byte of its frame.
pub(super) mod call {
    pub(in super::super) const VOTE: u8 = 1;
    pub(in super::super) const PRE_VOTE: u8 = 2;
    pub(in super::super) const HEARTBEAT: u8 = 3;
    pub(in super::super) const SNAPSHOT: u8 = 4;
}

/// How to reach the other nodes.
#[derive(Clone)]
pub(crate) struct Factory {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) members: Arc<BTreeMap<u64, Member>>,
}

/// A connection to one node.
pub(crate) struct Network {
    factory: Factory,
    target: u64,
    heartbeats: bool,
    /// The stream for single requests, while none is under way. In a mutex only because openraft
    /// wants connections to be `Sync`: it is never locked.
    idle: std::sync::Mutex<Option<Duplex>>,
}

impl Factory {
    fn network(&self, target: u64, heartbeats: bool) -> Network {
        Network { factory: self.clone(), target, heartbeats, idle: std::sync::Mutex::default() }
    }
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, _: &EmptyNode) -> Network {
        self.network(target, false)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _: &EmptyNode) -> Network {
        self.network(target, true)
    }
}

fn ended() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

fn unreachable(error: io::Error) -> Unreachable<TypeConfig> {
    Unreachable::new(&error)
}

impl Network {
    async fn connect(&self, lane: Lane) -> io::Result<Duplex> {
        let Some(member) = self.factory.members.get(&self.target) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        self.factory.transport.connect(member, lane).await.map_err(io::Error::other)
    }

    /// Sends a request and waits for its answer, at most as long as openraft allows.
    async fn call(
        &mut self,
        call: u8,
        option: &RPCOption,
        put: impl FnOnce(&mut BytesMut),
    ) -> io::Result<Input> {
        let mut out = BytesMut::new();
        out.put_u8(call);
        put(&mut out);
        let request = out.freeze();
        // Taken out while in use: a call that is given up takes its stream with it.
        let idle = self.idle.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let calling = async {
            let mut stream = match idle {
                Some(stream) => stream,
                None => self.connect(Lane::Control).await?,
            };
            stream.tx.send(request).await.map_err(io::Error::other)?;
            let answer = stream.rx.next().await.ok_or_else(ended)?.map_err(io::Error::other)?;
            Ok::<_, io::Error>((stream, answer))
        };
        let called = Runtime::timeout(option.soft_ttl(), calling).await;
        let (stream, answer) = called.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        *self.idle.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(stream);
        Ok(Input(answer))
    }
}

type AppendResults<'s> = BoxStream<'s, Result<AppendResult, RPCError<TypeConfig>>>;

fn to_answer(frame: Result<Bytes, TransportError>) -> Result<AppendResult, RPCError<TypeConfig>> {
    let answer = frame.map_err(io::Error::other).and_then(|frame| read_append_result(&mut Input(frame)));
    answer.map_err(|error| unreachable(error).into())
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendRequest,
        option: RPCOption,
    ) -> Result<AppendResponse, RPCError<TypeConfig>> {
        let answer = self.call(call::HEARTBEAT, &option, |out| put_append_request(out, &rpc)).await;
        answer.and_then(|mut answer| read_append_response(&mut answer)).map_err(|e| unreachable(e).into())
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendResults<'s>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendRequest> + Send + Unpin + 'static,
    {
        if self.heartbeats {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(async move {
            // openraft waits out its backoff inside the input: it is polled before anything can fail.
            let Some(first) = input.next().await else {
                return Ok(Box::pin(stream::empty()) as AppendResults<'s>);
            };
            let connected = self.connect(Lane::Append).await.map_err(unreachable)?;
            // Frames go out as fast as the stream takes them; their answers come back in order. A
            // dead peer shows as an error of the stream.
            let requests = stream::iter([first]).chain(input);
            let sending = requests.map(|request| Ok(append_request(&request))).forward(connected.tx);
            let sending = stream::once(sending).filter_map(async |sent: Result<(), TransportError>| {
                sent.err().map(|error| Err(unreachable(io::Error::other(error)).into()))
            });
            let answers = connected.rx.map(to_answer);
            Ok(Box::pin(stream::select(sending, answers)) as AppendResults<'s>)
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteResponse, RPCError<TypeConfig>> {
        let answer = self.call(call::VOTE, &option, |out| put_vote_request(out, &rpc)).await;
        answer.and_then(|mut answer| read_vote_response(&mut answer)).map_err(|e| unreachable(e).into())
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteResponse, RPCError<TypeConfig>> {
        let answer = self.call(call::PRE_VOTE, &option, |out| put_vote_request(out, &rpc)).await;
        answer.and_then(|mut answer| read_vote_response(&mut answer)).map_err(|e| unreachable(e).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        // The state fits into a frame many times over.
        let put = |out: &mut BytesMut| {
            put_vote(out, &vote);
            put_snapshot_meta(out, &snapshot.meta);
            out.put_slice(&snapshot.snapshot);
        };
        let answer = self.call(call::SNAPSHOT, &option, put).await;
        let vote = answer.and_then(|mut answer| answer.vote());
        vote.map(SnapshotResponse::new).map_err(|error| StreamingError::Unreachable(unreachable(error)))
    }
}
