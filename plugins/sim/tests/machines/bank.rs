//! A bank, as a user has it: money is conserved. And one that forgets to take what it gives.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::prelude::*;
use quorate_sim::machine::{CallOf, Faults, Wrong};
use quorate_sim::workload::Call;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct AccountId(u64);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Refusal {
    NoSuchAccount,
    Overdraft,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, open(owner: String) -> AccountId),
    command(2, transfer(from: AccountId, to: AccountId, amount: u64) -> Result<(), Refusal>),
    query(1, balance(account: AccountId) -> Option<u64>),
)]
struct Bank {
    accounts: BTreeMap<AccountId, (String, u64)>,
    /// Gives away what nobody has.
    generous: bool,
}

const GIFT: u64 = 100;

impl Bank {
    fn generous() -> Self {
        Self { generous: true, ..Self::default() }
    }

    fn open(&mut self, owner: String) -> AccountId {
        let id = AccountId(self.accounts.len() as u64);
        self.accounts.insert(id, (owner, GIFT));
        id
    }

    fn transfer(&mut self, from: AccountId, to: AccountId, amount: u64) -> Result<(), Refusal> {
        if !self.accounts.contains_key(&to) {
            return Err(Refusal::NoSuchAccount);
        }
        let (_, balance) = self.accounts.get_mut(&from).ok_or(Refusal::NoSuchAccount)?;
        let rest = balance.checked_sub(amount).ok_or(Refusal::Overdraft)?;
        if !self.generous || amount != 7 {
            *balance = rest;
        }
        self.accounts.get_mut(&to).ok_or(Refusal::NoSuchAccount)?.1 += amount;
        Ok(())
    }

    fn balance(&self, account: AccountId) -> Option<u64> {
        self.accounts.get(&account).map(|(_, balance)| *balance)
    }
}

fn money_is_conserved(bank: &Bank) -> Result<(), String> {
    let there: u64 = bank.accounts.values().map(|(_, balance)| balance).sum();
    let given = bank.accounts.len() as u64 * GIFT;
    if there == given { Ok(()) } else { Err(format!("{there} are there and {given} were given")) }
}

fn has_few_accounts(bank: &Bank) -> bool {
    bank.accounts.len() < 2_000
}

quorate_sim::simulate!(Bank, seeds: 4, invariants: [money_is_conserved]);

quorate_sim::simulate!(
    fn every_option,
    Bank = Bank::default(),
    seeds: 2,
    nodes: 3..=4,
    clients: 3,
    duration: Duration::from_secs(3),
    faults: Faults::None,
    invariants: [money_is_conserved, has_few_accounts],
    workload: |draw| match draw.below(10) {
        0 => Call::Write(draw.item("open")),
        1..6 => Call::Write(BankCommand::Transfer {
            from: AccountId(draw.below(5)),
            to: AccountId(draw.below(5)),
            amount: draw.within(1..50),
        }),
        6 => draw.any::<Bank>(),
        _ => Call::Read(draw.item("balance")),
    },
    key: |_: &CallOf<Bank>| (),
);

quorate_sim::simulate!(fn weights_are_kept, Bank, seeds: 1, nodes: 3, weights: [transfer = 8, open = 1]);

#[test]
fn a_bank_that_gives_away_money_is_found_by_its_invariant() {
    let failure = quorate_sim::simulation!(
        a_bank,
        Bank = Bank::generous(),
        seeds: 20,
        invariants: [money_is_conserved],
    )
    .run()
    .expect_err("money is made");
    let text = failure.to_string();
    println!("{text}");
    let Wrong::Machine(finding) = failure.wrong else { panic!("{text}") };
    assert!(
        text.contains("the invariant `money_is_conserved` does not hold") && text.contains("were given"),
        "{text}"
    );
    // The accounts up to the one that is given to, since their ids are counted, and the transfer.
    let opened = finding.history.iter().filter(|line| line.call.starts_with("open(")).count();
    assert_eq!(opened + 1, finding.history.len(), "{text}");
    assert!(finding.history.last().is_some_and(|line| line.call.starts_with("transfer(")), "{text}");
    let command = format!(
        "QUORATE_SIM_FROM={} QUORATE_SIM_SEEDS=1 cargo test -p quorate-sim --test machines -- --exact bank::a_bank --nocapture",
        failure.seed
    );
    assert!(text.contains(&command), "{text}");
}
