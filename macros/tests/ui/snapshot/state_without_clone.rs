use quorate::prelude::*;

#[derive(Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, open(owner: String) -> u64))]
struct Bank;

impl Bank {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }
}

fn main() {}
