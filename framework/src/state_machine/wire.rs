//! Commands, queries and their answers as bytes: an id, then each argument by itself.
//!
//! `id: u16` little endian, then every argument's postcard in order, and nothing after the last.
//! The derive writes this, by explicit ids, so that reordering declarations changes no byte.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value with an explicit, permanent form on the wire.
pub trait Wire: Sized {
    /// Appends the form of `self` to `out`.
    ///
    /// # Errors
    /// When an argument's own `Serialize` fails.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Decodes a value from all of `input`.
    ///
    /// # Errors
    /// An unknown id, an argument that is not one, or bytes left over.
    fn decode(input: &[u8]) -> Result<Self, DecodeError>;

    /// What the value is called, for messages: `transfer`.
    fn label(&self) -> &'static str;
}

/// A value could not be encoded: the `Serialize` of an argument failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("argument `{argument}` of `{item}` cannot be encoded: {detail}")]
pub struct EncodeError {
    /// The command, query or answer.
    pub item: &'static str,
    /// The argument.
    pub argument: &'static str,
    /// What its `Serialize` said.
    pub detail: String,
}

/// Bytes are not a value of this type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Fewer bytes than an id has.
    #[error("{len} bytes are too few for an id")]
    TooShort {
        /// How many there are.
        len: usize,
    },
    /// No item has this id.
    #[error("no {kind} has id {id}: a newer build may have sent it")]
    UnknownId {
        /// `command`, `query`, `response` or `answer`.
        kind: &'static str,
        /// The id.
        id: u16,
    },
    /// An argument cannot be decoded.
    #[error("argument `{argument}` of `{item}` cannot be decoded: {detail}")]
    Argument {
        /// The item with that id.
        item: &'static str,
        /// The argument.
        argument: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// Bytes are left over after the last argument.
    #[error("{left} bytes are left over after the last argument of `{item}`")]
    Leftover {
        /// The item with that id.
        item: &'static str,
        /// How many.
        left: usize,
    },
    /// A value of the right type, but of another item than the one that was asked.
    #[error("it is of `{found}`, not of `{expected}`")]
    OtherItem {
        /// The item whose value was due.
        expected: &'static str,
        /// The item whose value came.
        found: &'static str,
    },
    /// Reported by a peer, in its words.
    #[error("{detail}")]
    Remote {
        /// Its words.
        detail: String,
    },
}

/// Writes an id and then arguments; used by generated code and by hand-written [`Wire`]s.
#[derive(Debug)]
pub struct ArgumentWriter<'a> {
    item: &'static str,
    out: &'a mut Vec<u8>,
}

impl<'a> ArgumentWriter<'a> {
    /// Writes the id of `item`.
    pub fn new(out: &'a mut Vec<u8>, id: u16, item: &'static str) -> Self {
        out.extend_from_slice(&id.to_le_bytes());
        Self { item, out }
    }

    /// Writes the next argument.
    pub fn argument<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        match postcard::serialize_with_flavor(value, Append(self.out)) {
            Ok(()) => Ok(()),
            Err(error) => Err(EncodeError { item: self.item, argument: name, detail: error.to_string() }),
        }
    }
}

/// Lets postcard append to a borrowed vector, byte strings as a whole.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Reads an id and then arguments, one by one.
#[derive(Clone, Debug)]
pub struct ArgumentReader<'a> {
    id: u16,
    item: &'static str,
    rest: &'a [u8],
}

impl<'a> ArgumentReader<'a> {
    /// Reads the id.
    pub fn new(input: &'a [u8]) -> Result<Self, DecodeError> {
        match input.split_first_chunk::<2>() {
            Some((id, rest)) => Ok(Self { id: u16::from_le_bytes(*id), item: "?", rest }),
            None => Err(DecodeError::TooShort { len: input.len() }),
        }
    }

    /// The id.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Says which item the id stands for, for messages.
    #[must_use]
    pub fn item(mut self, item: &'static str) -> Self {
        self.item = item;
        self
    }

    pub(super) fn set_item(&mut self, item: &'static str) {
        self.item = item;
    }

    /// Reads the next argument.
    pub fn argument<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, DecodeError> {
        let (value, rest) = postcard::take_from_bytes(self.rest).map_err(|error| DecodeError::Argument {
            item: self.item,
            argument: name,
            detail: error.to_string(),
        })?;
        self.rest = rest;
        Ok(value)
    }

    /// Makes sure that nothing is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(DecodeError::Leftover { item: self.item, left: self.rest.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_an_id_and_each_argument_by_itself() {
        let mut bytes = Vec::new();
        let mut writer = ArgumentWriter::new(&mut bytes, 0x0102, "put");
        writer.argument("key", "ab").expect("a str");
        writer.argument("count", &300_u64).expect("a number");
        assert_eq!(bytes, [0x02, 0x01, 2, b'a', b'b', 0xac, 0x02]);

        let mut reader = ArgumentReader::new(&bytes).expect("an id").item("put");
        assert_eq!(reader.id(), 0x0102);
        assert_eq!(reader.argument::<String>("key").as_deref(), Ok("ab"));
        let half = reader.clone();
        assert_eq!(half.finish(), Err(DecodeError::Leftover { item: "put", left: 2 }));
        assert_eq!(reader.argument::<u64>("count"), Ok(300));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_cut_argument_is_named() {
        let mut reader = ArgumentReader::new(&[1, 0, 9]).expect("an id").item("put");
        assert!(matches!(
            reader.argument::<String>("key"),
            Err(DecodeError::Argument { item: "put", argument: "key", .. })
        ));
        assert_eq!(ArgumentReader::new(&[1]).err(), Some(DecodeError::TooShort { len: 1 }));
    }
}
