//! A replicated fleet of virtual machines: hosts with capacity, machines that are created, placed,
//! moved and retired, and leases that expire by the log's clock.
//!
//! Everything a controller of a data centre must never disagree about is a plain struct with plain
//! methods. Each rule is checked where the state is, inside a command, so that two controllers that
//! place at the same moment cannot both take a host's last gigabyte. What goes wrong is a value, a
//! [`FleetError`]: a command is applied on every replica and cannot fail in any other way.
//!
//! `cargo run --release --example fleet`

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use quorate::node::config::Config;
use quorate::prelude::*;
use quorate::storage::MemoryStorage;
use quorate::transport::{MemoryNetwork, Transport};
use quorate::types::{LogTime, Member};
use quorate::{Cluster, Node};

/// Names a virtual machine. Given out by the fleet and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct VmId(u64);

/// What a virtual machine needs, and what a host has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Resources {
    /// Processors.
    cpus: u32,
    /// Memory in MiB.
    memory: u32,
}

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Vm {
    /// What its owner calls it.
    name: String,
    /// What it takes from its host.
    size: Resources,
    /// Where it runs; nowhere until it is placed.
    host: Option<String>,
}

/// What a host has, and what its machines take of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Load {
    /// What it has.
    capacity: Resources,
    /// What is taken.
    used: Resources,
    /// By whom.
    vms: Vec<VmId>,
}

/// The right to work on a virtual machine alone, for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    /// Who has it.
    owner: String,
    /// When it ends, on the log's clock. At that time it is over.
    until: LogTime,
}

/// Why the fleet did not do what was asked. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
enum FleetError {
    #[error("there is no host {0}")]
    NoHost(String),
    #[error("there is no machine {}, or no longer", .0.0)]
    NoVm(VmId),
    /// No host, or not the one that was named.
    #[error("no host has room for {0:?}")]
    NoRoom(Resources),
    #[error("the machines on the host take {0:?}")]
    InUse(Resources),
    #[error("it runs on {0} already")]
    Placed(String),
    #[error("it runs nowhere yet")]
    NotPlaced,
    #[error("{} holds it until {}", .0.owner, .0.until)]
    Leased(Lease),
}

/// The fleet. The list is its contract with clients: ids are permanent, names are not.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    deadline = Self::next_end,
    /// Adds a host, or changes what it has.
    command(1, set_host(host: String, capacity: Resources) -> Result<(), FleetError>),
    /// Creates a machine that runs nowhere yet.
    command(2, create(name: String, size: Resources) -> VmId),
    /// Starts a machine on `host`, or on the first that has room; says which.
    command(3, place(vm: VmId, host: Option<String>) -> Result<String, FleetError>),
    /// Moves a running machine to `host`, or to the first other that has room; says which.
    command(4, relocate(vm: VmId, host: Option<String>) -> Result<String, FleetError>),
    /// Removes a machine for good. Not while somebody holds its lease.
    command(5, retire(ctx, vm: VmId) -> Result<Vm, FleetError>),
    /// Leases a machine to `owner` from now on for `lasts`, or renews the lease that `owner` has.
    command(6, lease(ctx, vm: VmId, owner: String, lasts: Duration) -> Result<Lease, FleetError>),
    /// Gives a lease back before its time.
    command(7, release(ctx, vm: VmId, owner: String) -> Result<(), FleetError>),
    /// A machine.
    query(1, vm(vm: VmId) -> Option<Vm>),
    /// A host.
    query(2, load(host: String) -> Option<Load>),
    /// Who holds the lease of a machine now.
    query(3, holder(ctx, vm: VmId) -> Option<Lease>),
)]
struct Fleet {
    hosts: BTreeMap<String, Resources>,
    vms: BTreeMap<VmId, Vm>,
    leases: BTreeMap<VmId, Lease>,
    created: u64,
}

impl Fleet {
    fn set_host(&mut self, host: String, capacity: Resources) -> Result<(), FleetError> {
        let used = self.used(&host);
        if !capacity.holds(used) {
            return Err(FleetError::InUse(used));
        }
        self.hosts.insert(host, capacity);
        Ok(())
    }

    fn create(&mut self, name: String, size: Resources) -> VmId {
        self.created += 1;
        let id = VmId(self.created);
        self.vms.insert(id, Vm { name, size, host: None });
        id
    }

    fn place(&mut self, vm: VmId, host: Option<String>) -> Result<String, FleetError> {
        match &self.find(vm)?.host {
            Some(host) => Err(FleetError::Placed(host.clone())),
            None => self.start(vm, host),
        }
    }

