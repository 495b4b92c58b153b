//! Whether a cluster may be born.
//!
//! A node that comes up on an empty disk could be a first member of a new cluster, or a member whose
//! disk was lost; its votes and entries would be lost with it, and nothing on the empty disk could
//! tell. So it asks. It is born when every listed member has answered, unborn like itself, and all
//! have come to the same list of disks. A member that is born already went through that: when its
//! list has this very disk, every member has agreed to it, and it holds for this node too, even if
//! another member is down by now. A member that records another disk is the proof that this one was
//! lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Call, CallError, Host, OpenError, Roster, Status};
use crate::engine::runtime::{Bug, Runtime, now};
use crate::error::{BootstrapError, TransportError};
use crate::format::frame;
use crate::format::hello::Refusal;
use crate::format::membership::{put_member, read_member};
use crate::format::{FormatError, Reader};
use crate::transport::Lane;
use crate::types::{DiskId, LogId, Member, NodeId};

const VERSION: u8 = 1;
/// How long to wait before asking those again who did not answer.
const PAUSE: Duration = Duration::from_millis(100);

/// What a node says when asked for a census: `version u8 = 1 | born u8 | its disk id | member count
/// u16 | members`, the members with the disks it knows. Born is 0 for no, 1 for yes, and 2 for yes, with
/// other members than the cluster began with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) born: bool,
    /// Whether the members are not, or may not be, those that the cluster began with.
    pub(crate) changed: bool,
    pub(crate) disk_id: DiskId,
    pub(crate) members: BTreeMap<NodeId, Member>,
}

impl Census {
    pub(super) fn of<RT: Runtime>(host: &Host<RT>) -> Self {
        let census = super::lock(&host.census).clone();
        let roster = census.unwrap_or_else(|| (*host.roster()).clone());
        let changed = roster.born && roster.at != Some(LogId::new(0, 0));
        Self { born: roster.born, changed, disk_id: host.disk_id(), members: roster.members }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        out.put_u8(u8::from(self.born) + u8::from(self.changed));
        out.put_slice(&self.disk_id.0);
        out.put_u16_le(self.members.len() as u16);
        self.members.iter().for_each(|(node, member)| put_member(&mut out, *node, Some(member)));
        out.freeze()
    }

    fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new("a census", bytes);
        reader.version(VERSION)?;
        let (born, changed) = match reader.u8("born")? {
            0 => (false, false),
            1 => (true, false),
            2 => (true, true),
            found => return Err(reader.unknown("born", u64::from(found))),
        };
        let disk_id = DiskId(reader.array("disk id")?);
        let mut members = BTreeMap::new();
        for _ in 0..reader.u16("members")? {
            if let (node, Some(member)) = read_member(&mut reader)? {
                members.insert(node, member);
            }
        }
        reader.finish()?;
        Ok(Self { born, changed, disk_id, members })
    }
}

/// What a round of questions has shown.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The list, every member with its disk.
    Born(BTreeMap<NodeId, Member>),
    /// The cluster was born, with this node among its members, and they are others by now.
    Changed(BTreeMap<NodeId, Member>),
    /// Not yet: these have not answered, or not come to the same list.
    Waiting { with: Vec<NodeId>, disks: BTreeMap<NodeId, Member> },
    /// Never: this disk is not the one that a born member records.
    Replaced { recorded: DiskId },
}

/// Decides from the answers of all other listed members; `None` where there was none.
fn decide(
    own: NodeId,
    disk: DiskId,
    list: &BTreeMap<NodeId, Member>,
    answers: &BTreeMap<NodeId, Option<Census>>,
) -> Verdict {
    let born = answers.values().flatten().filter(|census| census.born);
    let born = born.map(|census| (census, census.members.get(&own).and_then(|member| member.disk_id)));
    if let Some(recorded) = born.clone().find_map(|(_, recorded)| recorded.filter(|id| *id != disk)) {
        return Verdict::Replaced { recorded };
    }
    let mut disks = list.clone();
    for (node, member) in &mut disks {
        let answered = answers.get(node).and_then(Option::as_ref).map(|census| census.disk_id);
        member.disk_id = if *node == own { Some(disk) } else { answered };
    }
    // A born member's list is what the cluster began with, and this node takes it over as it is; or it is
    // another one by now, and what it began with comes with the log.
    let knows: Vec<&Census> =
        born.filter(|(_, recorded)| *recorded == Some(disk)).map(|(census, _)| census).collect();
    if let Some(census) = knows.iter().find(|census| !census.changed) {
        return Verdict::Born(census.members.clone());
    }
    if let Some(census) = knows.first() {
        return Verdict::Changed(census.members.clone());
    }
    let silent: Vec<NodeId> =
        answers.iter().filter(|(_, census)| census.is_none()).map(|(node, _)| *node).collect();
    if !silent.is_empty() {
        return Verdict::Waiting { with: silent, disks };
    }
    let disagree = |census: &Census| census.born || census.members != disks;
    let with = answers.iter().filter(|(_, census)| census.as_ref().is_none_or(disagree));
    let with: Vec<NodeId> = with.map(|(node, _)| *node).collect();
    if with.is_empty() { Verdict::Born(disks) } else { Verdict::Waiting { with, disks } }
}

