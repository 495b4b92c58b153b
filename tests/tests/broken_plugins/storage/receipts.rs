//! Stores that use receipts wrongly.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use quorate::error::StorageError;
use quorate::storage::{Flushed, Storage, Write};
use quorate::testing::storage::functions;
use quorate::types::GroupId;

use super::broken::{Break, Broken, Inner, lock};
use crate::verdict::{assert_fails, assert_hangs};

broken!(AcknowledgesEarly:
    const HOLDS: bool = true;

    fn write(inner: &Inner, group: GroupId, write: Write, flushed: Flushed) {
        inner.disk.write(group, write, Flushed::ignored());
        flushed.durable();
    }
);

#[test]
fn acknowledges_before_the_flush() {
    assert_fails(
        functions::<Broken<AcknowledgesEarly>>(),
        &[
            ("append_survives_crash_after_flush", "entries 0..6 were flushed, and after a crash the log is"),
            ("vote_survives_crash_after_flush", "the vote after a crash"),
            ("truncate_and_purge_survive_crash_after_flush", "the log is 0..0, expected 0..10"),
            ("unflushed_is_absent_or_whole_after_crash", "after a power cut: g1: "),
            ("every_write_point_survives_a_power_cut", "the vote is None, expected Some(b\"T1\")"),
            ("random_operations_and_crashes_match_a_model", "The fewest steps found that show it"),
        ],
    );
}

broken!(AcknowledgesTruncationsEarly:
    const HOLDS: bool = true;

    fn write(inner: &Inner, group: GroupId, write: Write, flushed: Flushed) {
        if matches!(write, Write::Truncate { .. }) {
            inner.disk.write(group, write, Flushed::ignored());
            return flushed.durable();
        }
        inner.disk.write(group, write, flushed);
    }
);

#[test]
fn acknowledges_a_truncation_before_its_flush() {
    let cases = functions::<Broken<AcknowledgesTruncationsEarly>>();
    assert_fails(
        cases,
        &[("truncate_and_purge_survive_crash_after_flush", "the log is 0..10, expected 0..8")],
    );
}

broken!(DropsAReceipt:
    fn write(inner: &Inner, group: GroupId, write: Write, flushed: Flushed) {
        let forgets = matches!(write, Write::Truncate { from } if from.0 > 50);
        inner.disk.write(group, write, if forgets { Flushed::ignored() } else { flushed });
    }
);

#[test]
fn drops_a_receipt() {
    let cases = functions::<Broken<DropsAReceipt>>();
    assert_fails(cases, &[("receipt_is_used_once", "write 6 was used like this: Err(ReceiptDropped)")]);
}

broken!(KeepsAReceipt:
    const LIMIT: Duration = Duration::from_secs(4);

    fn write(inner: &Inner, group: GroupId, write: Write, flushed: Flushed) {
        if matches!(&write, Write::Vote(_)) {
            inner.disk.write(group, write, Flushed::ignored());
            *lock(&inner.late) = Some(flushed);
        } else {
            inner.disk.write(group, write, flushed);
        }
    }
);

#[test]
fn never_uses_a_receipt() {
    let cases = functions::<Broken<KeepsAReceipt>>();
    // What never comes can only be found by waiting.
    assert_hangs(
        cases,
        "vote_survives_reopen",
        "wait for the receipt of a write to g1: write the vote b\"T1 for n2\"",
    );
}

broken!(SwapsReceipts:
    /// The receipt of a vote waits for that of the write behind it.
    fn write(inner: &Inner, group: GroupId, write: Write, flushed: Flushed) {
        let mut late = lock(&inner.late);
        if matches!(write, Write::Vote(_)) && late.is_none() {
            inner.disk.write(group, write, Flushed::ignored());
            *late = Some(flushed);
        } else {
            inner.disk.write(group, write, flushed);
            if let Some(vote) = late.take() {
                vote.durable();
            }
        }
    }
);

#[test]
fn uses_receipts_out_of_order() {
    let cases = functions::<Broken<SwapsReceipts>>();
    assert_fails(
        cases,
        &[("receipts_are_in_order", "g1: the receipt of write 8 was used when that of write 7 was due")],
    );
}

broken!(GoesOnAfterAFailure:
    /// What could not be flushed is written all the same, and the failure is forgotten.
    fn write(inner: &Inner, group: GroupId, write: Write, flushed: Flushed) {
        if !inner.refusing.load(Ordering::SeqCst) {
            return inner.disk.write(group, write, flushed);
        }
        // The fault that waits for the disk is used up elsewhere.
        inner.disk.write(GroupId(0xdead), Write::Vote(Bytes::new()), Flushed::ignored());
        inner.disk.write(group, write, Flushed::ignored());
        let source = std::io::Error::other("the flush failed");
        flushed.failed(StorageError::io("flush", None, source));
    }
);

#[test]
fn goes_on_after_a_failed_write() {
    let cases = functions::<Broken<GoesOnAfterAFailure>>();
    let said = "after a failed Append, a later write was acknowledged";
    assert_fails(cases, &[("after_a_failed_write_every_later_one_fails", said)]);
}

broken!(BoundsItsQueue:
    const QUEUE: Option<usize> = Some(64);
    const LIMIT: Duration = Duration::from_secs(8);
);

#[test]
fn holds_a_write_up_when_its_queue_is_full() {
    let cases = functions::<Broken<BoundsItsQueue>>();
    assert_fails(
        cases,
        &[("write_only_queues", "`write` waited until a receipt was used: it must only queue")],
    );
}
