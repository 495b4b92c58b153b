use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, open(owner: impl Into<String>) -> u64),
    command(2, put(values: Vec<_>)),
    command(3, merge(other: Self)),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }

    fn put(&mut self, _values: Vec<u8>) {}

    fn merge(&mut self, _other: Self) {}
}

fn main() {}
