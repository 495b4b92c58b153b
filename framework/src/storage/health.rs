//! Whether there is room for more.

/// The state of a storage, watched by the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// There is room.
    #[default]
    Ok,
    /// Space runs out: new writes are refused as *not applied*; what is queued completes.
    Low,
    /// Only the reserve is left.
    Full,
    /// A write has failed for good: the node stops.
    Failed,
}
