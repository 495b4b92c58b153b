//! Changing the members of a running cluster.

mod disks;
mod joins;
mod load;
mod refused;
mod under_way;
mod voters;

use quorate::error::{MembersError, NotChanged};

fn not_applied(result: Result<(), MembersError>) -> NotChanged {
    match result {
        Err(MembersError::NotApplied(reason)) => reason,
        other => panic!("expected a refusal: {other:?}"),
    }
}

/// The nodes but this one.
fn others(nodes: &[u64], but: u64) -> Vec<u64> {
    nodes.iter().copied().filter(|node| *node != but).collect()
}
