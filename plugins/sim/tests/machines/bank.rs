//! The bank of the examples: money is conserved. And one that forgets to take what it gives.

#[path = "../../../../examples/bank/bank.rs"]
mod machine;

use std::time::Duration;

use quorate::prelude::*;
use quorate_sim::machine::{CallOf, Faults, Tried, Wrong};
use quorate_sim::workload::Call;

use self::machine::{AccountId, Bank, BankCommand, GIFT, Refusal};

fn money_is_conserved(bank: &Bank) -> bool {
    bank.money() == GIFT * bank.accounts.len() as u64
}

fn has_few_accounts(bank: &Bank) -> Result<(), String> {
    let accounts = bank.accounts.len();
    if accounts < 2_000 { Ok(()) } else { Err(format!("there are {accounts}")) }
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
        _ => Call::Read(draw.item("account")),
    },
    key: |_: &CallOf<Bank>| (),
);

quorate_sim::simulate!(fn weights_are_kept, Bank, seeds: 1, nodes: 3, weights: [transfer = 8, open = 1]);

/// A bank that pays 7 and does not take them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    command(1, open(owner: String) -> AccountId),
    command(2, transfer(from: AccountId, to: AccountId, amount: u64) -> Result<(), Refusal>),
)]
struct Generous(Bank);

impl Generous {
    fn open(&mut self, owner: String) -> AccountId {
        self.0.open(owner)
    }

    fn transfer(&mut self, from: AccountId, to: AccountId, amount: u64) -> Result<(), Refusal> {
        self.0.transfer(from, to, amount)?;
        if amount == 7
            && let Some(payer) = self.0.accounts.get_mut(&from)
        {
            payer.money += amount;
        }
        Ok(())
    }
}

fn nothing_is_made(bank: &Generous) -> Result<(), String> {
    let (there, given) = (bank.0.money(), GIFT * bank.0.accounts.len() as u64);
    if there == given { Ok(()) } else { Err(format!("{there} are there and {given} were given")) }
}

#[test]
fn a_bank_that_gives_away_money_is_found_by_its_invariant() {
    let failure = quorate_sim::simulation!(
        a_bank,
        Generous = Generous::default(),
        seeds: 20,
        invariants: [nothing_is_made],
    )
    .run()
    .expect_err("money is made");
    let text = failure.to_string();
    println!("{text}");
    let Wrong::Machine(finding) = failure.wrong else { panic!("{text}") };
    assert!(
        text.contains("the invariant `nothing_is_made` does not hold") && text.contains("were given"),
        "{text}"
    );
    // The accounts up to the one that is given to, since their ids are counted, and the transfer.
    let opened = finding.history.iter().filter(|line| line.call.starts_with("open(")).count();
    assert_eq!(opened + 1, finding.history.len(), "{text}");
    assert!(finding.history.last().is_some_and(|line| line.call.starts_with("transfer(")), "{text}");
    let Tried::Seed(seed) = failure.tried else { panic!("{text}") };
    let command = format!(
        "QUORATE_SIM_FROM={seed} QUORATE_SIM_SEEDS=1 cargo test -p quorate-sim --test machines -- --exact bank::a_bank --nocapture",
    );
    assert!(text.contains(&command), "{text}");
}
