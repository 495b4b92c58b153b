//! Members that this node's own membership does not name yet, vouched for by one that it does, or by one
//! vouched for already.
//!
//! A node that was down while its peers were replaced knows none of the new ones: it would refuse
//! the only leader it could learn from. So when somebody it does not know asks to be let in, it asks
//! those it knows for their membership. The answer comes from a key that the transport has proved,
//! and no word of the stranger counts. Whoever stands in a newer membership than its own, with key,
//! node id and disk, is admitted until this node's own log has come as far.
//!
//! A number or a key that was removed may have been given again, while this node was away. Whoever has it
//! now is heard as well, beside the one that is known by it. But nothing is asked of it: where this node
//! dials it looks for whom its own membership names, or it would count the vote of one as that of the other.
//!
//! What this does not do. A node of which no known member is left has nobody to ask: transports prove
//! who speaks and sign nothing, so a record cannot be carried by a stranger. To be admitted is to be
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
    /// All that it names, with their disks.
    named: Vec<Member>,
    /// Of these, those whose number and key nobody else is known by.
    pub(super) members: BTreeMap<NodeId, Member>,
    /// And those whose number or key is another node's.
    pub(super) again: Vec<Member>,
}

impl Vouched {
    /// Tells those that the record names from those of `own`, which change while the log catches up.
    fn sort(&mut self, own: &BTreeMap<NodeId, Member>) {
        (self.members, self.again) = Default::default();
        for member in &self.named {
            let mut taken =
                own.values().filter(|own| own.node_id == member.node_id || own.identity == member.identity);
            match taken.next() {
                None => drop(self.members.insert(member.node_id, member.clone())),
                // The same, with a disk that this node has not heard of yet.
                Some(own) if is_same(own, member) => {}
                Some(_) => self.again.push(member.clone()),
            }
        }
    }
}

impl Roster {
    /// Takes in whom a newer record names, in the place of whom an older one did; whether anything changed.
    pub(super) fn vouch(&mut self, record: Record) -> bool {
        let known = self.at.max(self.vouched.as_ref().map(|vouched| vouched.at));
        if !(self.born || self.joining) || Some(record.at) <= known {
            return false;
        }
        // Without its disk nobody could tell it from one that was wiped.
        let named = record.membership.members.into_iter().filter_map(|(node, member)| {
            member.filter(|member| member.disk_id.is_some() && member.node_id == node)
        });
        let mut new =
            Vouched { at: record.at, named: named.collect(), members: BTreeMap::new(), again: Vec::new() };
        new.sort(&self.members);
        let same = |before: &Vouched| (&before.members, &before.again) == (&new.members, &new.again);
        let changed = !self.vouched.as_ref().map_or(new.members.is_empty() && new.again.is_empty(), same);
        self.vouched = Some(new);
        changed
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
            vouched.sort(members);
        }
        self.vouched.take_if(|vouched| Some(vouched.at) <= at);
        *self != before
    }

    /// Whose connections are to go, now that `now` is known. Another disk or number under the same key is
    /// another node, and so is whoever was asked and is only heard by now.
    pub(super) fn gone_since(&self, now: &Self) -> Vec<PeerId> {
        let names = |now: &Member, before: &Member| {
            (now.node_id, &now.identity) == (before.node_id, &before.identity)
        };
        // What is only heard may stay while the own log has not come to where its disk is recorded.
        let is_heard = |now: &Member, before: &Member| {
            names(now, before) && (now.disk_id.is_none() || now.disk_id == before.disk_id)
        };
        let own = self.members.values().filter(|before| {
            let same = |now: &Member| {
                names(now, before) && (before.disk_id.is_none() || now.disk_id == before.disk_id)
            };
            !now.all().any(same)
        });
        let vouched = self.vouched.iter().flat_map(|vouched| vouched.members.values());
        let vouched = vouched.filter(|before| {
            // With no disk on record it comes once more, and is seen with the one it has.
            !now.all().any(|now| names(now, before) && now.disk_id == before.disk_id)
        });
        let again = self.again();
        let again = again.filter(|before| !now.all().chain(now.again()).any(|now| is_heard(now, before)));
        own.chain(vouched).chain(again).map(|member| member.identity.clone()).collect()
    }

    /// Whoever has a number or a key again that another node is known by.
    pub(super) fn again(&self) -> impl Iterator<Item = &Member> {
        self.vouched.iter().flat_map(|vouched| &vouched.again)
    }

    /// Everybody who is admitted, and asked.
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

