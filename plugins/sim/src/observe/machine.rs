//! A node's machine, with an eye on what is applied.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use quorate::state_machine::{AnyMachine, Replicated, StateMachine};
use quorate::types::{LogTime, Position};

use super::in_memory::InMemory;
use super::on_disk::{Looks, OnDisk, OnDiskOf};
use super::{Observation, Observer, Placed, Tagged};
use crate::mutations::Mutation;
use crate::oracle;
use crate::runtime::local_time;
use crate::workload::{CommandOf, Workload};

/// A machine that tells what it applies. For the nodes it is the machine itself: the same name, the
/// same snapshots, and the same commands and answers, of which each command bears a tag, so that no
/// two are alike, and each answer says of which state it is.
pub struct Observed<W: Workload>(AnyMachine, PhantomData<fn() -> W>);

impl<W: Workload> fmt::Debug for Observed<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observed").field(&self.0).finish()
    }
}

impl<W: Workload> Replicated for Observed<W> {
    const NAME: &'static str = <W::Machine as StateMachine>::NAME;
    const VERSION: u32 = <W::Machine as StateMachine>::VERSION;
    type Command = Tagged<<W::Machine as StateMachine>::Command>;
    type Response = <W::Machine as StateMachine>::Response;
    type Query = <W::Machine as StateMachine>::Query;
    type Answer = Placed<<W::Machine as StateMachine>::Answer>;

    fn into_machine(self) -> AnyMachine {
        self.0
    }
}

/// Who looks at the machine of a boot of a node, and for whom.
pub struct Eye<W: Workload> {
    pub(super) workload: Arc<W>,
    observer: Observer,
    node: u64,
    boot: u64,
    pub(super) mutation: Option<Mutation>,
    /// Whether the state has in it what this process did not apply, for the bug that looks at that.
    from_before: AtomicBool,
}

impl<W: Workload> fmt::Debug for Eye<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eye").field("node", &self.node).field("boot", &self.boot).finish_non_exhaustive()
    }
}

impl<W: Workload> Eye<W> {
    /// An eye on the machine of a boot of a node. The mutation is carried out in it, if it is one of
    /// the machine.
    pub fn new(
        workload: Arc<W>,
        observer: Observer,
        node: u64,
        boot: u64,
        mutation: Option<Mutation>,
    ) -> Self {
        Self { workload, observer, node, boot, mutation, from_before: AtomicBool::new(false) }
    }

    /// On a machine in memory.
    pub fn in_memory(self, machine: W::Machine) -> Observed<W> {
        Observed(AnyMachine::in_memory(InMemory::new(machine, self)), PhantomData)
    }

    /// On a machine on the node's disk, which `looks` is shown.
    pub fn on_disk<D: OnDiskOf<W>>(self, machine: D, looks: impl Looks<D>) -> Observed<W> {
        Observed(AnyMachine::on_disk(OnDisk::new(machine, self, looks)), PhantomData)
    }

    /// The time that the machine is told, where the log's clock says `log`.
    pub(super) fn time(&self, log: LogTime) -> LogTime {
        match self.mutation {
            Some(Mutation::ClockInApply) => LogTime::from_micros(local_time().as_micros() as u64),
            _ => log,
        }
    }

    /// Whether the machine is told the command at `position` once more.
    pub(super) fn again(&self, position: Position) -> bool {
        self.mutation == Some(Mutation::AppliedTwice) && position.index.get().is_multiple_of(32)
    }

    /// The command as it is to a machine of which something strays into what it applies.
    pub(super) fn as_taken(&self, command: CommandOf<W>) -> CommandOf<W> {
        let stray = match self.mutation {
            Some(Mutation::WallClockInApply) => time_of_day(),
            Some(Mutation::HashOrderInApply) => first_of_a_hash_map(),
            Some(Mutation::ProcessMemoryInApply) => self.from_before.load(Ordering::Relaxed).into(),
            _ => return command,
        };
        self.workload.strayed(command, stray)
    }

    /// Tells what it sees. A dead process's last words count for nothing.
    pub(super) fn see(&self, observation: &Observation<'_>) {
        if let Observation::Restored { last: Some(_), .. } | Observation::Resumed { last: Some(_) } =
            observation
        {
            self.from_before.store(true, Ordering::Relaxed);
        }
        if self.observer.is_boot(self.node, self.boot) {
            self.observer.see(self.node, observation);
        }
    }

    /// Passes on what the workload says of the machine as it is now.
    pub(super) fn judge(&self, verdict: Result<(), String>) {
        if let Err(what) = verdict
            && self.observer.is_boot(self.node, self.boot)
        {
            self.observer.accuse(oracle::MACHINE, format!("n{}: {what}", self.node));
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the bug")]
fn time_of_day() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64)
}

#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the bug")]
fn first_of_a_hash_map() -> u64 {
    let numbers: std::collections::HashMap<u64, u64> = (0..8).map(|number| (number, number)).collect();
    numbers.into_keys().next().unwrap_or_default()
}

/// What a panic says.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
