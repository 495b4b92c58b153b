use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    names(client Teller),
    snapshot(capture Self::view),
    bound(V),
    command(1, open(owner: String) -> u64),
)]
struct Bank<V>(V);

impl<V> Bank<V> {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }
}

fn main() {}
