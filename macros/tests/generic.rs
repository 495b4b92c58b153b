//! Types with parameters.

#![allow(clippy::unused_self, reason = "a query need not look at the state")]

use std::collections::BTreeMap;
use std::marker::PhantomData;

use quorate::prelude::*;
use quorate::state_machine::Wire;
use quorate::types::{ClusterId, GroupId, LogIndex, LogTime, Position, Term};

fn context() -> ApplyContext {
    let position = Position { index: LogIndex(1), ordinal: 0 };
    ApplyContext::new(ClusterId([0; 32]), GroupId::MAIN, Term(1), position, LogTime::ZERO)
}

/// A map from anything to anything, kept as two vectors, so that the impl needs no `Ord`.
#[derive(Clone, Debug, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, put(key: K, value: V) -> Option<V>),
    command(2, clear()),
    query(1, get(key: K) -> Option<V>),
    query(2, keys() -> Vec<K>),
    query(3, len() -> usize),
)]
pub struct Store<K, V = u64>
where
    K: PartialEq,
{
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K: Clone + PartialEq, V: Clone> Store<K, V> {
    fn put(&mut self, key: K, value: V) -> Option<V> {
        if let Some(place) = self.keys.iter().position(|other| *other == key) {
            return Some(std::mem::replace(&mut self.values[place], value));
        }
        self.keys.push(key);
        self.values.push(value);
        None
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
    }

    fn get(&self, key: K) -> Option<V> {
        self.keys.iter().position(|other| *other == key).map(|place| self.values[place].clone())
    }

    fn keys(&self) -> Vec<K> {
        self.keys.clone()
    }

    fn len(&self) -> usize {
        self.keys.len()
    }
}

#[test]
fn each_enum_has_the_parameters_it_uses() {
    let put: StoreCommand<String, u8> = StoreCommand::Put { key: "k".to_owned(), value: 7 };
    let mut bytes = Vec::new();
    put.encode(&mut bytes).expect("plain values");
    assert_eq!(bytes, [1, 0, 1, b'k', 7]);

    let mut store = Store { keys: Vec::new(), values: Vec::new() };
    let response: StoreResponse<u8> = store.apply(&mut context(), put);
    assert!(matches!(response, StoreResponse::Put(None)));
    let query: StoreQuery<String> = StoreQuery::Get { key: "k".to_owned() };
    let answer: StoreAnswer<String, u8> = store.query(&QueryContext::default(), query);
    assert!(matches!(answer, StoreAnswer::Get(Some(7))));
    assert_eq!(Store::<String, u8>::NAME, "Store");
}

#[test]
fn the_client_has_all_parameters_and_their_defaults() {
    fn same<S: Service<Client = C>, C>() {}
    same::<Store<String, u8>, StoreClient<String, u8>>();
    same::<Store<String>, StoreClient<String>>();
    same::<Ring<3>, RingClient<3>>();
}

/// At most `N` numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Last<const N: usize>(Vec<u64>);

/// The last `N` numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, push(number: u64)), query(1, last() -> Last<N>, ), query(2, capacity() -> usize))]
pub struct Ring<const N: usize> {
    numbers: Vec<u64>,
}

impl<const N: usize> Ring<N> {
    fn push(&mut self, number: u64) {
        self.numbers.push(number);
    }

    fn last(&self) -> Last<N> {
        Last(self.numbers[self.numbers.len().saturating_sub(N)..].to_vec())
    }

    fn capacity(&self) -> usize {
        N
    }
}

#[test]
fn a_constant_parameter_reaches_the_types() {
    let mut ring = Ring::<3>::default();
    for number in 1..=4 {
        StateMachine::apply(&mut ring, &mut context(), RingCommand::Push { number });
    }
    let answer: RingAnswer<3> = StateMachine::query(&ring, &QueryContext::default(), RingQuery::Last);
    assert!(matches!(answer, RingAnswer::Last(last) if last == Last(vec![2, 3, 4])));
    let answer = StateMachine::query(&ring, &QueryContext::default(), RingQuery::Capacity);
    assert!(matches!(answer, RingAnswer::Capacity(3)));
}

/// How many a counter counts at a time.
pub trait Policy: Send + Sync + 'static {
    /// What it counts in.
    type Unit: Clone
        + std::fmt::Debug
        + Send
        + Sync
        + Into<u64>
        + Serialize
        + for<'de> Deserialize<'de>
        + 'static;
}

/// One.
pub struct Ones;

impl Policy for Ones {
    type Unit = u32;
}

/// A counter whose parameter is neither data nor `Clone`.
#[derive(RaftStateMachine)]
#[raft(
    bound(P: Policy, S: Ord + Send + Sync + Clone + Serialize + for<'de> Deserialize<'de> + 'static),
    snapshot(
        type = (u64, Vec<S>),
        capture = Self::view,
        write = quorate_write,
        restore = Self::load,
    ),
    command(1, add(units: P::Unit, subject: S) -> u64),
    query(1, subjects(least: u64) -> BTreeMap<S, u64>),
)]
pub struct Counter<P: Policy, S> {
    count: u64,
    subjects: Vec<S>,
    policy: PhantomData<P>,
}

fn quorate_write<S: Serialize>(view: (u64, Vec<S>), out: &mut dyn std::io::Write) -> std::io::Result<()> {
    quorate::state_machine::write_postcard(&view, out)
}

impl<P: Policy, S: Ord + Clone> Counter<P, S> {
    fn add(&mut self, units: P::Unit, subject: S) -> u64 {
        self.count += units.into();
        self.subjects.push(subject);
        self.count
    }

    fn subjects(&self, least: u64) -> BTreeMap<S, u64> {
        self.subjects.iter().map(|subject| (subject.clone(), least.max(self.count))).collect()
    }

    fn view(&self) -> (u64, Vec<S>) {
        (self.count, self.subjects.clone())
    }

    fn load(&mut self, input: &mut dyn std::io::Read) -> Result<(), quorate::error::RestoreError>
    where
        S: for<'de> Deserialize<'de>,
    {
        (self.count, self.subjects) = quorate::state_machine::read_postcard(input)?;
        Ok(())
    }
}

#[test]
fn own_bounds_replace_the_default_ones() {
    let new = || Counter::<Ones, String> { count: 0, subjects: Vec::new(), policy: PhantomData };
    let mut counter = new();
    let command = CounterCommand::<Ones, String>::Add { units: 5, subject: "a".to_owned() };
    let CounterResponse::Add(count) = counter.apply(&mut context(), command);
    assert_eq!(count, 5);

    let mut bytes = Vec::new();
    Counter::<Ones, String>::write(counter.snapshot(), &mut bytes).expect("a vector");
    assert_eq!(bytes, [5, 1, 1, b'a']);
    let mut other = new();
    other.restore(&mut &bytes[..]).expect("its own bytes");
    let answer = other.query(&QueryContext::default(), CounterQuery::Subjects { least: 9 });
    let CounterAnswer::Subjects(subjects) = answer;
    assert_eq!(subjects, BTreeMap::from([("a".to_owned(), 9)]));
}
