//! Snapshots as files: written whole, then renamed.
//!
//! This folder owns `<dir>/snap`. A file is its bytes and a trailer with a checksum of them, under
//! a name such as `g0-T3-17.snap`; a file that is being written ends in `.tmp` and is removed by
//! the next open. It does not know what a snapshot holds.

mod reader;
mod trailer;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate::error::StorageError;
use quorate::storage::{SnapshotWriter, StoredSnapshot};
use quorate::types::{GroupId, LogId};

use self::reader::Reader;
use self::trailer::Trailer;
use self::writer::Writer;
use crate::hooks::Files;

/// The directory of the snapshots.
pub(crate) const DIR: &str = "snap";
const TEMP: &str = ".tmp";

/// The snapshots of one directory.
pub(crate) struct Snapshots {
    files: Arc<dyn Files>,
    dir: PathBuf,
    state: Mutex<State>,
    writers: AtomicU64,
}

struct State {
    open: bool,
    current: BTreeMap<GroupId, Current>,
}

/// The newest snapshot of a group.
enum Current {
    Whole(LogId),
    /// There is no whole one, and this is why.
    Damaged {
        name: String,
        detail: String,
    },
}

impl Snapshots {
    /// Chooses the newest whole snapshot of each group and removes what a crash left over. Call it
    /// with the directory locked.
    pub(crate) fn open(files: Arc<dyn Files>, dir: PathBuf) -> Result<Self, StorageError> {
        let io = |error| StorageError::io("list", dir.clone(), error);
        let mut found: BTreeMap<GroupId, Vec<LogId>> = BTreeMap::new();
        for name in files.list(&dir).map_err(io)? {
            if name.ends_with(TEMP) {
                files.remove(&dir.join(&name)).map_err(io)?;
            } else if let Some((group, covers)) = parse_name(&name) {
                found.entry(group).or_default().push(covers);
            }
        }
        let mut current = BTreeMap::new();
        for (group, mut covers) in found {
            covers.sort_unstable();
            current.insert(group, choose(files.as_ref(), &dir, group, &covers));
        }
        let state = Mutex::new(State { open: true, current });
        Ok(Self { files, dir, state, writers: AtomicU64::new(0) })
    }

    /// Whether there is a snapshot of any group, damaged ones included.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().current.is_empty()
    }

    /// Later commits fail.
    pub(crate) fn close(&self) {
        self.lock().open = false;
    }

    /// Opens the newest snapshot of `group`.
    pub(crate) fn read(&self, group: GroupId) -> Result<Option<StoredSnapshot>, StorageError> {
        // Locked until the file is open: a commit removes the older one.
        let state = self.lock();
        if !state.open {
            return Err(StorageError::Closed);
        }
        let covers = match state.current.get(&group) {
            None => return Ok(None),
            Some(Current::Whole(covers)) => *covers,
            Some(Current::Damaged { name, detail }) => {
                let what = self.dir.join(name).display().to_string();
                return Err(StorageError::Corrupt { what, detail: detail.clone() });
            }
        };
        let path = self.dir.join(name(group, covers));
        let (trailer, file) = Trailer::read(self.files.as_ref(), &path, group, covers)?;
        let reader = Box::new(Reader::new(file, path, &trailer));
        Ok(Some(StoredSnapshot { covers, len: trailer.len, reader }))
    }

    /// Begins a snapshot of `group`.
    pub(crate) fn write(self: &Arc<Self>, group: GroupId) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        if !self.lock().open {
            return Err(StorageError::Closed);
        }
        let number = self.writers.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{group}-{number}{TEMP}"));
        let file =
            self.files.create(&path).map_err(|error| StorageError::io("create", path.clone(), error))?;
        Ok(Box::new(Writer::new(self.clone(), group, path, file)))
    }

    /// Makes the whole file at `temp` the snapshot of `group`; `false` when a newer one is.
    fn commit(&self, group: GroupId, covers: LogId, temp: &Path) -> Result<bool, StorageError> {
        let mut state = self.lock();
        if !state.open {
            return Err(StorageError::Closed);
        }
        let older = match state.current.get(&group) {
            Some(Current::Whole(current)) if *current > covers => return Ok(false),
            Some(Current::Whole(current)) if *current == covers => None,
            Some(Current::Whole(current)) => Some(name(group, *current)),
            Some(Current::Damaged { name, .. }) => Some(name.clone()),
            None => None,
        };
        let path = self.dir.join(name(group, covers));
        let renamed = self.files.rename(temp, &path).and_then(|()| self.files.sync_dir(&self.dir));
        renamed.map_err(|error| StorageError::io("commit", path.clone(), error))?;
        state.current.insert(group, Current::Whole(covers));
        if let Some(older) = older.map(|name| self.dir.join(name)).filter(|older| *older != path) {
            remove(self.files.as_ref(), &older);
        }
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest whole one of `covers`, which is in order and not empty. Removes those older than it;
/// newer ones that are damaged stay for someone to look at.
fn choose(files: &dyn Files, dir: &Path, group: GroupId, covers: &[LogId]) -> Current {
    let mut damage = None;
    for (at, candidate) in covers.iter().enumerate().rev() {
        let name = name(group, *candidate);
        match Trailer::read(files, &dir.join(&name), group, *candidate) {
            Ok(_) => {
                covers[..at].iter().for_each(|older| remove(files, &dir.join(self::name(group, *older))));
                return Current::Whole(*candidate);
            }
            Err(error) => {
                tracing::error!(%error, "a snapshot is damaged");
                damage.get_or_insert((name, error.to_string()));
            }
        }
    }
    let (name, detail) = damage.expect("there is a candidate, and none was whole");
    Current::Damaged { name, detail }
}

fn remove(files: &dyn Files, path: &Path) {
    if let Err(error) = files.remove(path) {
        // It takes space and nothing else; the next open tries again.
        tracing::warn!(%error, path = %path.display(), "an older snapshot stays");
    }
}

fn name(group: GroupId, covers: LogId) -> String {
    format!("{group}-{covers}.snap")
}

fn parse_name(text: &str) -> Option<(GroupId, LogId)> {
    let (group, covers) = text.strip_suffix(".snap")?.strip_prefix('g')?.split_once("-T")?;
    let (term, index) = covers.split_once('-')?;
    let (group, covers) = (GroupId(group.parse().ok()?), LogId::new(term.parse().ok()?, index.parse().ok()?));
    // A name that is written in another way, as `g01-...`, is none of ours.
    (name(group, covers) == text).then_some((group, covers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_the_file_covers() {
        assert_eq!(name(GroupId(0), LogId::new(3, 17)), "g0-T3-17.snap");
        assert_eq!(parse_name("g0-T3-17.snap"), Some((GroupId(0), LogId::new(3, 17))));
        for other in ["g0-T3-17", "g00-T3-17.snap", "0-T3-17.snap", "g0-T3-17.snap.tmp", "g0-3-17.snap"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
