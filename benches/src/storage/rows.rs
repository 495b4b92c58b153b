//! redb with a row for each entry, as one would write it by hand.

use std::error::Error;
use std::path::Path;

use bytes::Bytes;
use redb::{Database, TableDefinition};

use super::group_commit::Engine;
use super::{ENTRY_BYTES, KEEP};

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");

/// While it purges, every so many transactions remove what is too old, as in the plugin.
const PURGE_EVERY: u32 = 16;

/// The database, and whether it removes old entries.
pub struct Rows {
    database: Database,
    purges: bool,
    since: u32,
}

impl Rows {
    /// An empty database that is never purged: its file grows all the time.
    ///
    /// # Errors
    /// Those of redb.
    pub fn growing(dir: &Path) -> Result<Self, Box<dyn Error>> {
        let database = Database::builder().set_cache_size(32 << 20).create(dir.join("growing"))?;
        Ok(Self { database, purges: false, since: 0 })
    }

    /// A database that keeps the last entries, full, and used for a while; and the next index.
    ///
    /// # Errors
    /// Those of redb.
    pub fn warm(dir: &Path) -> Result<(Self, u64), Box<dyn Error>> {
        let database = Database::builder().set_cache_size(32 << 20).create(dir.join("warm"))?;
        let mut rows = Self { database, purges: true, since: 0 };
        let entries = vec![crate::load::payload(ENTRY_BYTES); 4096];
        let mut next = 0;
        while next < 3 * KEEP {
            rows.commit(next, &entries);
            next += entries.len() as u64;
        }
        Ok((rows, next))
    }

    fn write(&mut self, first: u64, entries: &[Bytes]) -> Result<(), redb::Error> {
        let txn = self.database.begin_write()?;
        {
            let mut log = txn.open_table(LOG)?;
            for (index, entry) in (first..).zip(entries) {
                log.insert(index, entry.as_ref())?;
            }
            self.since += 1;
            if self.purges && self.since >= PURGE_EVERY {
                self.since = 0;
                let end = (first + entries.len() as u64).saturating_sub(KEEP);
                log.retain_in(..end, |_, _| false)?;
            }
        }
        txn.commit()?;
        Ok(())
    }
}

impl Engine for Rows {
    fn commit(&mut self, first: u64, entries: &[Bytes]) {
        self.write(first, entries).expect("a healthy disk");
    }
}
