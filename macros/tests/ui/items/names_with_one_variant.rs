use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, set_up()),
    command(2, set__up()),
)]
struct Bank;

impl Bank {
    fn set_up(&mut self) {}

    fn set__up(&mut self) {}
}

fn main() {}
