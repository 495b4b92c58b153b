//! What a node does with the streams of its peers.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use openraft::AsyncRuntime;
use quorate::transport::{Duplex, Lane, Transport};

use super::super::host::Runtime;
use super::network::call;
use super::types::{Raft, Snapshot};
use super::wire::{
    Input, append_result, put_append_response, put_vote, put_vote_response, read_append_request,
    read_snapshot_meta, read_vote_request,
};

/// Serves every stream until the transport is closed.
pub(crate) async fn serve(transport: Arc<dyn Transport>, raft: Raft) {
    while let Ok(incoming) = transport.accept().await {
        let raft = raft.clone();
        Runtime::spawn(async move {
            // The peer sees its stream end, and opens another one.
            let _ = match incoming.lane {
                Lane::Append => appends(raft, incoming.stream).await,
                Lane::Control | Lane::Snapshot | Lane::Client => calls(raft, incoming.stream).await,
            };
        });
    }
}

async fn appends(raft: Raft, stream: Duplex) -> io::Result<()> {
    // What cannot be read ends the stream, and so does an engine that has stopped.
    let requests = stream.rx.scan((), |(), frame| {
        let request = frame.ok().and_then(|frame| read_append_request(&mut Input(frame)).ok());
        std::future::ready(request)
    });
    let answers = raft.stream_append(requests).scan((), |(), answer| std::future::ready(answer.ok()));
    let frames = answers.map(|answer| Ok(append_result(&answer)));
    frames.forward(stream.tx).await.map_err(io::Error::other)
}

async fn calls(raft: Raft, mut stream: Duplex) -> io::Result<()> {
    while let Some(frame) = stream.rx.next().await {
        let answer = answer(&raft, Input(frame.map_err(io::Error::other)?)).await?;
        stream.tx.send(answer).await.map_err(io::Error::other)?;
    }
    Ok(())
}

async fn answer(raft: &Raft, mut input: Input) -> io::Result<Bytes> {
    let mut out = BytesMut::new();
    match input.u8()? {
        call::VOTE => {
            let answer = raft.vote(read_vote_request(&mut input)?).await;
            put_vote_response(&mut out, &answer.map_err(io::Error::other)?);
        }
        call::PRE_VOTE => {
            let answer = raft.pre_vote(read_vote_request(&mut input)?).await;
            put_vote_response(&mut out, &answer.map_err(io::Error::other)?);
        }
        call::HEARTBEAT => {
            let answer = raft.append_entries(read_append_request(&mut input)?).await;
            put_append_response(&mut out, &answer.map_err(io::Error::other)?);
        }
        call::SNAPSHOT => {
            let vote = input.vote()?;
            let snapshot = Snapshot { meta: read_snapshot_meta(&mut input)?, snapshot: input.0 };
            let answer = raft.install_full_snapshot(vote, snapshot).await;
            put_vote(&mut out, &answer.map_err(io::Error::other)?.vote);
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    Ok(out.freeze())
}
