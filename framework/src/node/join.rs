//! Joining a running cluster, and being removed from it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;

use super::Ticket;
use super::config::Config;
use super::core::Core;
use super::status::{Phase, Role};
use crate::engine::runtime::Runtime;
use crate::error::{JoinError, StartError};
use crate::host::wait_for_admission;
use crate::state_machine::erased::ErasedMachine;
use crate::storage::{GroupState, Identity};
use crate::types::{ClusterId, GroupId, Membership, NodeId, PeerId};

/// Checks what a disk records against a ticket: the cross-check of every start but the first.
pub(super) fn check_recorded(
    recorded: Identity,
    ticket: &Ticket,
    key: &PeerId,
    config: &Config,
) -> Result<Identity, JoinError> {
    let (cluster_id, node_id) = check_fresh(ticket, key, config)?;
    if cluster_id != recorded.cluster_id {
        return Err(JoinError::OtherCluster { recorded: recorded.cluster_id, offered: cluster_id });
    }
    if node_id != recorded.node_id {
        return Err(JoinError::OtherNode { recorded: recorded.node_id, offered: node_id });
    }
    Ok(recorded)
}

/// Checks that a ticket is for this node, and says which cluster it is of and who this node is there.
pub(super) fn check_fresh(
    ticket: &Ticket,
    key: &PeerId,
    config: &Config,
) -> Result<(ClusterId, NodeId), JoinError> {
    let offered = ticket.node_id;
    if let Some(configured) = config.node.id.filter(|configured| *configured != offered) {
        return Err(JoinError::OtherNodeId { configured, offered });
    }
    ticket.check_key(key)?;
    Ok((ticket.cluster_id, offered))
}

/// Whether a node is no member any more: its log says so, or a majority of the voters that it knows, which
/// may have been told what it was not. Whoever hears a leader is a member, and those that refused it had not
/// heard of that.
pub(super) fn is_removed(
    own: NodeId,
    membership: &Membership,
    refused_by: &BTreeSet<NodeId>,
    hears_a_leader: bool,
) -> bool {
    let Some(voters) = membership.voters.last() else { return false };
    let refuse = voters.intersection(refused_by).count() > voters.len() / 2;
    !membership.members.contains_key(&own) || (refuse && !hears_a_leader)
}

impl<RT: Runtime> Core<RT> {
    /// Takes part with what its log holds, at first nothing. While that does not name this node it asks the
    /// members of the ticket to let it in, in the background after the first round of questions.
    pub(super) async fn join(
        self: Arc<Self>,
        machine: Arc<dyn ErasedMachine>,
        found: &GroupState,
        key: &PeerId,
    ) -> Result<(), StartError> {
        let own = self.node_id();
        let others = self.host.roster().members.keys().copied().filter(|node| *node != own).collect();
        self.status.update(|status| status.phase = Phase::Joining { waiting_for: others, unfit: Vec::new() });
        self.take_part(machine, found, key).await?;
        self.host.serve();
        if self.host.roster().born {
            self.runs();
            return Ok(());
        }
        let (verdict, first_round) = oneshot::channel();
        let mut verdict = Some(verdict);
        let core = self.clone();
        self.host.tasks.spawn::<RT>(async move {
            let admitted = core.admission(|| drop(verdict.take().map(|verdict| verdict.send(Ok(())))));
            match (admitted.await, verdict.take()) {
                (result, Some(verdict)) => drop(verdict.send(result.map_err(StartError::from))),
                (Err(error), None) => core.fail(&error.into()),
                (Ok(()), None) => {}
            }
        });
        first_round.await.unwrap_or_else(|_| {
            Err(StartError::Engine { detail: "the node was stopped while it started".to_owned() })
        })
    }

    /// Whether it votes: whose disk is not on record could lose what it promises.
    pub(super) fn may_vote(&self) -> bool {
        let roster = self.host.roster();
        roster.born || self.host.is_named_by(&roster.members)
    }

