//! What a process has once, whatever it serves: transport, storage, hello and admission.
//!
//! A node is one group on a host. This folder dials and accepts streams, makes both sides say who
//! they are before anything else, decides who is admitted, correlates requests with answers, and
//! finds out whether a cluster may be born. It knows frames and lanes, and no commands, no log and
//! no votes: those belong to the group that a frame names.

mod admission;
mod birth;
mod dial;
mod heard;
mod join;
mod link;
mod pace;
mod serve;
mod vouch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

pub(crate) use self::admission::Roster;
pub(crate) use self::birth::{Birth, Census, wait_for_birth};
pub(crate) use self::dial::{OpenError, Session, expect_frame};
use self::heard::Heard;
pub(crate) use self::join::wait_for_admission;
pub(crate) use self::link::{Call, CallError, Link, Reply, Status};
pub(crate) use self::pace::patience;
pub(crate) use self::vouch::Record;
use crate::engine::runtime::{Runtime, Tasks};
use crate::format::hello::{GroupHello, Hello};
use crate::storage::Identity;
use crate::transport::{Lane, Transport};
use crate::types::{BootId, DiskId, GroupId, LogId, Member, NodeId, PeerId};
use crate::watch::{Watched, Watcher};

/// What a host needs to know of a group that it serves.
pub(crate) trait GroupService: Send + Sync {
    /// Answers a request of `peer`.
    fn call(&self, peer: NodeId, call: Call, body: Bytes) -> BoxFuture<'static, Reply>;
    /// Serves an append stream whose first frame is `first`, until it ends.
    fn append(&self, peer: NodeId, first: Bytes, session: Session) -> BoxFuture<'static, ()>;
    /// Receives the snapshot that `first` announces.
    fn snapshot(&self, peer: NodeId, first: Bytes, session: Session) -> BoxFuture<'static, ()>;
}

/// What a host is made of.
pub(crate) struct HostParts {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) identity: Identity,
    pub(crate) boot_id: BootId,
    pub(crate) machines: Vec<GroupHello>,
    pub(crate) roster: Roster,
    /// How long dialling, and each side of a hello, may take.
    pub(crate) connect_timeout: Duration,
    /// After how long without any answer a stream is given up.
    pub(crate) silence: Duration,
    /// The most bytes of requests that wait for one peer.
    pub(crate) queue_bytes: usize,
}

type Links<RT> = BTreeMap<(NodeId, Lane), Arc<Link<RT>>>;

