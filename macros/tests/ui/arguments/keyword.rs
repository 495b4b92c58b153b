use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, set(type: u8)),
)]
struct Bank;

impl Bank {
    fn set(&mut self, _type: u8) {}
}

fn main() {}
