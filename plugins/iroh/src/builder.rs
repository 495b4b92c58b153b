//! Setting a transport up.

use std::net::SocketAddr;
use std::sync::Arc;

use iroh::Endpoint;
use iroh::endpoint::{PortmapperConfig, presets};
use quorate::error::{BoxError, TransportError};
use tokio::sync::mpsc;

use crate::accept;
use crate::admission::Gate;
use crate::hint::Hint;
use crate::key::NodeKey;
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
}

impl IrohBuilder {
    pub(crate) fn new(key: NodeKey) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { key, listen, advertise: None, timeouts: Timeouts::default() }
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

    /// Binds the socket and begins to accept peers.
    ///
    /// # Errors
    /// [`TransportError::Address`] when the advertised address is not of the form asked for;
    /// [`TransportError::Setup`] when a setting is out of its limits, with a [`SettingError`] as
    /// its source, or when the socket cannot be bound.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn bind(self) -> Result<IrohTransport, TransportError> {
        // Binding is rare and its future is large: a caller's own stays small.
        Box::pin(self.bind_now()).await
    }

    async fn bind_now(self) -> Result<IrohTransport, TransportError> {
        let Self { key, listen, advertise, timeouts } = self;
        let doing = || format!("bind {listen}");
        timeouts.check().map_err(|error| setup(doing(), error))?;
        if let Some(address) = &advertise {
            address.parse::<Hint>()?;
        } else if listen.ip().is_unspecified() {
            return Err(setup(doing(), SettingError::NothingToAdvertise));
        }
        let gate = Gate::default();
        let endpoint = bind_endpoint(&key, listen, &timeouts, gate.clone()).await?;
        let Some(bound) = endpoint.bound_sockets().into_iter().next() else {
            endpoint.close().await;
            return Err(setup(doing(), std::io::Error::from(std::io::ErrorKind::AddrNotAvailable)));
        };

        let limits = Limits::default();
        let (queue, incoming) = mpsc::channel(limits.waiting);
        let shared = Arc::new(Shared::new(endpoint.clone(), gate, timeouts, limits));
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
) -> Result<Endpoint, TransportError> {
    let doing = || format!("bind {listen}");
    Endpoint::builder(presets::Minimal)
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
        .map_err(|error| setup(doing(), error))
}

fn setup(doing: String, source: impl Into<BoxError>) -> TransportError {
    TransportError::Setup { doing, source: source.into() }
}
