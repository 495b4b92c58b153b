//! The vocabulary: ids, log ids, members, membership, time. No behaviour.
//!
//! Every other folder uses these words; this one uses none of the others.

mod ids;
mod log_id;
mod log_time;
mod member;
mod membership;

pub(crate) use ids::parse_hex;
pub use ids::{BootId, ClientId, ClusterId, DiskId, GroupId, LogIndex, NodeId, ParseIdError, Term};
pub use log_id::{LogId, Position};
pub use log_time::LogTime;
pub use member::{Member, ParseMemberError, PeerId};
pub use membership::{Membership, MembershipKind};
