//! Clients: each calls any node, waits as long as it likes, and writes down what it was told.

use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::{Either, join_all, select};
use quorate::client::{Client, Consistency};
use quorate::state_machine::{StateMachine, Wire};
use quorate::types::{LogId, LogTime};

use super::Sim;
use crate::moment::{Moment, Outcome};
use crate::mutations::Mutation;
use crate::observe::{AppliedCommand, Observation, Observed, Tagged, encoded};
use crate::rng::Rng;
use crate::runtime::{SimSleep, time};
use crate::workload::{Call, Record, Workload};

type Command<W> = <<W as Workload>::Machine as StateMachine>::Command;
type Query<W> = <<W as Workload>::Machine as StateMachine>::Query;

/// How often a command is sent once more, at most.
const RETRIES: usize = 3;

/// A call that was made.
pub(super) struct Called {
    pub(super) tag: u64,
    pub(super) outcome: Outcome,
}

/// Of which state the answer to a query is.
type ReadAt = Option<(Option<LogId>, LogTime)>;

/// The bytes of a command.
fn written<W: Workload>(call: &Call<Command<W>, Query<W>>) -> Option<Bytes> {
    match call {
        Call::Write(command) => Some(encoded(command)),
        Call::Read(_) => None,
    }
}

impl<W: Workload> Sim<W> {
    /// Runs every client until the faults end.
    pub(super) async fn clients(self: &Arc<Self>) {
        let clients = (0..self.setup.clients).map(|client| {
            let sim = self.clone();
            madsim::task::spawn(async move {
                let mut rng = Rng::stream(sim.setup.seed, &format!("client {client}"));
                while time() < sim.setup.length {
                    SimSleep::exactly(rng.millis(2..60)).await;
                    let node = rng.within(1..sim.setup.nodes + 1);
                    let call = sim.workload.call(&mut rng, sim.tick());
                    let patience = rng.millis(200..2_500);
                    let sent = written::<W>(&call).filter(|_| sim.setup.retries);
                    let called = sim.call(Some(client), node, call, patience).await;
                    if let (Some(called), Some(command)) = (called, sent) {
                        sim.again(client, node, called, &command, &mut rng).await;
                    }
                }
            })
        });
        for ended in join_all(clients.collect::<Vec<_>>()).await {
            ended.expect("clients are never killed");
        }
    }

    /// Sends a command once more, through another node when there is one, as long as nobody says what
    /// became of it. That is another operation: the one before may have taken effect, or may yet.
    async fn again(
        self: &Arc<Self>,
        client: u64,
        mut node: u64,
        mut last: Called,
        command: &Bytes,
        rng: &mut Rng,
    ) {
        let first = last.tag;
        for _ in 0..RETRIES {
            if last.outcome != Outcome::Unknown || time() >= self.setup.length {
                return;
            }
            let Ok(command) = Command::<W>::decode(command) else { return };
            let others: Vec<u64> =
                self.all().into_iter().filter(|other| *other != node && self.is_up(*other)).collect();
            if !others.is_empty() {
                node = *rng.pick(&others);
            }
            let patience = rng.millis(200..2_500);
            let called = self.call(Some(client), node, Call::Write(command), patience).await;
            let Some(called) = called else { return };
            let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
            again.entry(first).or_default().push(called.tag);
            drop(again);
            last = called;
        }
    }

    fn is_up(&self, node: u64) -> bool {
        self.slots()[&node].up.as_ref().is_some_and(|up| up.client.is_some())
    }

    /// Calls a node and writes down how it went. A node that is down is not called.
    pub(super) async fn call(
        self: &Arc<Self>,
        client: Option<u64>,
        node: u64,
        call: Call<Command<W>, Query<W>>,
        patience: Duration,
    ) -> Option<Called> {
        let (process, asked) = {
            let slots = self.slots();
            let up = slots.get(&node)?.up.as_ref()?;
            (up.process.clone(), up.client.clone()?)
        };
        let mut asked = asked.with_timeout(patience);
        if self.setup.mutation == Some(Mutation::StaleRead) {
            asked = asked.with_consistency(Consistency::Local);
        }
        let (record, write) = match &call {
            Call::Write(command) => (Call::Write(encoded(command)), true),
            Call::Read(query) => (Call::Read(encoded(query)), false),
        };
        // The time is the tag, too: no two are the same.
        let began = self.tick();
        self.trace.record(time(), || Moment::CallBegins { call: began, client, node, what: record.clone() });
        // Inside the process that is asked, so that it dies with it.
        let (answer, answered) = oneshot::channel();
        let sim = self.clone();
        process.spawn(async move {
            let told = sim.ask(&asked, call, began).await;
            let _ = answer.send(told);
        });
        // A process that is gone is not known to be: the client waits on.
        let limit = SimSleep::exactly(patience + Duration::from_millis(300));
        let (told, read_at) = match select(answered, limit).await {
            Either::Left((Ok(told), _)) => told,
            Either::Left((Err(_), limit)) => {
                limit.await;
                (Outcome::Unknown, None)
            }
            Either::Right(_) => (Outcome::Unknown, None),
        };
        self.trace.record(time(), || Moment::CallEnds { call: began, outcome: told.clone() });
        self.count_outcome(&told, write);
        let called = Called { tag: began, outcome: told };
        let ended = match &called.outcome {
            Outcome::Answered(answer) => Some((self.tick(), answer.clone())),
            // It did not happen, or changed nothing: no part of the history.
            Outcome::Refused => return Some(called),
            Outcome::Unknown if !write => return Some(called),
            Outcome::Unknown => None,
        };
        let record = Record { call: record, tag: began, node, began, ended, read_at };
        self.history.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        Some(called)
    }

    /// Inside the process that is asked.
    async fn ask(
        &self,
        client: &Client<Observed<W>>,
        call: Call<Command<W>, Query<W>>,
        tag: u64,
    ) -> (Outcome, ReadAt) {
        match call {
            Call::Write(command) => {
                let command = Tagged { tag, command };
                let outcome = match client.write(&command).await {
                    Ok(done) => {
                        let response = self.workload.response(&done.response);
                        self.acknowledge(done.position, encoded(&command), response.clone());
                        Outcome::Answered(response)
                    }
                    Err(error) if error.is_definite() => {
                        self.observer.see(0, &Observation::Refused { command: &encoded(&command) });
                        Outcome::Refused
                    }
                    Err(_) => Outcome::Unknown,
                };
                (outcome, None)
            }
            Call::Read(query) => match client.read(&query).await {
                Ok(read) => {
                    let answer = self.workload.answer(&read.answer);
                    (Outcome::Answered(answer), Some((read.applied, read.time)))
                }
                Err(_) => (Outcome::Refused, None),
            },
        }
    }

    fn acknowledge(&self, position: quorate::types::Position, command: Bytes, response: Bytes) {
        // Term and time are not told to clients; of this position they are the first applier's.
        let known = self.observer.with_world(|world| {
            world.applied.get(&position).map(|applied| (applied.term, applied.time)).unwrap_or_default()
        });
        let applied = AppliedCommand { position, term: known.0, time: known.1, command, response };
        self.observer.see(0, &Observation::Acknowledged { applied: &applied });
    }

    fn count_outcome(&self, told: &Outcome, write: bool) {
        self.count(|counts| match told {
            Outcome::Answered(_) if write => counts.acknowledged += 1,
            Outcome::Refused if write => counts.refused += 1,
            Outcome::Unknown if write => counts.unknown += 1,
            Outcome::Answered(_) => counts.reads += 1,
            _ => {}
        });
    }
}
