use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, with_timeout(millis: u64)),
    command(2, clone()),
)]
struct Bank;

impl Bank {
    fn with_timeout(&mut self, _millis: u64) {}

    fn clone(&mut self) {}
}

fn main() {}
