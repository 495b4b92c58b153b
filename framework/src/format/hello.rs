//! The first frame in each direction of every stream: who speaks, and whether they belong together.
//!
//! Hello: `magic "QRTE" | lowest protocol u16 | highest protocol u16 | cluster id | node id u64 |
//! disk id | boot id u64 | group count u16 | per group: group u64, machine name, machine version
//! u32`. Refuse: `code u16 | fields of the code`.

use bytes::{BufMut, Bytes, BytesMut};

use super::{FormatError, Reader, Writer, frame};
use crate::types::{BootId, ClusterId, DiskId, GroupId, NodeId};

const WHAT: &str = "a hello";
const MAGIC: [u8; 4] = *b"QRTE";
/// The protocol versions this build speaks.
pub(crate) const PROTOCOL: std::ops::RangeInclusive<u16> = 1..=1;

/// The machine of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupHello {
    pub(crate) group: GroupId,
    pub(crate) machine: String,
    pub(crate) version: u32,
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) cluster_id: ClusterId,
    pub(crate) node_id: NodeId,
    pub(crate) disk_id: DiskId,
    pub(crate) boot_id: BootId,
    pub(crate) groups: Vec<GroupHello>,
}

impl Hello {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = frame::begin(frame::Kind::Hello, frame::NODE, 128);
        out.put_slice(&MAGIC);
        out.put_u16_le(*PROTOCOL.start());
        out.put_u16_le(*PROTOCOL.end());
        out.put_slice(&self.cluster_id.0);
        out.put_u64_le(self.node_id.0);
        out.put_slice(&self.disk_id.0);
        out.put_u64_le(self.boot_id.0);
        out.put_u16_le(self.groups.len() as u16);
        for group in &self.groups {
            out.put_u64_le(group.group.0);
            out.put_text(&group.machine);
            out.put_u32_le(group.version);
        }
        out.freeze()
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, body);
        let magic: [u8; 4] = reader.array("magic")?;
        if magic != MAGIC {
            return Err(reader.unknown("magic", u64::from(u32::from_le_bytes(magic))));
        }
        let (lowest, highest) = (reader.u16("lowest protocol")?, reader.u16("highest protocol")?);
        if lowest > *PROTOCOL.end() || highest < *PROTOCOL.start() {
            return Err(reader.unknown("protocol", u64::from(lowest)));
        }
        let cluster_id = ClusterId(reader.array("cluster id")?);
        let node_id = NodeId(reader.u64("node id")?);
        let disk_id = DiskId(reader.array("disk id")?);
        let boot_id = BootId(reader.u64("boot id")?);
        let mut groups = Vec::new();
        for _ in 0..reader.u16("group count")? {
            let group = GroupId(reader.u64("group")?);
            groups.push(GroupHello {
                group,
                machine: reader.text("machine")?,
                version: reader.u32("version")?,
            });
        }
        reader.finish()?;
        Ok(Self { cluster_id, node_id, disk_id, boot_id, groups })
    }
}

/// Why a hello is not admitted. The codes are permanent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it does not know this key")]
    UnknownPeer,
    #[error("it belongs to cluster {0}")]
    OtherCluster(ClusterId),
    #[error("it knows this node with disk {recorded}")]
    OtherDisk { recorded: DiskId },
    #[error("it knows this key as node {}", .0.get())]
    OtherNode(NodeId),
    #[error("it runs machine `{machine}` in {group}")]
    OtherMachine { group: GroupId, machine: String },
    #[error("it has not joined its cluster yet")]
    Unborn,
    #[error("the hello was not understood: {0}")]
    Malformed(String),
    #[error("it is shutting down")]
    ShuttingDown,
}

impl Refusal {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = frame::begin(frame::Kind::Refuse, frame::NODE, 64);
        let fields: BytesMut = {
            let mut fields = BytesMut::new();
            match self {
                Self::UnknownPeer | Self::Unborn | Self::ShuttingDown => {}
                Self::OtherCluster(cluster) => fields.put_slice(&cluster.0),
                Self::OtherDisk { recorded } => fields.put_slice(&recorded.0),
                Self::OtherNode(node) => fields.put_u64_le(node.0),
                Self::OtherMachine { group, machine } => {
                    fields.put_u64_le(group.0);
                    fields.put_text(machine);
                }
                Self::Malformed(detail) => fields.put_text(detail),
            }
            fields
        };
        out.put_u16_le(match self {
            Self::UnknownPeer => 1,
            Self::OtherCluster(_) => 2,
            Self::OtherDisk { .. } => 3,
            Self::OtherNode(_) => 4,
            Self::OtherMachine { .. } => 5,
            Self::Unborn => 6,
            Self::Malformed(_) => 7,
            Self::ShuttingDown => 8,
        });
        out.put_slice(&fields);
        out.freeze()
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new("a refusal", body);
        let refusal = match reader.u16("code")? {
            1 => Self::UnknownPeer,
            2 => Self::OtherCluster(ClusterId(reader.array("cluster id")?)),
            3 => Self::OtherDisk { recorded: DiskId(reader.array("disk id")?) },
            4 => Self::OtherNode(NodeId(reader.u64("node id")?)),
            5 => {
                Self::OtherMachine { group: GroupId(reader.u64("group")?), machine: reader.text("machine")? }
            }
            6 => Self::Unborn,
            7 => Self::Malformed(reader.text("detail")?),
            8 => Self::ShuttingDown,
            code => return Err(reader.unknown("code", u64::from(code))),
        };
        reader.finish()?;
        Ok(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            cluster_id: ClusterId([1; 32]),
            node_id: NodeId(2),
            disk_id: DiskId([3; 16]),
            boot_id: BootId(4),
            groups: vec![GroupHello { group: GroupId(5), machine: "kv".into(), version: 6 }],
        }
    }

    #[test]
    fn golden_hello() {
        let mut golden = vec![1, 1, 255, 255, 255, 255, 255, 255, 255, 255];
        golden.extend(b"QRTE");
        golden.extend([1, 0, 1, 0]);
        golden.extend([1; 32]);
        golden.extend([2, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([3; 16]);
        golden.extend([4, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2, 0, b'k', b'v', 6, 0, 0, 0]);
        assert_eq!(hello().encode(), golden);
        assert_eq!(Hello::decode(hello().encode().slice(frame::HEADER_BYTES..)), Ok(hello()));
    }

    #[test]
    fn another_protocol_is_refused() {
        let mut bytes = hello().encode().slice(frame::HEADER_BYTES..).to_vec();
        (bytes[4], bytes[6]) = (2, 3);
        assert!(matches!(
            Hello::decode(Bytes::from(bytes)),
            Err(FormatError::Unknown { field: "protocol", found: 2, .. })
        ));
    }

    #[test]
    fn every_refusal_comes_back() {
        let all = [
            Refusal::UnknownPeer,
            Refusal::OtherCluster(ClusterId([9; 32])),
            Refusal::OtherDisk { recorded: DiskId([8; 16]) },
            Refusal::OtherNode(NodeId(7)),
            Refusal::OtherMachine { group: GroupId(1), machine: "bank".into() },
            Refusal::Unborn,
            Refusal::Malformed("why".into()),
            Refusal::ShuttingDown,
        ];
        for refusal in all {
            assert_eq!(Refusal::decode(refusal.encode().slice(frame::HEADER_BYTES..)), Ok(refusal));
        }
        let golden = Refusal::OtherNode(NodeId(7)).encode();
        assert_eq!(&golden[frame::HEADER_BYTES..], [4, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
    }
}
