//! Who takes part: a member and the key it is known by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::parse_hex;
use super::{DiskId, NodeId};

/// The identity that a transport proves for a peer: with Iroh its public key. At most 64 bytes;
/// printed as hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerId(Vec<u8>);

impl PeerId {
    /// The most bytes an identity may have.
    pub const MAX_BYTES: usize = 64;

    /// An identity of these bytes; `None` when there are none or more than [`Self::MAX_BYTES`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        (1..=Self::MAX_BYTES).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The bytes of the identity.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// One member of the cluster, as membership entries and snapshots record it.
///
/// Its text form, also read by [`str::parse`], is `1=<identity in hex>@<address>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Its number in the cluster, at least 1.
    pub node_id: NodeId,
    /// The identity its transport proves.
    pub identity: PeerId,
    /// Where it was last known to listen, in the transport's own form. A hint: identity decides.
    /// At most 1,024 bytes.
    pub address: String,
    /// The disk it was admitted with; `None` only in a bootstrap list, before its disk has been
    /// seen.
    pub disk_id: Option<DiskId>,
}

impl Member {
    /// The most bytes an address hint may have.
    pub const MAX_ADDRESS_BYTES: usize = 1024;

    /// A member for a bootstrap list.
    pub fn new(node_id: impl Into<NodeId>, identity: PeerId, address: impl Into<String>) -> Self {
        Self { node_id: node_id.into(), identity, address: address.into(), disk_id: None }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}@{}", self.node_id.get(), self.identity, self.address)
    }
}

/// A text that is not a member of the form `1=<identity in hex>@<address>`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseMemberError {
    /// The `=` after the node id, or the `@` before the address, is missing.
    #[error("`{text}` is not of the form `<node id>=<key in hex>@<address>`")]
    Shape {
        /// The text given.
        text: String,
    },
    /// What stands before the `=` is not a number from 1.
    #[error("`{found}` is not a node id: expected a whole number from 1")]
    NodeId {
        /// What was found.
        found: String,
    },
    /// What stands between is not hexadecimal, or too long.
    #[error("`{found}` is not a key: expected 1 to 64 bytes in hexadecimal")]
    Identity {
        /// What was found.
        found: String,
    },
    /// The address is empty or too long.
    #[error("the address of node {node_id} has {found} bytes: expected 1 to 1024")]
    Address {
        /// Whose address.
        node_id: NodeId,
        /// How many bytes it has.
        found: usize,
    },
}

impl FromStr for Member {
    type Err = ParseMemberError;

    fn from_str(text: &str) -> Result<Self, ParseMemberError> {
        let shape = || ParseMemberError::Shape { text: text.to_owned() };
        let (node_id, rest) = text.trim().split_once('=').ok_or_else(shape)?;
        let (identity, address) = rest.split_once('@').ok_or_else(shape)?;
        let node_id = match node_id.parse::<u64>() {
            Ok(number) if number > 0 => NodeId(number),
            _ => return Err(ParseMemberError::NodeId { found: node_id.to_owned() }),
        };
        let identity = parse_hex(identity)
            .and_then(PeerId::new)
            .ok_or_else(|| ParseMemberError::Identity { found: identity.to_owned() })?;
        if !(1..=Self::MAX_ADDRESS_BYTES).contains(&address.len()) {
            return Err(ParseMemberError::Address { node_id, found: address.len() });
        }
        Ok(Self::new(node_id, identity, address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_parses_back_from_its_text() {
        let member = Member::new(2, PeerId::new(vec![0xab, 0x01]).expect("short"), "127.0.0.1:7000");
        assert_eq!(member.to_string(), "2=ab01@127.0.0.1:7000");
        assert_eq!(member.to_string().parse::<Member>(), Ok(member));
    }

    #[test]
    fn each_part_that_is_wrong_is_named() {
        let error = |text: &str| text.parse::<Member>().expect_err("wrong on purpose");
        assert!(matches!(error("2"), ParseMemberError::Shape { .. }));
        assert!(matches!(error("0=ab@x"), ParseMemberError::NodeId { .. }));
        assert!(matches!(error("1=xy@x"), ParseMemberError::Identity { .. }));
        assert!(matches!(error("1=@x"), ParseMemberError::Identity { .. }));
        assert!(matches!(error("1=ab@"), ParseMemberError::Address { .. }));
    }
}
