//! A question about the members, or a change of them, on its way to the leader, and what comes back.
//!
//! Request: `version u8 = 1 | timeout ms u32 | kind u8 | fields`: 1 list, 2 add (member), 3 promote (node
//! u64), 4 remove (node u64), 5 swap (old u64, new u64). Reply: `version u8 = 1 | tag u8` and its fields: 0
//! done (the membership in force), 1 not leader (leader: option of u64), 2 not applied (reason u8 and its
//! fields), 3 outcome unknown (why u8).

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::super::forward::{read_why, why_code};
use super::plan::Change;
use crate::error::{MembersError, NotChanged, Unknown};
use crate::format::membership::{RawMembership, put_member, read_member};
use crate::format::{FormatError, Reader, Writer};
use crate::types::{LogIndex, Membership, NodeId, PeerId};

const VERSION: u8 = 1;

/// What is asked of the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The members.
    List,
    /// A change of them.
    Change(Change),
}

impl Ask {
    /// Whether `node` is to be a member no more.
    pub(super) fn removes(&self, node: NodeId) -> bool {
        matches!(self, Self::Change(Change::Remove(old) | Change::Swap { old, .. }) if *old == node)
    }
}

/// A question on its way to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) timeout: Duration,
    pub(crate) ask: Ask,
}

const LIST: u8 = 1;
const ADD: u8 = 2;
const PROMOTE: u8 = 3;
const REMOVE: u8 = 4;
const SWAP: u8 = 5;

impl Request {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        out.put_u32_le(u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX));
        let mut nodes = |kind: u8, nodes: &[NodeId]| {
            out.put_u8(kind);
            for node in nodes {
                out.put_u64_le(node.0);
            }
        };
        match &self.ask {
            Ask::List => nodes(LIST, &[]),
            Ask::Change(Change::Add(member)) => {
                nodes(ADD, &[]);
                put_member(&mut out, member.node_id, Some(member));
            }
            Ask::Change(Change::Promote(node)) => nodes(PROMOTE, &[*node]),
            Ask::Change(Change::Remove(node)) => nodes(REMOVE, &[*node]),
            Ask::Change(Change::Swap { old, new }) => nodes(SWAP, &[*old, *new]),
        }
        out.freeze()
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new("a question about the members", body);
        reader.version(VERSION)?;
        let timeout = Duration::from_millis(u64::from(reader.u32("timeout")?));
        let kind = reader.u8("kind")?;
        let mut node = |field| reader.u64(field).map(NodeId);
        let ask = match kind {
            LIST => Ask::List,
            ADD => {
                let (_, member) = read_member(&mut reader)?;
                let member = member.ok_or_else(|| reader.unknown("identity length", 0))?;
                Ask::Change(Change::Add(member))
            }
            PROMOTE => Ask::Change(Change::Promote(node("node")?)),
            REMOVE => Ask::Change(Change::Remove(node("node")?)),
            SWAP => Ask::Change(Change::Swap { old: node("old")?, new: node("new")? }),
            found => return Err(reader.unknown("kind", u64::from(found))),
        };
        reader.finish()?;
        Ok(Self { timeout, ask })
    }
}

const DONE: u8 = 0;
const NOT_LEADER: u8 = 1;
const NOT_APPLIED: u8 = 2;
const UNKNOWN: u8 = 3;

/// What one attempt at one node came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It is so; the membership in force.
    Done(Membership),
    /// It does not lead; nothing was appended. Perhaps it knows who does.
    NotLeader(Option<NodeId>),
    Failed(MembersError),
}

impl From<NotChanged> for Reply {
    fn from(reason: NotChanged) -> Self {
        Self::Failed(reason.into())
    }
}

impl From<Unknown> for Reply {
    fn from(why: Unknown) -> Self {
        Self::Failed(MembersError::OutcomeUnknown { why })
    }
}

