//! The machine: accounts that begin with a gift and pay each other. Money is neither made nor lost.

use std::collections::BTreeMap;

use quorate::prelude::*;

/// Names an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct AccountId(pub(crate) u64);

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Whose it is.
    pub(crate) owner: String,
    /// What is in it.
    pub(crate) money: u64,
}

/// Why nothing was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// One of the two accounts is not there.
    NoSuchAccount,
    /// There is not so much in the account that pays.
    Overdraft,
}

/// A bank.
#[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    /// Opens an account, with a gift in it.
    command(1, open(owner: String) -> AccountId),
    /// Pays from one account into another.
    command(2, transfer(from: AccountId, to: AccountId, amount: u64) -> Result<(), Refusal>),
    /// An account.
    query(1, account(id: AccountId) -> Option<Account>),
    /// All the money that is there.
    query(2, money() -> u64),
)]
pub(crate) struct Bank {
    pub(crate) accounts: BTreeMap<AccountId, Account>,
}

/// What an account begins with.
pub(crate) const GIFT: u64 = 100;

impl Bank {
    pub(crate) fn open(&mut self, owner: String) -> AccountId {
        let id = AccountId(self.accounts.len() as u64);
        self.accounts.insert(id, Account { owner, money: GIFT });
        id
    }

    pub(crate) fn transfer(&mut self, from: AccountId, to: AccountId, amount: u64) -> Result<(), Refusal> {
        if !self.accounts.contains_key(&to) {
            return Err(Refusal::NoSuchAccount);
        }
        let payer = self.accounts.get_mut(&from).ok_or(Refusal::NoSuchAccount)?;
        payer.money = payer.money.checked_sub(amount).ok_or(Refusal::Overdraft)?;
        self.accounts.get_mut(&to).ok_or(Refusal::NoSuchAccount)?.money += amount;
        Ok(())
    }

    pub(crate) fn account(&self, id: AccountId) -> Option<Account> {
        self.accounts.get(&id).cloned()
    }

    pub(crate) fn money(&self) -> u64 {
        self.accounts.values().map(|account| account.money).sum()
    }
}
