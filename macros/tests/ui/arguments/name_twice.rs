use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, pay(account: u64, account: u64)),
)]
struct Bank;

impl Bank {
    fn pay(&mut self, _from: u64, _to: u64) {}
}

fn main() {}
