use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft]
struct Bank;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft = "command"]
struct Shop;

fn main() {}
