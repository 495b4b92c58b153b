use quorate::prelude::*;

#[derive(RaftStateMachine)]
#[raft(query(1, raw() -> u32))]
union Bits {
    float: f32,
    raw: u32,
}

impl Bits {
    fn raw(&self) -> u32 {
        0
    }
}

fn main() {}
