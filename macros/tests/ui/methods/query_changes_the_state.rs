use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    query(1, balance() -> u64),
)]
struct Bank;

impl Bank {
    fn balance(&mut self) -> u64 {
        0
    }
}

fn main() {}
