//! Peers that are killed without a word and come back: the stale-path rule.
//!
//! A peer here is a process of its own, as only a killed process leaves its connections open.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use quorate::transport::{Duplex, Incoming, Lane, Transport};
use quorate::types::Member;
use quorate_iroh::{IrohTransport, NodeKey};

use crate::support::{failure, member, node, receive, send, until, within};

/// Set in a peer's process: where its key is, where it listens, whom it dials.
const KEY: &str = "QUORATE_TEST_PEER_KEY";
const LISTEN: &str = "QUORATE_TEST_PEER_LISTEN";
const DIAL: &str = "QUORATE_TEST_PEER_DIAL";
/// What stands before the address that the process prints.
const READY: &str = "peer is ready at ";

/// What the framework waits for, at most, before an election.
const SOON: Duration = Duration::from_millis(800);

/// Not a test: the body of a peer's process, which `Peer::start` runs. Answers every frame.
#[test]
fn process_of_a_peer() {
    let (Ok(key), Ok(listen)) = (std::env::var(KEY), std::env::var(LISTEN)) else { return };
    let dial = std::env::var(DIAL).ok().map(|line| line.parse::<Member>().expect("a member"));
    // Ends with the test that started it, whatever becomes of that.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let key = NodeKey::load(key).expect("a key file");
        let transport = IrohTransport::bind(key, &listen).await.expect("binds");
        println!("{READY}{}", transport.address());
        if let Some(member) = dial {
            for lane in [Lane::Control, Lane::Snapshot] {
                let mut stream = transport.connect(&member, lane).await.expect("connects");
                stream.tx.send("hello".into()).await.expect("the stream is sound");
                tokio::spawn(echo(stream));
            }
        }
        while let Ok(incoming) = transport.accept().await {
            tokio::spawn(echo(incoming.stream));
        }
    });
}

async fn echo(mut stream: Duplex) {
    while let Some(Ok(frame)) = stream.rx.next().await {
        if stream.tx.send(frame).await.is_err() {
            return;
        }
    }
}

/// A peer in a process of its own.
struct Peer {
    child: Child,
    member: Member,
}

impl Peer {
    fn start(key: &Path, listen: &str, dial: Option<&Member>) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "restart::process_of_a_peer", "--nocapture", "--test-threads=1"]);
        command.env(KEY, key).env(LISTEN, listen);
        if let Some(member) = dial {
            command.env(DIAL, member.to_string());
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this test starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let address = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once(READY).map(|(_, address)| address.to_owned()))
            .expect("the peer says where it listens");
        let identity = NodeKey::load(key).expect("a key file").public();
        Self { child, member: Member::new(2, identity, address) }
    }

    /// SIGKILL: no connection is closed, no socket says goodbye.
    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Fails when it was killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Key(tempfile::TempDir);

impl Key {
    fn new() -> Self {
        let key = Self(tempfile::tempdir().expect("a directory"));
        NodeKey::load_or_create(key.path()).expect("created");
        key
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("node.key")
    }
}

/// A stream to a peer that answers.
async fn connected(node: &IrohTransport, member: &Member, lane: Lane) -> Duplex {
    let mut stream = node.connect(member, lane).await.expect("connects");
    answers(&mut stream).await;
    stream
}

async fn answers(stream: &mut Duplex) {
    send(stream, "anybody there?").await;
    assert_eq!(receive(stream).await, "anybody there?");
}

