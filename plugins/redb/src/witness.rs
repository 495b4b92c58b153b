//! `log.seen`: the number of the last commit of `log.redb` that was flushed.
//!
//! A bit that flips in what the last commit wrote, while the file is not closed, looks to redb like
//! a commit that a power cut tore: it goes back to the commit before, and what was acknowledged is
//! gone without a word. So every commit has a number, which is in the log, and once it is flushed
//! its number is added here. A log whose number is smaller than the last one here has lost a commit.
//!
//! While commits are made nothing here is flushed. After a death of the process all of it is there;
//! after a power cut it may lag, which proves less; it is never ahead. So whatever happens to it is no
//! harm: a record counts when its checksum is right, and a file without one says nothing. Only before
//! the log is opened what was seen is flushed: redb goes back to the commit before for good, and a power
//! cut after that must not take with it the only word of what was lost.
//!
//! It lags as well after it could not be written, on a full disk above all: for up to 64 commits, until
//! it is begun anew. Damage to the last commit in that time is taken for a torn write.
//!
//! `magic 8 | version u32 | disk id 16`, then records: `number u64 | crc32c u32` over the magic, the disk
//! id and the number, little endian. Numbers grow, but need not be neighbours. The disk id is that of
//! `NODE`, zeros as long as there is none: a file of another directory says nothing about this one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use quorate::types::DiskId;

use crate::hooks::{Files, WriteFile};

/// The file's name.
pub(crate) const NAME: &str = "log.seen";
/// Its name before it takes the place of an older one.
pub(crate) const TEMP: &str = "log.seen.tmp";

const MAGIC: [u8; 8] = *b"QUORSEEN";
const VERSION: u32 = 1;
const HEADER: u64 = 8 + 4 + 16;
const RECORD: usize = 8 + 4;
/// How long it gets before it is begun anew.
const MOST: u64 = 64 << 10;
/// The owner as long as none is recorded.
const NOBODY: DiskId = DiskId([0; 16]);
/// After a failure, how many commits pass before the next try.
const TRY_EVERY: u32 = 64;

/// What a witness says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The number of the last commit that it has seen flushed in this directory; 0 is none.
    pub(crate) number: u64,
    /// Whether it has seen one at all, here or elsewhere.
    pub(crate) any: bool,
}

/// What the witness in `dir` has seen, as far as it can tell, and flushes it. `owner` is whose the
/// directory is.
pub(crate) fn last_seen(files: &dyn Files, dir: &Path, owner: Option<DiskId>) -> Seen {
    let path = dir.join(NAME);
    let bytes = match read(files, &path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Seen::default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "it cannot be read, and is done without");
            return Seen::default();
        }
    };
    let owner = owner.unwrap_or(NOBODY);
    let Some((whose, number)) = last_record(&bytes) else { return Seen::default() };
    if whose != owner {
        tracing::warn!(path = %path.display(), "it is of another directory, and is done without");
        return Seen { number: 0, any: number.is_some() };
    }
    let Some(number) = number else { return Seen::default() };
    // The error that may follow does not depend on it.
    if let Err(error) = flush(files, dir, owner, number) {
        tracing::warn!(path = %path.display(), %error, "it is not flushed");
    }
    Seen { number, any: true }
}

/// Makes the last number survive a power cut.
fn flush(files: &dyn Files, dir: &Path, owner: DiskId, number: u64) -> io::Result<()> {
    let (mut file, _) = anew(files, dir, owner, number)?;
    file.sync()?;
    drop(file);
    put(files, dir)?;
    files.sync_dir(dir)
}

/// A new file with one record, and its length. It is not in its place yet.
fn anew(files: &dyn Files, dir: &Path, owner: DiskId, number: u64) -> io::Result<(Box<dyn WriteFile>, u64)> {
    let mut file = files.create(&dir.join(TEMP))?;
    let mut bytes = header(owner).to_vec();
    if number > 0 {
        bytes.extend(encode(owner, number));
    }
    file.append(&bytes)?;
    Ok((file, bytes.len() as u64))
}

fn put(files: &dyn Files, dir: &Path) -> io::Result<()> {
    files.rename(&dir.join(TEMP), &dir.join(NAME))
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

/// Whose the file is, and the greatest number of a record whose checksum is right: one that is torn or
/// damaged is passed over. `None` when this is not such a file of this version.
fn last_record(bytes: &[u8]) -> Option<(DiskId, Option<u64>)> {
    let (owner, records) = bytes.strip_prefix(&prefix()[..])?.split_first_chunk()?;
    let owner = DiskId(*owner);
    let numbers = records.chunks_exact(RECORD).filter_map(|record| decode(owner, record.first_chunk()?));
    Some((owner, numbers.max()))
}

fn prefix() -> [u8; 12] {
    let mut prefix = [0; 12];
    prefix[..MAGIC.len()].copy_from_slice(&MAGIC);
    prefix[MAGIC.len()..].copy_from_slice(&VERSION.to_le_bytes());
    prefix
}

fn header(owner: DiskId) -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    let (head, tail) = header.split_at_mut(prefix().len());
    head.copy_from_slice(&prefix());
    tail.copy_from_slice(&owner.0);
    header
}

