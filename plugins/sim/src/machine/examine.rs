//! A history of commands, lived in several ways: what differs, why, and the fewest commands that
//! show it.
//!
//! The first life is the measure. Two more are lived in other worlds, where the time of day, the
//! random numbers of the system and the order of hash maps are others; more, in which the machine is
//! replaced by one that restored its snapshot. What made a difference is found by changing one thing
//! at a time.

use quorate::types::ClusterId;

use super::finding::{Cause, Finding, Line};
use super::live::{Doing, End, Life, Step, Trips, Way, command_text, live, query_text};
use super::shrink::smallest;
use super::subject::{Simulated, Subject};
use super::value::Difference;

/// The longest history in which every command is preceded by a snapshot.
const EACH: usize = 200;

/// One cluster, one history, one seed.
pub(super) struct Examination<'a, M> {
    pub(super) subject: &'a Subject<M>,
    pub(super) cluster: ClusterId,
    pub(super) seed: u64,
}

impl<M: Simulated> Examination<'_, M> {
    /// What is wrong with the machine; `None` when nothing was found.
    pub(super) fn of(&self, log: &[Step]) -> Option<Finding> {
        let measure = self.lives(log, self.measure());
        if let Some(end) = &measure.end {
            return Some(self.ended(log, end));
        }
        let differs = |way: &Way| self.lives(log, *way).parts(&measure).is_some();
        if self.other_worlds().iter().any(differs) {
            return Some(self.nondeterminism(log));
        }
        let each = (log.len() <= EACH).then_some(Trips::EachLate);
        let ways = [Trips::Some(self.seed), Trips::Some(!self.seed)].into_iter().chain(each);
        let way = ways.map(|trips| self.with(trips)).find(|way| self.trips_over(log, *way))?;
        Some(self.snapshots(log, way))
    }

    fn lives(&self, log: &[Step], way: Way) -> Life {
        live(self.subject, self.cluster, log, way, &[])
    }

    fn measure(&self) -> Way {
        Way { seed: self.seed, time_passes: false, hash_maps: 0, draws: 0, trips: Trips::Never }
    }

    fn with(&self, trips: Trips) -> Way {
        Way { trips, ..self.measure() }
    }

    fn other_worlds(&self) -> [Way; 2] {
        let other = |seed| Way { seed, time_passes: true, hash_maps: 3, draws: 5, ..self.measure() };
        [other(self.seed ^ 0x5eed), other(self.seed.wrapping_add(0x00ff_00ff))]
    }

    /// Whether lives of `log` in these ways differ from the measure.
    fn part(&self, log: &[Step], ways: &[Way]) -> bool {
        let measure = self.lives(log, self.measure());
        ways.iter().any(|way| self.lives(log, *way).parts(&measure).is_some())
    }

    /// Whether snapshots make a difference: to what is shown, or to a state right after a restore.
    fn trips_over(&self, log: &[Step], way: Way) -> bool {
        self.stumble(log, way).is_some()
    }

    /// The command at which they do.
    fn stumble(&self, log: &[Step], way: Way) -> Option<usize> {
        let (measure, life) = (self.lives(log, self.measure()), self.lives(log, way));
        let before = |number: usize| number.checked_sub(1).and_then(|last| measure.shown.get(last)?.state);
        let changed = life.shown.iter().enumerate().position(|(number, shown)| {
            // Of the state before the first command nothing is known.
            let both = before(number).zip(shown.restored);
            both.is_some_and(|(before, restored)| before != restored)
        });
        [life.parts(&measure), changed].into_iter().flatten().min()
    }

    fn ended(&self, log: &[Step], end: &End) -> Finding {
        let same = |other: &Option<End>| match (end, other) {
            (End::Panicked { message, .. }, Some(End::Panicked { message: other, .. })) => {
                place(message) == place(other)
            }
            (End::Broken { invariant, .. }, Some(End::Broken { invariant: other, .. })) => invariant == other,
            (end, Some(other)) => std::mem::discriminant(end) == std::mem::discriminant(other),
            (_, None) => false,
        };
        let log = smallest(log, |log| same(&self.lives(log, self.measure()).end));
        let life = self.lives(&log, self.measure());
        let end = life.end.clone().unwrap_or_else(|| end.clone());
        let (cause, detail) = of_end(end);
        finding::<M>(cause, detail, &log, &life)
    }

    /// Which of the things that differ between worlds makes the difference.
    fn nondeterminism(&self, log: &[Step]) -> Finding {
        let measure = self.measure();
        let time: Vec<Way> = vec![Way { time_passes: true, ..measure }];
        let draws: Vec<Way> = (1..4).map(|draws| Way { draws, ..measure }).collect();
        let hash_maps: Vec<Way> = (1..9).map(|hash_maps| Way { hash_maps, ..measure }).collect();
        let suspects = [
            // First: what differs by itself differs whatever is changed.
            (Cause::Outside, vec![measure; 3]),
            (Cause::WallClock, time),
            (Cause::RandomNumbers, draws),
            (Cause::HashOrder, hash_maps),
        ];
        let found = suspects.into_iter().find(|(_, ways)| self.part(log, ways));
        let (cause, ways) = found.unwrap_or_else(|| (Cause::Nondeterminism, self.other_worlds().to_vec()));
        let log = smallest(log, |log| self.part(log, &ways));
        let one = self.lives(&log, measure);
        let other = ways.iter().map(|way| (*way, self.lives(&log, *way)));
        let (way, other) = other
            .into_iter()
            .find(|(_, life)| life.parts(&one).is_some())
            .unwrap_or((measure, Life::default()));
        let detail = self.contrast(&log, &one, (way, &other), "one copy", "another");
        finding::<M>(cause, detail, &log, &one)
    }

    fn snapshots(&self, log: &[Step], way: Way) -> Finding {
        let each = self.with(Trips::EachLate);
        let way = if self.trips_over(log, each) { each } else { way };
        let log = smallest(log, |log| self.trips_over(log, way));
        let (measure, life) = (self.lives(&log, self.measure()), self.lives(&log, way));
        if let Some(end) = life.end.clone().filter(|end| measure.end.as_ref() != Some(end)) {
            let (cause, detail) = of_end(end);
            return finding::<M>(cause, detail, &log, &measure);
        }
        if way == each && !self.trips_over(&log, self.with(Trips::EachAtOnce)) {
            let detail =
                "a snapshot that is written after the next command shows what that command did".to_owned();
            return finding::<M>(Cause::NotFrozen, detail, &log, &measure);
        }
        if self.subject.in_tables {
            let detail = self.contrast(
                &log,
                &measure,
                (way, &life),
                "the machine",
                "one that was opened with the same tables",
            );
            return finding::<M>(Cause::BesideTables, detail, &log, &measure);
        }
        let field = self.forgotten(&log, way);
        let mut detail =
            self.contrast(&log, &measure, (way, &life), "the machine", "one that restored its snapshot");
        if let Some(Difference { path, first, second }) = &field {
            let restored =
                format!("before it was saved `{path}` was {first}, and when it was restored {second}");
            detail = if detail.is_empty() { restored } else { format!("{restored};\n{detail}") };
        }
        finding::<M>(Cause::Forgotten(field.map(|field| field.path)), detail, &log, &measure)
    }

    /// What of the state the first snapshot does not bring back.
    fn forgotten(&self, log: &[Step], way: Way) -> Option<Difference> {
        let all: Vec<usize> = (0..=log.len()).collect();
        let before = live(self.subject, self.cluster, log, self.measure(), &all).portraits;
        let after = live(self.subject, self.cluster, log, way, &all).portraits;
        before.iter().find_map(|(number, (state, outline))| {
            let (restored, other) = after.get(number)?;
            // The outline names more: also what is not serialised.
            let outline = outline.as_ref().zip(other.as_ref()).and_then(|(a, b)| a.difference(b));
            outline.or_else(|| state.as_ref()?.difference(restored.as_ref()?))
        })
    }

    /// Where and how two lives part.
    fn contrast(
        &self,
        log: &[Step],
        one: &Life,
        (way, other): (Way, &Life),
        this: &str,
        that: &str,
    ) -> String {
        let Some(at) = one.parts(other) else { return String::new() };
        let Some(step) = log.get(at) else { return String::new() };
        let command = command_text::<M>(&step.command);
        let (Some(a), Some(b)) = (one.shown.get(at), other.shown.get(at)) else {
            return format!("`{command}` ends differently: {:?} and {:?}", one.end, other.end);
        };
        if a.response != b.response {
            return format!("`{command}` responded {} on {this} and {} on {that}", a.response, b.response);
        }
        let answers = step.queries.iter().zip(a.answers.iter().zip(&b.answers));
        if let Some((query, (a, b))) = answers.into_iter().find(|(_, (a, b))| a != b) {
            let query = query_text::<M>(query);
            return format!("after `{command}`, `{query}` answered {a} on {this} and {b} on {that}");
        }
        let portrait = |way| {
            live(self.subject, self.cluster, log, way, &[at + 1])
                .portraits
                .remove(&(at + 1))
                .and_then(|(state, _)| state)
        };
        let difference = portrait(self.measure()).zip(portrait(way)).and_then(|(a, b)| a.difference(&b));
        let what = difference.map_or_else(
            || "the states differ".to_owned(),
            |Difference { path, first, second }| {
                let path = if path.is_empty() { "the state".to_owned() } else { format!("`{path}`") };
                format!("{path} is {first} on {this} and {second} on {that}")
            },
        );
        format!("after `{command}`, {what}")
    }
}

