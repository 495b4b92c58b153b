//! The smallest part of a history that shows what is wrong with it.
//!
//! A history may be made shorter at its end, and reads may be left out: what is left is wrong only if
//! the whole is. A write that is left out could be missed by who read it, so one is left out only while
//! the last operation stays the only one that cannot be explained, and for the same reason: it would
//! be right at another time, or never.

use std::time::{Duration, Instant};

use crate::linear::Verdict;
use crate::workload::{Call, Record};

/// After how long it is left as it is.
const PATIENCE: Duration = Duration::from_secs(20);

/// The smallest part of `history` that is found, in the order of the calls; the last to end is what
/// cannot be explained. Empty when the history is not found wrong.
pub fn smallest(history: &[Record], judge: impl Fn(&[Record]) -> Verdict) -> Vec<Record> {
    let is_wrong = |history: &[Record]| matches!(judge(history), Verdict::NotLinearizable { .. });
    let mut ends: Vec<u64> = history.iter().filter_map(|record| Some(record.ended.as_ref()?.0)).collect();
    ends.sort_unstable();
    let first = ends.partition_point(|end| !is_wrong(&upto(history, *end)));
    let Some(end) = ends.get(first).copied() else { return Vec::new() };

    let by = Instant::now() + PATIENCE;
    let ended = |record: &Record| record.ended.as_ref().map(|(end, _)| *end);
    let is_last = |record: &Record| ended(record) == Some(end);
    let mut kept = upto(history, end);
    kept.sort_by_key(|record| record.began);
    let is_read = |record: &Record| matches!(record.call, Call::Read(_));
    leave_out(&mut kept, by, |record| is_read(record) && !is_last(record), |left| is_wrong(left));
    let whenever = right_at_another_time(&kept, end, &judge);
    let shows_the_same = |left: &[Record]| {
        let others: Vec<Record> = left.iter().filter(|record| !is_last(record)).cloned().collect();
        is_wrong(left) && !is_wrong(&others) && right_at_another_time(left, end, &judge) == whenever
    };
    if whenever {
        leave_out(&mut kept, by, |record| !is_last(record), shows_the_same);
    }
    kept
}

/// What had happened, and what was known of it, when the call ended that ended at `end`.
fn upto(history: &[Record], end: u64) -> Vec<Record> {
    let before = history.iter().filter(|record| record.began < end);
    let known = before.filter_map(|record| {
        let mut record = record.clone();
        if record.ended.as_ref().is_some_and(|(ended, _)| *ended > end) {
            record.ended = None;
        }
        // A read that has no answer yet says nothing.
        (record.ended.is_some() || matches!(record.call, Call::Write(_))).then_some(record)
    });
    known.collect()
}

/// Whether the answer that came at `end` would be right if it had taken any time.
fn right_at_another_time(history: &[Record], end: u64, judge: &impl Fn(&[Record]) -> Verdict) -> bool {
    let mut history = history.to_vec();
    for record in &mut history {
        if let Some((ended, _)) = &mut record.ended
            && *ended == end
        {
            (record.began, *ended) = (0, u64::MAX);
        }
    }
    judge(&history) == Verdict::Linearizable
}

/// Leaves out of `kept` what `may` be left out while `still` holds: many at once first, then each.
fn leave_out(
    kept: &mut Vec<Record>,
    by: Instant,
    may: impl Fn(&Record) -> bool,
    still: impl Fn(&[Record]) -> bool,
) {
    let mut size = kept.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < kept.len() && Instant::now() < by {
            let end = (from + size).min(kept.len());
            let part = from..end;
            let left: Vec<Record> = kept
                .iter()
                .enumerate()
                .filter(|(place, record)| !part.contains(place) || !may(record))
                .map(|(_, record)| record.clone())
                .collect();
            if left.len() < kept.len() && still(&left) {
                // What could not be left out of this part stands where the part began.
                from += size - (kept.len() - left.len()).min(size);
                *kept = left;
            } else {
                from += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// A register that holds a byte: a write of it, and a read that answers it.
    fn record(call: Call<u8, ()>, began: u64, ended: Option<(u64, u8)>) -> Record {
        let bytes = |byte: u8| Bytes::from(vec![byte]);
        let call = match call {
            Call::Write(value) => Call::Write(bytes(value)),
            Call::Read(()) => Call::Read(Bytes::new()),
        };
        let ended = ended.map(|(end, answer)| (end, bytes(answer)));
        Record { call, tag: began, node: 1, began, ended, read_at: None }
    }

    struct Byte;

    impl crate::linear::Model for Byte {
        type State = u8;
        type Op = (Option<u8>, u8);

        fn init(&self) -> u8 {
            0
        }

        fn step(&self, state: &u8, (write, seen): &(Option<u8>, u8)) -> Option<u8> {
            write.or_else(|| (state == seen).then_some(*state))
        }

        fn step_blindly(&self, state: &u8, (write, _): &(Option<u8>, u8)) -> u8 {
            write.unwrap_or(*state)
        }
    }

    fn judge(history: &[Record]) -> Verdict {
        let operation = |record: &Record| {
            let write = if let Call::Write(value) = &record.call { Some(value[0]) } else { None };
            let (end, seen) = record.ended.as_ref().map(|(end, answer)| (*end, answer[0])).unzip();
            crate::linear::Operation { op: (write, seen.unwrap_or(0)), call: record.began, end }
        };
        crate::linear::check(&Byte, &history.iter().map(operation).collect::<Vec<_>>(), 100_000)
    }

    /// Writes of 1 to 20, one after the other, each read once; then a read of `seen`, and more after.
    fn long(seen: u8) -> Vec<Record> {
        let mut history = Vec::new();
        for value in 1..=20 {
            let at = u64::from(value) * 10;
            history.push(record(Call::Write(value), at, Some((at + 1, 0))));
            history.push(record(Call::Read(()), at + 2, Some((at + 3, value))));
        }
        history.push(record(Call::Read(()), 300, Some((301, seen))));
        history.push(record(Call::Write(99), 310, Some((311, 0))));
        history.push(record(Call::Read(()), 320, Some((321, 99))));
        history
    }

    #[test]
    fn a_stale_read_is_shown_with_what_it_read_and_what_it_should_have() {
        let kept = smallest(&long(7), judge);
        let ends: Vec<u64> = kept.iter().filter_map(|record| Some(record.ended.as_ref()?.0)).collect();
        assert_eq!(ends.len(), 3, "{kept:?}");
        assert!(ends[0] == 71 && ends[1] > 71 && ends[2] == 301, "{kept:?}");
    }

    #[test]
    fn a_value_that_nobody_wrote_is_shown_with_all_that_was_written() {
        let kept = smallest(&long(50), judge);
        let writes = kept.iter().filter(|record| matches!(record.call, Call::Write(_))).count();
        assert_eq!((kept.len(), writes), (21, 20), "who reads it must see that none of them wrote it");
    }

    #[test]
    fn a_history_that_is_right_shows_nothing() {
        assert_eq!(smallest(&long(20), judge), []);
        assert_eq!(smallest(&[], judge), []);
    }

    #[test]
    fn a_write_of_unknown_outcome_is_shown_when_it_is_to_blame() {
        // 2 was seen, so its write took effect, and 1 after it was not to be seen any more.
        let history = [
            record(Call::Write(1), 1, Some((2, 0))),
            record(Call::Write(2), 3, None),
            record(Call::Read(()), 4, Some((5, 2))),
            record(Call::Read(()), 6, Some((7, 1))),
        ];
        assert_eq!(smallest(&history, judge), history);
    }
}
