//! Starting: the same for the first boot and for every restart.
//!
//! Storage and cluster description are checked against each other; a fresh directory gets its
//! identity before the first word to a peer; an unborn cluster waits for its members; and then the
//! group starts from what the disk holds.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use futures::channel::oneshot;
use futures::future::BoxFuture;

use super::cluster::Cluster;
use super::config::Config;
use super::core::{Core, Running, Shared};
use super::handle::Owned;
use super::join;
use super::members::change::Turn;
use super::propose::Proposer;
use super::read::Barrier;
use super::service::PeerService;
use super::status::{Phase, Status};
use crate::engine::runtime::{Runtime, TokioRuntime, now, random};
use crate::engine::{Group, GroupOptions, View, write_birth};
use crate::error::{BootstrapError, MachineError, StartError, StorageError};
use crate::format::hello::GroupHello;
use crate::host::{Birth, Host, HostParts, Roster, wait_for_birth};
use crate::state_machine::erased::ErasedMachine;
use crate::storage::{GroupState, Health, Identity, Storage};
use crate::transport::Transport;
use crate::types::{BootId, ClusterId, DiskId, GroupId, LogId, Member, NodeId, PeerId};
use crate::watch::{Watched, Watcher};

/// What a node is made of, erased.
pub(super) struct Parts {
    pub(super) machine: Arc<dyn ErasedMachine>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) cluster: Cluster,
    pub(super) config: Arc<Config>,
}

/// A node that has started.
pub(super) struct Started {
    pub(super) handle: Arc<dyn Owned>,
    /// Dropped with the node.
    pub(super) alive: oneshot::Sender<()>,
}

const GROUP: GroupId = GroupId::MAIN;

/// Starts on tokio. Not generic, so that a user's crate compiles none of the engine.
pub(super) fn start_on_tokio(parts: Parts) -> BoxFuture<'static, Result<Started, StartError>> {
    start::<TokioRuntime>(parts)
}

/// Boxed here, where it can be proved to be `Send` for every runtime.
pub(super) fn start<RT: Runtime>(parts: Parts) -> BoxFuture<'static, Result<Started, StartError>> {
    Box::pin(async move {
        let (storage, transport) = (parts.storage.clone(), parts.transport.clone());
        let result = try_start::<RT>(parts).await;
        if result.is_err() {
            transport.close().await;
            storage.close().await;
        }
        result
    })
}

async fn try_start<RT: Runtime>(parts: Parts) -> Result<Started, StartError> {
    let Parts { machine, storage, transport, cluster, config } = parts;
    config.validate()?;
    let list = cluster.list()?;
    let found = storage.open(GROUP).await?;
    let key = transport.identity();
    let identity = match storage.identity().await? {
        Some(recorded) => match &cluster.ticket {
            Some(ticket) => join::check_recorded(recorded, ticket, &key, &config)?,
            None => check_recorded(recorded, &cluster, list.as_ref(), &key, &config)?,
        },
        None => first_identity::<RT>(&*storage, &found, &cluster, list.as_ref(), &key, &config).await?,
    };
    let born = !found.log.is_empty() || found.purged.is_some();
    let roster = match &cluster.ticket {
        Some(ticket) => Roster::joining(ticket.members.clone()),
        None => Roster::unborn(list.clone().unwrap_or_default()),
    };
    if !born && roster.members.is_empty() {
        return Err(BootstrapError::NothingRecorded.into());
    }
    if !born && let Some(applied) = recovered::<RT>(&machine).await? {
        return Err(MachineError::WithoutLog { applied }.into());
    }
    let host = Host::<RT>::new(HostParts {
        transport,
        identity,
        boot_id: BootId(random::<RT>()),
        machines: vec![GroupHello {
            group: GROUP,
            machine: machine.name().to_owned(),
            version: machine.version(),
        }],
        roster: Roster::default(),
        connect_timeout: std::time::Duration::from_millis(config.timeouts.connect_ms),
        silence: std::time::Duration::from_millis(config.election.timeout_min_ms),
        queue_bytes: config.limits.queue_bytes,
    });
    let core = Arc::new(Core {
        config,
        host,
        storage,
        status: Watched::new(Status::new(identity.node_id, identity.cluster_id)),
        running: OnceLock::new(),
        turn: Arc::new(Watched::new(Turn::default())),
        calls: Arc::new(Watched::new(0)),
        stopping: AtomicBool::new(false),
        down: Watched::new(None),
    });
    // From here on whoever lets go of the start, or later of the node, stops it.
    let (alive, gone) = oneshot::channel();
    let stopping = core.clone();
    drop(RT::spawn(async move {
        // Resolves, always with an error, when the node is dropped.
        let _ = gone.await;
        stopping.halt("dropped".to_owned()).await;
    }));
    // Without a list nobody is known yet. To say so would refuse the members that the log names.
    if !roster.members.is_empty() {
        core.host.set_roster(roster);
    }
    let started = async {
        if cluster.ticket.is_some() {
            core.clone().join(machine, &found, &key).await?;
        } else if born {
            core.take_part(machine, &found, &key).await?;
            core.runs();
            core.host.serve();
        } else {
            core.host.serve();
            core.clone().be_born(machine, key).await?;
        }
        Ok(())
    };
    if let Err(error) = started.await {
        core.halt("it did not start".to_owned()).await;
        return Err(error);
    }
    Ok(Started { handle: Arc::new(Shared(core)), alive })
}

