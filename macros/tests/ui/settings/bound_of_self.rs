use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(bound(V: Clone, Self: Send), query(1, count() -> u64))]
struct Store<V>(Vec<V>);

impl<V> Store<V> {
    fn count(&self) -> u64 {
        0
    }
}

fn main() {}
