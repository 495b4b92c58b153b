//! The program's processes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::web::{Reply, ask, send};

/// How long a process may take to start or to end on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

fn command(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv-under-test"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a process said, and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program to its end.
pub(crate) fn run(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ended {
    Process::spawn(args).end()
}

/// A process with its output; killed when it is dropped.
struct Process {
    id: u32,
    lines: Receiver<String>,
    errors: Receiver<String>,
    ended: Receiver<ExitStatus>,
    said: String,
    /// Its stderr, when nobody reads it.
    _unread: Option<ChildStderr>,
}

impl Process {
    fn spawn(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        Self::of(&mut command(args), true)
    }

    fn of(command: &mut Command, reads_stderr: bool) -> Self {
        let mut child: Child = command.spawn().expect("the program was built");
        let (id, stdout) = (child.id(), child.stdout.take().expect("piped"));
        let mut stderr = child.stderr.take();
        let unread = stderr.take_if(|_| !reads_stderr);
        let ((line, lines), (error, errors), (end, ended)) = (channel(), channel(), channel());
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|text| line.send(text))
        });
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.map(|mut stderr| stderr.read_to_string(&mut text));
            let _ = error.send(text);
        });
        std::thread::spawn(move || end.send(child.wait().expect("a child")));
        Self { id, lines, errors, ended, said: String::new(), _unread: unread }
    }

    /// The next line that it prints; fails with what it said when it ends instead.
    fn line(&mut self) -> String {
        let Ok(line) = self.lines.recv_timeout(LIMIT) else {
            panic!("the program prints nothing more: {}", self.errors.recv_timeout(LIMIT).unwrap_or_default())
        };
        self.said.push_str(&line);
        self.said.push('\n');
        line
    }

    fn signal(&self, signal: &str) {
        let id = self.id.to_string();
        let sent = Command::new("kill").args([signal, &id]).stderr(Stdio::null()).status();
        assert!(sent.is_ok(), "there is no `kill`");
    }

    /// Waits until it has ended by itself.
    fn end(mut self) -> Ended {
        let status = self.ended.recv_timeout(LIMIT).expect("it ends within the limit");
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        let stderr = self.errors.recv_timeout(LIMIT).unwrap_or_default();
        Ended { code: status.code(), stdout: std::mem::take(&mut self.said), stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Once it has ended its id may be another's.
        if self.ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            self.signal("-KILL");
            let _ = self.ended.recv_timeout(LIMIT);
        }
    }
}

/// Three nodes, each a process with a directory.
pub(crate) struct Cluster {
    dir: TempDir,
    lines: Vec<String>,
    nodes: BTreeMap<u64, (Process, String)>,
    /// Held for as long as a node may come back to its port.
    _ports: Vec<TcpListener>,
}

