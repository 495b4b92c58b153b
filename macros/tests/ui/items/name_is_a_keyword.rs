use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, move(account: u64)),
)]
struct Bank;

impl Bank {
    fn r#move(&mut self, _account: u64) {}
}

fn main() {}
