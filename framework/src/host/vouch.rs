//! Members that this node's own membership does not name yet, vouched for by one that it does, or by one
//! vouched for already.
//!
//! A node that was down while its peers were replaced knows none of the new ones: it would refuse
//! the only leader it could learn from. So when somebody it does not know asks to be let in, it asks
//! those it knows for their membership. The answer comes from a key that the transport has proved,
//! and no word of the stranger counts. Whoever stands in a newer membership than its own, with key,
//! node id and disk, is admitted until this node's own log has come as far.
//!
//! What this does not do. A node of which no known member is left has nobody to ask: transports prove
//! who speaks and sign nothing, so a record cannot be carried by a stranger. A record adds members and
//! changes none: a known node with another key or another disk stays refused. To be admitted is to be
//! heard, no more: whose vote counts is decided by the membership in the log alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Call, Host, Roster, Status};
use crate::engine::runtime::{Runtime, now};
use crate::format::membership::RawMembership;
use crate::format::{FormatError, Reader, Writer};
use crate::transport::Lane;
use crate::types::{GroupId, LogId, Member, NodeId, PeerId};

const VERSION: u8 = 1;
/// How long a round of questions keeps the next one away. Strangers can make a node ask, and no
/// oftener than this.
const PAUSE: Duration = Duration::from_secs(2);

/// What a member says when asked for its membership: `version u8 = 1 | log id | membership`, the
/// effective one and the position of its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) at: LogId,
    pub(crate) membership: RawMembership,
}

impl Record {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        out.put_log_id(self.at);
        out.put_slice(&self.membership.encode());
        out.freeze()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new("a membership record", bytes);
        reader.version(VERSION)?;
        let at = reader.log_id("log id")?;
        Ok(Self { at, membership: RawMembership::decode(reader.rest())? })
    }
}

/// Members of a membership that is newer than the node's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vouched {
    pub(super) at: LogId,
    pub(super) members: BTreeMap<NodeId, Member>,
}

impl Roster {
    /// Takes in whom a newer record adds, in the place of whom an older one added; whether anything
    /// changed.
    pub(super) fn vouch(&mut self, record: Record) -> bool {
        let known = self.at.max(self.vouched.as_ref().map(|vouched| vouched.at));
        if !(self.born || self.joining) || Some(record.at) <= known {
            return false;
        }
        let mut members = BTreeMap::new();
        for (node, member) in record.membership.members {
            // Without its disk nobody could tell it from one that was wiped.
            let Some(member) = member.filter(|member| member.disk_id.is_some()) else { continue };
            let known = self.members.values();
            let taken = known.clone().any(|known| known.node_id == node || known.identity == member.identity);
            if !taken && member.node_id == node {
                members.insert(node, member);
            }
        }
        let before = self.vouched.replace(Vouched { at: record.at, members: members.clone() });
        before.map(|vouched| vouched.members).unwrap_or_default() != members
    }

    /// Takes over the node's own membership and lets go of what it has overtaken; whether anything
    /// changed.
    pub(super) fn learn(&mut self, members: &BTreeMap<NodeId, Member>, at: Option<LogId>) -> bool {
        let before = self.clone();
        (self.born, self.joining, self.at) = (true, false, at);
        if self.members != *members {
            self.members.clone_from(members);
        }
        if let Some(vouched) = &mut self.vouched {
            let taken = |member: &Member| {
                members.values().any(|own| own.node_id == member.node_id || own.identity == member.identity)
            };
            vouched.members.retain(|_, member| !taken(member));
        }
        self.vouched.take_if(|vouched| Some(vouched.at) <= at);
        *self != before
    }

    /// Everybody who is admitted.
    pub(super) fn all(&self) -> impl Iterator<Item = &Member> {
        let vouched = self.vouched.iter().flat_map(|vouched| vouched.members.values());
        self.members.values().chain(vouched)
    }

    /// The one that is admitted under this number.
    pub(super) fn member(&self, node: NodeId) -> Option<&Member> {
        self.all().find(|member| member.node_id == node)
    }

    pub(crate) fn by_identity(&self, identity: &PeerId) -> Option<&Member> {
        self.all().find(|member| member.identity == *identity)
    }
}

impl<RT: Runtime> Host<RT> {
    /// Asks members for their membership whenever somebody unknown has asked to be let in.
    pub(crate) async fn ask_around(self: Arc<Self>, group: GroupId) {
        let mut knocks = self.knocks.watch();
        while knocks.until(|knocked| *knocked).await.is_some() {
            // Before the questions: who comes meanwhile is another reason to ask.
            self.knocks.set(false);
            self.ask_for_members(group).await;
            RT::sleep(PAUSE).await;
        }
    }

    async fn ask_for_members(self: &Arc<Self>, group: GroupId) {
        let own = self.node_id();
        let roster = self.roster();
        let others = roster.all().map(|member| member.node_id).filter(|node| *node != own);
        let asked = others.map(|node| async move { (node, self.record_of(node, group).await) });
        for (node, record) in futures::future::join_all(asked).await {
            let Some(record) = record else { continue };
            let at = record.at;
            if self.change_roster(|roster| roster.vouch(record)) {
                tracing::info!(by = %node, %at, "a newer membership decides who is admitted");
            }
        }
    }

