//! Writers that know what became of each of their writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quorate::error::WriteError;

use crate::ledger::LedgerClient;

/// Writes records one after the other until told to stop; gives the acknowledged ones, and those
/// whose outcome is unknown.
pub async fn write(writer: u64, clients: Vec<LedgerClient>, stop: Arc<AtomicBool>) -> (Vec<u64>, Vec<u64>) {
    let (mut acknowledged, mut unknown) = (Vec::new(), Vec::new());
    for serial in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let client = &clients[usize::try_from(serial % clients.len() as u64).expect("small")];
        match client.record(writer, serial).await {
            Ok(times) => {
                assert_eq!(times, 1, "record {serial} of writer {writer} was applied before");
                acknowledged.push(serial);
            }
            Err(WriteError::OutcomeUnknown { .. }) => unknown.push(serial),
            Err(WriteError::NotApplied(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    (acknowledged, unknown)
}
