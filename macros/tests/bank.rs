//! The example of the design: what is generated, and its form on the wire.

use std::collections::BTreeMap;

use quorate::prelude::*;
use quorate::state_machine::{DecodeError, Wire};
use quorate::types::{ClusterId, GroupId, LogIndex, LogTime, Position, Term};

type AccountId = u64;

/// Accounts and their balances, in cents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, RaftStateMachine)]
#[raft(
    /// Opens an account and returns its id.
    command(1, open(owner: String) -> AccountId),
    command(2, transfer(from: AccountId, to: AccountId, amount: u64) -> Result<(), Overdraft>),
    command(0x0103, close(account: AccountId)),
    query(1, balance(account: AccountId) -> Option<u64>),
    query(2, count() -> usize),
)]
pub struct Bank {
    accounts: BTreeMap<AccountId, Account>,
    next: AccountId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    owner: String,
    cents: u64,
}

/// The account has less than that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overdraft {
    missing: u64,
}

impl Bank {
    fn open(&mut self, owner: String) -> AccountId {
        self.next += 1;
        self.accounts.insert(self.next, Account { owner, cents: 100 });
        self.next
    }

    fn transfer(&mut self, from: AccountId, to: AccountId, amount: u64) -> Result<(), Overdraft> {
        let cents = self.balance(from).unwrap_or(0);
        let rest = cents.checked_sub(amount).ok_or(Overdraft { missing: amount - cents.min(amount) })?;
        self.accounts.entry(from).and_modify(|account| account.cents = rest);
        self.accounts.entry(to).and_modify(|account| account.cents += amount);
        Ok(())
    }

    fn close(&mut self, account: AccountId) {
        self.accounts.remove(&account);
    }

    fn balance(&self, account: AccountId) -> Option<u64> {
        self.accounts.get(&account).map(|account| account.cents)
    }

    fn count(&self) -> usize {
        self.accounts.len()
    }
}
fn context() -> ApplyContext {
    let position = Position { index: LogIndex(1), ordinal: 0 };
    ApplyContext::new(ClusterId([0; 32]), GroupId::MAIN, Term(1), position, LogTime::ZERO)
}

fn bytes(value: &impl Wire) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes).expect("plain values");
    bytes
}

fn opened() -> Bank {
    let mut bank = Bank::default();
    for owner in ["Ada", "Bob"] {
        let command = BankCommand::Open { owner: owner.to_owned() };
        StateMachine::apply(&mut bank, &mut context(), command);
    }
    bank
}

#[test]
fn a_command_calls_its_method_and_answers_with_what_it_returned() {
    let mut bank = opened();
    let transfer = |amount| BankCommand::Transfer { from: 1, to: 2, amount };
    let response = StateMachine::apply(&mut bank, &mut context(), transfer(30));
    assert!(matches!(response, BankResponse::Transfer(Ok(()))));
    let response = StateMachine::apply(&mut bank, &mut context(), transfer(80));
    assert!(matches!(response, BankResponse::Transfer(Err(Overdraft { missing: 10 }))));
    let response = StateMachine::apply(&mut bank, &mut context(), BankCommand::Close { account: 2 });
    assert!(matches!(response, BankResponse::Close(())));

    let ctx = QueryContext::default();
    let answer = StateMachine::query(&bank, &ctx, BankQuery::Balance { account: 1 });
    assert!(matches!(answer, BankAnswer::Balance(Some(70))));
    assert!(matches!(StateMachine::query(&bank, &ctx, BankQuery::Count), BankAnswer::Count(1)));
}

#[test]
fn commands_and_queries_have_these_bytes() {
    // id, little endian; then the postcard of each argument.
    assert_eq!(bytes(&BankCommand::Open { owner: "Ada".into() }), [1, 0, 3, b'A', b'd', b'a']);
    assert_eq!(bytes(&BankCommand::Transfer { from: 1, to: 2, amount: 300 }), [2, 0, 1, 2, 0xac, 0x02]);
    assert_eq!(bytes(&BankCommand::Close { account: 7 }), [3, 1, 7]);
    assert_eq!(bytes(&BankQuery::Balance { account: 7 }), [1, 0, 7]);
    assert_eq!(bytes(&BankQuery::Count), [2, 0]);
}

