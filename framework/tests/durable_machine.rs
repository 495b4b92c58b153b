//! A machine on a disk written by hand, without any plugin; and what its failures do to a node.

#![allow(clippy::disallowed_methods, reason = "tests run on tokio")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use quorate::client::Consistency;
use quorate::error::{BoxError, MachineError, NotApplied, RestoreError, StartError, WriteError};
use quorate::node::config::Config;
use quorate::node::status::Status;
use quorate::state_machine::{
    AnyMachine, ApplyContext, ArgumentReader, ArgumentWriter, DecodeError, DurableStateMachine, EncodeError,
    Keep, Kept, QueryContext, Replicated, Row, Wire, read_postcard, write_postcard,
};
use quorate::storage::{Health, MemoryStorage};
use quorate::testing::Seeded;
use quorate::testing::durable_machine::DurableHarness;
use quorate::testing::state_machine::{Durably, MachineHarness};
use quorate::transport::{MemoryNetwork, Transport};
use quorate::types::Member;
use quorate::{Cluster, Node};

/// A sum, and what is kept beside it.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    sum: u64,
    record: Option<Bytes>,
    rows: BTreeMap<Bytes, Bytes>,
}

impl State {
    fn keep(&mut self, kept: Kept) {
        self.record = Some(kept.record);
        for Row { key, value } in kept.rows {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }
}

/// What outlives a node: what is seen, and what would survive a power cut.
#[derive(Debug, Default)]
struct Disk {
    seen: State,
    flushed: State,
    broken: Option<Broken>,
    health: Health,
    /// How many commands were applied, again and again or not.
    applied: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Broken {
    Apply,
    ForgetsAResponse,
    ForgetsToAsk,
    Flush,
    Query,
}

#[derive(Clone, Debug, Default)]
struct Sum(Arc<Mutex<Disk>>);

#[derive(Debug, thiserror::Error)]
#[error("the disk is broken")]
struct DiskError;

impl Sum {
    fn with<R>(&self, f: impl FnOnce(&mut Disk) -> R) -> R {
        f(&mut self.0.lock().expect("no panic"))
    }

    fn check(&self, how: Broken) -> Result<(), DiskError> {
        if self.with(|disk| disk.broken == Some(how)) { Err(DiskError) } else { Ok(()) }
    }

    fn break_it(&self, how: Option<Broken>) {
        self.with(|disk| disk.broken = how);
    }

    fn cut_power(&self) {
        self.with(|disk| disk.seen = disk.flushed.clone());
    }
}

/// What everything here is: a number.
#[derive(Debug, PartialEq)]
struct Number(u64);

impl Wire for Number {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        ArgumentWriter::new(out, 1, "number").argument("n", &self.0)
    }
    fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ArgumentReader::new(input)?.item("number");
        if reader.id() != 1 {
            return Err(DecodeError::UnknownId { kind: "number", id: reader.id() });
        }
        let number = Self(reader.argument("n")?);
        reader.finish()?;
        Ok(number)
    }
    fn label(&self) -> &'static str {
        "number"
    }
}

impl Replicated for Sum {
    const NAME: &'static str = "sum";
    const VERSION: u32 = 1;
    type Command = Number;
    type Response = Number;
    type Query = Number;
    type Answer = Number;

    fn into_machine(self) -> AnyMachine {
        AnyMachine::on_disk(self)
    }
}

impl DurableStateMachine for Sum {
    type View = State;
    type Error = DiskError;

    fn apply(
        &self,
        commands: &mut dyn Iterator<Item = (ApplyContext, Number)>,
        keep: Keep<'_, Number>,
    ) -> Result<(), DiskError> {
        self.check(Broken::Apply)?;
        let mut state = self.view()?;
        let mut responses = Vec::new();
        for (_, Number(number)) in commands {
            state.sum = state.sum.wrapping_add(number);
            responses.push(Number(state.sum));
        }
        let applied = responses.len() as u64;
        if self.check(Broken::ForgetsAResponse).is_err() {
            responses.pop();
        }
        if self.check(Broken::ForgetsToAsk).is_ok() {
            state.keep(keep(responses));
        }
        self.with(|disk| {
            disk.applied += applied;
            disk.seen = state;
        });
        Ok(())
    }