/// Finds a member that two nodes were given different addresses for: entry 0 must be the same
/// everywhere, so their lists never agree. A born cluster's list stands as it is.
fn other_address(
    list: &BTreeMap<NodeId, Member>,
    answers: &BTreeMap<NodeId, Option<Census>>,
) -> Option<BootstrapError> {
    let censuses = answers.iter().filter_map(|(peer, census)| Some((peer, census.as_ref()?)));
    for (peer, census) in censuses.filter(|(_, census)| !census.born) {
        for (node, member) in &census.members {
            let ours = list.get(node).map(|member| &member.address);
            if let Some(ours) = ours.filter(|ours| **ours != member.address) {
                let (theirs, ours) = (member.address.clone(), ours.clone());
                return Some(BootstrapError::OtherAddress { peer: *peer, node_id: *node, theirs, ours });
            }
        }
    }
    None
}

enum Answer {
    Census(Census),
    Silent,
    Never(BootstrapError),
}

impl<RT: Runtime> Host<RT> {
    async fn ask(self: &Arc<Self>, node: NodeId) -> Answer {
        let deadline = now::<RT>() + self.parts.connect_timeout;
        let link = self.link(node, Lane::Control);
        match link.call(frame::NODE, Call::Census, Bytes::new(), deadline).await {
            Ok(reply) if reply.status == Status::Done => match Census::decode(reply.body) {
                Ok(census) => Answer::Census(census),
                Err(error) => {
                    tracing::warn!(%node, %error, "census not understood");
                    Answer::Silent
                }
            },
            Err(CallError::NotSent(error)) => self.refused(node, &error),
            _ => Answer::Silent,
        }
    }

    fn refused(&self, node: NodeId, error: &OpenError) -> Answer {
        let identity = &self.parts.identity;
        match error {
            OpenError::Refused(Refusal::OtherDisk { recorded }) => {
                Answer::Never(BootstrapError::DiskReplaced {
                    node_id: identity.node_id,
                    recorded: *recorded,
                    found: identity.disk_id,
                })
            }
            OpenError::Refused(Refusal::OtherCluster(theirs)) => {
                let ours = identity.cluster_id;
                Answer::Never(BootstrapError::PeerInOtherCluster { peer: node, theirs: *theirs, ours })
            }
            OpenError::Refused(Refusal::UnknownPeer)
            | OpenError::Transport(TransportError::Refused { .. }) => {
                let identity = self.parts.transport.identity();
                Answer::Never(BootstrapError::NotAdmitted { peer: node, identity })
            }
            _ => Answer::Silent,
        }
    }
}

/// How a node comes to take part in the cluster that it was listed for.
pub(crate) enum Birth {
    /// With this list, every member with its disk.
    With(BTreeMap<NodeId, Member>),
    /// Of the log that one of these sends it: the cluster was born without it.
    Later(BTreeMap<NodeId, Member>),
}