/// How far a machine on a disk has come.
async fn recovered<RT: Runtime>(machine: &Arc<dyn ErasedMachine>) -> Result<Option<LogId>, MachineError> {
    if !machine.durable() {
        return Ok(None);
    }
    let machine = machine.clone();
    let recovered = RT::spawn_blocking(move || machine.recovered()).await;
    let recovered =
        recovered.map_err(|source| MachineError::Failed { doing: "start", source: source.into() })?;
    Ok(recovered?.map(|applied| applied.log_id))
}

/// Checks what a disk records against what this start says.
fn check_recorded(
    recorded: Identity,
    cluster: &Cluster,
    list: Option<&BTreeMap<NodeId, Member>>,
    key: &PeerId,
    config: &Config,
) -> Result<Identity, BootstrapError> {
    if let Some(offered) = config.node.id.filter(|offered| *offered != recorded.node_id) {
        return Err(BootstrapError::OtherNode { recorded: recorded.node_id, offered });
    }
    if let Some(list) = list {
        let offered = cluster.id(list);
        if offered != recorded.cluster_id {
            return Err(BootstrapError::OtherCluster { recorded: recorded.cluster_id, offered });
        }
        let own = Cluster::own(list, key)?;
        if own.node_id != recorded.node_id {
            return Err(BootstrapError::OtherNode { recorded: recorded.node_id, offered: own.node_id });
        }
    }
    Ok(recorded)
}

/// Gives a fresh storage its identity. Durable before the first word to a peer.
async fn first_identity<RT: Runtime>(
    storage: &dyn Storage,
    found: &GroupState,
    cluster: &Cluster,
    list: Option<&BTreeMap<NodeId, Member>>,
    key: &PeerId,
    config: &Config,
) -> Result<Identity, StartError> {
    if !found.log.is_empty() || found.vote.is_some() || found.purged.is_some() {
        // Whose log it is must not be guessed: its votes may have been given under another name.
        return Err(
            StorageError::IdentityMissing { path: config.node.data_dir.clone().unwrap_or_default() }.into()
        );
    }
    let (cluster_id, node_id) = match &cluster.ticket {
        Some(ticket) => join::check_fresh(ticket, key, config)?,
        None => check_listed(cluster, list, key, config)?,
    };
    let mut disk = [0; 16];
    disk[..8].copy_from_slice(&random::<RT>().to_le_bytes());
    disk[8..].copy_from_slice(&random::<RT>().to_le_bytes());
    let identity = Identity { cluster_id, node_id, disk_id: DiskId(disk) };
    storage.set_identity_once(&identity).await?;
    Ok(identity)
}

