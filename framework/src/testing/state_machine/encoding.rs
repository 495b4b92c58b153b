//! Cases about commands and queries as bytes.

use super::replica::{decode, encode};
use super::{MachineHarness, run};
use crate::state_machine::{DecodeError, StateMachine, Wire};
use crate::testing::Seeded;

type Command<H> = <<H as MachineHarness>::Machine as StateMachine>::Command;
type Query<H> = <<H as MachineHarness>::Machine as StateMachine>::Query;

/// Decodes bytes that nobody encoded. If they are a value, then one with their own id. (Its bytes
/// may still differ: a number can be written in more ways than one.)
fn decode_any<W: Wire>(bytes: &[u8]) -> Result<W, DecodeError> {
    let value = W::decode(bytes)?;
    let (label, id) = (value.label(), &bytes[..2]);
    assert!(encode(&value).starts_with(id), "id {id:?} was taken for `{label}`, which has another id");
    Ok(value)
}

fn assert_comes_back<W: Wire>(mut draw: impl FnMut() -> Option<W>, what: &str) {
    for _ in 0..300 {
        let Some(value) = draw() else { return };
        let bytes = encode(&value);
        let label = value.label();
        assert!(bytes == encode(&value), "`{label}` is encoded differently each time");
        let again = decode::<W>(&bytes, what);
        assert_eq!(again.label(), label, "{what} comes back as another one");
        assert!(encode(&again) == bytes, "`{label}` comes back with other arguments");
    }
}

/// Every command comes back from its bytes.
pub fn commands_come_back_from_their_bytes<H: MachineHarness>() {
    run::<H>("commands_come_back_from_their_bytes", || {
        let mut rng = Seeded::announced();
        assert_comes_back(|| Some(H::command(&mut rng)), "a command");
    });
}

/// Every query comes back from its bytes.
pub fn queries_come_back_from_their_bytes<H: MachineHarness>() {
    run::<H>("queries_come_back_from_their_bytes", || {
        let mut rng = Seeded::announced();
        assert_comes_back(|| H::query(&mut rng), "a query");
    });
}

fn assert_too_short_is_refused<W: Wire>(what: &str) {
    for short in [&[][..], &[1]] {
        assert!(W::decode(short).is_err(), "{short:?} has no room for the id of {what}");
    }
}

fn assert_unknown_ids_are_refused<W: Wire>(rng: &mut Seeded, what: &str, has_any: bool) {
    let mut unknown = 0;
    for id in 0..=u16::MAX {
        for arguments in [rng.bytes(0..1), rng.bytes(1..2), rng.bytes(2..80)] {
            let bytes = [&id.to_le_bytes()[..], &arguments].concat();
            if let Err(DecodeError::UnknownId { id: named, .. }) = decode_any::<W>(&bytes) {
                assert_eq!(named, id, "the error names another id");
                unknown += 1;
            }
        }
    }
    assert!(unknown > 0, "no id of {what} is ever refused as unknown");
    assert!(!has_any || unknown < 3 * 0x1_0000, "every id of {what} is refused as unknown");
    assert_too_short_is_refused::<W>(what);
}

/// A command or query with an unknown id is an error that names it, never skipped or taken for
/// another.
pub fn unknown_ids_are_refused<H: MachineHarness>() {
    run::<H>("unknown_ids_are_refused", || {
        let mut rng = Seeded::announced();
        assert_unknown_ids_are_refused::<Command<H>>(&mut rng, "a command", true);
        let has_queries = H::query(&mut rng).is_some();
        assert_unknown_ids_are_refused::<Query<H>>(&mut rng, "a query", has_queries);
    });
}

fn assert_leftovers_are_refused<W: Wire>(bytes: &[u8]) {
    for more in [&[0][..], &[1], &[0xff; 9]] {
        // Refused, or by chance part of an argument; never ignored.
        if let Ok(value) = decode_any::<W>(&[bytes, more].concat()) {
            let label = value.label();
            assert!(encode(&value) != bytes, "{more:?} behind the last argument of `{label}` was ignored");
        }
    }
}

/// Bytes behind the last argument are never ignored.
pub fn leftover_bytes_are_refused<H: MachineHarness>() {
    run::<H>("leftover_bytes_are_refused", || {
        let mut rng = Seeded::announced();
        for _ in 0..300 {
            assert_leftovers_are_refused::<Command<H>>(&encode(&H::command(&mut rng)));
            if let Some(query) = H::query(&mut rng) {
                assert_leftovers_are_refused::<Query<H>>(&encode(&query));
            }
        }
    });
}

fn assert_cuts_do_not_panic<W: Wire>(bytes: &[u8], rng: &mut Seeded) {
    assert!(bytes.len() >= 2, "an id has two bytes, and there are only {bytes:?}");
    for _ in 0..10 {
        let cut = rng.draw(2..bytes.len().max(3) as u64) as usize;
        let _ = decode_any::<W>(&bytes[..cut.min(bytes.len())]);
    }
}

/// Bytes that end too early are an error or, by chance, another value; never a panic.
pub fn cut_bytes_do_not_panic<H: MachineHarness>() {
    run::<H>("cut_bytes_do_not_panic", || {
        let mut rng = Seeded::announced();
        for _ in 0..300 {
            let command = encode(&H::command(&mut rng));
            assert_cuts_do_not_panic::<Command<H>>(&command, &mut rng);
            if let Some(query) = H::query(&mut rng) {
                assert_cuts_do_not_panic::<Query<H>>(&encode(&query), &mut rng);
            }
        }
    });
}
