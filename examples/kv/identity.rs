//! Who a node is: its id, its address and its key, made once by `kv init`.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::Path;

use quorate::types::{Member, NodeId};
use quorate_iroh::NodeKey;
use serde::{Deserialize, Serialize};

use super::Failure;

/// Who a node is.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Its id.
    pub(crate) id: NodeId,
    /// Where its peers reach it.
    pub(crate) listen: SocketAddr,
    /// What it proves to them.
    pub(crate) key: NodeKey,
}

/// The file beside the key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    id: NodeId,
    listen: SocketAddr,
}

const RECORD: &str = "identity.json";
const KEY: &str = "node.key";

impl Identity {
    /// Makes the identity in `dir`; the same one again is fine.
    ///
    /// # Errors
    /// When `dir` has another identity, or cannot be written.
    pub(crate) fn create(dir: &Path, id: NodeId, listen: SocketAddr) -> Result<Self, Failure> {
        if let Some(recorded) = Record::read(dir)? {
            if (recorded.id, recorded.listen) == (id, listen) {
                return Self::load(dir);
            }
            let Record { id, listen } = recorded;
            let dir = dir.display();
            return Err(format!(
                "{dir} is node {} at {listen} already: give this node a directory of its own",
                id.get()
            )
            .into());
        }
        // The record comes last: with it the identity is complete.
        NodeKey::load_or_create(dir.join(KEY))?;
        Record { id, listen }
            .write(dir)
            .map_err(|error| format!("cannot write {RECORD} in {}: {error}", dir.display()))?;
        Self::load(dir)
    }

    /// Reads the identity in `dir`.
    ///
    /// # Errors
    /// When there is none, or none that can be read.
    pub(crate) fn load(dir: &Path) -> Result<Self, Failure> {
        let Some(Record { id, listen }) = Record::read(dir)? else {
            return Err(format!("{} has no identity: make one with `kv init`", dir.display()).into());
        };
        Ok(Self { id, listen, key: NodeKey::load(dir.join(KEY))? })
    }

    /// The line that the other nodes know it by.
    pub(crate) fn member(&self) -> Member {
        Member::new(self.id, self.key.public(), self.listen.to_string())
    }
}

impl Record {
    fn read(dir: &Path) -> Result<Option<Self>, Failure> {
        let path = dir.join(RECORD);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| format!("{} is damaged: {error}", path.display()).into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read {}: {error}", path.display()).into()),
        }
    }

    /// Writes the file completely or not at all, and durably: its line is about to be told to
    /// others.
    fn write(&self, dir: &Path) -> std::io::Result<()> {
        let unfinished = dir.join(format!("{RECORD}.new"));
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&unfinished, dir.join(RECORD))?;
        File::open(dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_identity_is_made_once() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let dir = parent.path().join("not/there/yet");
        assert!(Identity::load(&dir).is_err_and(|error| error.to_string().contains("kv init")));

        let made = Identity::create(&dir, NodeId(3), address("127.0.0.1:7003")).expect("a fresh folder");
        let line = made.member().to_string();
        assert!(line.starts_with("3=") && line.ends_with("@127.0.0.1:7003"), "{line}");
        assert_eq!(line.parse::<Member>(), Ok(made.member()));

        let again = Identity::create(&dir, NodeId(3), address("127.0.0.1:7003")).expect("the same");
        assert_eq!(again.member(), made.member());
        assert_eq!(Identity::load(&dir).expect("it is there").member(), made.member());
        for (id, listen) in [(4, "127.0.0.1:7003"), (3, "127.0.0.1:7004")] {
            let error = Identity::create(&dir, NodeId(id), address(listen)).expect_err("another");
            assert!(error.to_string().contains("is node 3 at 127.0.0.1:7003 already"), "{error}");
        }
    }

    #[test]
    fn a_damaged_identity_is_not_replaced() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::write(dir.path().join(RECORD), "{").expect("written");
        let error = Identity::create(dir.path(), NodeId(1), address("127.0.0.1:7001")).expect_err("damaged");
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
}