/// The cluster that is to be born, and who of it this node is.
fn check_listed(
    cluster: &Cluster,
    list: Option<&BTreeMap<NodeId, Member>>,
    key: &PeerId,
    config: &Config,
) -> Result<(ClusterId, NodeId), BootstrapError> {
    let list = list.ok_or(BootstrapError::NothingRecorded)?;
    let own = Cluster::own(list, key)?;
    if let Some(configured) = config.node.id.filter(|configured| *configured != own.node_id) {
        return Err(BootstrapError::OtherNodeId { configured, listed: own.node_id });
    }
    Ok((cluster.id(list), own.node_id))
}

impl<RT: Runtime> Core<RT> {
    /// Waits until the cluster is born, in the background after the first round of questions.
    async fn be_born(
        self: Arc<Self>,
        machine: Arc<dyn ErasedMachine>,
        key: PeerId,
    ) -> Result<(), StartError> {
        let (verdict, first_round) = oneshot::channel();
        let mut verdict = Some(verdict);
        let core = self.clone();
        self.host.tasks.spawn::<RT>(async move {
            let born =
                core.birth(machine, &key, || drop(verdict.take().map(|verdict| verdict.send(Ok(()))))).await;
            match (born, verdict.take()) {
                (Ok(()), None) => {}
                (result, Some(verdict)) => drop(verdict.send(result)),
                (Err(error), None) => core.fail(&error),
            }
        });
        first_round.await.unwrap_or_else(|_| {
            Err(StartError::Engine { detail: "the node was stopped while it started".to_owned() })
        })
    }

    async fn birth(
        self: &Arc<Self>,
        machine: Arc<dyn ErasedMachine>,
        key: &PeerId,
        mut after_first_round: impl FnMut() + Send,
    ) -> Result<(), StartError> {
        let birth = wait_for_birth(&self.host, |waiting_for, unfit| {
            tracing::info!(?waiting_for, "waiting for the other members of a new cluster");
            self.status.update(|status| status.phase = Phase::Joining { waiting_for, unfit });
            after_first_round();
        })
        .await?;
        match &birth {
            Birth::With(members) => write_birth(&*self.storage, GROUP, members).await?,
            Birth::Later(members) => {
                self.host.set_roster(Roster::joining(members.clone()));
                let waiting_for = members.keys().copied().filter(|node| *node != self.node_id()).collect();
                let phase = Phase::Joining { waiting_for, unfit: Vec::new() };
                self.status.update(|status| status.phase = phase);
            }
        }
        let found = self.storage.open(GROUP).await?;
        self.take_part(machine, &found, key).await?;
        if matches!(birth, Birth::With(_)) {
            self.runs();
        }
        Ok(())
    }

    /// From now on it takes part.
    pub(super) fn runs(&self) {
        self.status.update(|status| status.phase = Phase::Running);
    }

    /// Stops for a reason that nobody waits for any more.
    pub(super) fn fail(self: &Arc<Self>, error: &StartError) {
        tracing::error!(%error, "the node stops");
        let core = self.clone();
        let reason = error.to_string();
        drop(RT::spawn(core.halt(reason)));
    }

