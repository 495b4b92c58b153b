//! Why a machine on a disk cannot be used.

use super::{BoxError, StorageError};
use crate::types::{ClusterId, GroupId, LogId};

/// The file of a machine on a disk does not fit, or cannot be used. The text says the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// It holds the state of another machine.
    #[error(
        "the machine's file holds machine `{found}`, not `{expected}`: give each machine a file of its own"
    )]
    OtherMachine {
        /// The name in the file.
        found: String,
        /// The name of this machine.
        expected: String,
    },
    /// It was written by a newer version of the machine.
    #[error(
        "the machine's file is of version {found} of the machine, newer than version {supported}: start the newer build"
    )]
    NewerVersion {
        /// The version in the file.
        found: u32,
        /// The version of this machine.
        supported: u32,
    },
    /// It belongs to another cluster.
    #[error(
        "the machine's file belongs to cluster {found}, but this node to cluster {expected}: give this node the file that belongs to its storage"
    )]
    OtherCluster {
        /// The cluster in the file.
        found: ClusterId,
        /// The cluster of this node.
        expected: ClusterId,
    },
    /// It belongs to another group of the cluster.
    #[error("the machine's file belongs to {found}, not to {expected}: give each group a file of its own")]
    OtherGroup {
        /// The group in the file.
        found: GroupId,
        /// The group it was given to.
        expected: GroupId,
    },
    /// It has applied what the storage knows nothing of.
    #[error(
        "the machine's file has applied {applied}, but the storage belongs to no cluster yet: give this node the storage that the file belongs to, or remove the file as well to begin anew"
    )]
    WithoutLog {
        /// The last entry it has applied.
        applied: LogId,
    },
    /// It lacks entries that the log no longer has.
    #[error(
        "the machine's file has applied {}, but the log is purged up to {purged} and no snapshot covers the gap: restore the file, or remove this node from the cluster and add it again with an empty directory and a new node id",
        applied.map_or_else(|| "nothing".to_owned(), |applied| applied.to_string())
    )]
    Behind {
        /// The last entry it has applied.
        applied: Option<LogId>,
        /// The last entry that was purged.
        purged: LogId,
    },
    /// What it stores beside its state cannot be read: the record of what it has applied, or the rows of
    /// sessions.
    #[error("what the machine stores beside its state is damaged, or of a newer build: {detail}")]
    Damaged {
        /// How that shows.
        detail: String,
    },
    /// Its file could not be opened or created.
    #[error("the machine's file cannot be opened")]
    Store(#[from] StorageError),
    /// It could not be read or written.
    #[error("the machine could not {doing}")]
    Failed {
        /// What it was asked to do, as in `read what it has applied`.
        doing: &'static str,
        /// What it said.
        #[source]
        source: BoxError,
    },
}
