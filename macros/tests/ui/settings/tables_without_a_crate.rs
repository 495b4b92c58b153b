use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    tables(ACCOUNTS),
    command(1, open(owner: String) -> u64),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }
}

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    tables = [ACCOUNTS],
    command(1, open(owner: String) -> u64),
)]
struct Listed;

impl Listed {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }
}

fn main() {}
