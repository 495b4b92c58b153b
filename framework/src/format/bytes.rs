//! Reading and writing fixed-width numbers, with an error that names what was being read.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::types::{LogId, LogIndex, Term};

/// Bytes that are not what they should be. Never a guess, never a panic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("{what} is cut short in `{field}`")]
    Short { what: &'static str, field: &'static str },
    #[error("{what} has version {found}; this build reads version {supported}")]
    Version { what: &'static str, found: u8, supported: u8 },
    #[error("{what} has an unknown `{field}`: {found}")]
    Unknown { what: &'static str, field: &'static str, found: u64 },
    #[error("the checksum of {what} does not match: its bytes were changed")]
    Checksum { what: &'static str },
    #[error("{what} has {left} bytes too many")]
    Leftover { what: &'static str, left: usize },
    #[error("{what} says {found} where {expected} was expected in `{field}`")]
    Mismatch { what: &'static str, field: &'static str, found: u64, expected: u64 },
}

/// Takes fields off the front of a buffer without copying what is long.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    what: &'static str,
    rest: Bytes,
}

macro_rules! number {
    ($name:ident, $type:ty, $get:ident) => {
        pub(crate) fn $name(&mut self, field: &'static str) -> Result<$type, FormatError> {
            if self.rest.len() < size_of::<$type>() {
                return Err(self.short(field));
            }
            Ok(self.rest.$get())
        }
    };
}

impl Reader {
    pub(crate) fn new(what: &'static str, bytes: Bytes) -> Self {
        Self { what, rest: bytes }
    }

    fn short(&self, field: &'static str) -> FormatError {
        FormatError::Short { what: self.what, field }
    }

    number!(u8, u8, get_u8);
    number!(u16, u16, get_u16_le);
    number!(u32, u32, get_u32_le);
    number!(u64, u64, get_u64_le);
    number!(u128, u128, get_u128_le);

    pub(crate) fn version(&mut self, supported: u8) -> Result<(), FormatError> {
        let found = self.u8("version")?;
        if found == supported {
            return Ok(());
        }
        Err(FormatError::Version { what: self.what, found, supported })
    }

    pub(crate) fn bytes(&mut self, len: usize, field: &'static str) -> Result<Bytes, FormatError> {
        if self.rest.len() < len {
            return Err(self.short(field));
        }
        Ok(self.rest.split_to(len))
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FormatError> {
        let bytes = self.bytes(N, field)?;
        let mut array = [0; N];
        array.copy_from_slice(&bytes);
        Ok(array)
    }

    /// A text behind its length as `u16`.
    pub(crate) fn text(&mut self, field: &'static str) -> Result<String, FormatError> {
        let len = self.u16(field)?;
        let bytes = self.bytes(usize::from(len), field)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.unknown(field, u64::from(len)))
    }

    pub(crate) fn log_id(&mut self, field: &'static str) -> Result<LogId, FormatError> {
        Ok(LogId { term: Term(self.u64(field)?), index: LogIndex(self.u64(field)?) })
    }

    pub(crate) fn option<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Option<T>, FormatError> {
        match self.u8(field)? {
            0 => Ok(None),
            1 => read(self).map(Some),
            found => Err(self.unknown(field, u64::from(found))),
        }
    }

    pub(crate) fn unknown(&self, field: &'static str, found: u64) -> FormatError {
        FormatError::Unknown { what: self.what, field, found }
    }

    pub(crate) fn rest(self) -> Bytes {
        self.rest
    }

    pub(crate) fn finish(self) -> Result<(), FormatError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(FormatError::Leftover { what: self.what, left: self.rest.len() })
    }
}

/// Puts fields at the end of a buffer.
pub(crate) trait Writer: BufMut {
    /// A text behind its length as `u16`; the caller keeps it below 64 KiB.
    fn put_text(&mut self, text: &str) {
        self.put_u16_le(text.len() as u16);
        self.put_slice(text.as_bytes());
    }

    fn put_log_id(&mut self, id: LogId) {
        self.put_u64_le(id.term.0);
        self.put_u64_le(id.index.0);
    }

    fn put_option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.put_u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

impl Writer for BytesMut {}
impl Writer for Vec<u8> {}