/// The streams that a starting peer opens to `node`.
async fn greetings(node: &IrohTransport) -> Vec<Incoming> {
    let mut greetings = Vec::new();
    for _ in 0..2 {
        let mut incoming = until("a greeting", node.accept()).await.expect("accepts");
        assert_eq!(receive(&mut incoming.stream).await, "hello");
        greetings.push(incoming);
    }
    greetings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_peer_is_reached_at_its_new_port_at_once() {
    let (node, key) = (node().await, Key::new());
    let mut old = Peer::start(&key.path(), "127.0.0.1:0", None);
    let mut control = connected(&node, &old.member, Lane::Control).await;
    let _snapshot = connected(&node, &old.member, Lane::Snapshot).await;
    old.kill();
    let new = Peer::start(&key.path(), "127.0.0.1:0", None);
    assert_ne!(new.member.address, old.member.address);

    let begin = Instant::now();
    for lane in Lane::ALL {
        within(SOON, "the peer at its new port", connected(&node, &new.member, lane)).await;
    }
    println!("all lanes after {:?}", begin.elapsed());
    // The streams to the old process fail now, and not only when they are idle for too long.
    within(SOON, "the old stream fails", failure(&mut control)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_peer_that_only_dialled_us_is_reached_at_its_new_port() {
    let (node, key) = (node().await, Key::new());
    let mut old = Peer::start(&key.path(), "127.0.0.1:0", Some(&member(&node)));
    let _old_streams = greetings(&node).await;
    old.kill();
    let new = Peer::start(&key.path(), "127.0.0.1:0", None);
    let begin = Instant::now();
    within(SOON, "the peer at its new port", connected(&node, &new.member, Lane::Control)).await;
    println!("after {:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_peer_that_dialled_us_anew_is_reached_too() {
    let (node, key) = (node().await, Key::new());
    let mut old = Peer::start(&key.path(), "127.0.0.1:0", Some(&member(&node)));
    let mut old_streams = greetings(&node).await;
    let _control = connected(&node, &old.member, Lane::Control).await;
    old.kill();
    let new = Peer::start(&key.path(), "127.0.0.1:0", Some(&member(&node)));
    let _new_streams = greetings(&node).await;
    // What the old process had opened ends as soon as the new one is heard.
    for incoming in &mut old_streams {
        within(SOON, "the old stream fails", failure(&mut incoming.stream)).await;
    }
    for lane in Lane::ALL {
        within(SOON, "the peer at its new port", connected(&node, &new.member, lane)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_peer_is_reached_at_the_same_port_after_a_reset() {
    let (node, key) = (node().await, Key::new());
    let mut old = Peer::start(&key.path(), "127.0.0.1:0", None);
    let mut control = connected(&node, &old.member, Lane::Control).await;
    old.kill();
    let new = Peer::start(&key.path(), &old.member.address, None);
    assert_eq!(new.member, old.member);
    node.reset(&new.member.identity);
    within(SOON, "the peer at its port", connected(&node, &new.member, Lane::Control)).await;
    within(SOON, "the old stream fails", failure(&mut control)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_peer_at_the_same_port_is_noticed_without_a_reset() {
    let (node, key) = (node().await, Key::new());
    let mut old = Peer::start(&key.path(), "127.0.0.1:0", None);
    let mut control = connected(&node, &old.member, Lane::Control).await;
    old.kill();
    let new = Peer::start(&key.path(), &old.member.address, None);
    // Idle for 2.5 s at most, plus what a busy machine adds.
    within(Duration::from_secs(5), "the old stream fails", failure(&mut control)).await;
    within(SOON, "the peer at its port", connected(&node, &new.member, Lane::Control)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_peer_that_stays_away_fails_its_streams_and_is_unreachable() {
    let (node, key) = (node().await, Key::new());
    let mut old = Peer::start(&key.path(), "127.0.0.1:0", None);
    let mut control = connected(&node, &old.member, Lane::Control).await;
    old.kill();
    within(Duration::from_secs(5), "the stream fails", failure(&mut control)).await;
    let dial = node.connect(&old.member, Lane::Control);
    within(Duration::from_millis(1500), "an answer", dial).await.expect_err("nobody is there");
    let new = Peer::start(&key.path(), "127.0.0.1:0", None);
    within(SOON, "the peer at its new port", connected(&node, &new.member, Lane::Control)).await;
}
