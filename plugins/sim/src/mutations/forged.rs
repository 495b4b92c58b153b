//! What a node would take that passes over a check: an entry or a frame with another content, and
//! everything around that content as it should be.
//!
//! The places are those of the formats, which golden bytes in the framework hold.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Mutation;
use crate::trace::Digest;
use crate::wire::Forger;

const COMMANDS: u8 = 2;
const FLAGS_AT: usize = 2;
const INDEX_AT: usize = 20;
const ENTRY_HEADER: usize = 40;
const CHECKSUM: usize = 4;

const REQUEST: u8 = 3;
const REPLY: u8 = 4;
const APPEND: u8 = 5;
const FRAME_HEADER: usize = 10;
/// Behind the header of a frame and the correlation of a request or reply: what is called, or the status.
const CALL_AT: usize = FRAME_HEADER + 8;
const CALL_BODY_AT: usize = CALL_AT + 1;
const VOTE_BYTES: usize = 17;
const GRANTED_AT: usize = CALL_BODY_AT + VOTE_BYTES;
const VOTE: u8 = 1;
const PRE_VOTE: u8 = 2;

fn number<const BYTES: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at + BYTES)?;
    Some(field.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// Where the first command of an entry stands; `None` when it has none.
fn first_command(entry: &[u8]) -> Option<std::ops::Range<usize>> {
    if *entry.get(1)? != COMMANDS {
        return None;
    }
    let flags = entry.get(FLAGS_AT)?;
    let before = if flags & 1 == 0 { 0 } else { 24 } + if flags & 2 == 0 { 0 } else { 16 };
    let start = ENTRY_HEADER + before + 4;
    let end = start + number::<4>(entry, start - 4)? as usize;
    (start < end && end + CHECKSUM <= entry.len()).then_some(start..end)
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ 0x82f6_3b78 };
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

/// The same entry with one bit of its first command flipped, and a checksum that is right.
fn flipped(entry: &[u8], bit: impl FnOnce(u64) -> u64) -> Option<Vec<u8>> {
    let command = first_command(entry)?;
    let bit = bit(command.len() as u64 * 8) as usize;
    let mut forged = entry.to_vec();
    forged[command.start + bit / 8] ^= 1 << (bit % 8);
    let end = forged.len() - CHECKSUM;
    let sum = crc32c(&forged[..end]).to_le_bytes();
    forged[end..].copy_from_slice(&sum);
    Some(forged)
}

/// What a disk with flipped bits gives for an entry when nobody compares checksums. One in eight is
/// damaged, the same ones each time.
pub(crate) fn rotten(entry: &Bytes) -> Bytes {
    let hash = Digest::of(entry);
    if !hash.is_multiple_of(8) {
        return entry.clone();
    }
    flipped(entry, |bits| hash / 8 % bits).map_or_else(|| entry.clone(), Bytes::from)
}

/// What becomes of the frames of a run with this bug; `None` when they are left alone.
pub(crate) fn forger(mutation: Mutation) -> Option<Forger> {
    match mutation {
        Mutation::OtherGroupAccepted => Some(Box::new(|_, frame| of_another_group(frame))),
        Mutation::RefusalIsAVote => {
            let mut asked = BTreeMap::new();
            Some(Box::new(move |stream, frame| granted(&mut asked, stream, frame)))
        }
        _ => None,
    }
}

/// The append of another group that stands at the same place in its log: some of its commands are
/// others.
fn of_another_group(frame: &Bytes) -> Option<Bytes> {
    if *frame.get(1)? != APPEND {
        return None;
    }
    let option = |at: usize| Some(at + if *frame.get(at)? == 0 { 1 } else { 17 });
    let mut at = option(option(FRAME_HEADER + VOTE_BYTES)?)?;
    let count = number::<4>(frame, at)?;
    at += 4;
    let mut forged = None;
    for _ in 0..count {
        let entry = at + 4..at + 4 + number::<4>(frame, at)? as usize;
        at = entry.end;
        let bytes = frame.get(entry.clone())?;
        if number::<8>(bytes, INDEX_AT)? % 32 == 31
            // In the tag of the command, so that it is a command.
            && let Some(other) = flipped(bytes, |_| 40)
        {
            forged.get_or_insert_with(|| frame.to_vec())[entry].copy_from_slice(&other);
        }
    }
    forged.map(Bytes::from)
}

type Asked = BTreeMap<(u64, u64), (u8, Bytes)>;

/// The answer to a vote or pre-vote as it would be if it were granted.
fn granted(asked: &mut Asked, stream: u64, frame: &Bytes) -> Option<Bytes> {
    let correlation = number::<8>(frame, FRAME_HEADER)?;
    let what = *frame.get(CALL_AT)?;
    match *frame.get(1)? {
        REQUEST if (what == VOTE || what == PRE_VOTE) && frame.len() >= GRANTED_AT => {
            asked.insert((stream, correlation), (what, frame.slice(CALL_BODY_AT..GRANTED_AT)));
            None
        }
        REPLY => {
            let (call, vote) = asked.remove(&(stream, correlation))?;
            if what != 0 || frame.get(GRANTED_AT) != Some(&0) {
                return None;
            }
            let mut forged = frame.to_vec();
            forged[GRANTED_AT] = 1;
            if call == VOTE {
                forged[CALL_BODY_AT..GRANTED_AT].copy_from_slice(&vote);
            }
            Some(forged.into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of one command, as golden bytes in the framework have it.
    fn entry(index: u64, command: &[u8]) -> Vec<u8> {
        let mut bytes = vec![1, COMMANDS, 0, 0];
        for field in [0, 3, index, 9] {
            bytes.extend(u64::to_le_bytes(field));
        }
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend((command.len() as u32).to_le_bytes());
        bytes.extend(command);
        bytes.extend(crc32c(&bytes).to_le_bytes());
        bytes
    }

    fn is_whole(entry: &[u8]) -> bool {
        let (content, sum) = entry.split_at(entry.len() - CHECKSUM);
        crc32c(content).to_le_bytes() == *sum
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_rotten_entry_is_whole_and_another_and_most_are_sound() {
        let entries: Vec<Bytes> = (0..800).map(|index| entry(index, b"a command").into()).collect();
        let damaged: Vec<_> = entries.iter().filter(|entry| rotten(entry) != *entry).collect();
        assert!((50..150).contains(&damaged.len()), "{}", damaged.len());
        for entry in damaged {
            let found = rotten(entry);
            let differ = found.iter().zip(entry).filter(|(a, b)| a != b);
            let places: Vec<usize> = differ.map(|(a, b)| (a ^ b).count_ones() as usize).collect();
            assert!(is_whole(&found) && found.len() == entry.len() && places[0] == 1, "{places:?}");
        }
        let blank = Bytes::from(vec![0; ENTRY_HEADER + CHECKSUM]);
        assert_eq!(rotten(&blank), blank);
    }

    #[test]
    fn an_append_of_another_group_has_other_commands_and_is_whole() {
        let mut frame = vec![1, APPEND];
        frame.extend([0; 8 + VOTE_BYTES]);
        frame.push(1);
        frame.extend([7; 16]);
        frame.push(0);
        frame.extend(2_u32.to_le_bytes());
        let mut starts = Vec::new();
        for index in [30, 31] {
            let entry = entry(index, b"12345678rest");
            frame.extend((entry.len() as u32).to_le_bytes());
            starts.push(frame.len()..frame.len() + entry.len());
            frame.extend(entry);
        }
        let frame = Bytes::from(frame);
        let forged = of_another_group(&frame).expect("an entry of it is another");
        assert_eq!(forged[..starts[1].start], frame[..starts[1].start]);
        assert!(
            forged[starts[1].clone()] != frame[starts[1].clone()] && is_whole(&forged[starts[1].clone()])
        );
        assert_eq!(of_another_group(&frame.slice(..frame.len() - 1)), None);
    }

    #[test]
    fn a_vote_that_is_refused_comes_back_as_it_was_asked_for() {
        let message = |kind, what, vote: u8, granted: &[u8]| {
            let mut bytes = vec![1, kind];
            bytes.extend([0; 8]);
            bytes.extend(7_u64.to_le_bytes());
            bytes.push(what);
            bytes.extend([vote; VOTE_BYTES]);
            bytes.extend(granted);
            Bytes::from(bytes)
        };
        let mut asked = Asked::new();
        assert_eq!(granted(&mut asked, 1, &message(REQUEST, VOTE, 5, &[])), None);
        assert_eq!(granted(&mut asked, 2, &message(REPLY, 0, 6, &[0])), None, "another stream");
        let forged = granted(&mut asked, 1, &message(REPLY, 0, 6, &[0, 9]));
        assert_eq!(forged, Some(message(REPLY, 0, 5, &[1, 9])));
        assert_eq!(granted(&mut asked, 1, &message(REPLY, 0, 6, &[0])), None, "it is answered");
    }
}
