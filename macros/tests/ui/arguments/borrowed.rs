use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, open(owner: &str) -> u64),
    command(2, put(bytes: &[u8], rest: Vec<&'static str>)),
    query(1, find(owner: std::borrow::Cow<'a, str>) -> u64),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }

    fn put(&mut self, _bytes: &[u8], _rest: Vec<&'static str>) {}

    fn find(&self, _owner: std::borrow::Cow<'_, str>) -> u64 {
        0
    }
}

fn main() {}
