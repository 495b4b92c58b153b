use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
struct Bank {
    #[raft(command(1, open(owner: String) -> u64))]
    accounts: Vec<u64>,
}

fn main() {}
