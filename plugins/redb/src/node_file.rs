//! `NODE`: whom a directory belongs to.
//!
//! `magic 8 | version u32 | cluster id 32 | node id u64 | disk id 16 | crc32c u32`, little endian.
//! The magic, the version after it and the checksum at the end stay in every later version, so
//! that an old build tells a newer file from a damaged one.

use std::path::Path;

use quorate::error::StorageError;
use quorate::storage::Identity;
use quorate::types::{ClusterId, DiskId, NodeId};

use crate::hooks::Files;

/// The file's name.
pub(crate) const NAME: &str = "NODE";
/// Its name before it is whole.
pub(crate) const TEMP: &str = "NODE.tmp";

const MAGIC: [u8; 8] = *b"QUORNODE";
const VERSION: u32 = 1;
const LEN: usize = 8 + 4 + 32 + 8 + 16 + 4;
/// More than any version has: a file larger than that is not read into memory.
const MAX_LEN: u64 = 4096;

/// Writes the identity so that after a crash it is there whole or not at all.
pub(crate) fn write(files: &dyn Files, dir: &Path, identity: &Identity) -> Result<(), StorageError> {
    let (temp, path) = (dir.join(TEMP), dir.join(NAME));
    let written = (|| {
        let mut file = files.create(&temp)?;
        file.append(&encode(identity))?;
        file.sync()?;
        drop(file);
        files.rename(&temp, &path)?;
        files.sync_dir(dir)
    })();
    written.map_err(|error| StorageError::io("write", path, error))
}

/// Reads the identity, if there is a `NODE`.
pub(crate) fn find(files: &dyn Files, dir: &Path) -> Result<Option<Identity>, StorageError> {
    let names = files.list(dir).map_err(|error| StorageError::io("list", dir.to_owned(), error))?;
    names.iter().any(|name| name == NAME).then(|| read(files, dir)).transpose()
}

fn read(files: &dyn Files, dir: &Path) -> Result<Identity, StorageError> {
    let path = dir.join(NAME);
    let io = |error| StorageError::io("read", path.clone(), error);
    let mut file = files.open(&path).map_err(io)?;
    let len = file.len().map_err(io)?;
    if len > MAX_LEN {
        return Err(damaged(&path, format!("it has {len} bytes")));
    }
    let mut bytes = vec![0; len as usize];
    file.read_at(0, &mut bytes).map_err(io)?;
    decode(&bytes, &path)
}

fn encode(identity: &Identity) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LEN);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&identity.cluster_id.0);
    bytes.extend_from_slice(&identity.node_id.get().to_le_bytes());
    bytes.extend_from_slice(&identity.disk_id.0);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8], path: &Path) -> Result<Identity, StorageError> {
    let Some((content, crc)) = bytes.split_last_chunk() else {
        return Err(damaged(path, format!("it has {} bytes", bytes.len())));
    };
    if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
        return Err(damaged(path, "its checksum differs".to_owned()));
    }
    let mut rest = content;
    let (Some(magic), Some(version)) = (take::<8>(&mut rest), take::<4>(&mut rest)) else {
        return Err(damaged(path, format!("it has {} bytes", bytes.len())));
    };
    if magic != MAGIC {
        return Err(damaged(path, "it is not such a file".to_owned()));
    }
    let found = u32::from_le_bytes(version);
    if found != VERSION {
        return Err(StorageError::Version { what: NAME, found, supported: VERSION });
    }
    match (take(&mut rest), take(&mut rest), take(&mut rest), rest) {
        (Some(cluster), Some(node), Some(disk), []) => Ok(Identity {
            cluster_id: ClusterId(cluster),
            node_id: NodeId(u64::from_le_bytes(node)),
            disk_id: DiskId(disk),
        }),
        _ => Err(damaged(path, format!("it has {} bytes", bytes.len()))),
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

fn damaged(path: &Path, detail: String) -> StorageError {
    StorageError::Corrupt { what: path.display().to_string(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { cluster_id: ClusterId([0xc1; 32]), node_id: NodeId(0x0102), disk_id: DiskId([0xd1; 16]) }
    }

    #[test]
    fn it_has_these_bytes() {
        let mut golden = b"QUORNODE\x01\0\0\0".to_vec();
        golden.extend([0xc1; 32]);
        golden.extend([2, 1, 0, 0, 0, 0, 0, 0]);
        golden.extend([0xd1; 16]);
        golden.extend([0x24, 0xf0, 0x99, 0x2b]);
        assert_eq!(encode(&identity()), golden);
        assert_eq!(golden.len(), LEN);
        assert_eq!(decode(&golden, Path::new(NAME)).expect("whole"), identity());
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let bytes = encode(&identity());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, Path::new(NAME)).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len], Path::new(NAME)).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = encode(&identity());
        bytes[8] = 9;
        bytes.truncate(LEN - 4);
        bytes.extend(b"something new");
        let crc = crc32c::crc32c(&bytes);
        bytes.extend(crc.to_le_bytes());
        let error = decode(&bytes, Path::new(NAME)).expect_err("not ours");
        assert!(matches!(error, StorageError::Version { what: NAME, found: 9, supported: 1 }), "{error}");
    }
}