    fn relocate(&mut self, vm: VmId, host: Option<String>) -> Result<String, FleetError> {
        match &self.find(vm)?.host {
            None => Err(FleetError::NotPlaced),
            now if *now == host => Err(FleetError::Placed(host.unwrap_or_default())),
            Some(_) => self.start(vm, host),
        }
    }

    fn retire(&mut self, ctx: &ApplyContext, vm: VmId) -> Result<Vm, FleetError> {
        self.find(vm)?;
        if let Some(lease) = self.valid_lease(vm, ctx.time()) {
            return Err(FleetError::Leased(lease.clone()));
        }
        self.leases.remove(&vm);
        self.vms.remove(&vm).ok_or(FleetError::NoVm(vm))
    }

    fn lease(
        &mut self,
        ctx: &ApplyContext,
        vm: VmId,
        owner: String,
        lasts: Duration,
    ) -> Result<Lease, FleetError> {
        self.find(vm)?;
        if let Some(lease) = self.valid_lease(vm, ctx.time()).filter(|lease| lease.owner != owner) {
            return Err(FleetError::Leased(lease.clone()));
        }
        let lease = Lease { owner, until: ctx.time().saturating_add(lasts) };
        self.leases.insert(vm, lease.clone());
        Ok(lease)
    }

    fn release(&mut self, ctx: &ApplyContext, vm: VmId, owner: String) -> Result<(), FleetError> {
        self.find(vm)?;
        if let Some(lease) = self.valid_lease(vm, ctx.time()).filter(|lease| lease.owner != owner) {
            return Err(FleetError::Leased(lease.clone()));
        }
        self.leases.remove(&vm);
        Ok(())
    }

    fn vm(&self, vm: VmId) -> Option<Vm> {
        self.vms.get(&vm).cloned()
    }

    fn load(&self, host: String) -> Option<Load> {
        let capacity = *self.hosts.get(&host)?;
        let vms = self.on(&host).map(|(id, _)| id).collect();
        Some(Load { capacity, used: self.used(&host), vms })
    }

    fn holder(&self, ctx: &QueryContext, vm: VmId) -> Option<Lease> {
        self.valid_lease(vm, ctx.time()).cloned()
    }
}

/// What the commands share.
impl Fleet {
    fn find(&self, vm: VmId) -> Result<&Vm, FleetError> {
        self.vms.get(&vm).ok_or(FleetError::NoVm(vm))
    }

    /// The lease that holds at `now`: one that is over counts for nothing, whether or not anyone
    /// has removed it.
    fn valid_lease(&self, vm: VmId, now: LogTime) -> Option<&Lease> {
        self.leases.get(&vm).filter(|lease| now < lease.until)
    }

    /// When the next lease ends after `now`: the log's clock moves on then, so that [`Fleet::holder`]
    /// does not show a lease that is over while nobody writes.
    fn next_end(&self, now: LogTime) -> Option<LogTime> {
        self.leases.values().map(|lease| lease.until).filter(|until| *until > now).min()
    }

    /// Starts a machine on the host that was asked for, or on the first other one with room: the
    /// same on every replica, because the map is ordered.
    fn start(&mut self, id: VmId, wanted: Option<String>) -> Result<String, FleetError> {
        let vm = self.find(id)?;
        let fits = |host: &String, capacity: Resources| {
            let free = capacity.minus(self.used(host));
            vm.host.as_ref() != Some(host) && free.is_some_and(|free| free.holds(vm.size))
        };
        let found = match wanted {
            Some(host) => match self.hosts.get(&host) {
                Some(capacity) => fits(&host, *capacity).then_some(host),
                None => return Err(FleetError::NoHost(host)),
            },
            None => self
                .hosts
                .iter()
                .find(|(host, capacity)| fits(host, **capacity))
                .map(|(host, _)| host.clone()),
        };
        let host = found.ok_or(FleetError::NoRoom(vm.size))?;
        if let Some(vm) = self.vms.get_mut(&id) {
            vm.host = Some(host.clone());
        }
        Ok(host)
    }

    fn on(&self, host: &str) -> impl Iterator<Item = (VmId, &Vm)> {
        self.vms.iter().map(|(id, vm)| (*id, vm)).filter(move |(_, vm)| vm.host.as_deref() == Some(host))
    }

    fn used(&self, host: &str) -> Resources {
        self.on(host).fold(Resources::default(), |sum, (_, vm)| sum.plus(vm.size))
    }
}

impl Resources {
    fn plus(self, other: Self) -> Self {
        Self { cpus: self.cpus + other.cpus, memory: self.memory + other.memory }
    }

