//! What a simulator replaces: files, the backend under redb, and how the writer runs.
//!
//! Not for applications. The defaults are the real thing: the operating system's files, redb's own
//! file backend, and a thread per storage.

mod files;
mod std_files;

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::BoxFuture;
use redb::backends::FileBackend;

pub use self::files::{Files, Lock, ReadFile, WriteFile};
pub use self::std_files::StdFiles;
pub use redb::{BackendError, StorageBackend};

/// Runs the writer, given its name and the future that is all of it.
pub type Spawn = Arc<dyn Fn(&str, BoxFuture<'static, ()>) + Send + Sync>;

/// Awaited before each commit: the time a commit takes, where time is simulated.
pub type Pause = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Waits for a while. Used only while space is short, to look again.
pub type Sleep = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// Opens the file under redb.
pub type OpenBackend = Arc<dyn Fn(&Path, Open) -> io::Result<Box<dyn StorageBackend>> + Send + Sync>;

/// How a backend is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// The file is there; it is an error when it is not.
    Existing,
    /// An empty file, in the place of whatever had that name.
    New,
}

/// Everything that touches the world. Replace what differs and keep the rest.
#[derive(Clone)]
pub struct Hooks {
    /// Every file but the one under redb.
    pub files: Arc<dyn Files>,
    /// The file under redb.
    pub backend: OpenBackend,
    /// Runs the writer; `None` is a thread of its own. Only then does dropping a storage wait for
    /// its writer: a simulator has one thread, and waiting on it would be for ever.
    pub spawn: Option<Spawn>,
    /// Awaited before each commit.
    pub pause: Option<Pause>,
    /// Waits for a while.
    pub sleep: Sleep,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            files: Arc::new(StdFiles),
            backend: Arc::new(open_file),
            spawn: None,
            pause: None,
            sleep: Arc::new(sleep_on_a_thread),
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("own_thread", &self.spawn.is_none())
            .field("pauses", &self.pause.is_some())
            .finish_non_exhaustive()
    }
}

fn open_file(path: &Path, open: Open) -> io::Result<Box<dyn StorageBackend>> {
    let new = open == Open::New;
    let file = OpenOptions::new().read(true).write(true).create(new).truncate(new).open(path)?;
    Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
}

/// Runs `future` on a thread of its own.
pub(crate) fn spawn_thread(name: &str, future: BoxFuture<'static, ()>) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(move || block_on(future)).map(drop)
}

/// A thread per wait is wasteful, and rare: only a disk that is nearly full is looked at again.
#[allow(clippy::disallowed_methods, reason = "this is the timer itself, where there is no runtime")]
fn sleep_on_a_thread(time: Duration) -> BoxFuture<'static, ()> {
    let (tx, rx) = oneshot::channel::<()>();
    let spawned = std::thread::Builder::new().name("quorate-redb-timer".to_owned()).spawn(move || {
        std::thread::sleep(time);
        drop(tx);
    });
    Box::pin(async move {
        if spawned.is_ok() {
            // The sender is dropped unused: that is the signal.
            let _ = rx.await;
        } else {
            // Without a thread there is no timer; the next write looks again.
            futures::future::pending::<()>().await;
        }
    })
}
