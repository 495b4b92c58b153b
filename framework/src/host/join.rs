//! Whether the members of a running cluster admit a node that joins it.
//!
//! It was added by its key, and knows from its ticket who the members were. It asks them, so that they
//! see its disk, and so that whoever started it is told when it cannot be let in. The leader records its
//! disk and sends it the log, and with the first membership in that it is born.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Call, CallError, Host, OpenError, Record, Status};
use crate::engine::runtime::{Runtime, now};
use crate::error::JoinError;
use crate::format::hello::Refusal;
use crate::transport::Lane;
use crate::types::{DiskId, GroupId, NodeId};

/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(100);

/// What a member said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// It admits this node.
    Known,
    Silent,
    /// It knows no member with this key, which it may not have heard of yet.
    Stranger,
    /// It never will.
    Never(JoinError),
}

/// What a round of questions has shown, and who has not admitted this node, of whom some refuse.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    waiting_for: Vec<NodeId>,
    unfit: Vec<NodeId>,
    /// Unless somebody changes the cluster or this node, nothing comes of it.
    hopeless: Option<JoinError>,
}

fn decide(answers: BTreeMap<NodeId, Answer>, stranger: impl FnOnce() -> JoinError) -> Verdict {
    let asked = answers.len();
    let (mut waiting_for, mut unfit, mut hopeless) = (Vec::new(), Vec::new(), None);
    let mut strangers = 0;
    // Who lags behind may know another by this number or key, that had it before.
    let known = answers.values().any(|answer| *answer == Answer::Known);
    for (node, answer) in answers {
        match answer {
            Answer::Known => continue,
            Answer::Silent => {}
            Answer::Stranger => {
                strangers += 1;
                unfit.push(node);
            }
            Answer::Never(error) => {
                hopeless = hopeless.or((!known).then_some(error));
                unfit.push(node);
            }
        }
        waiting_for.push(node);
    }
    // A majority has been told of every member: one of those that do not know it is part of that.
    if hopeless.is_none() && !known && strangers * 2 > asked {
        hopeless = Some(stranger());
    }
    Verdict { waiting_for, unfit, hopeless }
}

impl<RT: Runtime> Host<RT> {
    async fn ask_to_join(self: &Arc<Self>, node: NodeId, group: GroupId) -> Answer {
        let deadline = now::<RT>() + self.parts.connect_timeout;
        let link = self.link(node, Lane::Control);
        let own = self.identity();
        match link.call(group, Call::Membership, Bytes::new(), deadline).await {
            Ok(reply) if reply.status == Status::Done => match Record::decode(reply.body) {
                Ok(record) => {
                    let found = record.membership.members.get(&own.node_id).cloned().flatten();
                    self.judge(found.and_then(|member| member.disk_id))
                }
                Err(error) => {
                    tracing::warn!(%node, %error, "membership not understood");
                    Answer::Silent
                }
            },
            Err(CallError::NotSent(error)) => self.not_admitted(node, &error),
            _ => Answer::Silent,
        }
    }

    /// It let this node in, so it knows it.
    fn judge(&self, recorded: Option<DiskId>) -> Answer {
        let own = self.identity();
        match recorded.filter(|recorded| *recorded != own.disk_id) {
            Some(recorded) => {
                Answer::Never(JoinError::DiskReplaced { node_id: own.node_id, recorded, found: own.disk_id })
            }
            None => Answer::Known,
        }
    }

    fn not_admitted(&self, node: NodeId, error: &OpenError) -> Answer {
        let own = self.identity();
        match error {
            OpenError::Refused(Refusal::OtherDisk { recorded }) => self.judge(Some(*recorded)),
            OpenError::Refused(Refusal::OtherCluster(theirs)) => {
                Answer::Never(JoinError::PeerInOtherCluster {
                    peer: node,
                    theirs: *theirs,
                    ours: own.cluster_id,
                })
            }
            // The key was removed, and added again under another number.
            OpenError::Refused(Refusal::OtherNode(theirs)) => {
                Answer::Never(JoinError::KnownAs { theirs: *theirs, ours: own.node_id })
            }
            error if error.is_stranger() => Answer::Stranger,
            _ => Answer::Silent,
        }
    }
}

/// Asks every member of the ticket, again and again, until this node is born. What is hopeless in the
/// first round is an error; later somebody may yet do something about it. `waiting` is told after each
/// round who has not admitted this node, and who of them refuses.
pub(crate) async fn wait_for_admission<RT: Runtime>(
    host: &Arc<Host<RT>>,
    group: GroupId,
    mut waiting: impl FnMut(Vec<NodeId>, Vec<NodeId>),
) -> Result<(), JoinError> {
    let own = host.node_id();
    let members = host.roster().members.clone();
    let others: Vec<NodeId> = members.keys().copied().filter(|node| *node != own).collect();
    let mut first_round = true;
    while !host.roster().born {
        let asked = others.iter().map(|node| async move { (*node, host.ask_to_join(*node, group).await) });
        let answers = futures::future::join_all(asked).await.into_iter().collect();
        let identity = || host.parts.transport.identity();
        let verdict = decide(answers, || JoinError::NotAdmitted { identity: identity() });
        if let Some(error) = verdict.hopeless {
            if first_round || matches!(error, JoinError::DiskReplaced { .. }) {
                return Err(error);
            }
            tracing::warn!(%error, "the cluster does not let this node in");
        }
        first_round = false;
        waiting(verdict.waiting_for, verdict.unfit);
        RT::sleep(PAUSE).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PeerId;

    fn stranger() -> JoinError {
        JoinError::NotAdmitted { identity: PeerId::new([9]).expect("one byte") }
    }

    fn decided(answers: [Answer; 3]) -> Verdict {
        decide((1..).map(NodeId).zip(answers).collect(), stranger)
    }

    fn verdict(waiting_for: &[u64], unfit: &[u64], hopeless: Option<JoinError>) -> Verdict {
        let nodes = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect();
        Verdict { waiting_for: nodes(waiting_for), unfit: nodes(unfit), hopeless }
    }

    #[test]
    fn one_that_lags_behind_is_waited_for() {
        let found = decided([Answer::Known, Answer::Stranger, Answer::Silent]);
        assert_eq!(found, verdict(&[2, 3], &[2], None));
        let found = decided([Answer::Silent, Answer::Stranger, Answer::Silent]);
        assert_eq!(found, verdict(&[1, 2, 3], &[2], None));
        let found = decided([Answer::Known, Answer::Stranger, Answer::Stranger]);
        assert_eq!(found, verdict(&[2, 3], &[2, 3], None), "one has heard of it");
    }

    #[test]
    fn a_majority_that_does_not_know_it_is_the_end() {
        let found = decided([Answer::Stranger, Answer::Stranger, Answer::Silent]);
        assert_eq!(found, verdict(&[1, 2, 3], &[1, 2], Some(stranger())));
    }

    #[test]
    fn one_that_knows_another_disk_is_the_end() {
        let disk = |byte| DiskId([byte; 16]);
        let replaced = JoinError::DiskReplaced { node_id: NodeId(4), recorded: disk(1), found: disk(2) };
        let found = decided([Answer::Silent, Answer::Stranger, Answer::Never(replaced.clone())]);
        assert_eq!(found, verdict(&[1, 2, 3], &[2, 3], Some(replaced.clone())));
        let found = decided([Answer::Known, Answer::Silent, Answer::Never(replaced)]);
        assert_eq!(found, verdict(&[2, 3], &[3], None), "one that lags behind");
    }
}
