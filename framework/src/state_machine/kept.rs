//! What a machine on a disk stores for the framework beside its state.

use bytes::Bytes;

/// What a machine on a disk stores in the transaction of a batch's effects, or of a state that it restores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How far the machine has come. It takes the place of the one before, and is some hundred bytes long.
    pub record: Bytes,
    /// What changes of the rows, in no particular order and no key twice: of the sessions and the answers
    /// that are kept for them. With a state that is restored, all rows there are.
    pub rows: Vec<Row>,
}

/// A row to put into the place of the one with the same key, if there is one; or a key whose row is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// At least one byte. Rows are read in the order of these bytes.
    pub key: Bytes,
    /// `None` when no row with this key is to be there any more; there may be none.
    pub value: Option<Bytes>,
}

/// Takes the responses to all commands of a batch, and says what is to be stored with their effects. It
/// panics when there are too few or too many, or when one cannot be encoded: nothing of the batch may be
/// stored then, as when the transaction is dropped that it is called in.
pub type Keep<'a, R> = Box<dyn FnOnce(Vec<R>) -> Kept + 'a>;
