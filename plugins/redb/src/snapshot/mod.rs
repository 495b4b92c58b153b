//! Snapshots as files: written whole, then renamed.
//!
//! This folder owns `<dir>/snap`. A file is its bytes and a trailer with a checksum of them, under
//! a name such as `g0-T3-17.snap`; a file that is being written ends in `.tmp` and is removed by
//! the next open. One that another node sends ends in `.part`: a transfer that broke off goes on with
//! it, until this node has come as far by itself, or space is short. It does not know what a snapshot
//! holds.

mod partial;
mod reader;
mod trailer;
mod writer;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate::error::StorageError;
use quorate::storage::{ResumedSnapshot, SnapshotId, SnapshotWriter, StoredSnapshot};
use quorate::types::{GroupId, LogId};

use self::partial::Kept;
use self::reader::Reader;
use self::trailer::Trailer;
use self::writer::{TakenOver, Writer};
use crate::hooks::Files;

/// The directory of the snapshots.
pub(crate) const DIR: &str = "snap";
const TEMP: &str = ".tmp";

/// The snapshots of one directory.
pub(crate) struct Snapshots {
    files: Arc<dyn Files>,
    dir: PathBuf,
    /// How many bytes of space no snapshot takes: the log needs them.
    floor: u64,
    state: Mutex<State>,
    writers: AtomicU64,
}

struct State {
    open: bool,
    current: BTreeMap<GroupId, Current>,
    /// What there is of snapshots that may be gone on with.
    partial: BTreeMap<GroupId, Partial>,
}

/// Part of a snapshot.
struct Partial {
    /// What it is to cover.
    covers: LogId,
    name: String,
    /// Who writes it.
    owner: Option<u64>,
}

impl State {
    fn owner(&self, group: GroupId) -> Option<u64> {
        self.partial.get(&group).and_then(|partial| partial.owner)
    }

    fn check_owner(&self, group: GroupId, owner: Option<u64>) -> Result<(), StorageError> {
        if owner.is_some() && self.owner(group) != owner {
            return Err(StorageError::plugin("commit a snapshot", TakenOver));
        }
        Ok(())
    }

    /// Takes out those that nobody writes and that are of no more use.
    fn take_useless(&mut self, useless: impl Fn(GroupId, &Partial) -> bool) -> Vec<String> {
        let useless =
            |group: &GroupId, partial: &mut Partial| partial.owner.is_none() && useless(*group, partial);
        self.partial.extract_if(.., useless).map(|(_, partial)| partial.name).collect()
    }

    /// The same, once there is a snapshot of `group`.
    fn take_overtaken(&mut self, group: GroupId) -> Vec<String> {
        let Some(Current::Whole(whole)) = self.current.get(&group) else { return Vec::new() };
        let whole = *whole;
        self.take_useless(|of, partial| of == group && partial.covers <= whole)
    }
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
    pub(crate) fn open(files: Arc<dyn Files>, dir: PathBuf, floor: u64) -> Result<Self, StorageError> {
        let io = |error| StorageError::io("list", dir.clone(), error);
        let mut found: BTreeMap<GroupId, Vec<LogId>> = BTreeMap::new();
        let mut parts = Vec::new();
        for name in files.list(&dir).map_err(io)? {
            if name.ends_with(TEMP) {
                files.remove(&dir.join(&name)).map_err(io)?;
            } else if let Some((group, covers)) = parse_name(&name) {
                found.entry(group).or_default().push(covers);
            } else if let Some((group, covers)) = partial::parse_name(&name) {
                parts.push((group, covers, name));
            }
        }
        let mut current = BTreeMap::new();
        for (group, mut covers) in found {
            covers.sort_unstable();
            current.insert(group, choose(files.as_ref(), &dir, group, &covers));
        }
        let mut state = State { open: true, current, partial: BTreeMap::new() };
        for (group, covers, name) in parts {
            let name = name.strip_suffix(partial::KEPT).unwrap_or(&name).to_owned();
            let other = state.partial.insert(group, Partial { covers, name: name.clone(), owner: None });
            if let Some(other) = other.filter(|other| other.name != name) {
                remove_part(files.as_ref(), &dir, &other.name);
            }
        }
        let groups: Vec<GroupId> = state.partial.keys().copied().collect();
        for name in groups.into_iter().flat_map(|group| state.take_overtaken(group)) {
            // What is whole has come in another way.
            remove_part(files.as_ref(), &dir, &name);
        }
        Ok(Self { files, dir, floor, state: Mutex::new(state), writers: AtomicU64::new(0) })
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
        let reader = Box::new(Reader::new(file, path, trailer.len, trailer.crc).with_fingerprint()?);
        Ok(Some(StoredSnapshot { covers, len: trailer.len, reader }))
    }

