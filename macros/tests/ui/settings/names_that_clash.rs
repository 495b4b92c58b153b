use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    names(command = Event, response = Event, query = Bank, answer = BankClient),
    command(1, open(owner: String) -> u64),
    query(1, owner(account: u64) -> String),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }

    fn owner(&self, _account: u64) -> String {
        String::new()
    }
}

fn main() {}
