//! Cases about whom a storage belongs to.

use super::store::Store;
use super::{StorageHarness, run};
use crate::error::StorageError;
use crate::storage::{Identity, Storage};
use crate::types::{ClusterId, DiskId, NodeId};

pub(super) const IDENTITY: Identity =
    Identity { cluster_id: ClusterId([7; 32]), node_id: NodeId(3), disk_id: DiskId([0xd5; 16]) };

/// A fresh storage belongs to nobody, also after a restart.
pub fn identity_is_absent_at_first<H: StorageHarness>() {
    run::<H, _>("identity_is_absent_at_first", || async {
        let store = Store::<H>::blank().await;
        assert_eq!(store.storage.identity().await.expect("can be read"), None);
        let store = store.reopen().await;
        assert_eq!(store.storage.identity().await.expect("can be read"), None, "after a reopen");
    });
}

/// A recorded identity is there at once, and after a restart.
pub fn identity_survives_reopen<H: StorageHarness>() {
    run::<H, _>("identity_survives_reopen", || async {
        let store = Store::<H>::blank().await;
        store.storage.set_identity_once(&IDENTITY).await.expect("recorded");
        assert_eq!(store.storage.identity().await.expect("can be read"), Some(IDENTITY));
        let store = store.reopen().await;
        assert_eq!(store.storage.identity().await.expect("can be read"), Some(IDENTITY), "after a reopen");
    });
}

/// The same identity may be recorded again; one that differs in any part is refused, before and
/// after a restart, and changes nothing.
pub fn identity_is_written_once<H: StorageHarness>() {
    run::<H, _>("identity_is_written_once", || async {
        let mut store = Store::<H>::blank().await;
        store.storage.set_identity_once(&IDENTITY).await.expect("recorded");
        for when in ["before", "after"] {
            store.storage.set_identity_once(&IDENTITY).await.expect("the same again is fine");
            let others = [
                Identity { cluster_id: ClusterId([8; 32]), ..IDENTITY },
                Identity { node_id: NodeId(4), ..IDENTITY },
                Identity { disk_id: DiskId([0; 16]), ..IDENTITY },
            ];
            for other in others {
                match store.storage.set_identity_once(&other).await {
                    Err(StorageError::IdentityTaken { recorded, offered }) => {
                        assert_eq!((*recorded, *offered), (IDENTITY, other), "the error names both");
                    }
                    Err(error) => panic!("{when} a reopen: expected `IdentityTaken`, got {error:?}"),
                    Ok(()) => panic!("{when} a reopen: {other:?} replaced {IDENTITY:?}"),
                }
            }
            assert_eq!(store.storage.identity().await.expect("can be read"), Some(IDENTITY));
            store = store.reopen().await;
        }
    });
}
