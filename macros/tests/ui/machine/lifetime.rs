use quorate::prelude::*;

#[derive(Clone, Serialize, RaftStateMachine)]
#[raft(query(1, name() -> String))]
struct View<'a> {
    name: &'a str,
}

impl View<'_> {
    fn name(&self) -> String {
        self.name.to_owned()
    }
}

fn main() {}
