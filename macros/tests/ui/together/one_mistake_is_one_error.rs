use quorate::prelude::*;

#[derive(Clone, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, open(owner: String) -> u64),
    command(1, close(account: u64)),
    query(1, balance() -> u64),
)]
struct Bank;

impl Bank {
    fn open(&mut self, _owner: String) -> u64 {
        0
    }

    fn close(&mut self, _account: u64) {}

    fn balance(&self) -> u64 {
        0
    }
}

async fn everything_else_is_known(bank: BankClient) -> bool {
    let opened = bank.open("Ada".to_owned()).await;
    let balance = bank.clone().with_consistency(Consistency::Local).balance().await;
    opened.is_ok() && balance == Ok(0)
}

fn machine<M: Service<Client = BankClient>>() -> (&'static str, fn(BankCommand) -> BankResponse) {
    (M::NAME, |_| BankResponse::Open(1))
}

const _: fn() -> (&'static str, fn(BankCommand) -> BankResponse) = machine::<Bank>;
const _: BankQuery = BankQuery::Balance;
const _: BankAnswer = BankAnswer::Balance(2);
const _: fn(async_block: BankClient) = |client| drop(everything_else_is_known(client));

fn main() {}