    /// Removes the newest snapshot of `group` if it covers `upto` or less. A power cut may bring it back.
    pub(crate) fn remove_upto(&self, group: GroupId, upto: LogId) -> Result<(), StorageError> {
        let mut state = self.lock();
        if !state.open {
            return Err(StorageError::Closed);
        }
        let Some(Current::Whole(covers)) = state.current.get(&group) else { return Ok(()) };
        if *covers > upto {
            return Ok(());
        }
        let path = self.dir.join(name(group, *covers));
        self.files.remove(&path).map_err(|error| StorageError::io("remove", path, error))?;
        state.current.remove(&group);
        Ok(())
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
        Ok(Box::new(Writer::new(self.clone(), group, number, path, file)))
    }

    /// Goes on with what there is of the snapshot `id` of `group`, or begins it. Takes over from
    /// whoever writes it still, and removes what there is of another.
    pub(crate) fn resume(
        self: &Arc<Self>,
        group: GroupId,
        id: &SnapshotId,
    ) -> Result<ResumedSnapshot, StorageError> {
        let mut state = self.lock();
        if !state.open {
            return Err(StorageError::Closed);
        }
        let io = |error| StorageError::io("list", self.dir.clone(), error);
        let there = self.files.list(&self.dir).map_err(io)?;
        let number = self.writers.fetch_add(1, Ordering::Relaxed);
        let name = partial::name(group, id);
        let partial = Partial { covers: id.covers, name: name.clone(), owner: Some(number) };
        state.partial.insert(group, partial);
        for other in there {
            let same = other.strip_suffix(partial::KEPT).unwrap_or(&other) == name;
            if !same && partial::parse_name(&other).is_some_and(|(of, _)| of == group) {
                remove(self.files.as_ref(), &self.dir.join(other));
            }
        }
        let begun = self.begin_part(group, id, number, &name);
        if begun.is_err() {
            // There is no writer that would let go of it.
            self.let_go(&mut state, group, number);
        }
        begun
    }

    /// Writer `number` of the file `name`, the part of the snapshot `id` of `group`, which it has now. Under
    /// the lock.
    fn begin_part(
        self: &Arc<Self>,
        group: GroupId,
        id: &SnapshotId,
        number: u64,
        name: &str,
    ) -> Result<ResumedSnapshot, StorageError> {
        let path = self.dir.join(name);
        let io = |doing| {
            let path = path.clone();
            move |error| StorageError::io(doing, path, error)
        };
        let kept = Kept::read(self.files.as_ref(), &path).filter(|kept| kept.len <= id.len);
        if kept.is_some() {
            // Whoever wrote the record may have died before its name was flushed.
            self.files.sync_dir(&self.dir).map_err(io("flush"))?;
        }
        match kept.map(|kept| (kept, self.files.resume(&path, kept.len))) {
            Some((kept, Ok(file))) => {
                let held = self.files.open(&path).map_err(io("read"))?;
                let held = Box::new(Reader::new(held, path.clone(), kept.len, kept.crc));
                let writer = Writer::new(self.clone(), group, number, path, file).after(kept);
                return Ok(ResumedSnapshot { writer: Box::new(writer), held });
            }
            Some((_, Err(error))) if error.kind() != ErrorKind::Unsupported => {
                return Err(io("go on with")(error));
            }
            _ => {}
        }
        let file = self.files.create(&path).map_err(io("create"))?;
        let nothing = Kept { len: 0, crc: crc32c::crc32c(&[]) };
        let writer = Writer::new(self.clone(), group, number, path, file).after(nothing);
        Ok(ResumedSnapshot::fresh(Box::new(writer)))
    }

    /// Calls `f` while nobody can take over from writer `owner`, if nobody has.
    fn owned<T>(
        &self,
        group: GroupId,
        owner: Option<u64>,
        f: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let state = self.lock();
        state.check_owner(group, owner)?;
        f()
    }

    /// Whether writer `number` is the last that was given the part of a snapshot of `group`.
    fn owns(&self, group: GroupId, number: u64) -> bool {
        self.lock().owner(group) == Some(number)
    }

    /// Writer `number` is gone; what it wrote stays while it is of use.
    fn release(&self, group: GroupId, number: u64) {
        self.let_go(&mut self.lock(), group, number);
    }

    fn let_go(&self, state: &mut State, group: GroupId, number: u64) {
        if let Some(partial) = state.partial.get_mut(&group).filter(|partial| partial.owner == Some(number)) {
            partial.owner = None;
            self.remove_parts(state.take_overtaken(group));
        }
    }

