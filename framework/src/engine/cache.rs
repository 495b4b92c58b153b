//! Recent entries in memory, bounded by bytes: what replication and apply read.
//!
//! An entry that is not flushed yet stays, whatever the bound, so that the log never shows a hole:
//! a storage need not show what it has only queued.

use std::collections::VecDeque;

use super::types::Entry;

/// Consecutive entries at the end of the log.
#[derive(Debug)]
pub(super) struct Cache {
    entries: VecDeque<Entry>,
    /// The index of the first one; of the next to come when there is none.
    first: u64,
    bytes: usize,
    max_bytes: usize,
    /// Every entry before this index is on the disk.
    flushed_end: u64,
}

/// What an entry costs beside its encoded bytes.
const OVERHEAD: usize = size_of::<Entry>();

impl Cache {
    /// An empty cache of a log that goes on at `end`, all of it flushed.
    pub(super) fn new(end: u64, max_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), first: end, bytes: 0, max_bytes, flushed_end: end }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Every entry before this index is on the disk.
    pub(super) fn flushed_end(&self) -> u64 {
        self.flushed_end
    }

    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Adds the next entry.
    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.is_empty() {
            self.first = entry.log_id.index;
        }
        assert_eq!(entry.log_id.index, self.end(), "an entry leaves a hole in the cache");
        self.bytes += entry.encoded.len() + OVERHEAD;
        self.entries.push_back(entry);
    }

    /// Every entry before `end` is on the disk: drops the oldest ones beyond the bound.
    pub(super) fn flushed(&mut self, end: u64) {
        self.flushed_end = self.flushed_end.max(end.min(self.end()));
        while self.bytes > self.max_bytes && self.first < self.flushed_end {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.encoded.len() + OVERHEAD;
            self.first += 1;
        }
    }

    /// Removes the entry at `from` and every later one.
    pub(super) fn truncate(&mut self, from: u64) {
        while self.end() > from {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= entry.encoded.len() + OVERHEAD;
            } else {
                self.first = from;
                break;
            }
        }
        self.flushed_end = self.flushed_end.min(from);
    }

    /// Removes every entry before `end`; past the end, the log goes on there.
    pub(super) fn purge(&mut self, end: u64) {
        while self.first < end && !self.entries.is_empty() {
            self.pop_front();
        }
        if self.entries.is_empty() {
            self.first = self.first.max(end);
        }
        self.flushed_end = self.flushed_end.max(end);
    }

    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// The entries of `range` that are here, from its start, until about `max_bytes`.
    pub(super) fn read(&self, range: std::ops::Range<u64>, max_bytes: usize) -> Vec<Entry> {
        let mut read = Vec::new();
        let mut bytes = 0;
        for index in range {
            let Some(entry) = self.get(index) else { break };
            bytes += entry.encoded.len();
            if bytes > max_bytes && !read.is_empty() {
                break;
            }
            read.push(entry.clone());
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::entry::RaftEntry;

    use super::*;
    use crate::engine::types::{Payload, from_log_id};
    use crate::types::LogId;

    fn entry(index: u64) -> Entry {
        let mut entry = Entry::new(from_log_id(LogId::new(1, index)), Payload::Blank);
        entry.encoded = Bytes::from(vec![0; 100]);
        entry
    }

    fn cache(max_bytes: usize) -> Cache {
        let mut cache = Cache::new(5, max_bytes);
        (5..10).for_each(|index| cache.push(entry(index)));
        cache
    }

    fn indices(cache: &Cache, range: std::ops::Range<u64>) -> Vec<u64> {
        cache.read(range, usize::MAX).iter().map(|entry| entry.log_id.index).collect()
    }

    #[test]
    fn unflushed_entries_stay_whatever_the_bound() {
        let mut cache = cache(0);
        assert_eq!(indices(&cache, 5..10), [5, 6, 7, 8, 9]);
        cache.flushed(8);
        assert_eq!((indices(&cache, 5..10), indices(&cache, 8..10)), (vec![], vec![8, 9]));
        assert_eq!(cache.first(), 8);
    }

    #[test]
    fn truncating_makes_room_for_other_entries() {
        let mut cache = cache(usize::MAX);
        cache.flushed(10);
        cache.truncate(7);
        cache.push(entry(7));
        assert_eq!(indices(&cache, 5..10), [5, 6, 7]);
        assert_eq!(cache.flushed_end, 7, "the new entry is not flushed");
        cache.truncate(3);
        cache.push(entry(3));
        assert_eq!((cache.first(), indices(&cache, 3..10)), (3, vec![3]));
    }

    #[test]
    fn purging_past_the_end_goes_on_there() {
        let mut cache = cache(usize::MAX);
        cache.purge(7);
        assert_eq!(indices(&cache, 7..10), [7, 8, 9]);
        cache.purge(20);
        cache.push(entry(20));
        assert_eq!((cache.first(), indices(&cache, 20..30)), (20, vec![20]));
    }

    #[test]
    fn reading_is_bounded_and_never_empty() {
        let cache = cache(usize::MAX);
        assert_eq!(cache.read(5..10, 1).len(), 1);
        assert_eq!(cache.read(5..10, 250).len(), 2);
    }
}