/// Asks every listed member, again and again, until the cluster is born.
///
/// A member that does not fit is an error in the first round. Later it is another node that was
/// started wrongly, and may be started again, rightly: until then it is waited for. `waiting` is told
/// after each round who is waited for, and who of them does not fit.
pub(crate) async fn wait_for_birth<RT: Runtime>(
    host: &Arc<Host<RT>>,
    mut waiting: impl FnMut(Vec<NodeId>, Vec<NodeId>),
) -> Result<Birth, BootstrapError> {
    let own = host.node_id();
    let list = host.roster().members.clone();
    let mut first_round = true;
    let others: Vec<NodeId> = list.keys().copied().filter(|node| *node != own).collect();
    loop {
        let asked = others.iter().map(|node| async move { (*node, host.ask(*node).await) });
        let mut answers = BTreeMap::new();
        let mut unfit = Vec::new();
        for (node, answer) in futures::future::join_all(asked).await {
            match answer {
                Answer::Census(census) => drop(answers.insert(node, Some(census))),
                Answer::Silent => drop(answers.insert(node, None)),
                Answer::Never(error) => {
                    if first_round || matches!(error, BootstrapError::DiskReplaced { .. }) {
                        return Err(error);
                    }
                    tracing::warn!(%node, %error, "a member of the new cluster does not fit");
                    unfit.push(node);
                    answers.insert(node, None);
                }
            }
        }
        if let Some(error) = other_address(&list, &answers) {
            if first_round {
                return Err(error);
            }
            tracing::warn!(%error, "a member of the new cluster does not fit");
        }
        first_round = false;
        match decide(own, host.disk_id(), &list, &answers) {
            Verdict::Born(members) => return Ok(Birth::With(members)),
            Verdict::Changed(members) => return Ok(Birth::Later(members)),
            Verdict::Replaced { recorded } => {
                if RT::planted(Bug::DiskNotCompared)
                    && let Some(census) = answers.into_values().flatten().find(|census| census.born)
                {
                    return Ok(Birth::With(census.members));
                }
                let found = host.disk_id();
                return Err(BootstrapError::DiskReplaced { node_id: own, recorded, found });
            }
            Verdict::Waiting { with, disks } => {
                // What this node tells others in their census: the disks it has seen itself. A disk
                // id here also makes hello refuse a member that comes back with another one, so
                // the roster for admission keeps the plain list until the list is durable.
                host.set_census(Roster::unborn(disks));
                waiting(with, unfit);
                RT::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PeerId;

    fn disk(byte: u8) -> DiskId {
        DiskId([byte; 16])
    }

    fn list(disks: [Option<u8>; 3]) -> BTreeMap<NodeId, Member> {
        let member = |(number, byte): (u64, Option<u8>)| {
            let mut member = Member::new(number, PeerId::new([number as u8]).expect("one byte"), "a");
            member.disk_id = byte.map(disk);
            (NodeId(number), member)
        };
        (1..).zip(disks).map(member).collect()
    }

    fn census(born: bool, own: u8, disks: [Option<u8>; 3]) -> Census {
        Census { born, changed: false, disk_id: disk(own), members: list(disks) }
    }

    fn decide_for_1(two: Census, three: impl Into<Option<Census>>) -> Verdict {
        let answers = [(NodeId(2), Some(two)), (NodeId(3), three.into())].into();
        decide(NodeId(1), disk(1), &list([None; 3]), &answers)
    }

    const ALL: [Option<u8>; 3] = [Some(1), Some(2), Some(3)];

    #[test]
    fn born_when_all_have_come_to_the_same_list() {
        assert_eq!(decide_for_1(census(false, 2, ALL), census(false, 3, ALL)), Verdict::Born(list(ALL)));
    }

    #[test]
    fn one_that_is_silent_or_has_not_seen_all_is_waited_for() {
        let waits = |verdict| matches!(verdict, Verdict::Waiting { with, .. } if with == [NodeId(3)]);
        assert!(waits(decide_for_1(census(false, 2, ALL), None)));
        assert!(waits(decide_for_1(census(false, 2, ALL), census(false, 3, [Some(1), None, Some(3)]))));
    }

    #[test]
    fn a_born_member_that_records_this_disk_makes_up_for_one_that_is_down() {
        assert_eq!(decide_for_1(census(true, 2, ALL), None), Verdict::Born(list(ALL)));
    }

    #[test]
    fn a_born_member_that_records_this_disk_decides_the_list() {
        let verdict = decide_for_1(census(true, 2, ALL), census(false, 9, [Some(1), Some(2), Some(9)]));
        assert_eq!(verdict, Verdict::Born(list(ALL)), "the list of the born one, not the disk seen now");
    }

    #[test]
    fn what_a_cluster_began_with_is_not_taken_from_one_whose_members_have_changed() {
        let changed = Census { changed: true, ..census(true, 2, [Some(1), Some(2), None]) };
        let verdict = decide_for_1(changed.clone(), None);
        assert_eq!(verdict, Verdict::Changed(changed.members.clone()));
        let verdict = decide_for_1(changed, census(true, 3, ALL));
        assert_eq!(verdict, Verdict::Born(list(ALL)), "one that lags behind knows it still");
    }

    #[test]
    fn a_member_that_records_another_disk_forbids_it() {
        let other = [Some(8), Some(2), Some(3)];
        let verdict = decide_for_1(census(true, 2, other), None);
        assert_eq!(verdict, Verdict::Replaced { recorded: disk(8) });
    }

    #[test]
    fn a_member_that_two_nodes_address_differently_is_named() {
        let mut other = census(false, 2, ALL);
        other.members.get_mut(&NodeId(3)).expect("listed").address = "b".into();
        let found = other_address(&list([None; 3]), &[(NodeId(2), Some(other.clone()))].into());
        let expected = BootstrapError::OtherAddress {
            peer: NodeId(2),
            node_id: NodeId(3),
            theirs: "b".into(),
            ours: "a".into(),
        };
        assert_eq!(found, Some(expected));
        other.born = true;
        assert_eq!(other_address(&list([None; 3]), &[(NodeId(2), Some(other))].into()), None);
    }

    #[test]
    fn golden_census() {
        let mut golden = vec![1, 1];
        golden.extend([2; 16]);
        golden.extend([1, 0]);
        golden.extend([1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, b'a', 1]);
        golden.extend([1; 16]);
        let mut census = census(true, 2, ALL);
        census.members.retain(|node, _| *node == NodeId(1));
        assert_eq!(census.encode(), golden);
        golden[1] = 2;
        assert_eq!(Census { changed: true, ..census }.encode(), golden);
    }

    #[test]
    fn a_census_comes_back() {
        let census = census(true, 2, [Some(1), None, Some(3)]);
        assert_eq!(Census::decode(census.encode()), Ok(census.clone()));
        let changed = Census { changed: true, ..census.clone() };
        assert_eq!(Census::decode(changed.encode()), Ok(changed));
        let bytes = census.encode();
        assert!((0..bytes.len()).all(|len| Census::decode(bytes.slice(..len)).is_err()));
    }
}
