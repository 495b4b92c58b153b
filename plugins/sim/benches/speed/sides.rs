//! Both sides on the same seeds, in turns.

use std::time::Duration;

use quorate_sim::run::simulate;
use rustix::time::{ClockId, clock_gettime};

use crate::bare;
use crate::done::{Done, number};
use crate::mix::{WORKLOAD, setup};

/// How many seeds of each size are run when nobody says.
const SEEDS: u64 = 40;

/// After how much real time a run is given up.
const LIMIT: Duration = Duration::from_mins(2);

/// By how much crashes and operations of the sides may differ, over all seeds of a measurement. In
/// one seed chance decides who leads when the leader is crashed, and who is called when it is down.
const ABOUT: f64 = 1.5;

/// From how many seeds on that has to hold.
const ENOUGH: usize = 10;

/// How many seeds of each size to run: `QUORATE_SIM_SEEDS`, or the default.
pub(crate) fn seeds() -> u64 {
    std::env::var("QUORATE_SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number of seeds"))
}

/// What both sides have done, by seed: ours first.
pub(crate) struct Compared {
    pub(crate) runs: Vec<(Done, Done)>,
}

/// Runs both sides on seeds from 0 on.
///
/// # Errors
/// What went wrong with a run.
pub(crate) fn compare(nodes: u64, seeds: u64) -> Result<Compared, String> {
    // What is done once in a process is nobody's.
    ours(seeds, nodes)?;
    theirs(seeds, nodes)?;
    let run = |seed: u64| {
        if seed.is_multiple_of(2) {
            let ours = ours(seed, nodes)?;
            return Ok((ours, theirs(seed, nodes)?));
        }
        let theirs = theirs(seed, nodes)?;
        Ok((ours(seed, nodes)?, theirs))
    };
    Ok(Compared { runs: (0..seeds).map(run).collect::<Result<_, String>>()? })
}

fn ours(seed: u64, nodes: u64) -> Result<Done, String> {
    let began = processor_time();
    let report = simulate(setup(seed, nodes), WORKLOAD, LIMIT).map_err(|hung| hung.to_string())?;
    let took = processor_time().saturating_sub(began);
    Ok(Done { took, ..Done::of(&report)? })
}

fn theirs(seed: u64, nodes: u64) -> Result<Done, String> {
    let began = processor_time();
    let done = bare::run(setup(seed, nodes)).map_err(|what| format!("bare, seed {seed}: {what}"))?;
    Ok(Done { took: processor_time().saturating_sub(began), ..done })
}

/// The time that cores have spent on this process: what others do on the machine counts less than
/// in real time.
fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).expect("below a second"))
}

impl Compared {
    /// All that each side has done.
    pub(crate) fn sums(&self) -> (Done, Done) {
        self.runs.iter().fold(<(Done, Done)>::default(), |(mut ours, mut bare), run| {
            ours.add(&run.0);
            bare.add(&run.1);
            (ours, bare)
        })
    }

    /// In what the sides have not gone through the same.
    pub(crate) fn differences(&self) -> Vec<String> {
        let (ours, bare) = self.sums();
        let mut found = Vec::new();
        if ours.faults != bare.faults {
            found.push(format!("{} faults began, and {}", ours.faults, bare.faults));
        }
        for (what, ours, bare) in
            [("crashes", ours.crashes, bare.crashes), ("operations", ours.operations(), bare.operations())]
        {
            let ratio = number(ours.max(bare)) / number(ours.min(bare));
            // A division by zero is no ratio that is small enough.
            if self.runs.len() >= ENOUGH && (ratio.is_nan() || ratio > ABOUT) {
                found.push(format!("{ours} {what}, and {bare}"));
            }
        }
        found
    }
}
