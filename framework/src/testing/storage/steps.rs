//! What a random sequence is made of: steps that are allowed in any order, so that a sequence stays
//! one when steps are taken out of it.

use std::ops::Range;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::model::Model;
use crate::storage::Write;
use crate::types::{GroupId, LogId, LogIndex};

/// The groups of a sequence: neighbours in no byte order.
pub(super) const GROUPS: [GroupId; 3] = [GroupId(0), GroupId(7), GroupId(u64::MAX)];

/// A step. Lengths and places are relative to what a group holds when the step is taken.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Write {
        group: usize,
        change: Change,
    },
    /// Waits for every receipt.
    Wait,
    Read {
        group: usize,
        skip: u64,
        count: u64,
        max_bytes: usize,
    },
    Snapshot {
        group: usize,
        covers: u64,
        len: usize,
        commit: bool,
    },
    Reopen,
    Crash,
}

/// A write that is allowed whatever the group holds.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Append(Vec<usize>),
    /// From so far before the place two past the end.
    Truncate(u64),
    /// Up to so far behind the first index.
    Purge(u64),
    Vote,
    Committed,
}

impl Change {
    /// The write, for a group that holds `model`. Its bytes tell the step they come from.
    pub(super) fn write(&self, model: &Model, step: usize) -> Write {
        let Range { start, end } = model.log();
        match self {
            Self::Append(lens) => Write::Append {
                first: LogIndex(end),
                entries: (end..)
                    .zip(lens)
                    .map(|(index, len)| filled(&format!("#{index} of step {step}, "), *len))
                    .collect(),
            },
            Self::Truncate(back) => {
                Write::Truncate { from: LogIndex((end + 2).saturating_sub(*back).max(start)) }
            }
            Self::Purge(ahead) => Write::Purge {
                upto: LogIndex(start + ahead),
                marker: format!("purged in step {step}").into(),
            },
            Self::Vote => Write::Vote(format!("vote of step {step}").into()),
            Self::Committed => Write::Committed(format!("committed in step {step}").into()),
        }
    }
}

/// Bytes that begin with `name`, and have at least its length.
pub(super) fn filled(name: &str, len: usize) -> Bytes {
    let mut bytes = name.as_bytes().to_vec();
    let more = len.saturating_sub(bytes.len());
    bytes.extend(name.bytes().cycle().take(more));
    bytes.into()
}

/// A write in words.
pub(super) fn describe(write: &Write) -> String {
    match write {
        Write::Append { first, entries } => {
            let lens: Vec<usize> = entries.iter().map(Bytes::len).collect();
            format!("append {} at {first}, of {lens:?} bytes", entries.len())
        }
        Write::Truncate { from } => format!("truncate from {from}"),
        Write::Purge { upto, marker } => format!("purge up to {upto}, marker {marker:?}"),
        Write::Vote(vote) => format!("write the vote {vote:?}"),
        Write::Committed(marker) => format!("write the committed marker {marker:?}"),
    }
}

/// What the snapshot of a step covers.
pub(super) fn covers(number: u64) -> LogId {
    LogId::new(1 + number / 4, 1 + number)
}

fn change() -> impl Strategy<Value = Change> {
    let len = prop_oneof![8 => 1_usize..300, 1 => 1_usize..100_000];
    prop_oneof![
        6 => vec(len, 1..6).prop_map(Change::Append),
        1 => (0_u64..6).prop_map(Change::Truncate),
        1 => (0_u64..40).prop_map(Change::Truncate),
        1 => (0_u64..4).prop_map(Change::Purge),
        1 => (0_u64..30).prop_map(Change::Purge),
        2 => Just(Change::Vote),
        2 => Just(Change::Committed),
    ]
}

/// Sequences of up to `longest` steps, with power cuts or without.
pub(super) fn sequences(longest: usize, crash: bool) -> impl Strategy<Value = Vec<Step>> {
    let group = || 0..GROUPS.len();
    let read = (group(), 0_u64..20, 0_u64..20, 0_usize..200_000)
        .prop_map(|(group, skip, count, max_bytes)| Step::Read { group, skip, count, max_bytes });
    let snapshot = (group(), 0_u64..12, 1_usize..5000, any::<bool>())
        .prop_map(|(group, covers, len, commit)| Step::Snapshot { group, covers, len, commit });
    let step = prop_oneof![
        18 => (group(), change()).prop_map(|(group, change)| Step::Write { group, change }),
        2 => Just(Step::Wait),
        3 => read,
        2 => snapshot,
        u32::from(!crash) + 1 => Just(Step::Reopen),
        // Where there is no power to cut, a reopen in its place.
        2 => Just(if crash { Step::Crash } else { Step::Reopen }),
    ];
    vec(step, 1..longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_is_allowed_on_any_group() {
        let mut model = Model::new();
        let changes = [
            Change::Truncate(40),
            Change::Purge(3),
            Change::Append(vec![1, 500]),
            Change::Truncate(0),
            Change::Truncate(3),
            Change::Purge(0),
            Change::Purge(9),
            Change::Append(vec![7]),
            Change::Truncate(90),
        ];
        for (step, change) in changes.iter().enumerate() {
            let before = model.log();
            let write = change.write(&model, step);
            match &write {
                Write::Append { first, .. } => assert_eq!(first.0, before.end),
                Write::Truncate { from } => assert!(from.0 >= before.start),
                Write::Purge { upto, .. } => assert!(upto.0 >= before.start),
                Write::Vote(_) | Write::Committed(_) => {}
            }
            model.apply(&write);
        }
        assert_eq!(model.log(), 15..15);
        assert_eq!(filled("ab", 5), "ababa");
        assert_eq!(filled("ab", 0), "ab");
    }
}
