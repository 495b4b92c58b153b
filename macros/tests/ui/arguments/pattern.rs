use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, pay((from, to): (u64, u64))),
    command(2, add(mut cents: u64)),
    command(3, drop(_: u64)),
)]
struct Bank;

impl Bank {
    fn pay(&mut self, (_from, _to): (u64, u64)) {}

    fn add(&mut self, mut _cents: u64) {}

    fn drop(&mut self, _: u64) {}
}

fn main() {}
