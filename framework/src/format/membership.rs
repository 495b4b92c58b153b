//! Members and membership, in entries, snapshots and census answers.
//!
//! Member: `node id u64 | identity length u8 | identity | address length u16 | address | disk id
//! present u8 | disk id`. Membership: `version u8 = 1 | voter set count u8 | per set: count u16, node
//! ids u64 | member count u16 | members`. An identity of no bytes is a node without a record.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};

use super::{FormatError, Reader, Writer};
use crate::types::{DiskId, Member, NodeId, PeerId};

const WHAT: &str = "a membership";
const VERSION: u8 = 1;

/// A membership as it is written: a node may lack its record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RawMembership {
    pub(crate) voters: Vec<BTreeSet<NodeId>>,
    pub(crate) members: BTreeMap<NodeId, Option<Member>>,
}

pub(crate) fn put_member(out: &mut impl Writer, node_id: NodeId, member: Option<&Member>) {
    out.put_u64_le(node_id.0);
    let identity = member.map_or(&[][..], |member| member.identity.as_bytes());
    out.put_u8(identity.len() as u8);
    out.put_slice(identity);
    out.put_text(member.map_or("", |member| &member.address));
    out.put_option(member.and_then(|member| member.disk_id), |out, disk| out.put_slice(&disk.0));
}

pub(crate) fn read_member(reader: &mut Reader) -> Result<(NodeId, Option<Member>), FormatError> {
    let node_id = NodeId(reader.u64("node id")?);
    let len = reader.u8("identity length")?;
    let identity = reader.bytes(usize::from(len), "identity")?;
    if usize::from(len) > PeerId::MAX_BYTES {
        return Err(reader.unknown("identity length", u64::from(len)));
    }
    let address = reader.text("address")?;
    if address.len() > Member::MAX_ADDRESS_BYTES {
        return Err(reader.unknown("address length", address.len() as u64));
    }
    let disk_id = reader.option("disk id", |reader| reader.array("disk id").map(DiskId))?;
    let member =
        PeerId::new(identity.to_vec()).map(|identity| Member { node_id, identity, address, disk_id });
    Ok((node_id, member))
}

impl RawMembership {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        out.put_u8(self.voters.len() as u8);
        for set in &self.voters {
            out.put_u16_le(set.len() as u16);
            for node in set {
                out.put_u64_le(node.0);
            }
        }
        out.put_u16_le(self.members.len() as u16);
        for (node_id, member) in &self.members {
            put_member(&mut out, *node_id, member.as_ref());
        }
        out.freeze()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.version(VERSION)?;
        let mut membership = Self::default();
        for _ in 0..reader.u8("voter sets")? {
            let mut set = BTreeSet::new();
            for _ in 0..reader.u16("voters")? {
                set.insert(NodeId(reader.u64("voter")?));
            }
            membership.voters.push(set);
        }
        for _ in 0..reader.u16("members")? {
            let (node_id, member) = read_member(&mut reader)?;
            membership.members.insert(node_id, member);
        }
        reader.finish()?;
        Ok(membership)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_membership() {
        let member = Member {
            node_id: NodeId(7),
            identity: PeerId::new([0xaa, 0xbb]).expect("short"),
            address: "h:1".into(),
            disk_id: Some(DiskId([9; 16])),
        };
        let membership = RawMembership {
            voters: vec![[NodeId(7)].into()],
            members: [(NodeId(7), Some(member)), (NodeId(8), None)].into(),
        };
        let mut golden = vec![1, 1, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0];
        golden.extend([7, 0, 0, 0, 0, 0, 0, 0, 2, 0xaa, 0xbb, 3, 0, b'h', b':', b'1', 1]);
        golden.extend([9; 16]);
        golden.extend([8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(membership.encode(), golden);
        assert_eq!(RawMembership::decode(membership.encode()), Ok(membership));
    }

    #[test]
    fn a_cut_membership_is_an_error() {
        let membership = RawMembership {
            voters: vec![[NodeId(1), NodeId(2)].into()],
            members: [(NodeId(1), None), (NodeId(2), None)].into(),
        };
        let bytes = membership.encode();
        assert!((0..bytes.len()).all(|len| RawMembership::decode(bytes.slice(..len)).is_err()));
    }
}
