//! The contract of every transport, over real sockets on loopback.

use std::time::Duration;

use quorate::error::TransportError;
use quorate::testing::transport::TransportHarness;
use quorate_iroh::{IrohTransport, NodeKey};

struct IrohHarness;

impl TransportHarness for IrohHarness {
    type Transport = IrohTransport;
    type Network = ();

    /// A second, a quarter more when older connections were suspected, and a busy machine.
    const DIAL_LIMIT: Duration = Duration::from_secs(3);

    fn network() {}

    async fn bind((): &()) -> Result<IrohTransport, TransportError> {
        IrohTransport::bind(NodeKey::generate(), "127.0.0.1:0").await
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Runtime::new().expect("a runtime").block_on(future)
    }
}

quorate::transport_conformance!(IrohHarness);
