//! A state as postcard: the default form of a snapshot, and a helper for other ones.

use std::io::{self, BufWriter, Read, Write};

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::RestoreError;

/// Writes `state` as postcard.
///
/// # Errors
/// When `out` fails, or when the state's own `Serialize` does.
pub fn write_postcard<T: Serialize + ?Sized>(state: &T, out: &mut dyn Write) -> io::Result<()> {
    let mut failure = None;
    let flavor = Buffered { out: BufWriter::new(out), failure: &mut failure };
    let outcome = postcard::serialize_with_flavor::<T, Buffered<'_>, ()>(state, flavor);
    match (failure, outcome) {
        (Some(error), _) => Err(error),
        (None, outcome) => outcome.map_err(io::Error::other),
    }
}

/// Keeps the error of the output, which `postcard::to_io` would replace by "buffer full"; and
/// collects bytes, which postcard writes one by one.
struct Buffered<'a> {
    out: BufWriter<&'a mut dyn Write>,
    failure: &'a mut Option<io::Error>,
}

impl Buffered<'_> {
    fn keep(&mut self, outcome: io::Result<()>) -> postcard::Result<()> {
        outcome.map_err(|error| {
            *self.failure = Some(error);
            postcard::Error::SerializeBufferFull
        })
    }
}

impl Flavor for Buffered<'_> {
    type Output = ();

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        let outcome = self.out.write_all(bytes);
        self.keep(outcome)
    }

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn finalize(mut self) -> postcard::Result<()> {
        let outcome = self.out.flush();
        self.keep(outcome)
    }
}

/// Reads a state that [`write_postcard`] wrote, from all of `input`.
///
/// # Errors
/// When `input` fails, or does not hold exactly one such state.
pub fn read_postcard<T: DeserializeOwned>(input: &mut dyn Read) -> Result<T, RestoreError> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    let (state, rest) = postcard::take_from_bytes(&bytes)
        .map_err(|error| RestoreError::Decode { detail: error.to_string() })?;
    if rest.is_empty() {
        return Ok(state);
    }
    Err(RestoreError::Decode { detail: format!("{} bytes are left over after the state", rest.len()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_and_nothing_may_follow_it() {
        let mut bytes = Vec::new();
        write_postcard(&vec![1_u32, 300], &mut bytes).expect("a vector");
        assert_eq!(bytes, [2, 1, 0xac, 0x02]);
        assert_eq!(read_postcard::<Vec<u32>>(&mut &bytes[..]).expect("the same"), [1, 300]);

        bytes.push(0);
        let error = read_postcard::<Vec<u32>>(&mut &bytes[..]).expect_err("a byte too many");
        assert_eq!(
            error.to_string(),
            "the snapshot cannot be decoded: 1 bytes are left over after the state"
        );
        let cut = read_postcard::<Vec<u32>>(&mut &bytes[..2]).expect_err("a byte too few");
        assert!(matches!(cut, RestoreError::Decode { .. }));
    }

    #[test]
    fn an_output_that_fails_is_reported() {
        let mut full = [0_u8; 2];
        let error = write_postcard(&"longer", &mut &mut full[..]).expect_err("no room");
        assert_eq!(error.kind(), std::io::ErrorKind::WriteZero);
    }
}
