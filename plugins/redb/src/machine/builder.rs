//! Options of a machine's file.

use std::path::PathBuf;

use quorate::error::{MachineError, StorageError};

use super::file::{File, META, Settings};
use super::kept::ROWS;
use super::{RedbMachine, TableMachine};
use crate::hooks::Hooks;

/// Options of a [`RedbMachine`]. Each has a default that is right for most.
#[derive(Clone, Debug)]
#[must_use = "nothing is opened before `open`"]
pub struct MachineBuilder {
    path: PathBuf,
    cache_bytes: usize,
    low_water_bytes: u64,
    hooks: Hooks,
}

impl MachineBuilder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, cache_bytes: 64 << 20, low_water_bytes: 216 << 20, hooks: Hooks::default() }
    }

    /// How many bytes of the tables redb may keep in memory, read or not flushed yet. 64 MiB by
    /// default.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Below how many free bytes, beside what the cache may hold that is not on the disk yet, the
    /// machine reports [`Health::Low`](quorate::storage::Health::Low), so that its node refuses new
    /// writes. 216 MiB by default, twice as much as the default of the node's `limits.queue_bytes` and an
    /// eighth more, and what is kept of sessions at most: what is under way by then must fit. With 0 it is
    /// never told.
    pub fn low_water_bytes(mut self, bytes: u64) -> Self {
        self.low_water_bytes = bytes;
        self
    }

    /// Replaces files and backend, for a simulator.
    #[doc(hidden)]
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// Opens the file for `machine`, and creates it when there is none.
    ///
    /// # Errors
    /// [`StorageError::InUse`] when it is open elsewhere; [`MachineError::OtherMachine`] and
    /// [`MachineError::NewerVersion`] when it is of another machine or a newer version of this one;
    /// [`StorageError::Corrupt`] and [`StorageError::Version`] when it is damaged or of another form.
    /// Nothing is ever made anew in the place of a file that is there.
    pub fn open<M: TableMachine>(self, machine: M) -> Result<RedbMachine<M>, MachineError> {
        let names: Vec<&str> = M::TABLES.iter().map(|table| table.name()).collect();
        let taken = |(place, name): (usize, &&str)| {
            [redb::TableHandle::name(&META), redb::TableHandle::name(&ROWS)].contains(name)
                || names[..place].contains(name)
        };
        if let Some((_, name)) = names.iter().enumerate().find(|(place, name)| taken((*place, name))) {
            let source = format!("the name `{name}` is taken: give the table another one").into();
            return Err(MachineError::Failed { doing: "declare its tables", source });
        }
        if self.path.file_name().is_none() {
            let error = std::io::ErrorKind::IsADirectory.into();
            return Err(StorageError::io("open", self.path, error).into());
        }
        let file = File::open(Settings {
            path: self.path,
            cache_bytes: self.cache_bytes,
            low_water_bytes: self.low_water_bytes,
            hooks: self.hooks,
            name: M::NAME,
            version: M::VERSION,
            tables: M::TABLES,
        })?;
        Ok(RedbMachine::new(machine, file))
    }
}

#[cfg(test)]
mod tests {
    use quorate::node::config::Config;
    use quorate::sessions::{MAX_KEPT, MAX_KEPT_ANSWER_BYTES};

    use super::*;

    #[test]
    fn the_default_mark_is_what_the_contract_asks_for() {
        let builder = MachineBuilder::new(PathBuf::from("n1/ledger.redb"));
        let queued = Config::default().limits.queue_bytes as u64;
        // An answer with its key and what else is in its row, and in the tree for it.
        let kept = (MAX_KEPT * (MAX_KEPT_ANSWER_BYTES + 128)) as u64;
        let wanted = 2 * (queued + queued / 8 + kept);
        assert!((wanted..wanted + (8 << 20)).contains(&builder.low_water_bytes), "{wanted}");
    }
}
