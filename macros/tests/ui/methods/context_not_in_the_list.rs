use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, open(owner: String) -> u64),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _ctx: &mut ApplyContext, _owner: String) -> u64 {
        0
    }
}

fn main() {}
