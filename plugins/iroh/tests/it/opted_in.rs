//! Relays and discovery: not used unless asked for, and used when they are.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

use quorate::error::TransportError;
use quorate::transport::{Lane, Transport};
use quorate::types::Member;
use quorate_iroh::{IrohTransport, NodeKey, SettingError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{node, ping, until};

/// An HTTP server that keeps what is put and gives it when asked.
struct Server {
    address: SocketAddr,
    /// The first line of every request.
    requests: watch::Receiver<Vec<String>>,
}

type Kept = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (seen, requests) = watch::channel(Vec::new());
        let (kept, seen) = (Kept::default(), Arc::new(seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, seen) = (kept.clone(), seen.clone());
                tokio::spawn(async move { serve(stream, &kept, &seen).await });
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Waits for a request whose first line begins so.
    async fn asked(&self, what: &str) {
        let mut requests = self.requests.clone();
        let seen = requests.wait_for(|requests| requests.iter().any(|line| line.starts_with(what)));
        until(what, seen).await.expect("the server lives");
    }
}

async fn serve(stream: TcpStream, kept: &Kept, seen: &watch::Sender<Vec<String>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    stream.read_line(&mut first).await.ok()?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(found) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = found.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let mut words = first.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let answer = {
        let mut kept = kept.lock().expect("no panic");
        if method == "PUT" {
            kept.insert(path, body);
            Some(Vec::new())
        } else if path == "/ping" {
            // How iroh chooses the relay nearest to it.
            Some(Vec::new())
        } else {
            kept.get(&path).cloned()
        }
    };
    seen.send_modify(|seen| seen.push(first));
    let (status, answer) = answer.map_or(("404 Not Found", Vec::new()), |answer| ("200 OK", answer));
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(&answer).await.ok()?;
    stream.shutdown().await.ok()
}

/// A member with the key of `node`, at an address where it is not.
fn moved(node: &IrohTransport) -> (Member, UdpSocket) {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("bound").to_string();
    (Member::new(1, node.identity(), address), silent)
}

async fn with_discovery(server: &Server) -> IrohTransport {
    IrohTransport::builder(NodeKey::generate()).discovery(server.url()).bind().await.expect("a free port")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_has_moved_is_found_by_discovery() {
    let server = Server::start().await;
    let (a, b) = (with_discovery(&server).await, with_discovery(&server).await);
    server.asked("PUT").await;
    let (member, _silent) = moved(&b);
    let dialling = async {
        // What b publishes may come a moment later than the first dial.
        loop {
            if let Ok(stream) = a.connect(&member, Lane::Control).await {
                return stream;
            }
        }
    };
    let (mut out, incoming) = until("b is found", async { tokio::join!(dialling, b.accept()) }).await;
    let mut incoming = incoming.expect("open");
    assert_eq!(incoming.peer, a.identity());
    ping(&mut out, &mut incoming.stream).await;
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_discovery_a_peer_that_has_moved_is_not_found() {
    let (a, b) = (node().await, node().await);
    let (member, _silent) = moved(&b);
    let error = until("an answer", a.connect(&member, Lane::Control)).await.expect_err("not there");
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_set_is_connected_to() {
    let server = Server::start().await;
    let node = IrohTransport::builder(NodeKey::generate()).relays([server.url()]).bind().await;
    let node = node.expect("a free port");
    server.asked("GET /relay").await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_and_is_reached_while_relay_and_discovery_are_down() {
    let down = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
    let bind = || {
        let builder = IrohTransport::builder(NodeKey::generate());
        builder.relays([format!("http://{down}")]).discovery(format!("http://{down}/pkarr")).bind()
    };
    let (a, b) = tokio::join!(bind(), bind());
    let (a, b) = (a.expect("a free port"), b.expect("a free port"));
    let (mut out, mut incoming) = crate::support::stream(&a, &b, Lane::Control).await;
    ping(&mut out, &mut incoming.stream).await;
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_url_is_named() {
    let builder = || IrohTransport::builder(NodeKey::generate());
    for (name, builder) in
        [("relays", builder().relays(["nonsense"])), ("discovery", builder().discovery("nonsense"))]
    {
        let error = builder.bind().await.expect_err("no URL");
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref());
        let expected = SettingError::Url { name, found: "nonsense".to_owned() };
        assert_eq!(source, Some(&expected), "{error:?}");
    }
}
