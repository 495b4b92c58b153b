//! Who may connect: asked once per connection, before any of its streams, and once per stream.

use std::sync::{Arc, PoisonError, RwLock};

use iroh::EndpointId;
use iroh::endpoint::{AfterHandshakeOutcome, Connection, EndpointHooks, Side};
use quorate::transport::{Admission, Lane};
use quorate::types::PeerId;

use crate::key::peer_id;
use crate::wire::{Plane, code, quic_code};

/// The check given by [`Transport::set_admission`](quorate::transport::Transport::set_admission).
/// Until it is given everybody is admitted, as the framework checks each stream itself.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<RwLock<Option<Admission>>>);

impl Gate {
    pub(crate) fn set(&self, admission: Admission) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(admission);
    }

    pub(crate) fn admits(&self, peer: &PeerId, lane: Lane) -> bool {
        // Cloned out: the check is the framework's code and must not run under our lock.
        let admission = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        admission.is_none_or(|admission| admission(peer, lane))
    }

    /// Whether `peer` may open any lane of `plane`.
    fn admits_connection(&self, peer: EndpointId, plane: Plane) -> bool {
        let peer = peer_id(peer);
        plane.lanes().any(|lane| self.admits(&peer, lane))
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

impl EndpointHooks for Gate {
    async fn after_handshake<'a>(&'a self, connection: &'a Connection) -> AfterHandshakeOutcome {
        let admitted = match connection.side() {
            // Whom we dial is the framework's choice.
            Side::Client => true,
            Side::Server => Plane::from_alpn(connection.alpn())
                .is_some_and(|plane| self.admits_connection(connection.remote_id(), plane)),
        };
        if admitted {
            return AfterHandshakeOutcome::Accept;
        }
        tracing::debug!(peer = %connection.remote_id().fmt_short(), "connection refused: not admitted");
        AfterHandshakeOutcome::Reject {
            error_code: quic_code(code::REFUSED),
            reason: b"not admitted".to_vec(),
        }
    }
}