#[test]
fn responses_and_answers_have_these_bytes() {
    // id, little endian; then the postcard of what was returned.
    assert_eq!(bytes(&BankResponse::Open(300)), [1, 0, 0xac, 0x02]);
    assert_eq!(bytes(&BankResponse::Transfer(Ok(()))), [2, 0, 0]);
    assert_eq!(bytes(&BankResponse::Transfer(Err(Overdraft { missing: 5 }))), [2, 0, 1, 5]);
    assert_eq!(bytes(&BankResponse::Close(())), [3, 1]);
    assert_eq!(bytes(&BankAnswer::Balance(Some(9))), [1, 0, 1, 9]);
    assert_eq!(bytes(&BankAnswer::Balance(None)), [1, 0, 0]);
    assert_eq!(bytes(&BankAnswer::Count(3)), [2, 0, 3]);
}

#[test]
fn what_was_encoded_decodes_to_the_same() {
    let commands = [
        BankCommand::Open { owner: "Ada".into() },
        BankCommand::Transfer { from: 1, to: 2, amount: u64::MAX },
        BankCommand::Close { account: 7 },
    ];
    for command in commands {
        let again = BankCommand::decode(&bytes(&command)).expect("its own bytes");
        assert_eq!(format!("{again:?}"), format!("{command:?}"));
    }
    let response = BankResponse::Transfer(Err(Overdraft { missing: 5 }));
    let again = BankResponse::decode(&bytes(&response)).expect("its own bytes");
    assert_eq!(format!("{again:?}"), format!("{response:?}"));
    assert!(matches!(BankQuery::decode(&[2, 0]), Ok(BankQuery::Count)));
    assert!(matches!(BankAnswer::decode(&[1, 0, 1, 9]), Ok(BankAnswer::Balance(Some(9)))));
}

#[test]
fn bytes_that_are_no_command_are_an_error() {
    let error = |bytes: &[u8]| BankCommand::decode(bytes).expect_err("not a command");
    assert_eq!(error(&[1]), DecodeError::TooShort { len: 1 });
    assert_eq!(error(&[9, 0, 1]), DecodeError::UnknownId { kind: "command", id: 9 });
    assert_eq!(error(&[0, 0]), DecodeError::UnknownId { kind: "command", id: 0 });
    assert_eq!(error(&[3, 1, 7, 0]), DecodeError::Leftover { item: "close", left: 1 });
    assert!(matches!(
        error(&[2, 0, 1, 2]),
        DecodeError::Argument { item: "transfer", argument: "amount", .. }
    ));

    let unknown = |kind| DecodeError::UnknownId { kind, id: 4 };
    assert_eq!(BankQuery::decode(&[4, 0]).expect_err("no such query"), unknown("query"));
    assert_eq!(BankResponse::decode(&[4, 0]).expect_err("no such response"), unknown("response"));
    assert_eq!(BankAnswer::decode(&[4, 0]).expect_err("no such answer"), unknown("answer"));
    assert!(matches!(
        BankResponse::decode(&[2, 0, 2]),
        Err(DecodeError::Argument { item: "transfer", argument: "response", .. })
    ));
    assert_eq!(
        BankAnswer::decode(&[2, 0, 1, 1]).expect_err("a byte too many"),
        DecodeError::Leftover { item: "count", left: 1 }
    );
}

#[test]
fn every_value_says_what_it_is_called() {
    assert_eq!(BankCommand::Close { account: 1 }.label(), "close");
    assert_eq!(BankResponse::Open(1).label(), "open");
    assert_eq!(BankQuery::Count.label(), "count");
    assert_eq!(BankAnswer::Balance(None).label(), "balance");
}

#[test]
fn the_default_snapshot_brings_the_state_back() {
    let bank = opened();
    let snapshot = StateMachine::snapshot(&bank);
    let mut bytes = Vec::new();
    <Bank as StateMachine>::write(snapshot, &mut bytes).expect("a vector");
    let mut other = Bank::default();
    StateMachine::restore(&mut other, &mut &bytes[..]).expect("its own bytes");
    assert_eq!(other, bank);
    bytes.pop();
    StateMachine::restore(&mut other, &mut &bytes[..]).expect_err("a byte too few");
}

#[test]
fn the_name_is_the_types_and_the_version_one() {
    assert_eq!((Bank::NAME, Bank::VERSION), ("Bank", 1));
}
