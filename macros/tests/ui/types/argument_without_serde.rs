use quorate::prelude::*;

#[derive(Clone, Debug)]
struct Money;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, pay(money: Money)),
)]
struct Bank;

impl Bank {
    fn pay(&mut self, _money: Money) {}
}

fn main() {}
