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