    fn flush(&self) -> Result<(), DiskError> {
        self.check(Broken::Flush)?;
        self.with(|disk| disk.flushed = disk.seen.clone());
        Ok(())
    }

    fn view(&self) -> Result<State, DiskError> {
        Ok(self.with(|disk| disk.seen.clone()))
    }

    fn applied(view: &State) -> Result<Option<Bytes>, DiskError> {
        Ok(view.record.clone())
    }

    fn rows(view: &State, row: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), DiskError> {
        view.rows.iter().for_each(|(key, value)| row(key, value));
        Ok(())
    }

    fn query(&self, view: &State, _: &QueryContext, Number(number): Number) -> Result<Number, DiskError> {
        self.check(Broken::Query)?;
        Ok(Number(view.sum.wrapping_add(number)))
    }

    fn write(view: State, out: &mut dyn Write) -> io::Result<()> {
        write_postcard(&view.sum, out)
    }

    fn restore(&self, kept: Kept, input: &mut dyn Read) -> Result<(), RestoreError> {
        let mut state = State { sum: read_postcard(input)?, ..State::default() };
        state.keep(kept);
        self.with(|disk| (disk.seen, disk.flushed) = (state.clone(), state));
        Ok(())
    }

    fn health(&self) -> Health {
        self.with(|disk| disk.health)
    }
}

struct Harness;

impl MachineHarness for Harness {
    type Machine = Durably<Sum>;

    fn machine() -> Self::Machine {
        Durably::new(Sum::default(), ())
    }
    fn command(rng: &mut Seeded) -> Number {
        Number(rng.draw(0..1000))
    }
    fn query(rng: &mut Seeded) -> Option<Number> {
        Some(Number(rng.draw(0..10)))
    }
}

quorate::state_machine_conformance!(Harness);

/// Its disk, which a power cut takes back to what was flushed.
mod on_a_disk {
    use super::{BoxError, DurableHarness, Number, Seeded, Sum};

    struct Harness;

    impl DurableHarness for Harness {
        type Machine = Sum;
        type Place = Sum;

        fn place() -> Sum {
            Sum::default()
        }
        fn open(place: &Sum) -> Result<Sum, BoxError> {
            Ok(place.clone())
        }
        fn crash(place: &mut Sum, _: Option<Sum>) {
            place.cut_power();
        }
        fn kill(_: &mut Sum, _: Option<Sum>) -> bool {
            true
        }
        fn command(rng: &mut Seeded) -> Number {
            Number(rng.draw(1..1000))
        }
        fn query(rng: &mut Seeded) -> Option<Number> {
            Some(Number(rng.draw(0..10)))
        }
    }

    quorate::durable_machine_conformance!(Harness);
}

/// A cluster of one, of which storage and machine outlive the node.
#[derive(Default)]
struct Rig {
    network: MemoryNetwork,
    storage: MemoryStorage,
    machine: Sum,
}

impl Rig {
    async fn start(&self) -> Result<Node<Sum>, StartError> {
        let transport = self.network.endpoint("n1");
        let members = [Member::new(1, transport.identity(), transport.address())];
        Node::builder(self.machine.clone())
            .storage(self.storage.clone())
            .transport(transport)
            .cluster(Cluster::bootstrap(members))
            .config(Config::testing())
            .start()
            .await
    }

    /// Breaks the machine, does something that uses it, and says why the node stopped.
    async fn stopped_by(&self, how: Broken) -> String {
        let node = self.start().await.expect("it starts");
        node.plain_client().write(&Number(1)).await.expect("a cluster of one");
        self.machine.break_it(Some(how));
        if how == Broken::Query {
            let client = node.plain_client().with_consistency(Consistency::Local);
            client.read(&Number(0)).await.expect_err("it is broken");
        } else {
            node.plain_client().write(&Number(1)).await.expect_err("it is broken");
        }
        let stopped = status(&node, |status| status.stopped().is_some()).await;
        drop(node.shutdown().await);
        self.machine.break_it(None);
        stopped.stopped().unwrap_or_default().to_owned()
    }
}

