use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, open(owner: String, ctx) -> u64),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _owner: String, _ctx: &mut ApplyContext) -> u64 {
        0
    }
}

fn main() {}
