//! The end of a transport, in good order and otherwise.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use quorate::error::TransportError;
use quorate::transport::{Lane, Transport};
use quorate_iroh::{IrohTransport, NodeKey, SettingError, Timeouts};

use crate::support::{failure, member, node, node_with, ping, stream, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn close_ends_accept_and_everything_after() {
    let (a, b) = (node().await, node().await);
    let (mut out, mut incoming) = stream(&a, &b, Lane::Control).await;
    ping(&mut out, &mut incoming.stream).await;

    let (accepted, ()) = until("both end", async { tokio::join!(b.accept(), b.close()) }).await;
    assert!(matches!(accepted, Err(TransportError::Closed)), "{accepted:?}");
    assert!(matches!(b.accept().await, Err(TransportError::Closed)));
    assert!(matches!(b.connect(&member(&a), Lane::Control).await, Err(TransportError::Closed)));
    let error = failure(&mut incoming.stream).await;
    assert!(matches!(error, TransportError::Closed), "{error:?}");
    let error = incoming.stream.tx.send("late".into()).await.expect_err("closed");
    assert!(matches!(error, TransportError::Closed), "{error:?}");
    b.close().await;

    let error = within(Duration::from_secs(2), "the peer is told", failure(&mut out)).await;
    assert!(matches!(error, TransportError::Reset { source: Some(_) }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_arrived_before_the_close_can_still_be_read_or_fail_typed() {
    let (a, b) = (node().await, node().await);
    let (mut out, mut incoming) = stream(&a, &b, Lane::Control).await;
    ping(&mut out, &mut incoming.stream).await;
    a.close().await;
    match until("an end", incoming.stream.rx.next()).await {
        Some(Err(TransportError::Reset { source: Some(_) })) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_transport_gives_its_port_back() {
    let key = NodeKey::generate();
    let a = node().await;
    let first = node_with(key.clone()).await;
    let (mut out, mut incoming) = stream(&a, &first, Lane::Control).await;
    ping(&mut out, &mut incoming.stream).await;
    // A stream holds the socket, as long as somebody holds the stream.
    drop(incoming);
    first.close().await;

    let address: SocketAddr = first.address().parse().expect("ip:port");
    let second = IrohTransport::builder(key).listen(address).bind().await.expect("the port is free");
    assert_eq!(second.address(), first.address());
    failure(&mut out).await;
    let (mut out, mut incoming) = stream(&a, &second, Lane::Control).await;
    ping(&mut out, &mut incoming.stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transport_dropped_says_goodbye_and_gives_its_port_back() {
    let (a, b) = (node().await, node().await);
    let address: SocketAddr = b.address().parse().expect("ip:port");
    let (mut out, mut incoming) = stream(&a, &b, Lane::Control).await;
    ping(&mut out, &mut incoming.stream).await;
    drop(b);
    within(Duration::from_secs(2), "the peer is told", failure(&mut out)).await;
    let error = failure(&mut incoming.stream).await;
    assert!(matches!(error, TransportError::Closed), "{error:?}");
    // The last to hold the socket.
    drop(incoming);
    until("the port is free", async {
        while std::net::UdpSocket::bind(address).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Keeps the errors that are logged on its thread.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        self.0.lock().expect("no panic").push(format!("{event:?}"));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

// On one thread, so that every task of the transports logs here.
#[tokio::test(flavor = "current_thread")]
async fn neither_a_close_nor_a_drop_logs_an_error() {
    let errors = Errors::default();
    let _guard = tracing::subscriber::set_default(errors.clone());
    for close in [true, false] {
        let (a, b) = (node().await, node().await);
        let (mut out, mut incoming) = stream(&a, &b, Lane::Control).await;
        ping(&mut out, &mut incoming.stream).await;
        if close {
            b.close().await;
        }
        drop(b);
        failure(&mut out).await;
        failure(&mut incoming.stream).await;
        a.close().await;
    }
    let logged = errors.0.lock().expect("no panic");
    assert!(logged.is_empty(), "{logged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn close_ends_a_dial_under_way() {
    let a = node().await;
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("bound").to_string();
    let nobody = quorate::types::Member::new(9, NodeKey::generate().public(), address);
    let dial = async {
        let dial = a.connect(&nobody, Lane::Control);
        tokio::pin!(dial);
        // Well into it, then the transport is closed.
        let early = tokio::time::timeout(Duration::from_millis(100), &mut dial).await;
        assert!(early.is_err(), "nobody answers");
        let ((), result) = tokio::join!(a.close(), dial);
        result
    };
    let result = within(Duration::from_secs(4), "close and dial", dial).await;
    assert!(matches!(result, Err(TransportError::Closed)), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_set_up_is_named() {
    let busy = node().await;
    let address: SocketAddr = busy.address().parse().expect("ip:port");
    let bind = |builder: quorate_iroh::IrohBuilder| async { builder.bind().await.expect_err("refused") };
    let builder = || IrohTransport::builder(NodeKey::generate());

    let error = bind(builder().listen(address)).await;
    assert!(
        matches!(&error, TransportError::Setup { doing, .. } if doing.contains(&busy.address())),
        "{error:?}"
    );

    let mut timeouts = Timeouts::default();
    timeouts.idle = Duration::from_secs(30);
    assert!(matches!(
        setting(&bind(builder().timeouts(timeouts)).await),
        Some(SettingError::Timeout { name: "idle", .. })
    ));

    let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = bind(builder().listen(anywhere)).await;
    assert_eq!(setting(&error), Some(&SettingError::NothingToAdvertise));

    let error = bind(builder().listen(anywhere).advertise("here")).await;
    assert!(matches!(error, TransportError::Address { .. }), "{error:?}");
    let error = IrohTransport::bind(NodeKey::generate(), "here").await.expect_err("no address");
    assert!(matches!(error, TransportError::Address { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advertised_address_is_what_peers_are_told() {
    let port = {
        let probe = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        probe.local_addr().expect("bound").port()
    };
    let everywhere = IrohTransport::builder(NodeKey::generate())
        .listen(SocketAddr::from(([0, 0, 0, 0], port)))
        .advertise(format!("127.0.0.1:{port}"))
        .bind()
        .await
        .expect("binds");
    assert_eq!(everywhere.address(), format!("127.0.0.1:{port}"));
    let peer = node().await;
    let (mut out, mut incoming) = stream(&peer, &everywhere, Lane::Control).await;
    ping(&mut out, &mut incoming.stream).await;
}

fn setting(error: &TransportError) -> Option<&SettingError> {
    std::error::Error::source(error)?.downcast_ref()
}