async fn status(node: &Node<Sum>, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut status = node.status();
    let reached = tokio::time::timeout(Duration::from_secs(30), status.until(wanted)).await;
    reached.expect("soon").expect("the node lives")
}

#[tokio::test]
async fn what_was_flushed_is_applied_once() {
    let rig = Rig::default();
    let node = rig.start().await.expect("a fresh cluster of one");
    for number in 1..=10 {
        node.plain_client().write(&Number(number)).await.expect("a cluster of one");
    }
    node.shutdown().await.expect("in good order");
    rig.machine.cut_power();
    let node = rig.start().await.expect("it starts again");
    let read = node.plain_client().read(&Number(0)).await;
    assert_eq!(read, Ok(Number(55)));
    assert_eq!(rig.machine.with(|disk| disk.applied), 10, "shutdown flushes");
    drop(node);
}

#[tokio::test]
async fn what_was_not_flushed_is_applied_again_and_counted_once() {
    let rig = Rig::default();
    let node = rig.start().await.expect("a fresh cluster of one");
    for number in 1..=10 {
        node.plain_client().write(&Number(number)).await.expect("a cluster of one");
    }
    // It cannot be flushed on the way down, as if the power were gone.
    rig.machine.break_it(Some(Broken::Flush));
    drop(node.shutdown().await);
    rig.machine.break_it(None);
    rig.machine.cut_power();
    let node = rig.start().await.expect("it starts again");
    assert_eq!(node.plain_client().read(&Number(0)).await, Ok(Number(55)));
    assert_eq!(rig.machine.with(|disk| disk.applied), 20);
    drop(node);
}

#[tokio::test]
async fn what_is_found_at_a_start_is_flushed_by_it() {
    let rig = Rig::default();
    let node = rig.start().await.expect("a fresh cluster of one");
    for number in 1..=10 {
        node.plain_client().write(&Number(number)).await.expect("a cluster of one");
    }
    // As if the process had died: what was not flushed is seen still.
    rig.machine.break_it(Some(Broken::Flush));
    drop(node.shutdown().await);
    rig.machine.break_it(None);
    let node = rig.start().await.expect("it starts again");
    rig.machine.break_it(Some(Broken::Flush));
    drop(node.shutdown().await);
    rig.machine.break_it(None);
    rig.machine.cut_power();
    let node = rig.start().await.expect("it starts again");
    assert_eq!(node.plain_client().read(&Number(0)).await, Ok(Number(55)));
    assert_eq!(rig.machine.with(|disk| disk.applied), 10, "the node may have built on what it found");
    drop(node);
}

#[tokio::test]
async fn a_failure_of_the_machine_stops_the_node_and_says_why() {
    let rig = Rig::default();
    assert_eq!(rig.stopped_by(Broken::Apply).await, "the machine could not apply: the disk is broken");
    let forgotten = rig.stopped_by(Broken::ForgetsAResponse).await;
    assert_eq!(forgotten, "the machine could not answer every command: 0 responses to 1 commands");
    let silent = rig.stopped_by(Broken::ForgetsToAsk).await;
    let did_not =
        "the machine could not answer every command: it did not ask what to store with their effects";
    assert_eq!(silent, did_not);
    let query = rig.stopped_by(Broken::Query).await;
    assert_eq!(query, "the machine could not answer a query: the disk is broken");
}

