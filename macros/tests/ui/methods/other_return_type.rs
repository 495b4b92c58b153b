use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, open(owner: String) -> u32),
    query(1, balance() -> Result<u64, String>),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }

    fn balance(&self) -> u64 {
        0
    }
}

fn main() {}
