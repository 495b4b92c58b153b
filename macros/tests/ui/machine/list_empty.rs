use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(version = 2)]
struct Bank;

fn main() {}
