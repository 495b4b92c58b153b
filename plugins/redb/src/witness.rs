//! `log.seen`: the number of the last commit of `log.redb` that was flushed.
//!
//! A bit that flips in what the last commit wrote, while the file is not closed, looks to redb like
//! a commit that a power cut tore: it goes back to the commit before, and what was acknowledged is
//! gone without a word. So every commit has a number, which is in the log, and once it is flushed
//! its number is added here. A log whose number is smaller than the last one here has lost a commit.
//!
//! Nothing here is ever flushed. After a death of the process all of it is there; after a power cut
//! it may lag, which proves less; it is never ahead. So whatever happens to it is no harm: a record
//! counts when its checksum is right, and a file without one says nothing.
//!
//! `magic 8 | version u32`, then records: `number u64 | crc32c u32` over the magic and the number,
//! little endian. Numbers grow, but need not be neighbours.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::hooks::{Files, WriteFile};

/// The file's name.
pub(crate) const NAME: &str = "log.seen";
/// Its name before it takes the place of an older one.
pub(crate) const TEMP: &str = "log.seen.tmp";

const MAGIC: [u8; 8] = *b"QUORSEEN";
const VERSION: u32 = 1;
const HEADER: u64 = 8 + 4;
const RECORD: usize = 8 + 4;
/// How long it gets before it is begun anew.
const MOST: u64 = 64 << 10;
/// After a failure, how many commits pass before the next try.
const TRY_EVERY: u32 = 64;

/// The number of the last commit that the witness in `dir` has seen flushed, as far as it can tell.
pub(crate) fn last_seen(files: &dyn Files, dir: &Path) -> Option<u64> {
    let path = dir.join(NAME);
    match read(files, &path) {
        Ok(bytes) => last_record(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "it cannot be read, and is done without");
            None
        }
    }
}

/// The header, and as many of the last records as are ever needed.
fn read(files: &dyn Files, path: &Path) -> io::Result<Vec<u8>> {
    let mut file = files.open(path)?;
    let records = file.len()?.saturating_sub(HEADER) / RECORD as u64;
    let wanted = records.min(MOST / RECORD as u64);
    let mut bytes = vec![0; HEADER as usize + wanted as usize * RECORD];
    let (header, rest) = bytes.split_at_mut(HEADER as usize);
    file.read_at(0, header)?;
    file.read_at(HEADER + (records - wanted) * RECORD as u64, rest)?;
    Ok(bytes)
}

/// The greatest number of a record whose checksum is right: one that is torn or damaged is passed
/// over. `None` without one, or when this is not such a file of this version.
fn last_record(bytes: &[u8]) -> Option<u64> {
    let records = bytes.strip_prefix(&header()[..])?.chunks_exact(RECORD);
    records.filter_map(|record| decode(record.first_chunk()?)).max()
}

fn header() -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    header[..MAGIC.len()].copy_from_slice(&MAGIC);
    header[MAGIC.len()..].copy_from_slice(&VERSION.to_le_bytes());
    header
}

fn encode(number: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    let (head, crc) = record.split_at_mut(8);
    head.copy_from_slice(&number.to_le_bytes());
    crc.copy_from_slice(&checksum(head).to_le_bytes());
    record
}

fn decode(record: &[u8; RECORD]) -> Option<u64> {
    let (number, crc) = record.split_first_chunk::<8>()?;
    (checksum(number).to_le_bytes() == crc).then(|| u64::from_le_bytes(*number))
}

fn checksum(number: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&MAGIC), number)
}

/// The witness, as the writer has it. No failure of it is one of a commit: it lags, and is begun
/// anew later.
pub(crate) struct Witness {
    files: Arc<dyn Files>,
    dir: PathBuf,
    /// `None` after a failure: what a write that failed has left behind is not to be added to.
    file: Option<Box<dyn WriteFile>>,
    /// The last commit that was flushed.
    number: u64,
    /// How many bytes the file has, and at how many it is begun anew.
    len: u64,
    most: u64,
    /// How many commits pass before the next try to begin it.
    wait: u32,
}

