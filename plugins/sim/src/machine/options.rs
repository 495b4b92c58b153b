//! What is tried, how often, and what goes wrong meanwhile.

use std::fmt::{self, Debug, Display};
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate::state_machine::Items;
use quorate::storage::Storage;
use quorate_redb::ReadTables;

use super::calls::{CallOf, Calls, Draw};
use super::keyed::KeyOf;
use super::report::Place;
use super::subject::{CheckTables, Eyes, Holds, Simulated, SimulatedInTables, Subject};
use super::tables::{self, InTables, OnNode, Tables};
use super::workload::{OpenOnDisk, OpenStorage};
use crate::cluster::{LONGEST, NODES, Setup};
use crate::disk::SimDisk;
use crate::plan::{Plan, Profile};
use crate::rng::Rng;

/// How many seeds a simulation takes that says nothing else.
pub const SEEDS: u64 = 16;
/// How long the faults of a seed last, when nothing else is said, in simulated time.
pub const DURATION: Duration = Duration::from_secs(10);

const ONE_OF_BOTH: &str = "`workload` and `weights` both say what clients call: choose one";

/// How many nodes a cluster has.
#[derive(Clone, PartialEq, Eq)]
pub struct Nodes(RangeInclusive<u64>);

impl Debug for Nodes {
    /// As it is written: a number, or a range.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.0.start(), self.0.end());
        if least == most { write!(f, "{least}") } else { write!(f, "{least}..={most}") }
    }
}

impl From<u64> for Nodes {
    fn from(nodes: u64) -> Self {
        Self(nodes..=nodes)
    }
}

impl From<RangeInclusive<u64>> for Nodes {
    fn from(nodes: RangeInclusive<u64>) -> Self {
        Self(nodes)
    }
}

type OwnPlan = Arc<dyn Fn(u64, u64, Duration) -> Plan + Send + Sync>;

/// What goes wrong.
#[derive(Clone, Default)]
pub enum Faults {
    /// Whatever the seed says, of every class: [`Profile::Chaos`]. The default.
    #[default]
    Mixed,
    /// What a profile draws from: only disks, only the network, only clocks.
    Of(Profile),
    /// Nothing, and clients send no command once more. Clocks differ all the same.
    None,
    /// A plan of your own, by seed, number of nodes and duration.
    Own(OwnPlan),
}

impl Faults {
    /// A plan of your own, by seed, number of nodes and duration. It names nodes 1 to that number, and
    /// leaves a majority of them: fewer than half, all told, may lose their disks ([`Fault::Rot`], [`Fault::Wipe`]) or
    /// be of a minority that something lasts at. A run with another fails, and says so
    /// ([`Plan::fits`]).
    ///
    /// [`Fault::Rot`]: crate::plan::Fault::Rot
    /// [`Fault::Wipe`]: crate::plan::Fault::Wipe
    pub fn own(plan: impl Fn(u64, u64, Duration) -> Plan + Send + Sync + 'static) -> Self {
        Self::Own(Arc::new(plan))
    }

    pub(super) fn plan(&self, seed: u64, nodes: u64, duration: Duration) -> Plan {
        match self {
            Self::Mixed => Plan::draw(Profile::Chaos, seed, nodes, duration),
            Self::Of(profile) => Plan::draw(*profile, seed, nodes, duration),
            Self::None => Plan::calm(),
            Self::Own(plan) => plan(seed, nodes, duration),
        }
    }
}

impl From<Profile> for Faults {
    fn from(profile: Profile) -> Self {
        Self::Of(profile)
    }
}

impl Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mixed => "Mixed",
            Self::Of(profile) => profile.name(),
            Self::None => "None",
            Self::Own(_) => "Own(..)",
        })
    }
}

/// A simulation of a machine: what [`simulate!`](crate::simulate) makes of its options. Each method
/// is the option of that name. `Seen` is what an invariant looks at.
#[must_use]
pub struct Simulation<M: Simulated, Seen = M> {
    pub(super) subject: Subject<M>,
    pub(super) calls: Calls<M>,
    pub(super) key: Option<KeyOf<M>>,
    pub(super) storage: Option<OpenStorage>,
    /// Opens a machine that is on a disk.
    pub(super) on_disk: Option<OpenOnDisk<M>>,
    pub(super) seeds: u64,
    pub(super) clients: u64,
    pub(super) duration: Duration,
    pub(super) place: Option<Place>,
    pub(super) faults: Faults,
    /// The folder of the plans that are kept.
    pub(super) plans: Option<PathBuf>,
    nodes: Option<Nodes>,
    seen: PhantomData<fn(&Seen)>,
}

