//! From the chunks of a stream to frames.

use bytes::{Buf, Bytes, BytesMut};
use quorate::transport::MAX_FRAME_BYTES;

use super::LENGTH_BYTES;

/// How much memory is taken for a frame at once. Beyond it the buffer grows with what has arrived
/// and never with what was announced alone.
const GROWTH_BYTES: usize = 256 << 10;

/// A length that no frame may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadLength {
    Empty,
    TooLong(usize),
}

/// Cuts frames out of chunks. A frame that lies within one chunk is a slice of it; one that spans
/// several is copied together once.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    length: [u8; LENGTH_BYTES],
    length_filled: usize,
    /// The frame being put together, and how many bytes it still lacks.
    partial: Option<(BytesMut, usize)>,
}

impl Decoder {
    /// The next frame, or `None` when `chunk` is used up before one is complete.
    pub(super) fn next(&mut self, chunk: &mut Bytes) -> Result<Option<Bytes>, BadLength> {
        if self.partial.is_some() {
            return Ok(self.fill_partial(chunk));
        }
        let Some(len) = self.take_length(chunk)? else { return Ok(None) };
        if chunk.len() >= len {
            return Ok(Some(chunk.split_to(len)));
        }
        self.partial = Some((BytesMut::new(), len));
        Ok(self.fill_partial(chunk))
    }

    /// Whether the stream may end here.
    pub(super) fn is_between_frames(&self) -> bool {
        self.length_filled == 0 && self.partial.is_none()
    }

    fn take_length(&mut self, chunk: &mut Bytes) -> Result<Option<usize>, BadLength> {
        let taken = chunk.len().min(LENGTH_BYTES - self.length_filled);
        self.length[self.length_filled..self.length_filled + taken].copy_from_slice(&chunk[..taken]);
        chunk.advance(taken);
        self.length_filled += taken;
        if self.length_filled < LENGTH_BYTES {
            return Ok(None);
        }
        self.length_filled = 0;
        match u32::from_le_bytes(self.length) as usize {
            0 => Err(BadLength::Empty),
            len if len > MAX_FRAME_BYTES => Err(BadLength::TooLong(len)),
            len => Ok(Some(len)),
        }
    }

    fn fill_partial(&mut self, chunk: &mut Bytes) -> Option<Bytes> {
        let (frame, missing) = self.partial.as_mut()?;
        let taken = chunk.len().min(*missing);
        if frame.capacity() - frame.len() < taken {
            frame.reserve((*missing).min(frame.len().max(GROWTH_BYTES)).max(taken));
        }
        frame.extend_from_slice(&chunk[..taken]);
        chunk.advance(taken);
        *missing -= taken;
        if *missing > 0 {
            return None;
        }
        self.partial.take().map(|(frame, _)| frame.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(frames: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend((frame.len() as u32).to_le_bytes());
            bytes.extend(*frame);
        }
        bytes
    }

    fn decode(chunks: impl Iterator<Item = Bytes>) -> (Vec<Bytes>, Decoder) {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for mut chunk in chunks {
            while !chunk.is_empty() {
                frames.extend(decoder.next(&mut chunk).expect("good lengths"));
            }
        }
        (frames, decoder)
    }

    #[test]
    fn frames_do_not_depend_on_how_the_stream_is_cut() {
        let long = vec![7; 1000];
        let frames: [&[u8]; 4] = [b"a", b"bcd", &long, b"e"];
        let bytes = Bytes::from(encode(&frames));
        for size in 1..=bytes.len() {
            let (found, decoder) =
                decode((0..bytes.len()).step_by(size).map(|at| bytes.slice(at..bytes.len().min(at + size))));
            assert_eq!(found, frames, "in chunks of {size}");
            assert!(decoder.is_between_frames());
        }
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_shows() {
        let bytes = Bytes::from(encode(&[b"abc"]));
        for end in 1..bytes.len() {
            let (found, decoder) = decode(std::iter::once(bytes.slice(..end)));
            assert!(found.is_empty());
            assert!(!decoder.is_between_frames(), "cut after {end} bytes");
        }
    }

    #[test]
    fn bad_lengths_are_found_before_anything_else() {
        let next = |len: u32| Decoder::default().next(&mut Bytes::from(len.to_le_bytes().to_vec()));
        assert_eq!(next(0), Err(BadLength::Empty));
        assert_eq!(next(MAX_FRAME_BYTES as u32), Ok(None));
        assert_eq!(next(MAX_FRAME_BYTES as u32 + 1), Err(BadLength::TooLong(MAX_FRAME_BYTES + 1)));
        assert_eq!(next(u32::MAX), Err(BadLength::TooLong(u32::MAX as usize)));
    }

    #[test]
    fn memory_follows_what_arrived_and_not_what_was_announced() {
        let mut decoder = Decoder::default();
        let mut chunk = Bytes::from(encode(&[&vec![1; MAX_FRAME_BYTES]]));
        let mut first = chunk.split_to(LENGTH_BYTES + 1);
        assert_eq!(decoder.next(&mut first), Ok(None));
        let capacity = decoder.partial.as_ref().map_or(0, |(frame, _)| frame.capacity());
        assert!((1..=GROWTH_BYTES).contains(&capacity), "{capacity} bytes for one that arrived");
        let frame = decoder.next(&mut chunk).expect("a good length").expect("the rest of it");
        assert_eq!(frame.len(), MAX_FRAME_BYTES);
    }

    #[test]
    fn a_frame_within_a_chunk_is_not_copied() {
        let mut chunk = Bytes::from(encode(&[b"abcdef"]));
        let place = chunk[LENGTH_BYTES..].as_ptr();
        let frame = Decoder::default().next(&mut chunk).expect("a good length").expect("all there");
        assert_eq!(frame.as_ptr(), place);
    }

    /// Numbers that look random and are the same in every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % end as u64) as usize
        }
    }