impl Cluster {
    /// Three nodes with identities, not started.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let ports: Vec<TcpListener> = (1..=3).map(|_| reserve_port()).collect();
        let line = |(id, port): (u64, &TcpListener)| {
            let data = dir.path().join(id.to_string());
            let listen = port.local_addr().expect("bound").to_string();
            let id = id.to_string();
            let args = ["init", "--id", &id, "--listen", &listen, "--data-dir", text(&data)];
            let (first, again) = (run(args), run(args));
            assert_eq!((first.code, &first.stdout), (Some(0), &again.stdout), "{first:?} {again:?}");
            let line = first.stdout.trim_end().to_owned();
            assert!(line.starts_with(&format!("{id}=")) && line.ends_with(&format!("@{listen}")), "{line}");
            line
        };
        let lines = (1..).zip(&ports).map(line).collect();
        Self { dir, lines, nodes: BTreeMap::new(), _ports: ports }
    }

    /// Three nodes that have a leader.
    pub(crate) fn started() -> Self {
        let mut cluster = Self::new();
        cluster.start_all();
        cluster
    }

    /// Starts all nodes and waits until each of them answers a linearizable read.
    pub(crate) fn start_all(&mut self) {
        for node in 1..=3 {
            self.start(node);
        }
        for node in 1..=3 {
            self.await_leader(node);
        }
    }

    /// Waits until `node` answers a linearizable read.
    pub(crate) fn await_leader(&self, node: u64) {
        let reply = self.get(node, "nothing?timeout_ms=45000");
        assert_eq!(reply.status, 404, "n{node} finds no leader: {reply:?}");
    }

    /// Starts a node and waits until it serves HTTP.
    pub(crate) fn start(&mut self, node: u64) {
        let process = self.serve(node, &self.bootstrap());
        self.serves(node, process);
    }

    /// The same, and it says all it can on a stderr that nobody reads.
    pub(crate) fn start_unread(&mut self, node: u64) {
        let mut command = command(self.arguments(node, &self.bootstrap()));
        let process = Process::of(command.env("RUST_LOG", "trace"), false);
        self.serves(node, process);
    }

    fn serves(&mut self, node: u64, mut process: Process) {
        let line = process.line();
        let (_, address) = line.split_once("http://").unwrap_or_else(|| panic!("n{node} says: {line}"));
        let address = address.to_owned();
        self.nodes.insert(node, (process, address));
    }

    fn serve(&self, node: u64, bootstrap: &str) -> Process {
        Process::spawn(self.arguments(node, bootstrap))
    }

    fn arguments(&self, node: u64, bootstrap: &str) -> [String; 7] {
        let data = self.data(node);
        ["serve", "--data-dir", text(&data), "--http", "127.0.0.1:0", "--bootstrap", bootstrap]
            .map(str::to_owned)
    }

    /// Starts a node that is going to refuse, and waits for its end.
    pub(crate) fn serve_until_it_ends(&self, node: u64, bootstrap: &str) -> Ended {
        self.serve(node, bootstrap).end()
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.lines.join(",")
    }

    /// As a power cut would.
    pub(crate) fn kill(&mut self, node: u64) {
        self.nodes.remove(&node).expect("it runs");
    }

    /// As an operator would.
    pub(crate) fn terminate(&mut self, node: u64) -> Ended {
        let (process, _) = self.nodes.remove(&node).expect("it runs");
        process.signal("-TERM");
        process.end()
    }

    /// Removes what a node has stored, but not who it is.
    pub(crate) fn wipe(&self, node: u64) {
        fs::remove_dir_all(self.data(node).join("store")).expect("it has a store");
    }

    /// Puts a copy of the store of `from` in the place of that of `to`.
    pub(crate) fn give_store_of(&self, from: u64, to: u64) {
        self.wipe(to);
        copy(&self.data(from).join("store"), &self.data(to).join("store"));
    }

    fn data(&self, node: u64) -> PathBuf {
        self.dir.path().join(node.to_string())
    }

    pub(crate) fn ask(&self, node: u64, method: &str, path: &str, body: &str) -> Reply {
        ask(&self.nodes[&node].1, method, path, body)
    }

    /// Asks until the answer is the `wanted` one.
    pub(crate) fn until(&self, node: u64, path: &str, what: &str, wanted: impl Fn(&Reply) -> bool) -> Reply {
        let started = Instant::now();
        loop {
            let reply = self.ask(node, "GET", path, "");
            if wanted(&reply) {
                return reply;
            }
            assert!(started.elapsed() < LIMIT, "n{node} {what}: not within {LIMIT:?}; {path} says {reply:?}");
        }
    }

    /// Sends a body that is promised to have `length` bytes.
    pub(crate) fn send(&self, node: u64, method: &str, path: &str, length: usize, body: &str) -> Reply {
        send(&self.nodes[&node].1, method, path, length, body)
    }

    pub(crate) fn put(&self, node: u64, key: &str, value: &str) -> Reply {
        self.ask(node, "PUT", &format!("/kv/{key}"), value)
    }

    pub(crate) fn get(&self, node: u64, key: &str) -> Reply {
        self.ask(node, "GET", &format!("/kv/{key}"), "")
    }
}

/// A port for a node, which is part of the line that is told to others and so is chosen before the
/// node binds it. It lies below those that a system gives out by itself, and is taken for TCP, which
/// no node uses: so nobody who chooses like this gets it too, whether or not its node runs.
fn reserve_port() -> TcpListener {
    // Where to begin differs between processes, or they would all try the same ones.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = (std::process::id() % 1_000) as u16 * 10;
    let free = |_| {
        let port = 20_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let reserved = TcpListener::bind(("127.0.0.1", port)).ok()?;
        UdpSocket::bind(("127.0.0.1", port)).is_ok().then_some(reserved)
    };
    (0..10_000).find_map(free).expect("a free port")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders are text")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a file");
        }
    }
}