fn put_reason(out: &mut BytesMut, reason: &NotChanged) {
    let numbers = |out: &mut BytesMut, code: u8, numbers: &[u64]| {
        out.put_u8(code);
        for number in numbers {
            out.put_u64_le(*number);
        }
    };
    let identity = |out: &mut BytesMut, identity: &PeerId| {
        out.put_u8(identity.as_bytes().len() as u8);
        out.put_slice(identity.as_bytes());
    };
    match reason {
        NotChanged::NoLeader { waited } => numbers(out, 1, &[waited.as_millis() as u64]),
        NotChanged::Deadline => numbers(out, 2, &[]),
        NotChanged::ChangeUnderWay => numbers(out, 3, &[]),
        NotChanged::NodeZero => numbers(out, 4, &[]),
        NotChanged::Address { node_id, found } => numbers(out, 5, &[node_id.0, *found as u64]),
        NotChanged::NodeTaken { node_id, identity: key, address } => {
            numbers(out, 6, &[node_id.0]);
            identity(out, key);
            out.put_text(address);
        }
        NotChanged::IdentityTaken { identity: key, node_id } => {
            numbers(out, 7, &[node_id.0]);
            identity(out, key);
        }
        NotChanged::UnknownNode { node_id } => numbers(out, 8, &[node_id.0]),
        NotChanged::NotAVoter { node_id } => numbers(out, 9, &[node_id.0]),
        NotChanged::NotJoined { node_id } => numbers(out, 10, &[node_id.0]),
        NotChanged::Behind { node_id, matched, last } => {
            numbers(out, 11, &[node_id.0, last.0]);
            out.put_option(*matched, |out, matched| out.put_u64_le(matched.0));
        }
        NotChanged::NoQuorum { voters, live } => numbers(out, 12, &[*voters as u64, *live as u64]),
        NotChanged::LastVoter { node_id } => numbers(out, 13, &[node_id.0]),
        NotChanged::DiskFull => numbers(out, 14, &[]),
        NotChanged::NotUnderstood => numbers(out, 15, &[]),
        NotChanged::ShuttingDown => numbers(out, 16, &[]),
        NotChanged::Stopped => numbers(out, 17, &[]),
        NotChanged::NotReady => numbers(out, 18, &[]),
        NotChanged::Silent { node_id } => numbers(out, 19, &[node_id.0]),
        NotChanged::VotesAlready { node_id } => numbers(out, 20, &[node_id.0]),
    }
}

fn read_identity(reader: &mut Reader) -> Result<PeerId, FormatError> {
    let len = reader.u8("identity length")?;
    let bytes = reader.bytes(usize::from(len), "identity")?;
    PeerId::new(bytes.to_vec()).ok_or_else(|| reader.unknown("identity length", u64::from(len)))
}

fn read_reason(reader: &mut Reader) -> Result<NotChanged, FormatError> {
    let code = reader.u8("reason")?;
    let node = |reader: &mut Reader| reader.u64("node").map(NodeId);
    Ok(match code {
        1 => NotChanged::NoLeader { waited: Duration::from_millis(reader.u64("waited")?) },
        2 => NotChanged::Deadline,
        3 => NotChanged::ChangeUnderWay,
        4 => NotChanged::NodeZero,
        5 => NotChanged::Address { node_id: node(reader)?, found: reader.u64("found")? as usize },
        6 => NotChanged::NodeTaken {
            node_id: node(reader)?,
            identity: read_identity(reader)?,
            address: reader.text("address")?,
        },
        7 => NotChanged::IdentityTaken { node_id: node(reader)?, identity: read_identity(reader)? },
        8 => NotChanged::UnknownNode { node_id: node(reader)? },
        9 => NotChanged::NotAVoter { node_id: node(reader)? },
        10 => NotChanged::NotJoined { node_id: node(reader)? },
        11 => NotChanged::Behind {
            node_id: node(reader)?,
            last: LogIndex(reader.u64("last")?),
            matched: reader.option("matched", |reader| reader.u64("matched").map(LogIndex))?,
        },
        12 => NotChanged::NoQuorum {
            voters: reader.u64("voters")? as usize,
            live: reader.u64("live")? as usize,
        },
        13 => NotChanged::LastVoter { node_id: node(reader)? },
        14 => NotChanged::DiskFull,
        15 => NotChanged::NotUnderstood,
        16 => NotChanged::ShuttingDown,
        17 => NotChanged::Stopped,
        18 => NotChanged::NotReady,
        19 => NotChanged::Silent { node_id: node(reader)? },
        20 => NotChanged::VotesAlready { node_id: node(reader)? },
        found => return Err(reader.unknown("reason", u64::from(found))),
    })
}