fn encode(owner: DiskId, number: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    let (head, crc) = record.split_at_mut(8);
    head.copy_from_slice(&number.to_le_bytes());
    crc.copy_from_slice(&checksum(owner, head).to_le_bytes());
    record
}

fn decode(owner: DiskId, record: &[u8; RECORD]) -> Option<u64> {
    let (number, crc) = record.split_first_chunk::<8>()?;
    (checksum(owner, number).to_le_bytes() == crc).then(|| u64::from_le_bytes(*number))
}

fn checksum(owner: DiskId, number: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&MAGIC), &owner.0), number)
}

/// The witness, as the writer has it. No failure of it is one of a commit: it lags, and is begun
/// anew later.
pub(crate) struct Witness {
    files: Arc<dyn Files>,
    dir: PathBuf,
    /// Whose the directory is, once that is recorded.
    owner: Arc<OnceLock<DiskId>>,
    /// Whose the file is.
    written_for: DiskId,
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
    pub(crate) fn begin(
        files: Arc<dyn Files>,
        dir: &Path,
        owner: Arc<OnceLock<DiskId>>,
        number: u64,
    ) -> Self {
        let (dir, written_for) = (dir.to_owned(), NOBODY);
        let mut witness =
            Self { files, dir, owner, written_for, file: None, number, len: 0, most: MOST, wait: 0 };
        witness.tend();
        witness
    }

    /// Commit `number` is flushed.
    pub(crate) fn saw(&mut self, number: u64) {
        self.number = number;
        self.wait = self.wait.saturating_sub(1);
        if self.file.is_some() && self.written_for != self.owner() {
            // Once in the life of a directory: this is its first commit.
            self.file = None;
            return self.tend();
        }
        let Some(file) = &mut self.file else { return };
        match file.append(&encode(self.written_for, number)) {
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
        let owner = self.owner();
        let files = self.files.as_ref();
        let begun = anew(files, &self.dir, owner, self.number)
            .and_then(|begun| put(files, &self.dir).map(|()| begun));
        match begun {
            Ok((file, len)) => {
                (self.file, self.written_for) = (Some(file), owner);
                (self.len, self.most) = (len, MOST);
            }
            Err(error) => {
                tracing::warn!(%error, "log.seen is not begun anew");
                // The older one is in its place still, and goes on if it was sound.
                drop(self.files.remove(&self.dir.join(TEMP)));
                (self.wait, self.most) = (TRY_EVERY, self.len + MOST);
            }
        }
    }

    fn owner(&self) -> DiskId {
        self.owner.get().copied().unwrap_or(NOBODY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: DiskId = DiskId([0xd1; 16]);

    fn file(numbers: &[u64]) -> Vec<u8> {
        let mut bytes = header(OWNER).to_vec();
        bytes.extend(numbers.iter().flat_map(|number| encode(OWNER, *number)));
        bytes
    }

    fn numbers(bytes: &[u8]) -> Option<u64> {
        last_record(bytes).filter(|(owner, _)| *owner == OWNER)?.1
    }

    #[test]
    fn it_has_these_bytes() {
        let mut golden = b"QUORSEEN\x01\0\0\0".to_vec();
        golden.extend([0xd1; 16]);
        golden.extend(b"\x02\x01\0\0\0\0\0\0\x41\x1c\xdc\xb5");
        assert_eq!(file(&[0x0102]), golden);
        assert_eq!(last_record(&golden), Some((OWNER, Some(0x0102))));
    }

    #[test]
    fn the_last_sound_record_counts() {
        let bytes = file(&[5, 6, 9]);
        assert_eq!(numbers(&bytes), Some(9));
        let whole = HEADER as usize;
        for (len, last) in (0..=bytes.len()).map(|len| {
            let records = len.saturating_sub(whole) / RECORD;
            (len, [None, Some(5), Some(6), Some(9)][if len < whole { 0 } else { records }])
        }) {
            assert_eq!(numbers(&bytes[..len]), last, "{len} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let last = match bit / 8 {
                at if at < whole => None,
                at if at < whole + 2 * RECORD => Some(9),
                _ => Some(6),
            };
            assert_eq!(numbers(&flipped), last, "bit {bit}");
        }
    }

    #[test]
    fn junk_and_other_versions_say_nothing() {
        for junk in [&b""[..], b"junk", &[0; 4096], &[0xff; 4096]] {
            assert_eq!(numbers(junk), None, "{} bytes", junk.len());
            // Nor behind a sound header.
            assert_eq!(numbers(&[&header(OWNER)[..], junk].concat()), None, "{} bytes", junk.len());
        }
        let mut newer = file(&[5]);
        newer[8] = 2;
        assert_eq!(numbers(&newer), None);
        // The records of one file do not count behind the header of another.
        let other = [&header(DiskId([2; 16]))[..], &file(&[5])[HEADER as usize..]].concat();
        assert_eq!(last_record(&other), Some((DiskId([2; 16]), None)));
    }
}
