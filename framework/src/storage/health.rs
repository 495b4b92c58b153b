//! Whether there is room for more.

/// The state of a storage, or of a machine on a disk, watched by the node. The worse is the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Health {
    /// There is room.
    #[default]
    Ok,
    /// Space runs out: new writes are refused as *not applied*; what is queued completes.
    Low,
    /// Only the reserve is left.
    Full,
    /// It has failed for good, in a write or beside one: the node stops.
    Failed,
}
