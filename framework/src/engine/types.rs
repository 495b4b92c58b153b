//! The types that the consensus library is configured with, and the way from theirs to ours.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use openraft::entry::{RaftEntry, RaftPayload};
use openraft::raft::responder::Responder;
use openraft::vote::{RaftLeaderId, leader_id_std};
use openraft::{AnyError, RaftTypeConfig};

use super::runtime::Runtime;
use crate::format::FormatError;
use crate::format::entry::{Body, Kind, RawEntry};
use crate::format::marker::VoteRecord;
use crate::format::membership::RawMembership;
use crate::state_machine::erased::Replied;
use crate::types::{GroupId, LogId, LogIndex, LogTime, Member, Membership, NodeId, Term};

pub(super) type LeaderId = leader_id_std::LeaderId<u64, u64>;
pub(super) type CommittedLeaderId = leader_id_std::CommittedLeaderId<u64>;
pub(super) type Vote = openraft::Vote<LeaderId>;
pub(super) type RaftLogId = openraft::LogId<CommittedLeaderId>;
pub(super) type RaftMembership = openraft::Membership<u64, Record>;
pub(super) type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, Record>;
pub(super) type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, u64, Record>;

/// A member as the library carries it; without a record only in its own tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record(pub(super) Option<Member>);

/// The configuration of the library: generic over the runtime alone.
#[derive(Debug)]
pub(super) struct TypeConfig<RT>(PhantomData<fn() -> RT>);

// Derives would demand these of the runtime.
impl<RT> Clone for TypeConfig<RT> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<RT> Copy for TypeConfig<RT> {}
impl<RT> Default for TypeConfig<RT> {
    fn default() -> Self {
        Self(PhantomData)
    }
}
impl<RT> PartialEq for TypeConfig<RT> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<RT> Eq for TypeConfig<RT> {}
impl<RT> PartialOrd for TypeConfig<RT> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<RT> Ord for TypeConfig<RT> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl<RT: Runtime> RaftTypeConfig for TypeConfig<RT> {
    type D = Proposal;
    type R = Answers;
    type NodeId = u64;
    type Node = Record;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = RT;
    type Responder<T>
        = Callback<T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::batch::InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = AnyError;
}

/// What a leader proposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proposal {
    Commands(Body),
    Tick,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commands(body) => write!(f, "{} commands in {} bytes", body.count, body.bytes.len()),
            Self::Tick => f.write_str("tick"),
        }
    }
}

/// The answers to the commands of an entry, in order; none for other entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(pub(super) Vec<Replied>);

/// Hands the outcome of a proposal to whoever waits. One allocation for a whole batch.
pub(super) struct Callback<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Callback<T> {
    pub(super) fn new(done: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(done))
    }
}

impl<RT: Runtime, T: Send + 'static> Responder<TypeConfig<RT>, T> for Callback<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// What an entry carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    Blank,
    Membership(RaftMembership),
    Commands(Body),
    Tick,
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("blank"),
            Self::Membership(membership) => write!(f, "{membership}"),
            Self::Commands(body) => write!(f, "{} commands", body.count),
            Self::Tick => f.write_str("tick"),
        }
    }
}

impl RaftPayload for Payload {
    type D = Proposal;
    type NodeId = u64;
    type Node = Record;

    fn blank() -> Self {
        Self::Blank
    }

    fn with_normal(self, data: Proposal) -> Self {
        match data {
            Proposal::Commands(body) => Self::Commands(body),
            Proposal::Tick => Self::Tick,
        }
    }

    fn with_membership(self, membership: RaftMembership) -> Self {
        Self::Membership(membership)
    }

    fn get_membership(&self) -> Option<RaftMembership> {
        match self {
            Self::Membership(membership) => Some(membership.clone()),
            _ => None,
        }
    }
}

/// An entry with its encoded form, once it has one. The same bytes go to the disk and to peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) log_id: RaftLogId,
    pub(super) clock: LogTime,
    pub(super) payload: Payload,
    /// Empty until the entry is appended by its leader.
    pub(super) encoded: Bytes,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.log_id, self.payload)
    }
}

impl RaftEntry for Entry {
    type CommittedLeaderId = CommittedLeaderId;
    type Payload = Payload;

    fn new(log_id: RaftLogId, payload: Payload) -> Self {
        Self { log_id, clock: LogTime::ZERO, payload, encoded: Bytes::new() }
    }

    fn log_id_parts(&self) -> (&CommittedLeaderId, u64) {
        (&self.log_id.leader_id, self.log_id.index)
    }

    fn set_log_id(&mut self, new: RaftLogId) {
        self.log_id = new;
        self.encoded = Bytes::new();
    }

