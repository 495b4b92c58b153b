use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, open(owner: String) -> u64),
    command(1, close(account: u64)),
    command(4, freeze(account: u64)),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }

    fn close(&mut self, _account: u64) {}

    fn freeze(&mut self, _account: u64) {}
}

fn main() {}
