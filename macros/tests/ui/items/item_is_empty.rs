use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(),
    command,
    query(1),
    query(2,),
)]
struct Bank;

fn main() {}
