use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, open(owner: Strng) -> u64),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }
}

fn main() {}
