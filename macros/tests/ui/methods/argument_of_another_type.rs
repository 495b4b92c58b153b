use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, open(id: u64, owner: Vec<u8>) -> u64),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _id: u64, _owner: String) -> u64 {
        0
    }
}

fn main() {}
