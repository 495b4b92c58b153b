//! What a group must be when it is opened again, while some of its writes are still queued.

use bytes::Bytes;

use super::StorageHarness;
use super::model::Model;
use super::store::Store;
use crate::error::StorageError;
use crate::storage::{Receipt, Storage, Write};
use crate::testing::run::doing;
use crate::types::{GroupId, LogId};

type Snapshot = Option<(LogId, Bytes)>;

/// A group as it must be.
pub(super) struct Expected {
    pub(super) id: GroupId,
    /// After each number of writes, from the last ones known to be flushed.
    models: Vec<Model>,
    /// Of the writes that lead from one model to the next, and whether each is lazy.
    receipts: Vec<(bool, Receipt)>,
    /// How the receipts before those were used, since some was used with an error.
    used: Vec<(bool, Result<(), StorageError>)>,
    /// The last one committed.
    snapshot: Snapshot,
    /// One whose commit was begun and not answered: it may be there in its place, whole.
    doubtful: Snapshot,
}

impl Expected {
    pub(super) fn new(id: GroupId) -> Self {
        Self {
            id,
            models: vec![Model::new()],
            receipts: Vec::new(),
            used: Vec::new(),
            snapshot: None,
            doubtful: None,
        }
    }

    pub(super) fn now(&self) -> &Model {
        self.models.last().expect("never empty")
    }

    pub(super) fn queue<H: StorageHarness>(&mut self, store: &Store<H>, write: Write) {
        let mut model = self.now().clone();
        model.apply(&write);
        self.models.push(model);
        let lazy = matches!(write, Write::Committed(_));
        self.receipts.push((lazy, store.queue(self.id, write)));
    }

    async fn settle(&mut self) {
        self.wait_for(self.receipts.len()).await;
    }

    /// Waits for the first `count` of the receipts, however they are used.
    pub(super) async fn wait_for(&mut self, count: usize) {
        for (lazy, receipt) in self.receipts.drain(..count) {
            let number = self.used.len() + 1;
            doing(format!("wait for a receipt of {}, number {number} since the last wait", self.id));
            self.used.push((lazy, receipt.await));
        }
    }

    /// Waits for every receipt, each of which must be used with success.
    pub(super) async fn flushed(&mut self) -> Result<(), String> {
        self.settle().await;
        if let Some((_, Err(error))) = self.used.iter().find(|(_, result)| result.is_err()) {
            return Err(format!("{}: a write failed: {error:?}", self.id));
        }
        self.used.clear();
        self.models.drain(..self.models.len() - 1);
        Ok(())
    }

    /// How many of the writes are known to be flushed, after a power cut or a failure: all up to the
    /// last whose receipt was used with success and that is not lazy.
    pub(super) async fn known(&mut self) -> Result<usize, String> {
        self.settle().await;
        let (mut known, mut failed) = (0, None);
        for (place, (lazy, result)) in self.used.drain(..).enumerate() {
            match (result, failed) {
                (Err(_), _) => failed = failed.or(Some(place + 1)),
                (Ok(()), _) if lazy => {}
                (Ok(()), None) => known = place + 1,
                (Ok(()), Some(failed)) => {
                    return Err(format!(
                        "{}: the receipt of write {} was used with success, and write {failed} before it had failed",
                        self.id,
                        place + 1
                    ));
                }
            }
        }
        Ok(known)
    }

    /// Writes a snapshot and commits it.
    pub(super) async fn snapshot<H: StorageHarness>(
        &mut self,
        store: &Store<H>,
        covers: LogId,
        bytes: Bytes,
    ) -> Result<(), StorageError> {
        let mut writer = store.storage.snapshot_writer(self.id).await?;
        for chunk in bytes.chunks(2000) {
            writer.write(Bytes::copy_from_slice(chunk)).await?;
        }
        if self.snapshot.as_ref().is_none_or(|(current, _)| *current <= covers) {
            self.doubtful = Some((covers, bytes));
        }
        doing(format!("commit a snapshot of {} that covers {covers}", self.id));
        writer.commit(covers).await?;
        if let Some(committed) = self.doubtful.take() {
            self.snapshot = Some(committed);
        }
        Ok(())
    }

    /// Opens the group, which must be what at least `known` of its writes made it.
    pub(super) async fn reopened<H: StorageHarness>(
        &mut self,
        store: &Store<H>,
        known: usize,
    ) -> Result<(), String> {
        let failed = |what: &'static str| move |error: StorageError| format!("{what} failed: {error:?}");
        let state = store.try_open(self.id).await.map_err(failed("open"))?;
        let found = store.try_entries(self.id, state.log.clone()).await.map_err(failed("read"))?;
        let matching = self.models.iter().skip(known).rposition(|model| model.matches(&state, &found));
        let Some(matching) = matching else {
            let (only, queued) = (&self.models[known], self.models.len() - 1);
            let difference = only.difference(&state).or_else(|| only.log_difference(&found));
            let difference = difference.unwrap_or_default();
            return Err(if known == queued {
                format!("{}: after it was opened again, {difference}", self.id)
            } else {
                format!(
                    "{}: {known} of the last {queued} writes were flushed, and no number of them from there on \
                     leads to what is found; with {known}, {difference}",
                    self.id
                )
            });
        };
        let mut model = self.models.swap_remove(known + matching);
        model.found_committed(state.committed);
        self.models = vec![model];
        let snapshot = store.try_read_snapshot(self.id).await?;
        if snapshot != self.snapshot && (snapshot.is_none() || snapshot != self.doubtful) {
            return Err(format!(
                "{}: the snapshot is {}, expected {}",
                self.id,
                in_short(&snapshot),
                in_short(&self.snapshot)
            ));
        }
        (self.snapshot, self.doubtful) = (snapshot, None);
        Ok(())
    }
}

fn in_short(snapshot: &Snapshot) -> String {
    let Some((covers, bytes)) = snapshot else { return "none".to_owned() };
    format!("{} bytes {:?}.. that cover {covers}", bytes.len(), bytes.slice(..bytes.len().min(30)))
}
