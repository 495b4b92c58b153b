use quorate::prelude::*;
use quorate::types::LogTime;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    deadline = Self::next,
    command(1, open(owner: String) -> u64),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }

    fn next(&self) -> Option<LogTime> {
        None
    }
}

fn main() {}
