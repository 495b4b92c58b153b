//! The machine that is tried, and how it is looked at.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use quorate::state_machine::{Items, StateMachine};
use quorate_redb::{ReadTables, TableMachine};
use serde::Serialize;

use super::options::Simulation;
use super::outline::Outline;
use super::tables::{InTables, Tables};
use super::value::Value;
use crate::run::panics;

/// A machine that can be simulated: in memory, with commands and answers that can be taken apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be simulated",
    label = "this machine",
    note = "put `#[derive(RaftStateMachine)]` on it, with or without `tables = quorate_redb(..)` in its list",
    note = "a machine written by hand implements `quorate::state_machine::StateMachine`, or `quorate_redb::TableMachine`, and `Items` for its commands, responses, queries and answers"
)]
pub trait Simulated:
    StateMachine<Command: Items + Clone, Response: Items, Query: Items + Clone, Answer: Items>
{
}

#[diagnostic::do_not_recommend]
impl<M> Simulated for M
where
    M: StateMachine,
    M::Command: Items + Clone,
    M::Response: Items,
    M::Query: Items + Clone,
    M::Answer: Items,
{
}

/// A machine in tables that can be simulated, as [`InTables`].
pub trait SimulatedInTables:
    TableMachine<Command: Items + Clone, Response: Items, Query: Items + Clone, Answer: Items>
{
}

#[diagnostic::do_not_recommend]
impl<T> SimulatedInTables for T
where
    T: TableMachine,
    T::Command: Items + Clone,
    T::Response: Items,
    T::Query: Items + Clone,
    T::Answer: Items,
{
}

pub(super) type Check<M> = Arc<dyn Fn(&M) -> Result<(), String> + Send + Sync>;
/// A check of what a reader of tables sees.
pub(super) type CheckTables = Arc<dyn Fn(&ReadTables<'_>) -> Result<(), String> + Send + Sync>;

/// A machine, its invariants, and how its state is seen.
pub(super) struct Subject<M> {
    pub(super) name: &'static str,
    pub(super) initial: Arc<dyn Fn() -> M + Send + Sync>,
    pub(super) invariants: Vec<(&'static str, Check<M>)>,
    /// Whether its state is in tables.
    pub(super) in_tables: bool,
    /// The invariants once more, for tables that are on a node's disk.
    pub(super) of_tables: Vec<(&'static str, CheckTables)>,
    pub(super) eyes: Eyes<M>,
}

impl<M> Clone for Subject<M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            initial: self.initial.clone(),
            invariants: self.invariants.clone(),
            in_tables: self.in_tables,
            of_tables: self.of_tables.clone(),
            eyes: self.eyes,
        }
    }
}

impl<M> Subject<M> {
    /// The first invariant that does not hold. One that panics does not.
    pub(super) fn broken(&self, machine: &M) -> Option<(&'static str, String)> {
        self.invariants.iter().find_map(|(name, holds)| broken(name, || holds(machine)))
    }

    /// The same of what a reader of tables sees.
    pub(super) fn broken_in(&self, tables: &ReadTables<'_>) -> Option<(&'static str, String)> {
        self.of_tables.iter().find_map(|(name, holds)| broken(name, || holds(tables)))
    }

    /// A hash of the canonical state; `None` of a machine that does not serialise.
    pub(super) fn digest(&self, machine: &M) -> Option<u64> {
        (self.eyes.digest)(machine)
    }
}

fn broken(name: &'static str, holds: impl FnOnce() -> Result<(), String>) -> Option<(&'static str, String)> {
    let held = panics::guarded(holds);
    let why = held.unwrap_or_else(|panicked| Err(format!("it {panicked}"))).err()?;
    Some((name, why))
}

fn hash_of(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// What an invariant returns.
pub trait Holds {
    /// Whether it holds, and why not.
    ///
    /// # Errors
    /// Why it does not hold.
    fn holds(self) -> Result<(), String>;
}

impl Holds for bool {
    fn holds(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("it returned false".to_owned()) }
    }
}

impl<E: std::fmt::Display> Holds for Result<(), E> {
    fn holds(self) -> Result<(), String> {
        self.map_err(|why| why.to_string())
    }
}

