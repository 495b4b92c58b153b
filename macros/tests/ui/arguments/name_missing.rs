use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, open(String) -> u64),
    command(2, put(Vec<u8>, u64)),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }

    fn put(&mut self, _bytes: Vec<u8>, _at: u64) {}
}

fn main() {}
