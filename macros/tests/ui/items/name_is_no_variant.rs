use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, _1(account: u64)),
)]
struct Bank;

impl Bank {
    fn _1(&mut self, _account: u64) {}
}

fn main() {}
