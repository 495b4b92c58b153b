use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
struct Bank;

fn main() {}
