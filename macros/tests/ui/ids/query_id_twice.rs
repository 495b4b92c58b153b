use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    query(1, balance() -> u64),
    query(0x1, count() -> u64),
)]
struct Bank;

impl Bank {
    fn balance(&self) -> u64 {
        0
    }

    fn count(&self) -> u64 {
        0
    }
}

fn main() {}