    /// What a stream holds, found by looking at all of it at once.
    fn reference(mut bytes: &[u8]) -> (Vec<&[u8]>, Option<BadLength>) {
        let mut frames = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk() {
            match u32::from_le_bytes(*length) as usize {
                0 => return (frames, Some(BadLength::Empty)),
                len if len > MAX_FRAME_BYTES => return (frames, Some(BadLength::TooLong(len))),
                len if len > rest.len() => break,
                len => frames.push(&rest[..len]),
            }
            bytes = &rest[frames[frames.len() - 1].len()..];
        }
        (frames, None)
    }

    #[test]
    fn damaged_streams_cut_anywhere_give_what_the_whole_would() {
        let mut numbers = Numbers(0x5eed);
        let (mut good, mut bad) = (0, 0);
        for _ in 0..20_000 {
            let frames: Vec<_> =
                (0..numbers.below(6)).map(|at| vec![at as u8; 1 + numbers.below(300)]).collect();
            let frames: Vec<_> = frames.iter().map(|frame| &frame[..]).collect();
            let mut bytes = encode(&frames);
            for _ in 0..numbers.below(3).min(bytes.len()) {
                let at = numbers.below(bytes.len());
                bytes[at] ^= 1 << numbers.below(8);
            }
            bytes.truncate(bytes.len() - numbers.below(bytes.len().min(9) + 1));
            let (expected, fault) = reference(&bytes);

            let whole = Bytes::from(bytes.clone());
            let (mut decoder, mut found, mut failed, mut from) = (Decoder::default(), Vec::new(), None, 0);
            while from < whole.len() && failed.is_none() {
                let to = (from + 1 + numbers.below(40)).min(whole.len());
                let mut chunk = whole.slice(from..to);
                from = to;
                while !chunk.is_empty() && failed.is_none() {
                    match decoder.next(&mut chunk) {
                        Ok(frame) => found.extend(frame),
                        Err(fault) => failed = Some(fault),
                    }
                }
                let capacity = decoder.partial.as_ref().map_or(0, |(frame, _)| frame.capacity());
                assert!(capacity <= GROWTH_BYTES, "{capacity} bytes for {} that arrived", whole.len());
            }
            assert_eq!((found.iter().map(|frame| &frame[..]).collect(), failed), (expected, fault));
            *(if fault.is_some() { &mut bad } else { &mut good }) += 1;
        }
        assert!(good > 100 && bad > 100, "{good} sound and {bad} unsound: both kinds are tried");
    }
}