impl Witness {
    /// Begins the file anew. Commit `number` is flushed; 0 is none.
    pub(crate) fn begin(files: Arc<dyn Files>, dir: &Path, number: u64) -> Self {
        let mut witness =
            Self { files, dir: dir.to_owned(), file: None, number, len: 0, most: MOST, wait: 0 };
        witness.tend();
        witness
    }

    /// Commit `number` is flushed.
    pub(crate) fn saw(&mut self, number: u64) {
        self.number = number;
        self.wait = self.wait.saturating_sub(1);
        let Some(file) = &mut self.file else { return };
        match file.append(&encode(number)) {
            Ok(()) => self.len += RECORD as u64,
            Err(error) => {
                tracing::warn!(%error, "log.seen lags");
                (self.file, self.wait) = (None, TRY_EVERY);
            }
        }
    }

    /// Begins the file anew when it has grown, or some time after a failure. Not while anyone waits
    /// for a commit.
    pub(crate) fn tend(&mut self) {
        if self.wait > 0 || (self.file.is_some() && self.len < self.most) {
            return;
        }
        match self.anew() {
            Ok(file) => {
                self.file = Some(file);
                (self.len, self.most) = (HEADER + RECORD as u64, MOST);
            }
            Err(error) => {
                tracing::warn!(%error, "log.seen is not begun anew");
                // The older one is in its place still, and goes on if it was sound.
                drop(self.files.remove(&self.dir.join(TEMP)));
                (self.wait, self.most) = (TRY_EVERY, self.len + MOST);
            }
        }
    }

    fn anew(&self) -> io::Result<Box<dyn WriteFile>> {
        let temp = self.dir.join(TEMP);
        let mut file = self.files.create(&temp)?;
        let mut bytes = header().to_vec();
        if self.number > 0 {
            bytes.extend(encode(self.number));
        }
        file.append(&bytes)?;
        self.files.rename(&temp, &self.dir.join(NAME))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(numbers: &[u64]) -> Vec<u8> {
        let mut bytes = header().to_vec();
        bytes.extend(numbers.iter().flat_map(|number| encode(*number)));
        bytes
    }

    #[test]
    fn it_has_these_bytes() {
        let golden = b"QUORSEEN\x01\0\0\0\x02\x01\0\0\0\0\0\0\x6e\x46\x2c\x39";
        assert_eq!(file(&[0x0102]), golden);
        assert_eq!(last_record(golden), Some(0x0102));
    }

    #[test]
    fn the_last_sound_record_counts() {
        let bytes = file(&[5, 6, 9]);
        assert_eq!(last_record(&bytes), Some(9));
        let whole = HEADER as usize;
        for (len, last) in (0..=bytes.len()).map(|len| {
            let records = len.saturating_sub(whole) / RECORD;
            (len, [None, Some(5), Some(6), Some(9)][if len < whole { 0 } else { records }])
        }) {
            assert_eq!(last_record(&bytes[..len]), last, "{len} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let last = match bit / 8 {
                at if at < whole => None,
                at if at < whole + 2 * RECORD => Some(9),
                _ => Some(6),
            };
            assert_eq!(last_record(&flipped), last, "bit {bit}");
        }
    }

    #[test]
    fn junk_and_other_versions_say_nothing() {
        for junk in [&b""[..], b"junk", &[0; 4096], &[0xff; 4096]] {
            assert_eq!(last_record(junk), None, "{} bytes", junk.len());
            // Nor behind a sound header.
            assert_eq!(last_record(&[&header()[..], junk].concat()), None, "{} bytes", junk.len());
        }
        let mut newer = file(&[5]);
        newer[8] = 2;
        assert_eq!(last_record(&newer), None);
    }
}
