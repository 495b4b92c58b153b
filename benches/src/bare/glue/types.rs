//! The types openraft is configured with: its defaults, but for command and response.

use bytes::Bytes;
use openraft::EmptyNode;
use quorate::types::GroupId;

use super::super::host::{Command, Response, Runtime};

openraft::declare_raft_types!(
    /// The configuration of openraft.
    pub(crate) TypeConfig:
        D = Command,
        R = Response,
        Node = EmptyNode,
        AsyncRuntime = Runtime,
);

pub(crate) type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
pub(crate) type Vote = openraft::Vote<LeaderId>;
pub(crate) type LogId = openraft::LogId<LeaderId>;
pub(crate) type Entry = <TypeConfig as openraft::RaftTypeConfig>::Entry;
pub(crate) type Membership = openraft::Membership<u64, EmptyNode>;
pub(super) type StoredMembership = openraft::StoredMembership<LeaderId, u64, EmptyNode>;
pub(super) type SnapshotMeta = openraft::SnapshotMeta<LeaderId, u64, EmptyNode>;
pub(super) type Snapshot = openraft::Snapshot<LeaderId, u64, EmptyNode, Bytes>;
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub(super) type AppendResponse = openraft::raft::AppendEntriesResponse<TypeConfig>;
pub(crate) type AppendResult = openraft::raft::StreamAppendResult<TypeConfig>;
pub(super) type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
pub(super) type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;
pub(crate) type Raft = openraft::Raft<TypeConfig, super::machine::Machine>;

/// The group under which everything is stored.
pub(super) const GROUP: GroupId = GroupId(0);
