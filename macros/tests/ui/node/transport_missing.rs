use quorate::prelude::*;

#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, add(n: u64) -> u64))]
struct Counter {
    total: u64,
}

impl Counter {
    fn add(&mut self, n: u64) -> u64 {
        self.total += n;
        self.total
    }
}

fn main() {
    let _starting = quorate::Node::builder(Counter::default())
        .storage(quorate::storage::MemoryStorage::new())
        .cluster(quorate::Cluster::recorded())
        .start();
}
