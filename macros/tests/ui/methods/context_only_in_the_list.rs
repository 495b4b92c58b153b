use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    query(1, balance(ctx) -> u64),
)]
struct Bank;

impl Bank {
    fn balance(&self) -> u64 {
        0
    }
}

fn main() {}
