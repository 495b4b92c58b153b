//! The machine that is tried, and how it is looked at.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use quorate::state_machine::{Items, StateMachine};
use serde::Serialize;

use super::outline::Outline;
use super::value::Value;
use crate::run::panics;

/// A machine that can be simulated: in memory, with commands and answers that can be taken apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be simulated",
    label = "this machine",
    note = "a machine is simulated when `#[derive(RaftStateMachine)]` is on it and its state is in memory; one with `tables = ..` in its list is not: simulate its twin in memory, or test it by hand",
    note = "a machine written by hand implements `quorate::state_machine::StateMachine`, and `Items` for its commands, responses, queries and answers"
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

type Check<M> = Arc<dyn Fn(&M) -> Result<(), String> + Send + Sync>;

/// A machine, its invariants, and how its state is seen.
pub(super) struct Subject<M> {
    pub(super) name: &'static str,
    pub(super) initial: Arc<dyn Fn() -> M + Send + Sync>,
    pub(super) invariants: Vec<(&'static str, Check<M>)>,
    pub(super) eyes: Eyes<M>,
}

impl<M> Clone for Subject<M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            initial: self.initial.clone(),
            invariants: self.invariants.clone(),
            eyes: self.eyes,
        }
    }
}

impl<M> Subject<M> {
    /// The first invariant that does not hold. One that panics does not.
    pub(super) fn broken(&self, machine: &M) -> Option<(&'static str, String)> {
        self.invariants.iter().find_map(|(name, holds)| {
            let held = panics::guarded(|| holds(machine));
            let why = held.unwrap_or_else(|panicked| Err(format!("it {panicked}"))).err()?;
            Some((*name, why))
        })
    }

    /// A hash of the canonical state; `None` of a machine that does not serialise.
    pub(super) fn digest(&self, machine: &M) -> Option<u64> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (self.eyes.state)(machine)?.hash(&mut hasher);
        Some(hasher.finish())
    }
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

/// How a machine's state is seen, by what the machine implements.
#[doc(hidden)]
pub struct Eyes<M> {
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
    pub fn new(state: fn(&M) -> Option<Value>, outline: fn(&M) -> Option<Outline>) -> Self {
        Self { state, outline }
    }
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
    fn state(&self) -> fn(&M) -> Option<Value>;
}
impl<M: Serialize> SeesState<M> for &Probe<M> {
    fn state(&self) -> fn(&M) -> Option<Value> {
        |machine| Value::of(machine).ok()
    }
}
#[doc(hidden)]
pub trait SeesNoState<M> {
    fn state(&self) -> fn(&M) -> Option<Value>;
}
impl<M> SeesNoState<M> for Probe<M> {
    fn state(&self) -> fn(&M) -> Option<Value> {
        |_| None
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
