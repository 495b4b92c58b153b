//! A history of the machine alone, without a cluster: thousands of commands a second, so that most
//! mistakes are found before any node starts.

use quorate::types::{ClusterId, LogIndex, LogTime, Position};

use super::calls::{Calls, Draw};
use super::live::{Doing, End, Step, guarded, in_a_world, next_time};
use super::seen::Seen;
use super::subject::{Simulated, Subject};
use crate::observe::encoded;
use crate::rng::Rng;
use crate::workload::Call;

/// How many commands.
const COMMANDS: usize = 150;
/// How many queries are asked after a command, at most.
const QUERIES: usize = 4;

/// Draws a history, telling the machine each command, so that what it answers comes again. `Err` is
/// what is wrong before any machine is told anything.
pub(super) fn history<M: Simulated>(
    subject: &Subject<M>,
    calls: &Calls<M>,
    seed: u64,
) -> Result<Vec<Step>, End> {
    in_a_world(seed, || async {
        let mut rng = Rng::stream(seed, "alone");
        let mut seen = Seen::default();
        let mut machine = guarded(|| Doing::Begin, || (subject.initial)())?;
        let mut log: Vec<Step> = Vec::new();
        let (mut time, mut term, mut index) = (LogTime::from_micros(1), 1, 0);
        // A workload may like queries better.
        for unique in 1..COMMANDS as u64 * 40 {
            if log.len() == COMMANDS {
                break;
            }
            let call = guarded(|| Doing::Draw, || calls.next(&mut Draw::new(&mut rng, &seen, unique)))?;
            let command = match call {
                Call::Write(command) => command,
                Call::Read(query) => {
                    if let Some(step) = log.last_mut().filter(|step| step.queries.len() < QUERIES) {
                        step.queries.push(encoded(&query));
                    }
                    continue;
                }
            };
            seen.note(&mut rng, &command);
            index += 1 + u64::from(rng.chance(50));
            term += u64::from(rng.chance(30));
            time = next_time(&mut rng, time);
            let position = Position { index: LogIndex(index), ordinal: 0 };
            let step = Step { position, term, time, command: encoded(&command), queries: Vec::new() };
            let mut ctx = step.apply_context(cluster(seed));
            log.push(step);
            let told = || seen.note(&mut rng, &machine.apply(&mut ctx, command));
            // Whoever examines the history comes to the same, and tells of it.
            if guarded(|| Doing::Call(String::new()), told).is_err() {
                break;
            }
        }
        Ok(log)
    })
}

/// The cluster of a machine that is alone.
pub(super) fn cluster(seed: u64) -> ClusterId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&seed.to_le_bytes());
    ClusterId(id)
}
