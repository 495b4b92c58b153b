//! What a leader does to the membership by itself.
//!
//! It settles a joint membership that an earlier leader left, which the library does not. And it records
//! the disk of a learner that was seen for the first time: from then on every node refuses another disk
//! under its name, and not before then is anything sent to it that could count later.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::{LOOK_AGAIN, Taken, Turn};
use super::plan::settled;
use crate::engine::runtime::{Runtime, Select2, now};
use crate::engine::{Standing, View};
use crate::node::core::{Core, Running};
use crate::node::status::Role;
use crate::types::{DiskId, Member, Membership, NodeId, PeerId};

/// A member whose disk was seen and is not recorded, with that disk.
fn unrecorded(membership: &Membership, seen: &BTreeMap<NodeId, (PeerId, DiskId)>) -> Option<Member> {
    let unrecorded = membership.members.values().filter(|member| member.disk_id.is_none());
    let mut unrecorded = unrecorded.filter_map(|member| {
        // Another may have been seen under this id, before it was removed.
        let (_, disk_id) = seen.get(&member.node_id).filter(|(key, _)| *key == member.identity)?;
        Some(Member { disk_id: Some(*disk_id), ..member.clone() })
    });
    unrecorded.next()
}

impl<RT: Runtime> Core<RT> {
    /// Looks after the membership whenever this node leads.
    pub(in crate::node) async fn tend_members(self: Arc<Self>) {
        let Some(running) = self.running.get() else { return };
        let mut view = running.group.view();
        let mut seen = self.host.seen_disks();
        let mut turn = self.turn.watch();
        loop {
            let shown = view.get();
            if shown.stopped.is_some() {
                return;
            }
            let (shows, sees) = (view.changed(), seen.changed());
            if !self.is_anything_due(&shown) {
                RT::select2(shows, sees).await;
                continue;
            }
            drop((shows, sees));
            // What a caller does it finishes by itself.
            match Taken::take(&self.turn, Turn::Leader) {
                Ok(_turn) => self.tend_once(running).await,
                Err(_) => drop(turn.until(|turn| *turn == Turn::Nobody).await),
            }
            let look_again = RT::sleep(LOOK_AGAIN);
            if let Select2::First(None) = RT::select2(view.changed(), look_again).await {
                return;
            }
        }
    }

    fn is_anything_due(&self, view: &View) -> bool {
        let unrecorded = || unrecorded(&view.membership, &self.host.seen_disks().get()).is_some();
        view.role == Role::Leader && (view.membership.is_joint() || unrecorded())
    }

    async fn tend_once(&self, running: &Running<RT>) {
        let Some(Standing { membership, at, committed, leader, term, .. }) = running.group.standing().await
        else {
            return;
        };
        if !committed || leader != Some(self.node_id()) {
            return;
        }
        let done = if let Some(last) = settled(&membership) {
            if !last.members.contains_key(&self.node_id()) {
                let deadline = now::<RT>() + self.election_timeout() * 4;
                let handed = self.hand_over(running, &membership, deadline).await;
                tracing::info!(?handed, "a leader that is to go has handed on");
                return;
            }
            tracing::info!(%at, "settling the change of members that an earlier leader left");
            running.group.append_members(&last, at, term).await
        } else if let Some(member) = unrecorded(&membership, &self.host.seen_disks().get()) {
            tracing::info!(node = %member.node_id, disk = ?member.disk_id, "recording the disk of a learner");
            running.group.record_member(member, at).await
        } else {
            return;
        };
        if let Err(error) = done {
            tracing::debug!(?error, "not yet");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_recorded_once_and_only_of_a_member() {
        let member = |node: u64| Member::new(node, PeerId::new([node as u8]).expect("one byte"), "a");
        let disk = |byte: u8| DiskId([byte; 16]);
        let known = Member { disk_id: Some(disk(1)), ..member(1) };
        let membership = Membership {
            voters: vec![[NodeId(1)].into()],
            members: [(NodeId(1), known), (NodeId(4), member(4)), (NodeId(5), member(5))].into(),
        };
        assert_eq!(unrecorded(&membership, &BTreeMap::new()), None);
        let key = |node: u64| member(node).identity;
        let seen = [
            (NodeId(1), (key(1), disk(9))),
            (NodeId(4), (key(9), disk(4))),
            (NodeId(5), (key(5), disk(5))),
            (NodeId(6), (key(6), disk(6))),
        ];
        let seen = seen.into();
        assert_eq!(unrecorded(&membership, &seen), Some(Member { disk_id: Some(disk(5)), ..member(5) }));
    }
}
