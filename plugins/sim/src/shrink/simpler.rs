//! Faults that say the same with less.

use std::time::Duration;

use crate::disk::Crash;
use crate::plan::Fault;

/// Faults that are simpler than `fault` in one respect, the simplest first. None is as complicated, so
/// that to go on with one of them comes to an end.
pub(super) fn simpler(fault: &Fault) -> Vec<Fault> {
    let mut found = Vec::new();
    match *fault {
        Fault::Crash { node, crash, down, again_at } => {
            if again_at.is_some() {
                found.push(Fault::Crash { node, crash, down, again_at: None });
            }
            found.extend(crashes(crash).map(|crash| Fault::Crash { node, crash, down, again_at }));
            found.extend(shorter(down).map(|down| Fault::Crash { node, crash, down, again_at }));
        }
        Fault::CrashLeader { crash, down } => {
            found.extend(crashes(crash).map(|crash| Fault::CrashLeader { crash, down }));
            found.extend(shorter(down).map(|down| Fault::CrashLeader { crash, down }));
        }
        Fault::Fuse { node, changes, crash, down } => {
            found.push(Fault::Crash { node, crash, down, again_at: None });
            found.extend(crashes(crash).map(|crash| Fault::Fuse { node, changes, crash, down }));
            found.extend(shorter(down).map(|down| Fault::Fuse { node, changes, crash, down }));
        }
        Fault::Isolate { node, time, hears, is_heard } => {
            if hears || is_heard {
                found.push(Fault::Isolate { node, time, hears: false, is_heard: false });
            }
            found.extend(shorter(time).map(|time| Fault::Isolate { node, time, hears, is_heard }));
        }
        Fault::IsolateLeader { time } => {
            found.extend(shorter(time).map(|time| Fault::IsolateLeader { time }));
        }
        Fault::CutOneWay { from, to, time } => {
            found.extend(shorter(time).map(|time| Fault::CutOneWay { from, to, time }));
        }
        Fault::CutLink { a, b, time } => {
            found.extend(shorter(time).map(|time| Fault::CutLink { a, b, time }));
        }
        Fault::Split { half, time } => {
            found.extend(shorter(time).map(|time| Fault::Split { half, time }));
        }
        Fault::Flap { node, times, off, on } => {
            found.push(Fault::Isolate { node, time: off, hears: false, is_heard: false });
            if times > 1 {
                found.push(Fault::Flap { node, times: times / 2, off, on });
            }
        }
        Fault::FallBehind { node, time } => {
            found.push(Fault::Isolate { node, time, hears: false, is_heard: false });
        }
        Fault::Full { node, spare, time } => {
            found.extend(shorter(time).map(|time| Fault::Full { node, spare, time }));
        }
        Fault::Rot { node, bits, stopped } if bits > 1 => {
            found.push(Fault::Rot { node, bits: bits / 2, stopped });
        }
        Fault::SnapshotFuse { node, changes, crash, down } => {
            found.extend(crashes(crash).map(|crash| Fault::SnapshotFuse { node, changes, crash, down }));
            found.extend(shorter(down).map(|down| Fault::SnapshotFuse { node, changes, crash, down }));
        }
        Fault::BreakSnapshot { answers } if answers > 0 => {
            found.push(Fault::BreakSnapshot { answers: answers / 2 });
        }
        Fault::Shutdown { node } => {
            let (crash, down) = (Crash::Process, Duration::from_millis(300));
            found.push(Fault::Crash { node, crash, down, again_at: None });
        }
        Fault::Refuse { node, time } => {
            found.extend(shorter(time).map(|time| Fault::Refuse { node, time }));
        }
        Fault::Pause { node, time } => {
            found.extend(shorter(time).map(|time| Fault::Pause { node, time }));
        }
        Fault::Clock { node, jump, drift_ppm } => {
            if drift_ppm != 0 {
                found.push(Fault::Clock { node, jump, drift_ppm: 0 });
            }
            found.extend(shorter(jump).map(|jump| Fault::Clock { node, jump, drift_ppm }));
        }
        // What is left has no part that could be simpler, or is a matter of degree.
        _ => {}
    }
    found
}

/// Crashes that are simpler to reason about: of all or nothing.
fn crashes(crash: Crash) -> impl Iterator<Item = Crash> {
    let simpler: &[Crash] = match crash {
        Crash::Process => &[],
        Crash::LoseAll => &[Crash::Process],
        _ => &[Crash::Process, Crash::LoseAll],
    };
    simpler.iter().copied()
}

/// Half as long, down to a tenth of a second.
fn shorter(time: Duration) -> impl Iterator<Item = Duration> {
    (time >= Duration::from_millis(200)).then_some(time / 2).into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_simplify_comes_to_an_end_whichever_way_is_taken() {
        let (crash, down) = (Crash::Torn { sector: 512 }, Duration::from_secs(3));
        let mut faults = vec![
            Fault::Fuse { node: 1, changes: 40, crash, down },
            Fault::Isolate { node: 2, time: down, hears: true, is_heard: false },
            Fault::Clock { node: 3, jump: down, drift_ppm: -7 },
        ];
        let mut steps = 0;
        while let Some(fault) = faults.pop() {
            faults.extend(simpler(&fault));
            steps += 1;
            assert!(steps < 2_000);
        }
        assert!(steps > 20);
    }
}