impl<M: Simulated, Seen> Debug for Simulation<M, Seen> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("machine", &self.subject.name).finish_non_exhaustive()
    }
}

impl<M: Simulated> Simulation<M> {
    /// What must hold of the machine after every command, on every node, and of every restored
    /// snapshot.
    pub fn invariant<H: Holds>(
        mut self,
        name: &'static str,
        invariant: impl Fn(&M) -> H + Send + Sync + 'static,
    ) -> Self {
        self.subject.invariants.push((name, Arc::new(move |machine| invariant(machine).holds())));
        self
    }
}

impl<T: SimulatedInTables> Simulation<InTables<T>, Tables> {
    #[doc(hidden)]
    pub fn in_tables(name: &'static str, initial: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let initial = Arc::new(initial);
        let alone = initial.clone();
        let mut this = Self::new(name, InTables::eyes(), move || InTables::begin(alone.clone()));
        this.subject.in_tables = true;
        let open: OpenOnDisk<InTables<T>> = Arc::new(move |workload, disk, eye| {
            let machine = tables::open(disk, initial())?;
            Ok(eye.on_disk(machine, OnNode::new(workload, disk)))
        });
        Self { on_disk: Some(open), ..this }
    }

    /// What must hold of what a query sees, alone after every command and on nodes after every batch;
    /// of every restored snapshot, and of what a node finds when it starts.
    pub fn invariant<H: Holds>(
        mut self,
        name: &'static str,
        invariant: impl Fn(&ReadTables<'_>) -> H + Send + Sync + 'static,
    ) -> Self {
        let holds: CheckTables = Arc::new(move |tables| invariant(tables).holds());
        self.subject.of_tables.push((name, holds.clone()));
        self.subject.invariants.push((name, Arc::new(move |machine| machine.read(|tables| holds(tables)))));
        self
    }
}

impl<M: Simulated, Seen> Simulation<M, Seen> {
    #[doc(hidden)]
    pub fn new(name: &'static str, eyes: Eyes<M>, initial: impl Fn() -> M + Send + Sync + 'static) -> Self {
        let initial = Arc::new(initial);
        let (invariants, of_tables) = (Vec::new(), Vec::new());
        let subject = Subject { name, initial, invariants, in_tables: false, of_tables, eyes };
        Self {
            subject,
            calls: Calls::Any(Vec::new()),
            key: None,
            storage: None,
            on_disk: None,
            seeds: SEEDS,
            clients: 4,
            duration: DURATION,
            place: None,
            nodes: None,
            faults: Faults::Mixed,
            plans: None,
            seen: PhantomData,
        }
    }

    #[doc(hidden)]
    pub fn place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// How many seeds are run: 16 by default. `QUORATE_SIM_SEEDS` overrides it.
    ///
    /// # Panics
    /// When it is 0.
    #[track_caller]
    pub fn seeds(mut self, seeds: u64) -> Self {
        assert!(seeds > 0, "`seeds` is 0, and nothing would be simulated: at least 1");
        self.seeds = seeds;
        self
    }

    /// How many nodes a cluster has, as a number or a range: 3 to 5 by default.
    ///
    /// # Panics
    /// When the range is empty, or not within [`NODES`].
    #[track_caller]
    pub fn nodes(mut self, nodes: impl Into<Nodes>) -> Self {
        let nodes = nodes.into();
        let (least, most) = (nodes.0.start(), nodes.0.end());
        assert!(least <= most, "`nodes` is {nodes:?}, which is empty: the smaller number stands first");
        assert!(
            NODES.contains(least) && NODES.contains(most),
            "`nodes` is {nodes:?}, and a cluster has {} to {} nodes",
            NODES.start(),
            NODES.end(),
        );
        self.nodes = Some(nodes);
        self
    }

    /// How many clients call it: 4 by default.
    ///
    /// # Panics
    /// When it is 0.
    #[track_caller]
    pub fn clients(mut self, clients: u64) -> Self {
        assert!(clients > 0, "`clients` is 0, and without a client nothing is called: at least 1");
        self.clients = clients;
        self
    }

    /// How long faults happen, in simulated time: 10 seconds by default. After that the cluster must
    /// come to rest and serve.
    ///
    /// # Panics
    /// When it is 0, or more than a day.
    #[track_caller]
    pub fn duration(mut self, duration: Duration) -> Self {
        assert!(
            !duration.is_zero() && duration <= LONGEST,
            "`duration` is {duration:?}, and faults take time: more than 0, at most a day"
        );
        self.duration = duration;
        self
    }