impl<E: std::fmt::Display> Holds for Result<bool, E> {
    fn holds(self) -> Result<(), String> {
        self.map_err(|why| why.to_string())?.holds()
    }
}

/// How a machine's state is seen, by what the machine implements.
#[doc(hidden)]
pub struct Eyes<M> {
    /// A hash of the state.
    pub(super) digest: fn(&M) -> Option<u64>,
    /// The state as a tree.
    pub(super) state: fn(&M) -> Option<Value>,
    pub(super) outline: fn(&M) -> Option<Outline>,
}

impl<M> Clone for Eyes<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Eyes<M> {}

impl<M> Eyes<M> {
    #[doc(hidden)]
    pub fn new(seen: SeenState<M>, outline: fn(&M) -> Option<Outline>) -> Self {
        Self { digest: seen.digest, state: seen.state, outline }
    }
}

/// How its state is seen.
#[doc(hidden)]
pub struct SeenState<M> {
    pub(super) digest: fn(&M) -> Option<u64>,
    pub(super) state: fn(&M) -> Option<Value>,
}

/// Finds out what a type implements: method resolution takes the trait for `&Probe` first, and that
/// is implemented only when `M` can be seen.
#[doc(hidden)]
pub struct Probe<M>(PhantomData<fn() -> M>);

#[doc(hidden)]
impl<M> Probe<M> {
    #[allow(clippy::new_without_default, reason = "for a macro")]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

#[doc(hidden)]
pub trait SeesState<M> {
    fn state(&self) -> SeenState<M>;
}
impl<M: Serialize> SeesState<M> for &Probe<M> {
    fn state(&self) -> SeenState<M> {
        SeenState {
            digest: |machine| Value::of(machine).ok().as_ref().map(hash_of),
            state: |machine| Value::of(machine).ok(),
        }
    }
}
#[doc(hidden)]
pub trait SeesNoState<M> {
    fn state(&self) -> SeenState<M>;
}
impl<M> SeesNoState<M> for Probe<M> {
    fn state(&self) -> SeenState<M> {
        SeenState { digest: |_| None, state: |_| None }
    }
}
#[doc(hidden)]
pub trait SeesOutline<M> {
    fn outline(&self) -> fn(&M) -> Option<Outline>;
}
impl<M: Debug> SeesOutline<M> for &Probe<M> {
    fn outline(&self) -> fn(&M) -> Option<Outline> {
        |machine| Some(Outline::of(machine))
    }
}
#[doc(hidden)]
pub trait SeesNoOutline<M> {
    fn outline(&self) -> fn(&M) -> Option<Outline>;
}
impl<M> SeesNoOutline<M> for Probe<M> {
    fn outline(&self) -> fn(&M) -> Option<Outline> {
        |_| None
    }
}
#[doc(hidden)]
pub trait BeginsInTables<T: SimulatedInTables> {
    fn begin(
        &self,
        name: &'static str,
        eyes: Eyes<T>,
        initial: impl Fn() -> T + Send + Sync + 'static,
    ) -> Simulation<InTables<T>, Tables>;
}
impl<T: SimulatedInTables> BeginsInTables<T> for &Probe<T> {
    fn begin(
        &self,
        name: &'static str,
        _: Eyes<T>,
        initial: impl Fn() -> T + Send + Sync + 'static,
    ) -> Simulation<InTables<T>, Tables> {
        Simulation::in_tables(name, initial)
    }
}
/// Of any type, so that one that cannot be simulated is told as such.
#[doc(hidden)]
pub trait BeginsInMemory<M> {
    fn begin(
        &self,
        name: &'static str,
        eyes: Eyes<M>,
        initial: impl Fn() -> M + Send + Sync + 'static,
    ) -> Simulation<M>
    where
        M: Simulated;
}
impl<M> BeginsInMemory<M> for Probe<M> {
    fn begin(
        &self,
        name: &'static str,
        eyes: Eyes<M>,
        initial: impl Fn() -> M + Send + Sync + 'static,
    ) -> Simulation<M>
    where
        M: Simulated,
    {
        Simulation::new(name, eyes, initial)
    }
}
