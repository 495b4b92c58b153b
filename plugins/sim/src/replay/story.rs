//! What was recorded of a run, put together: calls with their ends, faults with theirs, the lives of
//! the nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::linear::Verdict;
use crate::moment::{Moment, Outcome};
use crate::oracle;
use crate::run::{Finding, Run};
use crate::workload::{Call, History, Workload};

/// A call of a client.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The time of its record.
    pub(super) id: u64,
    /// `None` when the run itself asked.
    pub(super) client: Option<u64>,
    pub(super) node: u64,
    pub(super) began: Duration,
    /// `None` when the run ended before.
    pub(super) ended: Option<(Duration, Outcome)>,
    pub(super) write: bool,
    /// What was asked and answered.
    pub(super) words: String,
}

/// A fault as it happened.
#[derive(Clone, Debug)]
pub(super) struct Happened {
    /// Its place in the plan.
    pub(super) fault: usize,
    pub(super) began: Duration,
    /// `None` when it lasted until the faults ended.
    pub(super) ended: Option<Duration>,
    pub(super) words: String,
}

/// A frame that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) bytes: usize,
    pub(super) began: Duration,
    pub(super) arrived: Duration,
}

/// How a node's disk was left.
#[derive(Clone, Debug)]
pub(super) struct Stopped {
    pub(super) keeps: String,
    pub(super) waiting: usize,
    pub(super) lost: bool,
    pub(super) torn: u64,
}

/// What a node came to be.
#[derive(Clone, Debug)]
pub(super) enum Turn {
    Boots(u64),
    Stops(Stopped),
    Role(String, u64),
    Snapshot(String),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    /// In the order in which they began.
    pub(super) calls: Vec<Told>,
    pub(super) faults: Vec<Happened>,
    /// Of every node, in order.
    pub(super) lives: BTreeMap<u64, Vec<(Duration, Turn)>>,
    pub(super) frames: Vec<Sent>,
    /// The calls of the smallest history that shows what is wrong, by their ids. The last cannot be
    /// explained.
    pub(super) evidence: Vec<u64>,
    /// The time of the last thing that happened.
    pub(super) end: Duration,
}

impl Story {
    pub(super) fn of<W: Workload>(run: &Run, workload: &W) -> Self {
        let mut story = Self::default();
        let mut open: BTreeMap<u64, usize> = BTreeMap::new();
        let mut faults: BTreeMap<usize, usize> = BTreeMap::new();
        let mut asked: Vec<Call<bytes::Bytes, bytes::Bytes>> = Vec::new();
        for (at, moment) in run.trace.moments() {
            story.end = story.end.max(at);
            match moment {
                Moment::CallBegins { call, client, node, what } => {
                    let write = matches!(what, Call::Write(_));
                    let words = workload.describe(&what, None);
                    open.insert(call, story.calls.len());
                    story.calls.push(Told { id: call, client, node, began: at, ended: None, write, words });
                    asked.push(what);
                }
                Moment::CallEnds { call, outcome } => {
                    let Some(place) = open.remove(&call) else { continue };
                    let told = &mut story.calls[place];
                    if let Outcome::Answered(answer) = &outcome {
                        told.words = workload.describe(&asked[place], Some(answer));
                    }
                    told.ended = Some((at, outcome));
                }
                Moment::FaultBegins { fault } => {
                    let planned = run.setup.plan.faults.get(fault);
                    let words = planned.map_or_else(String::new, |planned| format!("{:?}", planned.fault));
                    faults.insert(fault, story.faults.len());
                    story.faults.push(Happened { fault, began: at, ended: None, words });
                }
                Moment::FaultEnds { fault } => {
                    if let Some(place) = faults.get(&fault) {
                        story.faults[*place].ended = Some(at);
                    }
                }
                Moment::Frame { from, to, bytes, sent } => {
                    story.frames.push(Sent { from, to, bytes, began: sent, arrived: at });
                }
                Moment::Boots { node, boot } => story.turn(node, at, Turn::Boots(boot)),
                Moment::Stops { node, keeps, waiting, lost, torn } => {
                    story.turn(node, at, Turn::Stops(Stopped { keeps, waiting, lost, torn }));
                }
                Moment::Role { node, role, term } => story.turn(node, at, Turn::Role(role, term)),
                Moment::Snapshot { node, upto } => story.turn(node, at, Turn::Snapshot(upto)),
            }
        }
        story.evidence = evidence(run, workload);
        story
    }

    fn turn(&mut self, node: u64, at: Duration, turn: Turn) {
        self.lives.entry(node).or_default().push((at, turn));
    }
}

/// The ids of the calls that show it, when what is wrong is what clients saw.
fn evidence<W: Workload>(run: &Run, workload: &W) -> Vec<u64> {
    let of_clients = matches!(
        &run.finding,
        Some(Finding::Violation(violation)) if violation.oracle == oracle::LINEARIZABILITY
    );
    let Some(report) = run.report.as_ref().filter(|_| of_clients) else { return Vec::new() };
    let judge = |records: &[_]| -> Verdict {
        workload.judge(History { records, log: &report.log, cluster: report.cluster }).0
    };
    let mut smallest = super::smallest(&report.history, judge);
    smallest.sort_by_key(|record| record.ended.as_ref().map_or(0, |(end, _)| *end));
    let last = smallest.pop();
    smallest.sort_by_key(|record| record.began);
    smallest.into_iter().chain(last).map(|record| record.began).collect()
}
