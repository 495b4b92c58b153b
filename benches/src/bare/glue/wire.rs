//! Entries and messages as bytes.
//!
//! Integers are little endian. A log id is `term u64 | node u64 | index u64`, an option is a byte
//! before it, commands are postcard behind their length. What cannot be read is an error of kind
//! `InvalidData`.

use std::collections::BTreeSet;
use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::EntryPayload;
use openraft::raft::StreamAppendError;

use super::super::host::Command;
use super::types::{
    AppendRequest, AppendResponse, AppendResult, Entry, LeaderId, LogId, Membership, SnapshotMeta,
    StoredMembership, Vote, VoteRequest, VoteResponse,
};

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Takes integers and parts off the front of a message.
pub(crate) struct Input(pub(crate) Bytes);

impl Input {
    pub(super) fn u8(&mut self) -> io::Result<u8> {
        self.0.try_get_u8().map_err(|_| invalid("too short"))
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.0.try_get_u32_le().map_err(|_| invalid("too short"))
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.0.try_get_u64_le().map_err(|_| invalid("too short"))
    }

    fn bool(&mut self) -> io::Result<bool> {
        Ok(self.u8()? != 0)
    }

    fn part(&mut self) -> io::Result<Bytes> {
        let len = self.u32()? as usize;
        if len > self.0.len() {
            return Err(invalid("too short"));
        }
        Ok(self.0.split_to(len))
    }

    fn leader_id(&mut self) -> io::Result<LeaderId> {
        Ok(LeaderId { term: self.u64()?, node_id: self.u64()? })
    }

