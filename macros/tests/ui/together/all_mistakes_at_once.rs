use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    version = 0,
    command(open(owner: String) -> u64),
    command(1, close(&str)),
    comand(2, freeze(account: u64)),
    query(1, balance(account: &u64, ctx) -> Self),
    query(1, count() -> u64),
)]
struct Bank;

impl Bank {
    fn count(&self) -> u64 {
        0
    }
}

fn main() {}
