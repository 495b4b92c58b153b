//! The address of a member, in the form of this transport.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use quorate::error::TransportError;

/// What an address looks like, for error messages.
const EXPECTED: &str = "ip:port, or several separated by commas";

/// Where a peer may be found: one address or several of the same peer, sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hint(Vec<SocketAddr>);

impl Hint {
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

impl FromStr for Hint {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Self, TransportError> {
        let error = || TransportError::Address { address: text.to_owned(), expected: EXPECTED };
        let mut addresses = Vec::new();
        for part in text.split(',') {
            let address: SocketAddr = part.trim().parse().map_err(|_| error())?;
            // These are places to listen on; dialling them would reach this machine or nothing.
            if address.ip().is_unspecified() || address.port() == 0 {
                return Err(error());
            }
            addresses.push(address);
        }
        addresses.sort_unstable();
        addresses.dedup();
        Ok(Self(addresses))
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_or_several_are_read() {
        let hint: Hint = "127.0.0.1:7000".parse().expect("valid");
        assert_eq!(hint.to_string(), "127.0.0.1:7000");
        let hint: Hint = "[::1]:7000, 10.0.0.1:7000,10.0.0.1:7000".parse().expect("valid");
        assert_eq!(hint.to_string(), "10.0.0.1:7000,[::1]:7000");
    }

    #[test]
    fn anything_else_is_named() {
        let wrong =
            ["", "localhost:1", "127.0.0.1", "127.0.0.1:0", "0.0.0.0:1", "[::]:1", "127.0.0.1:1,", "mem:3"];
        for text in wrong {
            match text.parse::<Hint>() {
                Err(TransportError::Address { address, .. }) => assert_eq!(address, text),
                other => panic!("`{text}` gave {other:?}"),
            }
        }
    }
}