/// The one host of a process.
pub(crate) struct Host<RT: Runtime> {
    parts: HostParts,
    roster: Mutex<Arc<Roster>>,
    /// What an unborn node has seen so far, for the census of others.
    census: Mutex<Option<Roster>>,
    groups: Mutex<BTreeMap<GroupId, Arc<dyn GroupService>>>,
    links: Mutex<Links<RT>>,
    boots: Mutex<BTreeMap<PeerId, BootId>>,
    heard: Mutex<BTreeMap<NodeId, Arc<Heard>>>,
    /// Whether somebody unknown has asked to be let in.
    knocks: Arc<Watched<bool>>,
    /// Members of which no disk is recorded, with the disk that was seen last.
    seen_disks: Watched<BTreeMap<NodeId, (PeerId, DiskId)>>,
    /// Members that do not know this node, as each said when it was last dialled.
    refused_by: Watched<BTreeSet<NodeId>>,
    pub(crate) tasks: Tasks,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<RT: Runtime> Host<RT> {
    pub(crate) fn new(parts: HostParts) -> Arc<Self> {
        let roster = Mutex::new(Arc::new(parts.roster.clone()));
        Arc::new(Self {
            parts,
            roster,
            census: Mutex::default(),
            groups: Mutex::default(),
            links: Mutex::default(),
            boots: Mutex::default(),
            heard: Mutex::default(),
            knocks: Arc::new(Watched::new(false)),
            seen_disks: Watched::new(BTreeMap::new()),
            refused_by: Watched::new(BTreeSet::new()),
            tasks: Tasks::new(),
        })
    }

    pub(crate) fn node_id(&self) -> NodeId {
        self.parts.identity.node_id
    }

    pub(crate) fn identity(&self) -> Identity {
        self.parts.identity
    }

    pub(crate) fn disk_id(&self) -> DiskId {
        self.parts.identity.disk_id
    }

    pub(crate) fn roster(&self) -> Arc<Roster> {
        lock(&self.roster).clone()
    }

    /// Replaces who is known.
    pub(crate) fn set_roster(&self, roster: Roster) {
        *lock(&self.census) = None;
        self.change_roster(|current| {
            *current = roster;
            true
        });
    }

    /// Takes over the membership that stands in the log at `at`.
    pub(crate) fn learn(&self, members: &BTreeMap<NodeId, Member>, at: Option<LogId>) {
        // What comes first of a log is old: whoever sends it may not have been a member then, and another
        // node may have had this one's id.
        let joining = self.roster().joining;
        if joining && !self.is_named_by(members) {
            return;
        }
        if self.change_roster(|roster| roster.learn(members, at)) {
            *lock(&self.census) = None;
        }
        self.forget_seen_disks(members);
        // Who refused a node that joined had not heard of it.
        self.refused_by.update(|refused| refused.retain(|node| !joining && members.contains_key(node)));
    }

    /// Forgets the disks that were seen of members that have one on record. Who was seen last with another
    /// disk than that was let in when there was none to compare, and is cut off now.
    fn forget_seen_disks(&self, members: &BTreeMap<NodeId, Member>) {
        let mut others = Vec::new();
        self.seen_disks.update(|seen| {
            // Whoever comes back under a number that was removed has a disk of its own.
            seen.retain(|node, (key, disk)| {
                let Some(member) = members.get(node).filter(|member| member.identity == *key) else {
                    return false;
                };
                if member.disk_id.is_some_and(|recorded| recorded != *disk) {
                    others.push(key.clone());
                }
                member.disk_id.is_none()
            });
        });
        for key in &others {
            self.parts.transport.reset(key);
        }
    }

    /// Whether these members count this node among them, with its key and its disk. Whoever had its id
    /// before, in an older part of the log, is another node.
    pub(crate) fn is_named_by(&self, members: &BTreeMap<NodeId, Member>) -> bool {
        let Identity { node_id, disk_id, .. } = self.parts.identity;
        let named = members.get(&node_id).filter(|member| member.disk_id == Some(disk_id));
        named.is_some_and(|member| member.identity == self.parts.transport.identity())
    }

    /// Watches the disks of members of which none is recorded, and the keys that they were seen with.
    pub(crate) fn seen_disks(&self) -> Watcher<BTreeMap<NodeId, (PeerId, DiskId)>> {
        self.seen_disks.watch()
    }

    /// Watches which members do not know this node.
    pub(crate) fn refused_by(&self) -> Watcher<BTreeSet<NodeId>> {
        self.refused_by.watch()
    }

    /// Asks around, as if somebody unknown had asked to be let in: who has been removed hears it from
    /// those it asks.
    pub(crate) fn look_around(&self) {
        self.knocks.set(true);
    }

    /// Changes who is known, and says whether `change` did. Plugins that refuse early are told, and
    /// a member that is gone loses its connections.
    fn change_roster(&self, change: impl FnOnce(&mut Roster) -> bool) -> bool {
        let gone = {
            let mut current = lock(&self.roster);
            let before = current.clone();
            if !change(Arc::make_mut(&mut current)) {
                return false;
            }
            let (roster, knocks) = (current.clone(), self.knocks.clone());
            // Under the lock: the last word is the right one.
            self.parts.transport.set_admission(Arc::new(move |peer, _| {
                let known = roster.all().chain(roster.again()).any(|member| member.identity == *peer);
                if !known {
                    knocks.set(true);
                }
                known
            }));
            before.gone_since(&current)
        };
        for peer in &gone {
            self.parts.transport.reset(peer);
        }
        true
    }

    fn set_census(&self, census: Roster) {
        *lock(&self.census) = Some(census);
    }

    /// Opens a group to its peers.
    pub(crate) fn open_group(&self, group: GroupId, service: Arc<dyn GroupService>) {
        lock(&self.groups).insert(group, service);
    }

    pub(crate) fn close_group(&self, group: GroupId) {
        lock(&self.groups).remove(&group);
    }

    fn group(&self, group: GroupId) -> Option<Arc<dyn GroupService>> {
        lock(&self.groups).get(&group).cloned()
    }

    fn hello(&self) -> Hello {
        let identity = &self.parts.identity;
        Hello {
            cluster_id: identity.cluster_id,
            node_id: identity.node_id,
            disk_id: identity.disk_id,
            boot_id: self.parts.boot_id,
            groups: self.parts.machines.clone(),
        }
    }

    /// Notes the boot of a peer; whether it is another one than before.
    fn restarted(&self, peer: &PeerId, boot: BootId) -> bool {
        lock(&self.boots).insert(peer.clone(), boot).is_some_and(|before| before != boot)
    }

    /// What has been heard of `node`.
    fn heard(&self, node: NodeId) -> Arc<Heard> {
        lock(&self.heard).entry(node).or_default().clone()
    }

    /// The link to `node` on `lane`, made on first use.
    pub(crate) fn link(self: &Arc<Self>, node: NodeId, lane: Lane) -> Arc<Link<RT>> {
        let mut links = lock(&self.links);
        links.entry((node, lane)).or_insert_with(|| Link::start(self, node, lane)).clone()
    }

    /// Ends every stream and task, and closes the transport.
    pub(crate) async fn close(&self) {
        lock(&self.groups).clear();
        self.tasks.stop().await;
        lock(&self.links).clear();
        self.parts.transport.close().await;
    }
}
