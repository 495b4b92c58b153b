//! The secret key of a node, and the file that keeps it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use iroh::{EndpointId, SecretKey};
use quorate::types::PeerId;

/// What a key file begins with: its format and version.
const MAGIC: &[u8; 8] = b"quorkey\x01";
/// Its format alone.
const FORMAT: &[u8] = MAGIC.split_at(7).0;
/// Format, secret key, public key.
const FILE_BYTES: usize = MAGIC.len() + 32 + 32;

/// The secret key that makes a node itself: whoever has it is this node.
///
/// ```
/// use quorate_iroh::NodeKey;
///
/// # fn main() -> Result<(), quorate_iroh::KeyError> {
/// # let dir = tempfile::tempdir().expect("a temporary directory");
/// let key = NodeKey::load_or_create(dir.path().join("node.key"))?;
/// println!("1={}@127.0.0.1:7000", key.public()); // the line for the others' bootstrap list
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct NodeKey(SecretKey);

impl NodeKey {
    /// A new key, kept in memory only.
    #[must_use]
    pub fn generate() -> Self {
        Self(SecretKey::generate())
    }

    /// The key of these secret bytes.
    #[must_use]
    pub fn from_bytes(secret: [u8; 32]) -> Self {
        Self(SecretKey::from_bytes(&secret))
    }

    /// The identity that this key proves: what stands before the `@` in a member's line.
    #[must_use]
    pub fn public(&self) -> PeerId {
        peer_id(self.0.public())
    }

    /// Reads the key at `path`, or writes a new one there when there is none. Two processes that
    /// do so at once end up with the same key. Does blocking file I/O.
    ///
    /// # Errors
    /// [`KeyError`]; a file that exists is never overwritten, whatever is wrong with it.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        match Self::load(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        Self::generate().write_once(path)?;
        // Another process may have been first: then the key is theirs.
        Self::load(path)
    }

    /// Reads the key at `path`. Does blocking file I/O.
    ///
    /// # Errors
    /// [`KeyError`], also when there is no such file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let failed = |doing| move |source| KeyError::io(path, doing, source);
        let file = File::open(path).map_err(failed("open"))?;
        check_private(&file, path)?;
        let mut bytes = Vec::with_capacity(FILE_BYTES + 1);
        file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed("read"))?;
        Self::decode(&bytes).ok_or_else(|| match bytes.strip_prefix(FORMAT) {
            Some([version, ..]) if *version != MAGIC[FORMAT.len()] => {
                KeyError::Version { path: path.to_owned(), found: *version }
            }
            _ => KeyError::Damaged { path: path.to_owned(), len: bytes.len() },
        })
    }

    fn encode(&self) -> [u8; FILE_BYTES] {
        let mut bytes = [0; FILE_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..40].copy_from_slice(&self.0.to_bytes());
        bytes[40..].copy_from_slice(self.0.public().as_bytes());
        bytes
    }

    /// The public key is in the file as a check: a flipped bit would else make another node of
    /// this one, silently.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (secret, public) = rest.split_at_checked(32)?;
        let key = Self::from_bytes(secret.try_into().ok()?);
        (key.0.public().as_bytes() == public).then_some(key)
    }

    /// Writes the key to `path` unless something is there already, completely or not at all, and
    /// durably: an identity that is announced must survive a power cut.
    fn write_once(&self, path: &Path) -> Result<(), KeyError> {
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        create_dir_durably(dir).map_err(|source| KeyError::io(dir, "create the directory", source))?;
        let temporary = TemporaryFile::create(dir, path)?;
        let failed = |doing| move |source| KeyError::io(path, doing, source);
        (&temporary.file).write_all(&self.encode()).map_err(failed("write"))?;
        temporary.file.sync_all().map_err(failed("sync"))?;
        // A link, unlike a rename, fails when the name is taken.
        match fs::hard_link(&temporary.path, path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(KeyError::io(path, "link", error)),
        }
        drop(temporary);
        sync_dir(dir).map_err(|source| KeyError::io(dir, "sync the directory", source))
    }

    pub(crate) fn secret(&self) -> SecretKey {
        self.0.clone()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey(public: {})", self.public())
    }
}

/// The identity that the framework knows a key by.
pub(crate) fn peer_id(key: EndpointId) -> PeerId {
    PeerId::new(key.as_bytes().to_vec()).expect("a public key has 32 bytes")
}

/// The key of an identity; `None` when no key can have it, so that nobody can prove it.
pub(crate) fn endpoint_id(peer: &PeerId) -> Option<EndpointId> {
    EndpointId::from_bytes(peer.as_bytes().try_into().ok()?).ok()
}

/// A file that is removed again when dropped.
struct TemporaryFile {
    file: File,
    path: PathBuf,
}

impl TemporaryFile {
    fn create(dir: &Path, target: &Path) -> Result<Self, KeyError> {
        // A random name: what a crash left behind must not stand in the way.
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_else(|| "key".as_ref()));
        name.push(format!(".tmp-{}", &NodeKey::generate().public().to_string()[..16]));
        let path = dir.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|source| KeyError::io(&path, "create", source))?;
        Ok(Self { file, path })
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // What cannot be removed is a stray secret that only its owner can read; the key stands.
        let _ = fs::remove_file(&self.path);
    }
}

/// Creates `dir` and its missing parents, each synced into the directory above it.
fn create_dir_durably(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_dir_durably(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_dir(parent)
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Elsewhere a directory cannot be opened to be synced, and need not be.
#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn check_private(file: &File, path: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata().map_err(|source| KeyError::io(path, "inspect", source))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::NotPrivate { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Elsewhere access is not a matter of a file's mode.
#[cfg(not(unix))]
fn check_private(_file: &File, _path: &Path) -> Result<(), KeyError> {
    Ok(())
}

/// The file of a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file system refused.
    #[error("failed to {doing} `{}`", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Others may read the file, so the key is no longer a secret.
    #[error("`{}` has mode {mode:04o}: others may read or write it, expected 0600", path.display())]
    NotPrivate {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file has a version that this build does not know: a newer one wrote it. It is left as it
    /// is.
    #[error("`{}` is a key file of version {found}, which this build does not know", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u8,
    },
    /// The file is not a key file, or is torn or damaged. It is left as it is.
    #[error("`{}` with {len} bytes or more is not a key file, or damaged", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// How many bytes were read of it.
        len: usize,
    },
}

impl KeyError {
    fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), doing, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_format_is_fixed() {
        let key = NodeKey::from_bytes([7; 32]);
        let bytes = key.encode();
        assert_eq!(&bytes[..8], b"quorkey\x01");
        assert_eq!(&bytes[8..40], &[7; 32]);
        assert_eq!(&bytes[40..], key.public().as_bytes());
        assert_eq!(NodeKey::decode(&bytes).expect("just encoded").public(), key.public());
    }

    #[test]
    fn no_single_flipped_bit_makes_another_key() {
        let bytes = NodeKey::generate().encode();
        for bit in 0..FILE_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(NodeKey::decode(&damaged).is_none(), "bit {bit}");
        }
        assert!(NodeKey::decode(&bytes[..71]).is_none(), "cut short");
        assert!(NodeKey::decode(&[&bytes[..], &[0]].concat()).is_none(), "grown");
        assert!(NodeKey::decode(&[]).is_none(), "empty");
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = NodeKey::from_bytes([0xab; 32]);
        assert!(!format!("{key:?}").contains("abab"));
    }
}