fn finding<M: Simulated>(cause: Cause, detail: String, log: &[Step], life: &Life) -> Finding {
    let line = |(number, step): (usize, &Step)| Line {
        at: step.position,
        time: step.time,
        call: command_text::<M>(&step.command),
        response: life.shown.get(number).map(|shown| shown.response.clone()),
    };
    Finding { cause, detail, history: log.iter().enumerate().map(line).collect() }
}

/// What is wrong when nothing can be lived at all.
pub(super) fn at_once(end: End) -> Finding {
    let (cause, detail) = of_end(end);
    Finding { cause, detail, history: Vec::new() }
}

/// Where a panic was, without what it said, which may be about values.
fn place(message: &str) -> &str {
    message.split_once(": ").map_or(message, |(place, _)| place)
}

fn of_end(end: End) -> (Cause, String) {
    match end {
        End::Panicked { doing, message } => match doing {
            Doing::Call(call) => (Cause::Panic, format!("`{call}` {message}")),
            Doing::Snapshot(method) => (Cause::Snapshot, format!("`{method}` {message}")),
            Doing::Begin => (Cause::Initial, format!("it {message}")),
            Doing::Draw => (Cause::Workload, format!("it {message}")),
            Doing::Plan => (Cause::Plan, format!("it {message}")),
            Doing::Look => (Cause::State, format!("it {message}")),
        },
        End::Failed { doing: Doing::Call(call), why } => (Cause::Failed, format!("`{call}`: {why}")),
        End::Failed { why, .. } => (Cause::Failed, why),
        End::Broken { invariant, why, restored } => {
            let when = if restored { " when it restored its snapshot" } else { "" };
            (Cause::Invariant(invariant), format!("{why}{when}"))
        }
        End::NotWritten { why } => (Cause::Snapshot, format!("its snapshot cannot be written: {why}")),
        End::NotRestored { why } => (Cause::Snapshot, format!("its own snapshot cannot be restored: {why}")),
        End::Deadline { due, now } => {
            (Cause::Deadline, format!("`deadline` says {due:?} at {now:?}: it must be later, or `None`"))
        }
    }
}
