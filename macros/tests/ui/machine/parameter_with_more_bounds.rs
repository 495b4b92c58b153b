use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(command(1, raise(value: V)))]
struct Most<V>(V);

impl<V: Ord> Most<V> {
    fn raise(&mut self, value: V) {
        if value > self.0 {
            self.0 = value;
        }
    }
}

fn main() {}
