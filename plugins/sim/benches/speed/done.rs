//! What a side has done in a run, or in many.

use std::time::Duration;

use quorate_sim::cluster::Report;
use quorate_sim::trace::Event;

/// What a side has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// Writes that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Reads that were answered.
    pub(crate) reads: u64,
    /// Calls without a good end, as far as a side counts them.
    pub(crate) unanswered: u64,
    /// Faults of the plan that began.
    pub(crate) faults: u64,
    /// Nodes that were stopped.
    pub(crate) crashes: u64,
    /// Terms that began with a leader.
    pub(crate) leaders: u64,
    /// Snapshots that nodes came to have.
    pub(crate) snapshots: u64,
    /// Flushes of files.
    pub(crate) flushes: u64,
    /// Frames that arrived.
    pub(crate) frames: u64,
    /// The simulated time.
    pub(crate) simulated: Duration,
    /// The time of a core that all of it took.
    pub(crate) took: Duration,
}

impl Done {
    /// What our side has done, from the report of a run.
    ///
    /// # Errors
    /// What is wrong with the run.
    pub(crate) fn of(report: &Report) -> Result<Self, String> {
        if let Some(violation) = &report.violation {
            return Err(format!("seed {}: {violation:?}", report.setup.seed));
        }
        if let Some(undecided) = &report.undecided {
            return Err(format!("seed {}: undecided: {undecided}", report.setup.seed));
        }
        let counts = &report.counts;
        let began = |event: &&Event| event.what.starts_with("fault: ");
        Ok(Self {
            acknowledged: counts.acknowledged,
            reads: counts.reads,
            unanswered: counts.refused + counts.unknown,
            faults: report.trace.events().iter().filter(began).count() as u64,
            crashes: counts.crashes,
            leaders: counts.leaders,
            snapshots: counts.snapshots,
            flushes: counts.disk.flushes,
            frames: counts.wire.frames,
            simulated: report.ended,
            took: Duration::ZERO,
        })
    }

    /// Adds what was done in another run.
    pub(crate) fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.reads += other.reads;
        self.unanswered += other.unanswered;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.leaders += other.leaders;
        self.snapshots += other.snapshots;
        self.flushes += other.flushes;
        self.frames += other.frames;
        self.simulated += other.simulated;
        self.took += other.took;
    }

    /// Writes acknowledged and reads answered.
    pub(crate) fn operations(&self) -> u64 {
        self.acknowledged + self.reads
    }

    /// Seconds of a core for a simulated second.
    pub(crate) fn cost(&self) -> f64 {
        self.took.as_secs_f64() / self.simulated.as_secs_f64()
    }

    /// Seconds of a core for an operation.
    pub(crate) fn cost_of_operation(&self) -> f64 {
        self.took.as_secs_f64() / number(self.operations())
    }
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}
