//! Setting a transport up.

use std::net::SocketAddr;
use std::sync::Arc;

use iroh::endpoint::{PortmapperConfig, presets};
use iroh::{Endpoint, RelayUrl};
use quorate::error::{BoxError, TransportError};
use tokio::sync::mpsc;

use crate::accept;
use crate::admission::Gate;
use crate::hint::Hint;
use crate::key::NodeKey;
use crate::reach::Reach;
use crate::settings::{Limits, SettingError, Timeouts};
use crate::shared::Shared;
use crate::transport::{IrohTransport, Tasks};
use crate::wire::Plane;

/// Sets up an [`IrohTransport`]; made by [`IrohTransport::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing listens before `bind`"]
pub struct IrohBuilder {
    key: NodeKey,
    listen: SocketAddr,
    advertise: Option<String>,
    timeouts: Timeouts,
    reach: Reach,
}

impl IrohBuilder {
    pub(crate) fn new(key: NodeKey) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { key, listen, advertise: None, timeouts: Timeouts::default(), reach: Reach::default() }
    }

    /// Where to listen; port 0 takes a free one. `127.0.0.1:0` unless set.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Where peers can dial this transport, as `ip:port` or several separated by commas. Needed
    /// when it listens on an unspecified address, as `0.0.0.0`, or behind a translation of
    /// addresses.
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// How long to wait for what.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Relay servers, as `https://relay.example.org`, over which peers are reached whom their own
    /// address does not reach. None unless set. Every node of a cluster is given the same ones.
    ///
    /// A relay carries encrypted packets and sees who talks to whom. A way over it is longer: raise
    /// [`Timeouts::suspect`] above its round trip, and the cluster's election timeouts with it.
    pub fn relays(mut self, urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.reach.relays = urls.into_iter().map(Into::into).collect();
        self
    }

    /// A [pkarr](https://pkarr.org) server, as `https://dns.example.org/pkarr`, at which this node
    /// publishes its addresses, signed with its key, and looks for peers that have moved. None
    /// unless set. Whoever can read from the server learns the addresses.
    pub fn discovery(mut self, server: impl Into<String>) -> Self {
        self.reach.discovery = Some(server.into());
        self
    }

    /// Binds the socket and begins to accept peers.
    ///
    /// # Errors
    /// [`TransportError::Address`] when the advertised address is not of the form asked for;
    /// [`TransportError::Setup`] when a setting is out of its limits or no URL, with a [`SettingError`] as
    /// its source, or when the socket cannot be bound.
    ///
    /// It waits for neither relays nor discovery: a node starts when they are down.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn bind(self) -> Result<IrohTransport, TransportError> {
        // Binding is rare and its future is large: a caller's own stays small.
        Box::pin(self.bind_now()).await
    }

    async fn bind_now(self) -> Result<IrohTransport, TransportError> {
        let Self { key, listen, advertise, timeouts, reach } = self;
        let doing = || format!("bind {listen}");
        timeouts.check().map_err(|error| setup(doing(), error))?;
        if let Some(address) = &advertise {
            address.parse::<Hint>()?;
        } else if listen.ip().is_unspecified() {
            return Err(setup(doing(), SettingError::NothingToAdvertise));
        }
        let gate = Gate::default();
        let (endpoint, relays) = bind_endpoint(&key, listen, &timeouts, gate.clone(), &reach).await?;
        let Some(bound) = endpoint.bound_sockets().into_iter().next() else {
            endpoint.close().await;
            return Err(setup(doing(), std::io::Error::from(std::io::ErrorKind::AddrNotAvailable)));
        };

        let limits = Limits::default();
        let (queue, incoming) = mpsc::channel(limits.waiting);
        let shared = Arc::new(Shared::new(endpoint.clone(), gate, timeouts, limits, relays));
        let accepting = tokio::spawn(accept::run(Arc::clone(&shared), endpoint, queue));
        tracing::debug!(key = %key.public(), %bound, "transport bound");
        let address = advertise.unwrap_or_else(|| bound.to_string());
        Ok(IrohTransport::new(key.public(), address, shared, incoming, Tasks::new(bound, accepting)))
    }
}

async fn bind_endpoint(
    key: &NodeKey,
    listen: SocketAddr,
    timeouts: &Timeouts,
    gate: Gate,
    reach: &Reach,
) -> Result<(Endpoint, Vec<RelayUrl>), TransportError> {
    let doing = || format!("bind {listen}");
    let builder = Endpoint::builder(presets::Minimal);
    let (builder, relays) = reach.apply(builder).map_err(|error| setup(doing(), error))?;
    let endpoint = builder
        .secret_key(key.secret())
        .alpns(Plane::ALL.map(|plane| plane.alpn().to_vec()).to_vec())
        // Else it would listen on every interface as well.
        .clear_ip_transports()
        .bind_addr(listen)
        .map_err(|error| setup(doing(), error))?
        .portmapper_config(PortmapperConfig::Disabled)
        // The fewest streams of any plane, until the handshake has shown which it is.
        .transport_config(timeouts.quic(Plane::Snapshot.max_streams()))
        .hooks(gate)
        .bind()
        .await
        .map_err(|error| setup(doing(), error))?;
    Ok((endpoint, relays))
}

fn setup(doing: String, source: impl Into<BoxError>) -> TransportError {
    TransportError::Setup { doing, source: source.into() }
}