    pub(super) fn log_id(&mut self) -> io::Result<LogId> {
        Ok(LogId { leader_id: self.leader_id()?, index: self.u64()? })
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<Option<T>> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(super) fn vote(&mut self) -> io::Result<Vote> {
        Ok(Vote { leader_id: self.leader_id()?, committed: self.bool()? })
    }

    fn membership(&mut self) -> io::Result<Membership> {
        let mut configs = Vec::new();
        let mut nodes = BTreeSet::new();
        for _ in 0..self.u32()? {
            let mut voters = BTreeSet::new();
            for _ in 0..self.u32()? {
                voters.insert(self.u64()?);
            }
            configs.push(voters);
        }
        for _ in 0..self.u32()? {
            nodes.insert(self.u64()?);
        }
        Membership::new(configs, nodes).map_err(|_| invalid("a voter is no member"))
    }
}

fn put_leader_id(out: &mut BytesMut, id: &LeaderId) {
    out.put_u64_le(id.term);
    out.put_u64_le(id.node_id);
}

pub(super) fn put_log_id(out: &mut BytesMut, id: &LogId) {
    put_leader_id(out, &id.leader_id);
    out.put_u64_le(id.index);
}

fn put_option<T>(out: &mut BytesMut, value: Option<&T>, put: impl FnOnce(&mut BytesMut, &T)) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

pub(super) fn put_vote(out: &mut BytesMut, vote: &Vote) {
    put_leader_id(out, &vote.leader_id);
    out.put_u8(u8::from(vote.committed));
}

fn put_membership(out: &mut BytesMut, membership: &Membership) {
    let configs = membership.get_joint_config();
    out.put_u32_le(configs.len() as u32);
    for voters in configs {
        out.put_u32_le(voters.len() as u32);
        for voter in voters {
            out.put_u64_le(*voter);
        }
    }
    out.put_u32_le(membership.nodes().count() as u32);
    membership.nodes().for_each(|(node, _)| out.put_u64_le(*node));
}

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Writes `write`'s output behind its length.
fn put_part(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32_le(0);
    write(out);
    let len = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

pub(super) fn put_entry(out: &mut BytesMut, entry: &Entry) {
    put_log_id(out, &entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => out.put_u8(BLANK),
        EntryPayload::Normal(command) => {
            out.put_u8(NORMAL);
            put_part(out, |out| {
                postcard::to_io(command, out.writer()).expect("memory takes everything");
            });
        }
        EntryPayload::Membership(membership) => {
            out.put_u8(MEMBERSHIP);
            put_membership(out, membership);
        }
    }
}

pub(super) fn read_entry(input: &mut Input) -> io::Result<Entry> {
    let log_id = input.log_id()?;
    let payload = match input.u8()? {
        BLANK => EntryPayload::Blank,
        NORMAL => {
            let command: Command =
                postcard::from_bytes(&input.part()?).map_err(|_| invalid("not a command"))?;
            EntryPayload::Normal(command)
        }
        MEMBERSHIP => EntryPayload::Membership(input.membership()?),
        _ => return Err(invalid("an unknown kind of entry")),
    };
    Ok(Entry { log_id, payload })
}

pub(crate) fn append_request(request: &AppendRequest) -> Bytes {
    let mut out = BytesMut::with_capacity(128 + request.entries.len() * 128);
    put_append_request(&mut out, request);
    out.freeze()
}

pub(super) fn put_append_request(out: &mut BytesMut, request: &AppendRequest) {
    put_vote(out, &request.vote);
    put_option(out, request.prev_log_id.as_ref(), put_log_id);
    put_option(out, request.leader_commit.as_ref(), put_log_id);
    out.put_u32_le(request.entries.len() as u32);
    request.entries.iter().for_each(|entry| put_entry(out, entry));
}

pub(crate) fn read_append_request(input: &mut Input) -> io::Result<AppendRequest> {
    let vote = input.vote()?;
    let prev_log_id = input.option(Input::log_id)?;
    let leader_commit = input.option(Input::log_id)?;
    let mut entries = Vec::new();
    for _ in 0..input.u32()? {
        entries.push(read_entry(input)?);
    }
    Ok(AppendRequest { vote, prev_log_id, entries, leader_commit })
}

const MATCHED: u8 = 0;
const CONFLICT: u8 = 1;
const HIGHER_VOTE: u8 = 2;
const PARTLY: u8 = 3;

pub(crate) fn append_result(result: &AppendResult) -> Bytes {
    let mut out = BytesMut::new();
    match result {
        Ok(matched) => {
            out.put_u8(MATCHED);
            put_option(&mut out, matched.as_ref(), put_log_id);
        }
        Err(StreamAppendError::Conflict(conflict)) => {
            out.put_u8(CONFLICT);
            put_log_id(&mut out, conflict);
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            out.put_u8(HIGHER_VOTE);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub(crate) fn read_append_result(input: &mut Input) -> io::Result<AppendResult> {
    Ok(match input.u8()? {
        MATCHED => Ok(input.option(Input::log_id)?),
        CONFLICT => Err(StreamAppendError::Conflict(input.log_id()?)),
        HIGHER_VOTE => Err(StreamAppendError::HigherVote(input.vote()?)),
        _ => return Err(invalid("an unknown answer")),
    })
}

pub(super) fn put_append_response(out: &mut BytesMut, response: &AppendResponse) {
    match response {
        AppendResponse::Success => out.put_u8(MATCHED),
        AppendResponse::PartialSuccess(matched) => {
            out.put_u8(PARTLY);
            put_option(out, matched.as_ref(), put_log_id);
        }
        AppendResponse::Conflict => out.put_u8(CONFLICT),
        AppendResponse::HigherVote(vote) => {
            out.put_u8(HIGHER_VOTE);
            put_vote(out, vote);
        }
    }
}

pub(super) fn read_append_response(input: &mut Input) -> io::Result<AppendResponse> {
    Ok(match input.u8()? {
        MATCHED => AppendResponse::Success,
        PARTLY => AppendResponse::PartialSuccess(input.option(Input::log_id)?),
        CONFLICT => AppendResponse::Conflict,
        HIGHER_VOTE => AppendResponse::HigherVote(input.vote()?),
        _ => return Err(invalid("an unknown answer")),
    })
}

pub(super) fn put_vote_request(out: &mut BytesMut, request: &VoteRequest) {
    put_vote(out, &request.vote);
    put_option(out, request.last_log_id.as_ref(), put_log_id);
    out.put_u8(u8::from(request.leadership_transfer));
}

pub(super) fn read_vote_request(input: &mut Input) -> io::Result<VoteRequest> {
    let mut request = VoteRequest::new(input.vote()?, input.option(Input::log_id)?);
    request.leadership_transfer = input.bool()?;
    Ok(request)
}

pub(super) fn put_vote_response(out: &mut BytesMut, response: &VoteResponse) {
    put_vote(out, &response.vote);
    put_option(out, response.last_log_id.as_ref(), put_log_id);
    out.put_u8(u8::from(response.vote_granted));
}

pub(super) fn read_vote_response(input: &mut Input) -> io::Result<VoteResponse> {
    let vote = input.vote()?;
    let last_log_id = input.option(Input::log_id)?;
    Ok(VoteResponse::new(vote, last_log_id, input.bool()?))
}

pub(super) fn put_snapshot_meta(out: &mut BytesMut, meta: &SnapshotMeta) {
    put_option(out, meta.last_log_id.as_ref(), put_log_id);
    put_option(out, meta.last_membership.log_id().as_ref(), put_log_id);
    put_membership(out, meta.last_membership.membership());
}

pub(super) fn read_snapshot_meta(input: &mut Input) -> io::Result<SnapshotMeta> {
    let last_log_id = input.option(Input::log_id)?;
    let membership_log_id = input.option(Input::log_id)?;
    let last_membership = StoredMembership::new(membership_log_id, input.membership()?);
    Ok(SnapshotMeta { last_log_id, last_membership })
}
