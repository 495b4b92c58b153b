//! What a storage plugin reports.

use std::io;
use std::path::PathBuf;

use super::BoxError;
use crate::storage::Identity;

/// A storage operation failed. Any failed write stops the node; nothing is retried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The operating system refused.
    #[error("{doing}{}", path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default())]
    Io {
        /// What was being done, as in `flush the log`.
        doing: &'static str,
        /// The file or directory, when there is one.
        path: Option<PathBuf>,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// There is no space left, not even in the reserve.
    #[error("no space left to {doing}")]
    Full {
        /// What was being done.
        doing: &'static str,
    },
    /// Bytes came back that are not the ones written.
    #[error("{what} is damaged: {detail}")]
    Corrupt {
        /// What is damaged, as in `entry 17 of g0`.
        what: String,
        /// How that shows.
        detail: String,
    },
    /// The format on the disk is of another version.
    #[error("{what} has format version {found}; this build reads version {supported}")]
    Version {
        /// What has that version.
        what: &'static str,
        /// The version found.
        found: u32,
        /// The version this build reads and writes.
        supported: u32,
    },
    /// Another process, or another value in this one, has it open.
    #[error("{} is already open: stop the other process or give this node a directory of its own", path.display())]
    InUse {
        /// The directory or file.
        path: PathBuf,
    },
    /// The directory holds data but not the record of whom it belongs to, which is never guessed.
    #[error("{} holds a log but no identity: restore the missing file from a backup, or remove this node from the cluster and add it again with an empty directory and a new node id", path.display())]
    IdentityMissing {
        /// The directory.
        path: PathBuf,
    },
    /// The storage belongs to another node, cluster or disk.
    #[error("the storage belongs to node {} of cluster {} (disk {}), not to node {} of cluster {} (disk {})", recorded.node_id.get(), recorded.cluster_id, recorded.disk_id, offered.node_id.get(), offered.cluster_id, offered.disk_id)]
    IdentityTaken {
        /// What is recorded.
        recorded: Box<Identity>,
        /// What was to be recorded.
        offered: Box<Identity>,
    },
    /// A receipt was dropped unused: the write behind it cannot be relied on.
    #[error("a write was dropped before it was durable")]
    ReceiptDropped,
    /// The storage is closed, or an earlier write failed for good.
    #[error("the storage is closed")]
    Closed,
    /// The plugin's own library failed.
    #[error("failed to {doing}")]
    Plugin {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: BoxError,
    },
}

impl StorageError {
    /// Wraps the error of a plugin's own library.
    pub fn plugin(doing: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Plugin { doing, source: source.into() }
    }

    /// Wraps an error of the operating system, or says [`Self::Full`] when it means that.
    pub fn io(doing: &'static str, path: impl Into<Option<PathBuf>>, source: io::Error) -> Self {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::Full { doing };
        }
        Self::Io { doing, path: path.into(), source }
    }
}
