//! Tables as bytes: the machine's part of a snapshot.
//!
//! `version u8 = 1 | (1 u8 | name | key type | value type | rows)* | 0 u8`, where a row is
//! `key length u32 | value length u32 | key | value` and the last is followed by a key length of
//! `u32::MAX`. Texts stand behind their length as u16. Numbers are little endian.

use std::io::{self, Read, Write};

use quorate::error::RestoreError;
use redb::ReadTransaction;

use super::DeclaredTable;

const VERSION: u8 = 1;
const TABLE: u8 = 1;
const END: u8 = 0;
const NO_ROW: u32 = u32::MAX;

fn put_text(out: &mut dyn Write, text: &str) -> io::Result<()> {
    let len = u16::try_from(text.len()).map_err(io::Error::other)?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(text.as_bytes())
}

/// Writes out what `txn` shows of `tables`.
pub(super) fn export(
    tables: &[&dyn DeclaredTable],
    txn: &ReadTransaction,
    out: &mut dyn Write,
) -> io::Result<()> {
    out.write_all(&[VERSION])?;
    for table in tables {
        out.write_all(&[TABLE])?;
        let [key, value] = table.types();
        for text in [table.name(), &key, &value] {
            put_text(out, text)?;
        }
        table.export(txn, &mut |key, value| {
            let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
            out.write_all(&length(key)?.to_le_bytes())?;
            out.write_all(&length(value)?.to_le_bytes())?;
            out.write_all(key)?;
            out.write_all(value)
        })?;
        out.write_all(&NO_ROW.to_le_bytes())?;
    }
    out.write_all(&[END])
}

/// Reads what [`export`] wrote.
pub(super) struct Import<'a> {
    input: &'a mut dyn Read,
    tables: &'static [&'static dyn DeclaredTable],
}

fn unfit(detail: impl Into<String>) -> RestoreError {
    RestoreError::Decode { detail: detail.into() }
}

impl<'a> Import<'a> {
    /// Begins to read.
    pub(super) fn begin(
        input: &'a mut dyn Read,
        tables: &'static [&'static dyn DeclaredTable],
    ) -> Result<Self, RestoreError> {
        let mut this = Self { input, tables };
        match this.u8()? {
            VERSION => Ok(this),
            found => Err(unfit(format!("its tables have form {found}; this build reads form {VERSION}"))),
        }
    }

    /// The next table; `None` after the last.
    pub(super) fn table(&mut self) -> Result<Option<&'static dyn DeclaredTable>, RestoreError> {
        match self.u8()? {
            TABLE => {}
            END => {
                let mut more = [0];
                return match self.input.read(&mut more)? {
                    0 => Ok(None),
                    _ => Err(unfit("bytes are left over after the last table")),
                };
            }
            found => return Err(unfit(format!("{found} where a table or the end was expected"))),
        }
        let (name, types) = (self.text()?, [self.text()?, self.text()?]);
        let declared = self.tables.iter().find(|table| table.name() == name);
        let table = declared.ok_or_else(|| unfit(format!("table `{name}` is none of this machine's")))?;
        if table.types() != types {
            let ([key, value], [our_key, our_value]) = (types, table.types());
            return Err(unfit(format!(
                "table `{name}` is of {key} to {value} there, and of {our_key} to {our_value} here"
            )));
        }
        Ok(Some(*table))
    }

    /// Reads the next row into the buffers; `false` after the last.
    pub(super) fn row(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> io::Result<bool> {
        let key_len = self.u32()?;
        if key_len == NO_ROW {
            return Ok(false);
        }
        let value_len = self.u32()?;
        self.fill(key, key_len)?;
        self.fill(value, value_len)?;
        Ok(true)
    }

    /// Takes memory as bytes come, and not as a length promises.
    fn fill(&mut self, buffer: &mut Vec<u8>, len: u32) -> io::Result<()> {
        buffer.clear();
        let read = (&mut *self.input).take(u64::from(len)).read_to_end(buffer)?;
        if read < len as usize { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u8(&mut self) -> io::Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, RestoreError> {
        let len = u16::from_le_bytes(self.array()?);
        let mut bytes = Vec::new();
        self.fill(&mut bytes, u32::from(len))?;
        String::from_utf8(bytes).map_err(|_| unfit("a name is not text"))
    }
}
