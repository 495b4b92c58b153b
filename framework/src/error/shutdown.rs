//! The outcome of a shutdown.

/// A shutdown that was not in good order. The node is down all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The consensus engine had panicked.
    #[error("the consensus engine panicked")]
    Panicked,
}