    /// Starts the group from what the disk holds, and serves.
    pub(super) async fn take_part(
        self: &Arc<Self>,
        machine: Arc<dyn ErasedMachine>,
        found: &GroupState,
        key: &PeerId,
    ) -> Result<(), StartError> {
        let born = now::<RT>();
        let identity = self.host.identity();
        let options = GroupOptions {
            group: GROUP,
            cluster_id: identity.cluster_id,
            node_id: identity.node_id,
            config: self.config.clone(),
            storage: self.storage.clone(),
            machine,
            monotonic: Box::new(move || now::<RT>() - born),
            elects: false,
        };
        let group = Group::start(&self.host, found, options).await?;
        let view = group.view().get();
        if let Some(member) =
            // Another disk is another node's that had this id before.
            view
                .membership
                .members
                .get(&identity.node_id)
                .filter(|member| member.identity != *key && member.disk_id == Some(identity.disk_id))
        {
            let _ = group.stop().await;
            let (recorded, found) = (member.identity.clone(), key.clone());
            return Err(BootstrapError::OtherKey { node_id: identity.node_id, recorded, found }.into());
        }
        // Whoever votes in the membership that is committed may have to finish the change that removes it.
        if let Some((membership, at)) = group.committed_members().await
            && self.host.is_named_by(&membership.members)
        {
            self.host.learn(&membership.members, Some(at));
            group.elect();
        }
        self.show(&view);
        let (proposer, proposing) = Proposer::new(group.clone(), self.config.limits.clone());
        let patience = std::time::Duration::from_millis(self.config.election.timeout_max_ms);
        let (barrier, asking) = Barrier::new(self.host.clone(), group.clone(), patience);
        self.host.tasks.spawn::<RT>(proposing);
        self.host.tasks.spawn::<RT>(asking);
        self.host.tasks.spawn::<RT>(self.clone().follow_group(group.clone()));
        self.host.tasks.spawn::<RT>(self.host.clone().ask_around(GROUP));
        self.host.tasks.spawn::<RT>(self.clone().follow_refusals());
        let machine = group.machine_health();
        drop(self.running.set(Running { group, proposer, barrier }));
        self.host.tasks.spawn::<RT>(self.clone().tend_members());
        self.host.tasks.spawn::<RT>(self.clone().look_around_when_alone());
        for health in [self.storage.health(), machine] {
            self.host.tasks.spawn::<RT>(self.clone().follow_health(health));
        }
        self.host.open_group(GROUP, Arc::new(PeerService(Arc::downgrade(self))));
        Ok(())
    }

    pub(super) fn show(&self, view: &View) {
        // Compared by address first: the view changes with every commit, the membership seldom.
        let shown = self.status.with(|status| Arc::ptr_eq(&status.membership, &view.membership));
        if !shown && !view.membership.members.is_empty() {
            self.host.learn(&view.membership.members, view.membership_at);
        }
        let takes_part = self.running.get().is_some();
        let refused_by = self.host.refused_by().get();
        let removed = join::is_removed(self.node_id(), &view.membership, &refused_by, view.connected);
        self.status.update(|status| {
            let named = self.host.is_named_by(&view.membership.members);
            match &status.phase {
                Phase::Joining { .. } if takes_part && named => status.phase = Phase::Running,
                Phase::Running if removed => status.phase = Phase::Removed,
                Phase::Removed if !removed => status.phase = Phase::Running,
                _ => {}
            }
            status.role = view.role;
            status.term = view.term;
            status.leader = view.leader;
            status.connected = view.connected;
            status.last_log = view.last_log;
            status.committed = view.committed;
            status.applied = view.applied;
            status.snapshot = view.snapshot;
            status.purged = view.purged;
            status.membership = view.membership.clone();
            let joins = takes_part && matches!(status.phase, Phase::Joining { .. });
            let runs = joins || matches!(status.phase, Phase::Running | Phase::Removed);
            if let Some(reason) = view.stopped.as_ref().filter(|_| runs) {
                status.phase = Phase::Stopped { reason: reason.clone() };
            }
        });
    }

    async fn follow_group(self: Arc<Self>, group: Arc<Group<RT>>) {
        let mut view = group.view();
        let mut current = Some(view.get());
        let mut elects = false;
        while let Some(view_now) = current {
            // Before that its log may be so short that it takes itself for one that had its id.
            if !elects && self.host.is_named_by(&view_now.membership.members) {
                group.elect();
                elects = true;
            }
            self.show(&view_now);
            current = view.changed().await;
        }
    }

    /// Shows the health of storage and machine whenever one of them, which is `one`, changes.
    async fn follow_health(self: Arc<Self>, mut one: Watcher<Health>) {
        let Some(running) = self.running.get() else { return };
        let mut current = Some(one.get());
        while let Some(now) = current {
            // Looked at under the lock: of two that look at once the later one shows what is.
            self.status.update(|status| status.health = running.group.health());
            match now {
                Health::Low | Health::Full => running.group.compact(),
                _ if running.group.health() == Health::Ok => running.group.room_is_back(),
                _ => {}
            }
            current = one.changed().await;
        }
    }
}
