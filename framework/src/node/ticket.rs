//! The invitation that a node joins a running cluster with.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bytes::{BufMut, Bytes};

use crate::error::JoinError;
use crate::format::membership::{put_member, read_member};
use crate::format::{FormatError, Reader};
use crate::types::{ClusterId, Member, NodeId, PeerId, parse_hex};

const PREFIX: &str = "quorate-ticket-";
const VERSION: u8 = 1;

/// What a node needs to know to join a running cluster: which one, as whom, and where its members are.
///
/// Made by [`Members::ticket`](super::Members::ticket) for a node that was added, and given to
/// [`Cluster::join`](super::Cluster::join). It is no secret: whoever is admitted is admitted by its key.
/// Its text form, which [`str::parse`] reads, is `quorate-ticket-` and hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The cluster.
    pub(crate) cluster_id: ClusterId,
    /// Whom it is for.
    pub(crate) node_id: NodeId,
    /// The members when it was made, the one that it is for among them. Without their disks: those are
    /// recorded in the log.
    pub(crate) members: BTreeMap<NodeId, Member>,
}

impl Ticket {
    pub(crate) fn new(
        cluster_id: ClusterId,
        node_id: NodeId,
        members: impl IntoIterator<Item = Member>,
    ) -> Self {
        let members = members.into_iter().map(|member| (member.node_id, Member { disk_id: None, ..member }));
        Self { cluster_id, node_id, members: members.collect() }
    }

    /// The cluster that it is of.
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// The node that it is for.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The members when it was made, without their disks.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Checks that it was made for the node with this key.
    pub(super) fn check_key(&self, key: &PeerId) -> Result<(), JoinError> {
        let node_id = self.node_id;
        let own = self.members.get(&node_id).ok_or(JoinError::NotNamed { node_id })?;
        if own.identity == *key {
            return Ok(());
        }
        Err(JoinError::OtherKey { node_id, invited: own.identity.clone(), found: key.clone() })
    }

    /// `version u8 = 1 | cluster id | node id u64 | member count u16 | members | crc32c u32`.
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.put_slice(&self.cluster_id.0);
        out.put_u64_le(self.node_id.0);
        out.put_u16_le(self.members.len() as u16);
        self.members.iter().for_each(|(node, member)| put_member(&mut out, *node, Some(member)));
        out.put_u32_le(crc32c::crc32c(&out));
        out
    }

    fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new("a ticket", bytes);
        reader.version(VERSION)?;
        let cluster_id = ClusterId(reader.array("cluster id")?);
        let node_id = NodeId(reader.u64("node id")?);
        let mut members = BTreeMap::new();
        for _ in 0..reader.u16("members")? {
            let (node, member) = read_member(&mut reader)?;
            let member = member.ok_or_else(|| reader.unknown("identity length", 0))?;
            members.insert(node, member);
        }
        reader.finish()?;
        Ok(Self { cluster_id, node_id, members })
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, &self.encode())
    }
}

/// The text form of a ticket of these bytes.
fn print(out: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    out.write_str(PREFIX)?;
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// A text that is not a ticket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTicketError {
    /// It is not of the form `quorate-ticket-` and hexadecimal digits.
    #[error("the text is not a ticket: expected `{PREFIX}` and hexadecimal digits")]
    Shape,
    /// A part of it is missing, or was changed on its way.
    #[error("the ticket was cut or changed on its way: copy it whole")]
    Damaged,
    /// It was made by another build.
    #[error(
        "the ticket has version {found}, and this build reads version {supported}: have one made by a node of this build"
    )]
    Version {
        /// Its version.
        found: u8,
        /// The version this build reads.
        supported: u8,
    },
}

impl FromStr for Ticket {
    type Err = ParseTicketError;

    fn from_str(text: &str) -> Result<Self, ParseTicketError> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(ParseTicketError::Shape)?;
        let bytes = parse_hex(digits).ok_or(ParseTicketError::Shape)?;
        let end = bytes.len().checked_sub(4).ok_or(ParseTicketError::Damaged)?;
        if crc32c::crc32c(&bytes[..end]).to_le_bytes() != bytes[end..] {
            return Err(ParseTicketError::Damaged);
        }
        Self::decode(Bytes::from(bytes).slice(..end)).map_err(|error| match error {
            FormatError::Version { found, supported, .. } => ParseTicketError::Version { found, supported },
            _ => ParseTicketError::Damaged,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::DiskId;

    fn ticket() -> Ticket {
        let member = |node: u64| Member {
            disk_id: Some(DiskId([9; 16])),
            ..Member::new(node, PeerId::new([node as u8]).expect("one byte"), format!("h{node}"))
        };
        Ticket::new(ClusterId([1; 32]), NodeId(4), [member(1), member(4)])
    }

    #[test]
    fn golden_ticket() {
        let mut golden = vec![1];
        golden.extend([1; 32]);
        golden.extend([4, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
        golden.extend([1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, b'h', b'1', 0]);
        golden.extend([4, 0, 0, 0, 0, 0, 0, 0, 1, 4, 2, 0, b'h', b'4', 0]);
        golden.extend(crc32c::crc32c(&golden).to_le_bytes());
        assert_eq!(ticket().encode(), golden, "a disk id is not in it");
        let text = ticket().to_string();
        assert!(text.starts_with("quorate-ticket-01010101"), "{text}");
        assert_eq!(text.parse(), Ok(ticket()));
        assert_eq!(format!(" {text}\n").parse(), Ok(ticket()), "as it is pasted");
    }

    #[test]
    fn what_is_no_ticket_says_why() {
        let text = ticket().to_string();
        let parse = |text: &str| text.parse::<Ticket>().expect_err("wrong on purpose");
        assert_eq!(parse("1=ab@x"), ParseTicketError::Shape);
        assert_eq!(parse(&text[..text.len() - 1]), ParseTicketError::Shape);
        assert!((PREFIX.len()..text.len()).all(|len| text[..len].parse::<Ticket>().is_err()));
        assert_eq!(parse(&text[..text.len() - 2]), ParseTicketError::Damaged);
        assert_eq!(parse(&text.replacen("68", "69", 1)), ParseTicketError::Damaged);
        let mut newer = ticket().encode();
        newer.truncate(newer.len() - 4);
        newer[0] = 2;
        newer.extend(crc32c::crc32c(&newer).to_le_bytes());
        let mut text = String::new();
        print(&mut text, &newer).expect("a text takes everything");
        let expected = ParseTicketError::Version { found: 2, supported: 1 };
        assert_eq!(parse(&text), expected);
    }

    #[test]
    fn a_ticket_is_for_one_key() {
        let key = |byte: u8| PeerId::new([byte]).expect("one byte");
        assert_eq!(ticket().check_key(&key(4)), Ok(()));
        let other = JoinError::OtherKey { node_id: NodeId(4), invited: key(4), found: key(1) };
        assert_eq!(ticket().check_key(&key(1)), Err(other));
        let nobody = Ticket { node_id: NodeId(5), ..ticket() };
        assert_eq!(nobody.check_key(&key(4)), Err(JoinError::NotNamed { node_id: NodeId(5) }));
    }
}
