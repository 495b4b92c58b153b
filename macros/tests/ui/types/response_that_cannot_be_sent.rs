use quorate::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Local(std::marker::PhantomData<*const u8>);

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    query(2, local() -> Local),
)]
struct Bank;

impl Bank {
    fn local(&self) -> Local {
        Local(std::marker::PhantomData)
    }
}

fn main() {}