    async fn record_of(self: &Arc<Self>, node: NodeId, group: GroupId) -> Option<Record> {
        let deadline = now::<RT>() + self.parts.connect_timeout;
        let link = self.link(node, Lane::Control);
        let reply = link.call(group, Call::Membership, Bytes::new(), deadline).await;
        let reply = reply.ok().filter(|reply| reply.status == Status::Done)?;
        match Record::decode(reply.body) {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::warn!(%node, %error, "membership not understood");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::DiskId;

    fn member(node: u64, key: u8) -> Member {
        let mut member = Member::new(node, PeerId::new([key]).expect("one byte"), "a");
        member.disk_id = Some(DiskId([key; 16]));
        member
    }

    fn members(members: &[Member]) -> BTreeMap<NodeId, Member> {
        members.iter().map(|member| (member.node_id, member.clone())).collect()
    }

    fn record(index: u64, members: &[Member]) -> Record {
        let members = members.iter().map(|member| (member.node_id, Some(member.clone()))).collect();
        Record { at: LogId::new(1, index), membership: RawMembership { voters: Vec::new(), members } }
    }

    /// Knows nodes 1 to 3 since entry 5.
    fn roster() -> Roster {
        let mut roster = Roster::default();
        roster.learn(&members(&[member(1, 1), member(2, 2), member(3, 3)]), Some(LogId::new(1, 5)));
        roster
    }

    fn knows(roster: &Roster, key: u8) -> bool {
        roster.by_identity(&PeerId::new([key]).expect("one byte")).is_some()
    }

    #[test]
    fn a_newer_record_adds_members_until_the_log_has_come_as_far() {
        let mut roster = roster();
        assert!(roster.vouch(record(7, &[member(2, 2), member(3, 3), member(4, 4)])));
        assert_eq!(roster.member(NodeId(4)), Some(&member(4, 4)));
        assert!(knows(&roster, 1), "the own membership has the last word on its own members");

        let own = members(&[member(2, 2), member(3, 3)]);
        assert!(roster.learn(&own, Some(LogId::new(1, 6))));
        assert!(knows(&roster, 4), "the log is not there yet");
        assert!(roster.learn(&own, Some(LogId::new(1, 7))));
        assert!(!knows(&roster, 4), "the log says otherwise");
        assert!(!roster.learn(&own, Some(LogId::new(1, 7))), "nothing new");
    }

    #[test]
    fn an_older_record_adds_nobody() {
        let mut roster = roster();
        for index in [4, 5] {
            assert!(!roster.vouch(record(index, &[member(4, 4)])), "entry {index}");
        }
        assert!(roster.vouch(record(9, &[member(5, 5)])));
        assert!(!roster.vouch(record(8, &[member(4, 4)])), "older than what was vouched for");
        assert!(knows(&roster, 5) && !knows(&roster, 4));
        assert!(roster.vouch(record(10, &[member(2, 2)])));
        assert!(!knows(&roster, 5), "removed since");
    }

    #[test]
    fn a_record_changes_no_member_that_is_known() {
        let mut roster = roster();
        let other_key = member(3, 9);
        let other_disk = Member { disk_id: Some(DiskId([9; 16])), ..member(2, 2) };
        let other_number = Member { node_id: NodeId(8), ..member(1, 1) };
        assert!(!roster.vouch(record(7, &[other_key, other_disk, other_number])));
        assert!(!knows(&roster, 9) && roster.member(NodeId(8)).is_none());
        assert_eq!(roster.member(NodeId(2)), Some(&member(2, 2)), "with the disk it was admitted with");
    }

    #[test]
    fn nobody_is_vouched_for_without_a_disk_or_to_a_node_that_is_not_born() {
        let without = Member { disk_id: None, ..member(4, 4) };
        assert!(!roster().vouch(record(7, &[without])));
        assert!(!Roster::default().vouch(record(7, &[member(4, 4)])));
    }

    #[test]
    fn a_node_that_joins_takes_the_word_of_a_member_of_its_ticket() {
        let mut roster = Roster::joining(members(&[member(1, 1), member(4, 4)]));
        assert!(roster.vouch(record(7, &[member(1, 1), member(2, 2), member(4, 4)])));
        assert!(knows(&roster, 2), "it came after the ticket was made");
        assert!(roster.learn(&members(&[member(1, 1), member(4, 4)]), Some(LogId::new(1, 5))));
        assert!(roster.born && !roster.joining && knows(&roster, 2), "the log is not there yet");
    }

    #[test]
    fn golden_record() {
        let record = record(9, &[member(7, 4)]);
        let mut golden = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        golden.extend(record.membership.encode());
        assert_eq!(record.encode(), golden);
        assert_eq!(Record::decode(record.encode()), Ok(record.clone()));
        let bytes = record.encode();
        assert!((0..bytes.len()).all(|len| Record::decode(bytes.slice(..len)).is_err()));
    }
}