/// Whether `newer` is the member that is known, as far as that can be told.
fn is_same(known: &Member, newer: &Member) -> bool {
    let same_disk = known.disk_id.is_none() || known.disk_id == newer.disk_id;
    (known.node_id, &known.identity) == (newer.node_id, &newer.identity) && same_disk
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
            let Some(mut record) = record else { continue };
            // Not even one that has this node's own number by now, whose vote would look like its own.
            record.membership.members.remove(&own);
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
    use crate::format::hello::Hello;
    use crate::types::{BootId, ClusterId, DiskId};

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
        let again = [other_key, other_disk, other_number];
        assert!(roster.vouch(record(7, &again)));
        assert!(!roster.vouch(record(8, &again)), "nothing new");
        assert!(!knows(&roster, 9) && roster.member(NodeId(8)).is_none());
        assert_eq!(roster.member(NodeId(2)), Some(&member(2, 2)), "with the disk it was admitted with");
    }

    #[test]
    fn whoever_has_a_number_or_a_key_again_is_heard_and_not_asked() {
        let again = [
            member(3, 9),
            Member { disk_id: Some(DiskId([9; 16])), ..member(2, 2) },
            Member { node_id: NodeId(8), disk_id: Some(DiskId([8; 16])), ..member(1, 1) },
        ];
        let hello = |member: &Member| Hello {
            cluster_id: ClusterId([1; 32]),
            node_id: member.node_id,
            disk_id: member.disk_id.expect("it is on record"),
            boot_id: BootId(1),
            groups: Vec::new(),
        };
        let mut roster = roster();
        let admit = |roster: &Roster, member: &Member, incoming: bool| {
            let (cluster, hello) = (ClusterId([1; 32]), hello(member));
            let (peer, machines) = (&member.identity, &[]);
            if incoming {
                roster.admit_incoming(cluster, machines, peer, &hello)
            } else {
                roster.admit(cluster, machines, peer, &hello)
            }
        };
        for member in &again {
            assert!(admit(&roster, member, true).is_err(), "nobody has said so: {member:?}");
        }
        assert!(roster.vouch(record(7, &again)));
        for member in &again {
            assert_eq!(admit(&roster, member, true), Ok(member.node_id));
            assert!(admit(&roster, member, false).is_err(), "it is not whom this node asks: {member:?}");
            let wiped = Member { disk_id: Some(DiskId([5; 16])), ..member.clone() };
            assert!(admit(&roster, &wiped, true).is_err(), "{wiped:?}");
        }
        for known in [member(1, 1), member(2, 2), member(3, 3)] {
            assert_eq!(admit(&roster, &known, true), Ok(known.node_id), "the old ones are still known");
        }
        roster.learn(&members(&[member(3, 9)]), Some(LogId::new(1, 7)));
        assert!(roster.again().next().is_none(), "the log has come as far");
        assert_eq!(admit(&roster, &again[0], false), Ok(NodeId(3)));
    }

    #[test]
    fn whoever_is_vouched_for_stays_so_while_the_log_catches_up_with_one_that_was_before() {
        let hello = |member: &Member| Hello {
            cluster_id: ClusterId([1; 32]),
            node_id: member.node_id,
            disk_id: member.disk_id.expect("it is on record"),
            boot_id: BootId(1),
            groups: Vec::new(),
        };
        let admits = |roster: &Roster, member: &Member| {
            roster.admit_incoming(ClusterId([1; 32]), &[], &member.identity, &hello(member)).is_ok()
        };
        let (number, key) = (member(4, 14), Member { node_id: NodeId(8), ..member(5, 5) });
        let mut roster = roster();
        assert!(roster.vouch(record(12, &[number.clone(), key.clone()])));
        assert!(admits(&roster, &number) && admits(&roster, &key));
        // Both were another node's before, of which this node has never heard.
        roster.learn(&members(&[member(4, 4), member(5, 5)]), Some(LogId::new(1, 6)));
        assert!(admits(&roster, &number) && admits(&roster, &key));
        // Added, and not recorded yet.
        let added = Member { disk_id: None, ..number.clone() };
        roster.learn(&members(&[added, member(5, 5)]), Some(LogId::new(1, 9)));
        assert!(admits(&roster, &number) && admits(&roster, &key));
        roster.learn(&members(&[member(5, 5)]), Some(LogId::new(1, 12)));
        assert!(!admits(&roster, &number) && !admits(&roster, &key), "the log has come as far");
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
