//! How far the machine is, as the library wants to know it and as a machine on a disk records it.

use std::sync::Arc;

use bytes::Bytes;

use super::types::{RaftLogId, StoredMembership, from_log_id, from_raw_membership, to_log_id};
use crate::error::MachineError;
use crate::format::membership::RawMembership;
use crate::state_machine::erased::Applied;
use crate::types::{ClusterId, GroupId, LogId, LogTime};

/// How far apply has come.
#[derive(Clone, Default)]
pub(super) struct Progress {
    pub(super) applied: Option<RaftLogId>,
    pub(super) membership: Arc<StoredMembership>,
    /// The same as it is stored.
    pub(super) raw: Arc<RawMembership>,
    pub(super) time: LogTime,
}

impl Progress {
    /// Where a machine or a snapshot is.
    pub(super) fn of(applied: &Applied) -> Result<Self, MachineError> {
        let membership = from_raw_membership(&applied.membership).map_err(|()| MachineError::Damaged {
            detail: "its membership has a voter without a record".to_owned(),
        })?;
        let stored = StoredMembership::new(applied.membership_log_id.map(from_log_id), membership);
        Ok(Self {
            applied: Some(from_log_id(applied.log_id)),
            membership: Arc::new(stored),
            raw: applied.membership.clone(),
            time: applied.clock,
        })
    }

    /// What the machine records; `None` when there is nothing.
    pub(super) fn applied(&self, cluster_id: ClusterId, group: GroupId) -> Option<Applied> {
        Some(Applied {
            cluster_id,
            group,
            log_id: to_log_id(&self.applied?),
            clock: self.time,
            membership_log_id: self.membership.log_id().as_ref().map(to_log_id),
            membership: self.raw.clone(),
            sessions: Bytes::new(),
        })
    }
}

/// Whether the log goes on where a machine on a disk is, or a snapshot fills the gap.
pub(super) fn check_gap(
    applied: Option<LogId>,
    purged: Option<LogId>,
    snapshot: Option<LogId>,
) -> Result<(), MachineError> {
    match purged {
        Some(purged) if applied < Some(purged) && snapshot < Some(purged) => {
            Err(MachineError::Behind { applied, purged })
        }
        _ => Ok(()),
    }
}
