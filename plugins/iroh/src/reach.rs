//! Reaching nodes whose address is not known, or not reachable: what a user may opt in to.

use iroh::address_lookup::{AddrFilter, PkarrPublisher, PkarrResolver};
use iroh::endpoint::Builder;
use iroh::{RelayMode, RelayUrl};

use crate::settings::SettingError;

/// Relays and discovery, as they were asked for. None of either unless set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    pub(crate) relays: Vec<String>,
    pub(crate) discovery: Option<String>,
}

impl Reach {
    /// Sets `endpoint` up, and gives the relays to dial peers over.
    pub(crate) fn apply(&self, mut endpoint: Builder) -> Result<(Builder, Vec<RelayUrl>), SettingError> {
        let relays = self.relays.iter().map(|relay| url("relays", relay));
        let relays: Vec<RelayUrl> = relays.collect::<Result<_, _>>()?;
        if !relays.is_empty() {
            endpoint = endpoint.relay_mode(RelayMode::custom(relays.clone()));
        }
        if let Some(server) = &self.discovery {
            let server = url("discovery", server)?;
            // Without its addresses a node that uses no relay could not be found at all.
            let publisher = PkarrPublisher::builder(server.clone().into());
            let publisher = publisher.addr_filter(AddrFilter::unfiltered());
            let resolver = PkarrResolver::builder(server.into());
            endpoint = endpoint.address_lookup(publisher).address_lookup(resolver);
        }
        Ok((endpoint, relays))
    }
}

fn url(name: &'static str, text: &str) -> Result<RelayUrl, SettingError> {
    let parsed = text.parse::<RelayUrl>().ok();
    let fits = |url: &RelayUrl| matches!(url.scheme(), "http" | "https") && url.has_host();
    parsed.filter(fits).ok_or_else(|| SettingError::Url { name, found: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_servers_are_read_and_others_are_named() {
        assert!(url("relays", "https://relay.example.org").is_ok());
        assert!(url("relays", "http://127.0.0.1:3340/").is_ok());
        for wrong in ["", "relay.example.org", "127.0.0.1:3340", "ftp://relay.example.org", "mailto:a@b"] {
            let named = SettingError::Url { name: "relays", found: wrong.to_owned() };
            assert_eq!(url("relays", wrong), Err(named));
        }
    }
}