    /// Removes the part of a snapshot of `group` at `path` that writer `number` has, and its record. Does
    /// nothing once another has taken over.
    fn remove_partial(&self, group: GroupId, number: u64, path: &Path) {
        let mut state = self.lock();
        if state.owner(group) != Some(number) {
            return;
        }
        state.partial.remove(&group);
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            remove_part(self.files.as_ref(), &self.dir, name);
        }
    }

    /// Under the lock: nobody goes on with one of them meanwhile.
    fn remove_parts(&self, names: Vec<String>) {
        for name in names {
            remove_part(self.files.as_ref(), &self.dir, &name);
        }
    }

    /// The log of `group` was purged up to `upto`: this node has come so far without the part of a
    /// snapshot that it may have.
    pub(crate) fn passed(&self, group: GroupId, upto: u64) {
        let mut state = self.lock();
        self.remove_parts(
            state.take_useless(|of, partial| of == group && partial.covers.index.get() <= upto),
        );
    }

    /// Space is short: removes the parts of snapshots that nobody writes. Whether there were any.
    pub(crate) fn give_up_parts(&self) -> bool {
        let mut state = self.lock();
        let names = state.take_useless(|_, _| true);
        let any = !names.is_empty();
        self.remove_parts(names);
        any
    }

    /// How many bytes a snapshot that arrives may take, when that is known. What there is of one is among
    /// them: whoever resumes the next one of its group goes on with it, or removes it, and any other that
    /// finds no room removes what nobody writes.
    pub(crate) fn room(&self) -> Option<u64> {
        // Nobody removes one, or goes on with it, between the two looks.
        let state = self.lock();
        // In this order: what is written meanwhile may count twice, and never not at all.
        let available = self.files.available(&self.dir).ok()?;
        let len = |name: &String| self.files.open(&self.dir.join(name)).and_then(|file| file.len());
        let there: u64 = state.partial.values().filter_map(|partial| len(&partial.name).ok()).sum();
        Some(available.saturating_add(there).saturating_sub(self.floor))
    }

    /// How many bytes more may be written of a snapshot, when that is known.
    fn free(&self) -> Option<u64> {
        self.files.available(&self.dir).ok().map(|available| available.saturating_sub(self.floor))
    }

    /// Fails when a snapshot would take the space that the log needs. What nobody writes of others goes
    /// before that.
    fn check_room(&self, bytes: usize) -> Result<(), StorageError> {
        // Where it is not known, the write says that there is none.
        let lacks = || self.free().is_some_and(|free| free < bytes as u64);
        if lacks() {
            self.give_up_parts();
            // Also when others have done that meanwhile.
            if lacks() {
                return Err(StorageError::Full { doing: "write a snapshot" });
            }
        }
        Ok(())
    }

    /// Makes the whole file at `temp` the snapshot of `group`; `false` when a newer one is. Writer
    /// `owner` must still be the one who has the file.
    fn commit(
        &self,
        group: GroupId,
        covers: LogId,
        temp: &Path,
        owner: Option<u64>,
    ) -> Result<bool, StorageError> {
        let mut state = self.lock();
        if !state.open {
            return Err(StorageError::Closed);
        }
        state.check_owner(group, owner)?;
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
        self.remove_parts(state.take_overtaken(group));
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
        tracing::warn!(%error, path = %path.display(), "a file of no use stays");
    }
}

/// Removes the part of a snapshot that has this name, and its record.
fn remove_part(files: &dyn Files, dir: &Path, name: &str) {
    let there = files.list(dir).unwrap_or_default();
    for path in [dir.join(name), partial::kept_path(&dir.join(name))] {
        let name = path.file_name().and_then(|name| name.to_str());
        if there.iter().any(|there| Some(there.as_str()) == name) {
            remove(files, &path);
        }
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
    use bytes::Bytes;
    use futures::executor::block_on;

    use super::*;
    use crate::hooks::StdFiles;

    #[test]
    fn a_part_that_another_writer_has_taken_over_is_not_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Snapshots::open(Arc::new(StdFiles), dir.path().to_owned(), 0).expect("an empty one");
        let (store, group) = (Arc::new(store), GroupId(0));
        let id = SnapshotId { covers: LogId::new(1, 9), len: 100, fingerprint: 7 };
        let first = store.resume(group, &id).expect("a sound disk").writer;
        let mut second = store.resume(group, &id).expect("a sound disk").writer;
        block_on(second.write(Bytes::from_static(b"ten bytes."))).expect("it has taken over");
        let path = dir.path().join(partial::name(group, &id));
        // So does the first when it was asked who has the file just before the second took it.
        store.remove_partial(group, 0, &path);
        assert!(path.exists(), "the second writes it");
        block_on(second.write(Bytes::from_static(b"ten bytes."))).expect("it has it still");
        drop(first);
        store.remove_partial(group, 1, &path);
        assert!(!path.exists(), "its own");
    }

    #[test]
    fn a_name_says_what_the_file_covers() {
        assert_eq!(name(GroupId(0), LogId::new(3, 17)), "g0-T3-17.snap");
        assert_eq!(parse_name("g0-T3-17.snap"), Some((GroupId(0), LogId::new(3, 17))));
        for other in ["g0-T3-17", "g00-T3-17.snap", "0-T3-17.snap", "g0-T3-17.snap.tmp", "g0-3-17.snap"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
