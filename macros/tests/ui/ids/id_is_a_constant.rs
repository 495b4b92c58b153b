use quorate::prelude::*;

const OPEN: u16 = 1;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(OPEN, open(owner: String) -> u64),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }
}

fn main() {}
