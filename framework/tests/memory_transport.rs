//! The transport in memory passes the kit, on no runtime and on tokio.

#![allow(clippy::disallowed_methods, reason = "tests run on tokio and real threads")]

use quorate::error::TransportError;
use quorate::testing::transport::TransportHarness;
use quorate::transport::{MemoryNetwork, MemoryTransport};

/// A network and how many endpoints it has.
struct Counted {
    hub: MemoryNetwork,
    count: std::sync::atomic::AtomicUsize,
}

impl Counted {
    fn new() -> Self {
        Self { hub: MemoryNetwork::new(), count: 0.into() }
    }

    fn endpoint(&self) -> MemoryTransport {
        let number = self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.hub.endpoint(&format!("n{number}"))
    }
}

mod on_no_runtime {
    use super::{Counted, MemoryTransport, TransportError, TransportHarness};

    struct NoRuntime;

    impl TransportHarness for NoRuntime {
        type Transport = MemoryTransport;
        type Network = Counted;

        fn network() -> Counted {
            Counted::new()
        }

        async fn bind(network: &Counted) -> Result<MemoryTransport, TransportError> {
            Ok(network.endpoint())
        }
    }

    quorate::transport_conformance!(NoRuntime);
}

/// With a delay on every link, so that nothing is there when it is first asked for.
mod on_tokio {
    use quorate::transport::Transport;

    use super::{Counted, MemoryTransport, TransportError, TransportHarness};

    struct Tokio;

    impl TransportHarness for Tokio {
        type Transport = MemoryTransport;
        type Network = Counted;

        fn network() -> Counted {
            Counted::new()
        }

        async fn bind(network: &Counted) -> Result<MemoryTransport, TransportError> {
            let endpoint = network.endpoint();
            network.hub.around(&endpoint.address()).delay(tokio::task::yield_now);
            Ok(endpoint)
        }

        fn block_on<F: Future>(future: F) -> F::Output {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .build()
                .expect("a runtime")
                .block_on(future)
        }
    }

    quorate::transport_conformance!(Tokio);
}