    fn minus(self, other: Self) -> Option<Self> {
        let cpus = self.cpus.checked_sub(other.cpus)?;
        Some(Self { cpus, memory: self.memory.checked_sub(other.memory)? })
    }

    fn holds(self, needed: Self) -> bool {
        self.minus(needed).is_some()
    }
}

/// Three nodes in one process, in memory, and two controllers that work on different nodes.
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let network = MemoryNetwork::new();
    let transports = ["one", "two", "three"].map(|name| network.endpoint(name));
    let members: Vec<Member> = (1..)
        .zip(&transports)
        .map(|(id, transport)| Member::new(id, transport.identity(), transport.address()))
        .collect();
    let mut nodes = Vec::new();
    for transport in transports {
        let node = Node::builder(Fleet::default())
            .storage(MemoryStorage::new())
            .transport(transport)
            .cluster(Cluster::bootstrap(members.clone()))
            // Patient, because all three share a machine that may be busy with something else.
            .config(Config::development())
            .start();
        nodes.push(node.await?);
    }

    let (ada, bob) = (nodes[0].client(), nodes[1].client());
    for (host, cpus) in [("iris", 8), ("juno", 16)] {
        ada.set_host(host.into(), Resources { cpus, memory: 64_000 }).await??;
    }
    let size = Resources { cpus: 6, memory: 16_000 };
    let (web, db) = (ada.create("web".into(), size).await?, ada.create("db".into(), size).await?);

    // Both see room on iris and ask at once: one gets it, the other the next host.
    let (first, second) = tokio::join!(ada.place(web, None), bob.place(db, None));
    println!("web runs on {}, db on {}", first??, second??);

    let lease = ada.lease(web, "ada".into(), Duration::from_secs(1)).await??;
    println!("ada holds web until {}", lease.until);
    match bob.retire(web).await? {
        Err(FleetError::Leased(lease)) => println!("bob cannot retire web: {} holds it", lease.owner),
        other => return Err(format!("a lease was not respected: {other:?}").into()),
    }
    // Nobody writes now, and no clock of this program decides: the log's moves on by itself.
    let mut pause = tokio::time::interval(Duration::from_millis(100));
    while bob.holder(web).await?.is_some() {
        pause.tick().await;
    }
    bob.retire(web).await??;
    println!("the lease is over: bob has retired web");

    let left = nodes[2].client().vm(db).await?.ok_or("db is lost")?;
    for node in &nodes {
        node.shutdown().await?;
    }
    println!("what is left is {} on {}", left.name, left.host.unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use quorate::state_machine::StateMachine;
    use quorate::types::{ClusterId, GroupId, LogIndex, Position, Term};

    use super::*;

    fn size(cpus: u32, memory: u32) -> Resources {
        Resources { cpus, memory }
    }

    fn host(name: &str) -> Option<String> {
        Some(name.to_owned()).filter(|name| !name.is_empty())
    }

    /// Two hosts, `a` of 4 processors and `b` of 8.
    fn fleet() -> Fleet {
        let mut fleet = Fleet::default();
        assert_eq!(fleet.set_host("a".into(), size(4, 1_000)), Ok(()));
        assert_eq!(fleet.set_host("b".into(), size(8, 1_000)), Ok(()));
        fleet
    }

    fn at(seconds: u64) -> ApplyContext {
        let position = Position { index: LogIndex(seconds), ordinal: 0 };
        ApplyContext::new(ClusterId([0; 32]), GroupId::MAIN, Term(1), position, time(seconds))
    }

    fn asked(seconds: u64) -> QueryContext {
        QueryContext::new(None, time(seconds))
    }

    fn time(seconds: u64) -> LogTime {
        LogTime::ZERO.saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn a_machine_starts_on_the_first_host_with_room() {
        let mut fleet = fleet();
        let [one, two, three] = ["one", "two", "three"].map(|name| fleet.create(name.into(), size(3, 100)));
        assert_eq!(fleet.place(one, None), Ok("a".into()));
        assert_eq!(fleet.place(two, None), Ok("b".into()));
        assert_eq!(fleet.place(three, host("a")), Err(FleetError::NoRoom(size(3, 100))));
        assert_eq!(fleet.place(three, host("c")), Err(FleetError::NoHost("c".into())));
        assert_eq!(fleet.place(three, host("b")), Ok("b".into()));
        assert_eq!(fleet.place(three, host("b")), Err(FleetError::Placed("b".into())));
        assert_eq!(fleet.place(VmId(9), None), Err(FleetError::NoVm(VmId(9))));

        let load = Load { capacity: size(8, 1_000), used: size(6, 200), vms: vec![two, three] };
        assert_eq!(fleet.load("b".into()), Some(load));
        assert_eq!(fleet.load("c".into()), None);
    }

    #[test]
    fn the_last_room_is_given_once_and_comes_back() {
        let mut fleet = fleet();
        let [one, two] = ["one", "two"].map(|name| fleet.create(name.into(), size(1, 1_000)));
        assert_eq!(fleet.place(one, host("a")), Ok("a".into()));
        assert_eq!(fleet.place(two, host("a")), Err(FleetError::NoRoom(size(1, 1_000))));
        assert_eq!(fleet.set_host("a".into(), size(4, 999)), Err(FleetError::InUse(size(1, 1_000))));
        assert_eq!(fleet.retire(&at(1), one).map(|vm| vm.host), Ok(host("a")));
        assert_eq!(fleet.place(two, host("a")), Ok("a".into()));
        let three = fleet.create("three".into(), size(u32::MAX, u32::MAX));
        assert_ne!(three, one, "an id is never given twice");
        assert!(fleet.place(three, None).is_err());
    }

    #[test]
    fn a_running_machine_moves_to_another_host() {
        let mut fleet = fleet();
        let vm = fleet.create("one".into(), size(4, 10));
        assert_eq!(fleet.relocate(vm, None), Err(FleetError::NotPlaced));
        assert_eq!(fleet.place(vm, None), Ok("a".into()));
        assert_eq!(fleet.relocate(vm, host("a")), Err(FleetError::Placed("a".into())));
        assert_eq!(fleet.relocate(vm, None), Ok("b".into()));
        assert_eq!(fleet.load("a".into()).map(|load| load.used), Some(size(0, 0)));
        assert_eq!(fleet.vm(vm).and_then(|vm| vm.host), host("b"));
    }

    #[test]
    fn a_lease_keeps_others_out_until_its_time_is_over() {
        let mut fleet = fleet();
        let vm = fleet.create("one".into(), size(1, 1));
        let lasts = Duration::from_secs(10);
        let lease = |owner: &str, until| Lease { owner: owner.into(), until: time(until) };

        assert_eq!(fleet.lease(&at(1), vm, "ada".into(), lasts), Ok(lease("ada", 11)));
        let refused = FleetError::Leased(lease("ada", 11));
        assert_eq!(fleet.lease(&at(10), vm, "bob".into(), lasts), Err(refused.clone()));
        assert_eq!(fleet.release(&at(10), vm, "bob".into()), Err(refused.clone()));
        assert_eq!(fleet.retire(&at(10), vm), Err(refused));
        assert_eq!(fleet.lease(&at(10), vm, "ada".into(), lasts), Ok(lease("ada", 20)), "renewed");

        let other = fleet.create("two".into(), size(1, 1));
        assert_eq!(fleet.lease(&at(10), other, "bob".into(), 2 * lasts), Ok(lease("bob", 30)));
        assert_eq!([10, 20, 30].map(|now| fleet.deadline(time(now))), [Some(time(20)), Some(time(30)), None]);
        assert_eq!(fleet.release(&at(11), other, "bob".into()), Ok(()));

        assert_eq!(fleet.holder(&asked(19), vm), Some(lease("ada", 20)));
        assert_eq!(fleet.holder(&asked(20), vm), None);
        assert_eq!(fleet.lease(&at(20), vm, "bob".into(), lasts), Ok(lease("bob", 30)));
        assert_eq!(fleet.release(&at(21), vm, "bob".into()), Ok(()));
        assert_eq!(fleet.holder(&asked(21), vm), None);
        assert!(fleet.retire(&at(21), vm).is_ok());
        assert_eq!(fleet.deadline(time(21)), None);
        assert_eq!(fleet.lease(&at(22), vm, "bob".into(), lasts), Err(FleetError::NoVm(vm)));
    }

    #[test]
    fn a_snapshot_is_the_fleet() {
        let mut fleet = fleet();
        let vm = fleet.create("one".into(), size(1, 1));
        assert_eq!(fleet.place(vm, None), Ok("a".into()));
        assert!(fleet.lease(&at(1), vm, "ada".into(), Duration::from_secs(10)).is_ok());
        let mut bytes = Vec::new();
        Fleet::write(fleet.snapshot(), &mut bytes).expect("written to memory");
        let mut restored = Fleet::default();
        restored.restore(&mut bytes.as_slice()).expect("its own snapshot");
        assert_eq!(restored.holder(&asked(2), vm), fleet.holder(&asked(2), vm));
        assert_eq!(restored.load("a".into()), fleet.load("a".into()));
        assert_eq!(restored.create("two".into(), size(1, 1)), fleet.create("two".into(), size(1, 1)));
    }
}