impl Reply {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        match self {
            Self::Done(membership) => {
                out.put_u8(DONE);
                let members = membership.members.iter();
                let members = members.map(|(node, member)| (*node, Some(member.clone()))).collect();
                let raw = RawMembership { voters: membership.voters.clone(), members };
                out.put_slice(&raw.encode());
            }
            // Of this node and not of the cluster: the caller looks elsewhere.
            Self::Failed(MembersError::NotApplied(
                NotChanged::ShuttingDown | NotChanged::Stopped | NotChanged::NotReady,
            )) => Self::put_leader(&mut out, None),
            Self::NotLeader(leader) => Self::put_leader(&mut out, *leader),
            Self::Failed(MembersError::NotApplied(reason)) => {
                out.put_u8(NOT_APPLIED);
                put_reason(&mut out, reason);
            }
            Self::Failed(MembersError::OutcomeUnknown { why }) => {
                out.put_u8(UNKNOWN);
                out.put_u8(why_code(*why));
            }
        }
        out.freeze()
    }

    fn put_leader(out: &mut BytesMut, leader: Option<NodeId>) {
        out.put_u8(NOT_LEADER);
        out.put_option(leader, |out, leader| out.put_u64_le(leader.0));
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new("the answer about the members", body);
        reader.version(VERSION)?;
        let reply = match reader.u8("tag")? {
            DONE => {
                let raw = RawMembership::decode(reader.rest())?;
                let members = raw.members.into_iter();
                let members = members.filter_map(|(node, member)| Some((node, member?))).collect();
                return Ok(Self::Done(Membership { voters: raw.voters, members }));
            }
            NOT_LEADER => {
                Self::NotLeader(reader.option("leader", |reader| reader.u64("leader").map(NodeId))?)
            }
            NOT_APPLIED => read_reason(&mut reader)?.into(),
            UNKNOWN => read_why(&mut reader)?.into(),
            found => return Err(reader.unknown("tag", u64::from(found))),
        };
        reader.finish()?;
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Member;

    fn key() -> PeerId {
        PeerId::new([0xaa, 0xbb]).expect("short")
    }

    fn number(number: u8) -> [u8; 8] {
        [number, 0, 0, 0, 0, 0, 0, 0]
    }

    fn request(ask: Ask) -> Request {
        Request { timeout: Duration::from_millis(300), ask }
    }

    #[test]
    fn golden_questions() {
        let node = NodeId;
        let swap = Change::Swap { old: node(3), new: node(4) };
        let member = Member::new(4, key(), "h:1");
        let added = [&[2][..], &number(4), &[2, 0xaa, 0xbb, 3, 0, b'h', b':', b'1', 0]].concat();
        let golden = [
            (Ask::List, vec![1]),
            (Ask::Change(Change::Add(member)), added),
            (Ask::Change(Change::Promote(node(4))), [&[3][..], &number(4)].concat()),
            (Ask::Change(Change::Remove(node(4))), [&[4][..], &number(4)].concat()),
            (Ask::Change(swap), [&[5][..], &number(3), &number(4)].concat()),
        ];
        for (ask, golden) in golden {
            let request = request(ask);
            let bytes = request.encode();
            assert_eq!(bytes, [&[1, 44, 1, 0, 0][..], &golden].concat());
            assert_eq!(Request::decode(bytes.clone()), Ok(request));
            assert!((0..bytes.len()).all(|len| Request::decode(bytes.slice(..len)).is_err()));
            assert!(Request::decode([&bytes[..], &[0]].concat().into()).is_err(), "leftover bytes");
        }
    }

    #[test]
    fn golden_answers() {
        let node_id = NodeId(4);
        let member = Member::new(4, key(), "h:1");
        let membership = Membership { voters: vec![[node_id].into()], members: [(node_id, member)].into() };
        let mut done = vec![0, 1, 1, 1, 0];
        done.extend(number(4));
        done.extend([1, 0]);
        done.extend(number(4));
        done.extend([2, 0xaa, 0xbb, 3, 0, b'h', b':', b'1', 0]);
        let reason = |code: u8, fields: &[u8]| [&[2, code][..], fields].concat();
        let two = |one: u8, two: u8| [number(one), number(two)].concat();
        let taken = [&number(4)[..], &[2, 0xaa, 0xbb, 1, 0, b'h']].concat();
        let address = "h".to_owned();
        let behind = |matched| NotChanged::Behind { node_id, matched, last: LogIndex(7) };
        let golden = [
            (Reply::Done(membership), done),
            (Reply::NotLeader(None), vec![1, 0]),
            (Reply::NotLeader(Some(node_id)), [&[1, 1][..], &number(4)].concat()),
            (NotChanged::NoLeader { waited: Duration::from_millis(6) }.into(), reason(1, &number(6))),
            (NotChanged::Deadline.into(), reason(2, &[])),
            (NotChanged::ChangeUnderWay.into(), reason(3, &[])),
            (NotChanged::NodeZero.into(), reason(4, &[])),
            (NotChanged::Address { node_id, found: 9 }.into(), reason(5, &two(4, 9))),
            (NotChanged::NodeTaken { node_id, identity: key(), address }.into(), reason(6, &taken)),
            (NotChanged::IdentityTaken { identity: key(), node_id }.into(), reason(7, &taken[..11])),
            (NotChanged::UnknownNode { node_id }.into(), reason(8, &number(4))),
            (NotChanged::NotAVoter { node_id }.into(), reason(9, &number(4))),
            (NotChanged::NotJoined { node_id }.into(), reason(10, &number(4))),
            (behind(None).into(), reason(11, &[&two(4, 7)[..], &[0]].concat())),
            (behind(Some(LogIndex(5))).into(), reason(11, &[&two(4, 7)[..], &[1], &number(5)].concat())),
            (NotChanged::NoQuorum { voters: 3, live: 1 }.into(), reason(12, &two(3, 1))),
            (NotChanged::LastVoter { node_id }.into(), reason(13, &number(4))),
            (NotChanged::DiskFull.into(), reason(14, &[])),
            (NotChanged::NotUnderstood.into(), reason(15, &[])),
            (NotChanged::Silent { node_id }.into(), reason(19, &number(4))),
            (NotChanged::VotesAlready { node_id }.into(), reason(20, &number(4))),
            (Unknown::Deadline.into(), vec![3, 1]),
            (Unknown::LeaderChanged.into(), vec![3, 2]),
            (Unknown::ConnectionLost.into(), vec![3, 3]),
            (Unknown::Stopped.into(), vec![3, 4]),
        ];
        for (reply, golden) in golden {
            let bytes = reply.encode();
            assert_eq!(bytes, [&[1][..], &golden].concat(), "{reply:?}");
            assert_eq!(Reply::decode(bytes.clone()), Ok(reply));
            assert!((0..bytes.len()).all(|len| Reply::decode(bytes.slice(..len)).is_err()));
        }
    }

    #[test]
    fn what_is_of_one_node_alone_sends_the_caller_elsewhere() {
        for reason in [NotChanged::ShuttingDown, NotChanged::Stopped, NotChanged::NotReady] {
            assert_eq!(Reply::decode(Reply::from(reason).encode()), Ok(Reply::NotLeader(None)));
        }
    }
}
