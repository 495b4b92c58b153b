//! Plays a random sequence to a storage and to a model, and says where they part.

use super::expected::Expected;
use super::steps::{Change, GROUPS, Step, covers, describe, filled};
use super::store::Store;
use super::{CrashHarness, StorageHarness};
use crate::error::StorageError;
use crate::storage::Storage;
use crate::testing::run::doing;
use crate::testing::shrink::Script;
use crate::types::LogIndex;

/// What the harness can do beside a restart in good order.
pub(super) trait Power<H: StorageHarness> {
    async fn cut(store: Store<H>) -> Result<Store<H>, StorageError>;
}

pub(super) struct NoPower;

impl<H: StorageHarness> Power<H> for NoPower {
    async fn cut(_: Store<H>) -> Result<Store<H>, StorageError> {
        unreachable!("sequences for such a harness have no power cuts")
    }
}

pub(super) struct Cut;

impl<H: CrashHarness> Power<H> for Cut {
    async fn cut(store: Store<H>) -> Result<Store<H>, StorageError> {
        store.try_crash().await
    }
}

/// Plays `steps`, and says what is wrong at the first at which the storage is not as it must be.
pub(super) async fn play<H: StorageHarness, P: Power<H>>(
    steps: &[Step],
    script: &Script,
) -> Result<(), String> {
    let say = |line: String| {
        doing(format!("play this step of a sequence: {line}"));
        script.borrow_mut().push(line);
    };
    let mut groups = GROUPS.map(Expected::new);
    let mut store = Store::<H>::try_fresh().await.map_err(|error| format!("opening failed: {error:?}"))?;
    for group in &mut groups {
        group.reopened(&store, 0).await?;
    }
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Write { group, change } => write(&store, &mut groups[*group], change, number + 1, say),
            Step::Wait => {
                say("wait for every receipt".to_owned());
                for group in &mut groups {
                    group.flushed().await?;
                }
            }
            Step::Read { group, skip, count, max_bytes } => {
                let group = &mut groups[*group];
                let start = group.now().log().start + skip;
                let range = start..start + count;
                say(format!("{}: wait, and read {range:?}, about {max_bytes} bytes", group.id));
                // Only what is flushed need be seen.
                group.flushed().await?;
                let read = store
                    .storage
                    .read(group.id, LogIndex(range.start)..LogIndex(range.end), *max_bytes)
                    .await;
                let read =
                    read.map_err(|error| format!("{}: a read of {range:?} failed: {error:?}", group.id))?;
                if let Some(difference) = group.now().read_difference(&range, &read) {
                    return Err(format!("{}: {difference}", group.id));
                }
            }
            Step::Snapshot { group, covers, len, commit } => {
                snapshot(&store, &mut groups[*group], (*covers, *len, *commit), number + 1, say).await?;
            }
            Step::Reopen => {
                say("close and open again".to_owned());
                store =
                    store.try_reopen().await.map_err(|error| format!("opening again failed: {error:?}"))?;
                for group in &mut groups {
                    group.flushed().await?;
                    group.reopened(&store, 0).await?;
                }
            }
            Step::Crash => {
                say("cut the power and open again".to_owned());
                store = P::cut(store)
                    .await
                    .map_err(|error| format!("opening after a power cut failed: {error:?}"))?;
                for group in &mut groups {
                    let known = group.known().await?;
                    group.reopened(&store, known).await?;
                }
            }
        }
    }
    script.borrow_mut().push("at the end: close and open again".to_owned());
    store = store.try_reopen().await.map_err(|error| format!("opening again failed: {error:?}"))?;
    for group in &mut groups {
        group.flushed().await?;
        group.reopened(&store, 0).await?;
    }
    Ok(())
}

fn write<H: StorageHarness>(
    store: &Store<H>,
    group: &mut Expected,
    change: &Change,
    number: usize,
    say: impl Fn(String),
) {
    let write = change.write(group.now(), number);
    say(format!("{}: {}", group.id, describe(&write)));
    group.queue(store, write);
}

/// Writes a snapshot, and commits it or not.
async fn snapshot<H: StorageHarness>(
    store: &Store<H>,
    group: &mut Expected,
    (number, len, commit): (u64, usize, bool),
    step: usize,
    say: impl Fn(String),
) -> Result<(), String> {
    let covers = covers(number);
    let end = if commit { "commit it" } else { "drop it" };
    say(format!("{}: write a snapshot of {len} bytes that covers {covers}, and {end}", group.id));
    let bytes = filled(&format!("snapshot of step {step}, "), len);
    let id = group.id;
    let wrong = |error: StorageError| format!("{id}: the snapshot failed: {error:?}");
    if commit {
        return group.snapshot(store, covers, bytes).await.map_err(wrong);
    }
    let mut writer = store.storage.snapshot_writer(group.id).await.map_err(wrong)?;
    writer.write(bytes).await.map_err(wrong)
}