    /// What goes wrong.
    pub fn faults(mut self, faults: impl Into<Faults>) -> Self {
        self.faults = faults.into();
        self
    }

    /// The folder of the plans that are kept, from that of the package on. Every `*.json` in it is a
    /// [`PlanFile`](crate::plan_file::PlanFile), and is run before the seeds, in order of their names, on
    /// this machine with its workload, invariants, key and storage: nothing must be found, or what the
    /// file says that it `finds`. What else is said here of nodes, clients, faults and duration is of the
    /// seeds alone.
    ///
    /// `QUORATE_SIM_FROM` asks for seeds, and leaves the plans out; `QUORATE_SIM_PLAN` asks for one plan,
    /// by its path from the package on, and leaves all else out.
    pub fn plans(mut self, folder: impl Into<PathBuf>) -> Self {
        self.plans = Some(folder.into());
        self
    }

    /// How often each command and query is drawn, compared with others, of which each has 1.
    ///
    /// # Panics
    /// When the machine has no such command or query, when all that it has are given 0, or when there is
    /// a [`workload`](Self::workload), which says what clients call, too.
    #[track_caller]
    pub fn weights(mut self, weights: &[(&'static str, u32)]) -> Self {
        assert!(matches!(self.calls, Calls::Any(_)), "{ONE_OF_BOTH}");
        let known = <M::Command as Items>::ITEMS.iter().chain(<M::Query as Items>::ITEMS);
        let known: Vec<&str> = known.map(|(_, name)| *name).collect();
        for (name, _) in weights {
            assert!(known.contains(name), "`weights` names `{name}`, but the machine has only {known:?}");
        }
        let is_never = |item: &&str| weights.iter().any(|(name, weight)| name == item && *weight == 0);
        assert!(
            !known.iter().all(is_never),
            "`weights` are 0 for all that the machine has: at least one is more"
        );
        self.calls = Calls::Any(weights.to_vec());
        self
    }

    /// What clients do, in the place of random calls.
    ///
    /// # Panics
    /// When there are [`weights`](Self::weights), which say how often random calls are made.
    #[track_caller]
    pub fn workload(mut self, workload: impl Fn(&mut Draw<'_>) -> CallOf<M> + Send + Sync + 'static) -> Self {
        let unsaid = matches!(&self.calls, Calls::Any(weights) if weights.is_empty());
        assert!(unsaid, "{ONE_OF_BOTH}");
        self.calls = Calls::Own(Arc::new(workload));
        self
    }

    /// What a call is about, when calls of different keys have nothing to do with each other. What
    /// clients saw is then also searched for an order, key by key.
    pub fn key<K: Debug>(mut self, key: impl Fn(&CallOf<M>) -> K + Send + Sync + 'static) -> Self {
        self.key = Some(Arc::new(move |call| format!("{:?}", key(call))));
        self
    }

    /// Opens the storage of a node on its disk: a storage plugin of your own in the place of redb's.
    pub fn storage<S: Storage, E: Display>(
        mut self,
        open: impl Fn(&SimDisk) -> Result<S, E> + Send + Sync + 'static,
    ) -> Self {
        self.storage = Some(Arc::new(move |disk| match open(disk) {
            Ok(storage) => Ok(Arc::new(storage)),
            Err(why) => Err(why.to_string()),
        }));
        self
    }

    /// The run of a seed, but for what goes wrong in it.
    pub(super) fn setup(&self, seed: u64) -> Setup {
        let drawn = Setup::of_seed(seed, self.duration);
        let retries = drawn.retries && !matches!(self.faults, Faults::None);
        Setup { nodes: self.size(seed, drawn.nodes), clients: self.clients, retries, ..drawn }
    }

    /// The size of a seed's cluster.
    fn size(&self, seed: u64, drawn: u64) -> u64 {
        self.nodes
            .as_ref()
            .map_or(drawn, |Nodes(nodes)| Rng::stream(seed, "nodes").within(*nodes.start()..nodes.end() + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Registers;

    #[test]
    fn where_nothing_goes_wrong_nobody_sends_a_command_once_more() {
        let retries = |faults: Faults| {
            let simulation = crate::simulation!(t, Registers = Registers::default(), faults: faults);
            (0..40).filter(|seed| simulation.setup(*seed).retries).count()
        };
        assert_eq!(retries(Faults::None), 0);
        for faults in [Faults::Mixed, Faults::Of(Profile::Clock), Faults::own(|_, _, _| Plan::calm())] {
            assert!((8..32).contains(&retries(faults)));
        }
    }
}
