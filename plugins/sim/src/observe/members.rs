//! The members that an entry names, as an oracle has to read them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// Where an entry says what it is, and the kind of one that names the members.
const KIND_AT: usize = 1;
const MEMBERSHIP: u8 = 1;
const BODY_AT: usize = 40;

/// The members that an entry names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The voters: one set, or two while they change.
    pub voters: Vec<BTreeSet<u64>>,
    /// Every member, and whether its disk is recorded.
    pub recorded: BTreeMap<u64, bool>,
}

/// Reads fields one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(&mut self, bytes: usize) -> u64 {
        let (field, rest) = self.0.split_at_checked(bytes).expect("the format has this field");
        self.0 = rest;
        field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn skip(&mut self, bytes: u64) {
        self.0 = self.0.get(bytes as usize..).expect("the format has this field");
    }
}

impl Members {
    /// What an entry says of the members; `None` when it says something else.
    ///
    /// # Panics
    /// When the bytes are not of the format that golden bytes in the framework hold.
    pub fn of(entry: &Bytes) -> Option<Self> {
        if entry.get(KIND_AT) != Some(&MEMBERSHIP) {
            return None;
        }
        let mut fields = Fields(&entry[BODY_AT..entry.len() - 4]);
        assert_eq!(fields.number(1), 1, "the version of a membership");
        let mut members = Self::default();
        for _ in 0..fields.number(1) {
            let voters = fields.number(2);
            members.voters.push((0..voters).map(|_| fields.number(8)).collect());
        }
        for _ in 0..fields.number(2) {
            let node = fields.number(8);
            let identity = fields.number(1);
            fields.skip(identity);
            let address = fields.number(2);
            fields.skip(address);
            let recorded = fields.number(1) == 1;
            fields.skip(if recorded { 16 } else { 0 });
            members.recorded.insert(node, recorded);
        }
        assert!(fields.0.is_empty(), "a membership ends where its entry does");
        Some(members)
    }

    /// Members 1 to `size`, all of which vote.
    pub fn first(size: usize) -> Self {
        let all = 1..=size as u64;
        Self { voters: vec![all.clone().collect()], recorded: all.map(|node| (node, true)).collect() }
    }

    /// Whether each set of voters has a majority of which `holds` is true.
    pub fn has_quorum(&self, holds: impl Fn(u64) -> bool) -> bool {
        self.voters.iter().all(|set| set.iter().filter(|node| holds(**node)).count() * 2 > set.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_are_read_out_of_an_entry() {
        let mut entry = vec![0; BODY_AT];
        entry[KIND_AT] = MEMBERSHIP;
        entry.extend([
            1, 2, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0,
        ]);
        entry.extend([2, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 9, 1, 0, b'a', 1]);
        entry.extend([5; 16]);
        entry.extend([8, 0, 0, 0, 0, 0, 0, 0, 1, 9, 1, 0, b'a', 0]);
        entry.extend([0; 4]);
        let members = Members::of(&entry.clone().into()).expect("they are there");
        assert_eq!(members.voters, [[7].into(), [7, 8].into()]);
        assert_eq!(members.recorded, [(7, true), (8, false)].into());
        assert!(members.has_quorum(|_| true) && !members.has_quorum(|node| node == 7));
        entry[KIND_AT] = 2;
        assert_eq!(Members::of(&entry.into()), None);
    }
}