    async fn admission(&self, mut after_first_round: impl FnMut() + Send) -> Result<(), JoinError> {
        wait_for_admission(&self.host, GroupId::MAIN, |waiting_for, unfit| {
            self.status.update(|status| {
                // With its first membership it runs, whatever a slow answer says.
                if matches!(status.phase, Phase::Joining { .. }) {
                    status.phase = Phase::Joining { waiting_for, unfit };
                }
            });
            after_first_round();
        })
        .await
    }

    /// Shows what the members say of this node.
    pub(super) async fn follow_refusals(self: Arc<Self>) {
        let mut refused_by = self.host.refused_by();
        while refused_by.changed().await.is_some() {
            if let Some(running) = self.running.get() {
                self.show(&running.group.view().get());
            }
        }
    }

    /// Asks the members whenever no leader is heard of: a node that was removed may have nobody to dial,
    /// and be dialled by nobody.
    pub(super) async fn look_around_when_alone(self: Arc<Self>) {
        let Some(running) = self.running.get() else { return };
        let pause = Duration::from_millis(self.config.election.timeout_max_ms) * 2;
        let mut view = running.group.view();
        while view.until(|view| !view.connected && view.role != Role::Leader).await.is_some() {
            self.host.look_around();
            RT::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DiskId, Member};

    fn key(byte: u8) -> PeerId {
        PeerId::new([byte]).expect("one byte")
    }

    fn ticket() -> Ticket {
        let member = |node: u64| Member::new(node, key(node as u8), "a");
        Ticket::new(ClusterId([1; 32]), NodeId(4), [member(1), member(4)])
    }

    #[test]
    fn a_ticket_is_checked_against_disk_key_and_configuration() {
        let config = Config::testing();
        let recorded =
            Identity { cluster_id: ClusterId([1; 32]), node_id: NodeId(4), disk_id: DiskId([4; 16]) };
        assert_eq!(check_recorded(recorded, &ticket(), &key(4), &config), Ok(recorded));
        let other = Identity { cluster_id: ClusterId([2; 32]), ..recorded };
        let error = JoinError::OtherCluster { recorded: other.cluster_id, offered: recorded.cluster_id };
        assert_eq!(check_recorded(other, &ticket(), &key(4), &config), Err(error));
        let other = Identity { node_id: NodeId(5), ..recorded };
        let error = JoinError::OtherNode { recorded: NodeId(5), offered: NodeId(4) };
        assert_eq!(check_recorded(other, &ticket(), &key(4), &config), Err(error));
        let error = JoinError::OtherKey { node_id: NodeId(4), invited: key(4), found: key(5) };
        assert_eq!(check_recorded(recorded, &ticket(), &key(5), &config), Err(error));
        let mut config = config;
        config.node.id = Some(NodeId(5));
        let error = JoinError::OtherNodeId { configured: NodeId(5), offered: NodeId(4) };
        assert_eq!(check_fresh(&ticket(), &key(4), &config), Err(error));
    }

    #[test]
    fn a_node_is_removed_when_its_log_or_a_majority_of_the_voters_says_so() {
        let members = |nodes: &[u64]| {
            nodes.iter().map(|node| (NodeId(*node), Member::new(*node, key(*node as u8), "a"))).collect()
        };
        let set = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
        let three = Membership { voters: vec![set(&[1, 2, 3])], members: members(&[1, 2, 3, 4]) };
        let removed = |own: u64, membership: &Membership, refused_by: &[u64]| {
            is_removed(NodeId(own), membership, &set(refused_by), false)
        };
        assert!(!removed(3, &three, &[1]), "one that has not heard of it yet");
        assert!(removed(3, &three, &[1, 2]) && removed(4, &three, &[1, 2]));
        assert!(!removed(4, &three, &[1, 9]), "whoever does not vote has no say");
        let heard = is_removed(NodeId(4), &three, &set(&[1, 2]), true);
        assert!(!heard, "they had not heard that it was added");
        assert!(removed(5, &three, &[]), "its log says so");
        assert!(!removed(5, &Membership::default(), &[]), "its log is empty");
        let joint = Membership { voters: vec![set(&[1, 2, 3]), set(&[1, 2])], ..three };
        assert!(removed(3, &joint, &[1, 2]) && !removed(3, &joint, &[1]));
    }
}