#[tokio::test(start_paused = true)]
async fn a_machine_short_of_room_makes_the_node_refuse_writes_until_it_has_some() {
    let rig = Rig::default();
    let node = rig.start().await.expect("a fresh cluster of one");
    let client = node.plain_client();
    // Behind the leader's own first entry nothing is applied but what is written here.
    client.write(&Number(0)).await.expect("there is room");
    rig.machine.with(|disk| disk.health = Health::Low);
    client.write(&Number(1)).await.expect("it asks after it has applied");
    status(&node, |status| status.health == Health::Low).await;
    // Its disk may be that of the log.
    let mut wanted = rig.storage.room_wanted();
    assert_eq!(wanted.until(|wanted| *wanted).await, Some(true));
    let refused = client.write(&Number(2)).await;
    assert!(matches!(refused, Err(WriteError::NotApplied(NotApplied::DiskFull))), "{refused:?}");
    assert_eq!(client.read(&Number(0)).await, Ok(Number(1)), "reads go on");
    rig.machine.with(|disk| disk.health = Health::Ok);
    status(&node, |status| status.health == Health::Ok).await;
    assert_eq!(wanted.until(|wanted| !*wanted).await, Some(false));
    client.write(&Number(3)).await.expect("there is room");
    assert_eq!(client.read(&Number(0)).await, Ok(Number(4)), "what was refused was not applied");
    node.shutdown().await.expect("in good order");
    rig.machine.with(|disk| disk.health = Health::Low);
    let node = rig.start().await.expect("it starts");
    let refused = node.plain_client().write(&Number(5)).await;
    assert!(matches!(refused, Err(WriteError::NotApplied(NotApplied::DiskFull))), "{refused:?}");
    assert_eq!(node.status().get().health, Health::Low);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_says_that_it_has_failed_stops_the_node() {
    let rig = Rig::default();
    let said = "the machine says that its disk has failed";
    for before in [Health::Ok, Health::Low] {
        let node = rig.start().await.expect("it starts");
        let client = node.plain_client();
        client.write(&Number(0)).await.expect("there is room");
        rig.machine.with(|disk| disk.health = before);
        client.write(&Number(1)).await.expect("there is room");
        status(&node, |status| status.health == before).await;
        rig.machine.with(|disk| disk.health = Health::Failed);
        if before == Health::Ok {
            client.write(&Number(2)).await.expect_err("it is used no more");
        }
        let failed = |status: &Status| status.stopped().is_some() && status.health == Health::Failed;
        assert_eq!(status(&node, failed).await.stopped(), Some(said));
        drop(node.shutdown().await);
        let error = rig.start().await.expect_err("it has failed");
        assert!(matches!(error, StartError::Machine(MachineError::Failed { .. })), "{error}");
        rig.machine.with(|disk| disk.health = Health::Ok);
    }
}

#[tokio::test]
async fn a_flush_that_fails_stops_the_node_before_anything_is_purged() {
    let rig = Rig::default();
    let node = rig.start().await.expect("a fresh cluster of one");
    rig.machine.break_it(Some(Broken::Flush));
    let client = node.plain_client();
    // Small commands: some thousands of them make a quarter of what makes a snapshot due.
    let writes = (0..100_000).map(|_| {
        let client = client.clone();
        async move { client.write(&Number(1)).await }
    });
    let mut writes = futures::stream::iter(writes).buffer_unordered(256);
    while let Some(written) = writes.next().await {
        if written.is_err() {
            break;
        }
    }
    let stopped = status(&node, |status| status.stopped().is_some()).await;
    assert_eq!(stopped.stopped(), Some("the machine could not flush: the disk is broken"));
    assert_eq!(stopped.purged, None);
}

#[tokio::test]
async fn a_damaged_record_is_no_start() {
    let rig = Rig::default();
    let node = rig.start().await.expect("a fresh cluster of one");
    node.plain_client().write(&Number(1)).await.expect("a cluster of one");
    node.shutdown().await.expect("in good order");
    rig.machine.with(|disk| {
        let mut record = disk.seen.record.clone().expect("something was applied").to_vec();
        record[40] ^= 1;
        disk.seen.record = Some(record.into());
    });
    let error = rig.start().await.expect_err("its record is damaged");
    assert!(matches!(error, StartError::Machine(MachineError::Damaged { .. })), "{error}");
}