    fn get_membership(&self) -> Option<RaftMembership> {
        self.payload.get_membership()
    }
}

impl Entry {
    /// Stamps the clock and encodes, unless the entry came encoded.
    pub(super) fn seal(&mut self, group: GroupId, clock: impl FnOnce() -> LogTime) {
        if !self.encoded.is_empty() {
            return;
        }
        self.clock = clock();
        let (kind, body) = match &self.payload {
            Payload::Blank => (Kind::Blank, Body::default()),
            Payload::Tick => (Kind::Tick, Body::default()),
            Payload::Commands(body) => (Kind::Commands, body.clone()),
            Payload::Membership(membership) => {
                let bytes = to_raw_membership(membership).encode();
                (Kind::Membership, Body { count: 0, flags: 0, bytes })
            }
        };
        let raw = RawEntry { kind, group, log_id: to_log_id(&self.log_id), clock: self.clock, body };
        self.encoded = raw.encode();
        if let Payload::Commands(body) = &mut self.payload {
            // Keeps one copy of the commands in memory: the one in the encoded form.
            let end = self.encoded.len() - 4;
            body.bytes = self.encoded.slice(crate::format::entry::HEADER_BYTES..end);
        }
    }

    /// Decodes an entry of `group` after checking its checksum.
    pub(super) fn open(group: GroupId, encoded: Bytes) -> Result<Self, FormatError> {
        let raw = RawEntry::decode(&encoded)?;
        if raw.group != group {
            return Err(FormatError::Mismatch {
                what: "an entry",
                field: "group",
                found: raw.group.0,
                expected: group.0,
            });
        }
        if matches!(raw.kind, Kind::Blank | Kind::Tick) && raw.body != Body::default() {
            return Err(FormatError::Leftover { what: "an entry", left: raw.body.bytes.len() });
        }
        let payload = match raw.kind {
            Kind::Blank => Payload::Blank,
            Kind::Tick => Payload::Tick,
            Kind::Commands => Payload::Commands(raw.body),
            Kind::Membership => {
                let raw = RawMembership::decode(raw.body.bytes)?;
                let membership = from_raw_membership(&raw).map_err(|()| FormatError::Unknown {
                    what: "a membership",
                    field: "voters",
                    found: raw.voters.len() as u64,
                })?;
                Payload::Membership(membership)
            }
        };
        Ok(Self { log_id: from_log_id(raw.log_id), clock: raw.clock, payload, encoded })
    }
}

pub(super) fn to_log_id(id: &RaftLogId) -> LogId {
    LogId { term: Term(*id.leader_id), index: LogIndex(id.index) }
}

pub(super) fn from_log_id(id: LogId) -> RaftLogId {
    RaftLogId::new(LeaderId { term: id.term.0, voted_for: 0 }.to_committed(), id.index.0)
}

pub(super) fn to_vote_record(vote: &Vote) -> VoteRecord {
    VoteRecord {
        term: Term(vote.leader_id.term),
        node: NodeId(vote.leader_id.voted_for),
        committed: vote.committed,
    }
}

pub(super) fn from_vote_record(vote: VoteRecord) -> Vote {
    let leader_id = LeaderId { term: vote.term.0, voted_for: vote.node.0 };
    Vote { leader_id, committed: vote.committed }
}

pub(super) fn to_raw_membership(membership: &RaftMembership) -> RawMembership {
    let set = |set: &std::collections::BTreeSet<u64>| set.iter().copied().map(NodeId).collect();
    RawMembership {
        voters: membership.get_joint_config().iter().map(set).collect(),
        members: membership.nodes().map(|(id, record)| (NodeId(*id), record.0.clone())).collect(),
    }
}

/// `Err` when a voter is no member.
pub(super) fn from_raw_membership(raw: &RawMembership) -> Result<RaftMembership, ()> {
    let voters = raw.voters.iter().map(|set| set.iter().map(|node| node.0).collect()).collect();
    let members: BTreeMap<u64, Record> =
        raw.members.iter().map(|(node, member)| (node.0, Record(member.clone()))).collect();
    if members.is_empty() && raw.voters.is_empty() {
        return Ok(RaftMembership::default());
    }
    RaftMembership::new(voters, members).map_err(drop)
}

pub(super) fn to_membership(membership: &RaftMembership) -> Membership {
    let set = |set: &std::collections::BTreeSet<u64>| set.iter().copied().map(NodeId).collect();
    let member = |(id, record): (&u64, &Record)| Some((NodeId(*id), record.0.clone()?));
    Membership {
        voters: membership.get_joint_config().iter().map(set).collect(),
        members: membership.nodes().filter_map(member).collect(),
    }
}
