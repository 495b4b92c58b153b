//! The types openraft is configured with: its defaults, but for command and response.

use std::fmt;

use bytes::Bytes;
use openraft::EmptyNode;
use quorate::types::GroupId;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Command {
    /// Replaces the value.
    Put {
        /// The value.
        value: Bytes,
    },
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { value } => write!(f, "put {} bytes", value.len()),
        }
    }
}

openraft::declare_raft_types!(
    /// The configuration of openraft.
    pub(super) TypeConfig:
        D = Command,
        R = u64,
        Node = EmptyNode,
        AsyncRuntime = openraft::impls::TokioRuntime,
);

pub(super) type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
pub(super) type Vote = openraft::Vote<LeaderId>;
pub(super) type LogId = openraft::LogId<LeaderId>;
pub(super) type Entry = <TypeConfig as openraft::RaftTypeConfig>::Entry;
pub(super) type Membership = openraft::Membership<u64, EmptyNode>;
pub(super) type StoredMembership = openraft::StoredMembership<LeaderId, u64, EmptyNode>;
pub(super) type SnapshotMeta = openraft::SnapshotMeta<LeaderId, u64, EmptyNode>;
pub(super) type Snapshot = openraft::Snapshot<LeaderId, u64, EmptyNode, Bytes>;
pub(super) type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub(super) type AppendResponse = openraft::raft::AppendEntriesResponse<TypeConfig>;
pub(super) type AppendResult = openraft::raft::StreamAppendResult<TypeConfig>;
pub(super) type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
pub(super) type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;
pub(super) type Raft = openraft::Raft<TypeConfig, super::machine::Machine>;

/// The group under which everything is stored.
pub(super) const GROUP: GroupId = GroupId(0);
