//! A response typed to its own command: how the methods of a generated client end.
//!
//! A peer chooses the bytes of a response, so one of another command is an error, never a panic.

use super::Applied;
use crate::error::{DecodeError, ReadError, WriteError};
use crate::state_machine::Wire;

/// Takes the response of the command `expected` out of the enum of all of them. `pick` gives the
/// response of another command back.
pub fn response<R: Wire, T>(
    outcome: Result<Applied<R>, WriteError>,
    expected: &'static str,
    pick: impl FnOnce(R) -> Result<T, R>,
) -> Result<T, WriteError> {
    let Applied { position, response } = outcome?;
    pick(response).map_err(|other| WriteError::Response { position, source: other_item(expected, &other) })
}

/// Takes the answer of the query `expected` out of the enum of all of them. `pick` gives the answer
/// of another query back.
pub fn answer<A: Wire, T>(
    outcome: Result<A, ReadError>,
    expected: &'static str,
    pick: impl FnOnce(A) -> Result<T, A>,
) -> Result<T, ReadError> {
    pick(outcome?).map_err(|other| ReadError::Answer(other_item(expected, &other)))
}

fn other_item(expected: &'static str, found: &impl Wire) -> DecodeError {
    DecodeError::OtherItem { expected, found: found.label() }
}

#[cfg(all(test, feature = "derive"))]
mod tests {
    use std::cell::Cell;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use bytes::Bytes;
    use futures::FutureExt;
    use futures::executor::block_on;
    use futures::future::BoxFuture;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::RaftStateMachine;
    use crate::client::{Client, Consistency};
    use crate::error::{NotApplied, Unknown};
    use crate::node::handle::{CallOptions, Handle};
    use crate::sessions::Once;
    use crate::state_machine::{ApplyContext, QueryContext, StateMachine};
    use crate::types::{ClientId, ClusterId, GroupId, LogIndex, LogTime, Position, Term};

    const POSITION: Position = Position { index: LogIndex(17), ordinal: 2 };

    /// An account that does not go below zero.
    #[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
    #[raft(
        crate = "crate",
        command(1, deposit(cents: u64) -> u64),
        command(2, withdraw(cents: u64) -> Result<(), u64>),
        command(3, touch(cell: Cell<u8>)),
        query(1, balance() -> u64),
        query(2, covers(cents: u64) -> bool),
    )]
    pub struct Account(u64);

    impl Account {
        fn deposit(&mut self, cents: u64) -> u64 {
            self.0 += cents;
            self.0
        }

        fn withdraw(&mut self, cents: u64) -> Result<(), u64> {
            self.0 = self.0.checked_sub(cents).ok_or(self.0)?;
            Ok(())
        }

        fn touch(&mut self, cell: Cell<u8>) {
            self.0 += u64::from(cell.get());
        }

        fn balance(&self) -> u64 {
            self.0
        }

        fn covers(&self, cents: u64) -> bool {
            self.0 >= cents
        }
    }

    /// A node without peers and without a log.
    #[derive(Default)]
    struct Alone {
        account: Mutex<Account>,
        asked: Mutex<Vec<(Option<Duration>, Option<Consistency>)>>,
    }

    fn encoded(value: &impl Wire) -> Bytes {
        let mut bytes = Vec::new();
        value.encode(&mut bytes).expect("plain values");
        bytes.into()
    }

    impl Handle for Alone {
        fn write(
            &self,
            command: Bytes,
            options: CallOptions,
        ) -> BoxFuture<'_, Result<(Position, Bytes), WriteError>> {
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push((options.timeout, None));
            let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
            let command = AccountCommand::decode(&command).expect("a client's command");
            let mut ctx = ApplyContext::new(ClusterId([0; 32]), GroupId(0), Term(1), POSITION, LogTime::ZERO);
            let response = account.apply(&mut ctx, command);
            std::future::ready(Ok((POSITION, encoded(&response)))).boxed()
        }

        fn write_once<'a>(
            &'a self,
            once: &'a Once,
            options: CallOptions,
        ) -> BoxFuture<'a, Result<(Position, Bytes), WriteError>> {
            self.write(once.command().clone(), options)
        }

        fn end_session(&self, _: ClientId, _: CallOptions) -> BoxFuture<'_, Result<(), WriteError>> {
            std::future::ready(Ok(())).boxed()
        }

        fn read(
            &self,
            query: Bytes,
            consistency: Consistency,
            options: CallOptions,
        ) -> BoxFuture<'_, Result<Bytes, ReadError>> {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.push((options.timeout, Some(consistency)));
            let account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
            let query = AccountQuery::decode(&query).expect("a client's query");
            let answer = account.query(&QueryContext::default(), query);
            std::future::ready(Ok(encoded(&answer))).boxed()
        }
    }

    /// A peer that says the same to everyone.
    struct Parrot(Result<&'static [u8], WriteError>);

    impl Handle for Parrot {
        fn write(&self, _: Bytes, _: CallOptions) -> BoxFuture<'_, Result<(Position, Bytes), WriteError>> {
            let said = self.0.clone().map(|bytes| (POSITION, Bytes::from_static(bytes)));
            std::future::ready(said).boxed()
        }

        fn write_once<'a>(
            &'a self,
            once: &'a Once,
            options: CallOptions,
        ) -> BoxFuture<'a, Result<(Position, Bytes), WriteError>> {
            self.write(once.command().clone(), options)
        }

        fn end_session(&self, _: ClientId, _: CallOptions) -> BoxFuture<'_, Result<(), WriteError>> {
            std::future::ready(Ok(())).boxed()
        }

        fn read(&self, _: Bytes, _: Consistency, _: CallOptions) -> BoxFuture<'_, Result<Bytes, ReadError>> {
            let said = self.0.clone().map_err(|_| ReadError::Stopped);
            std::future::ready(said.map(Bytes::from_static)).boxed()
        }
    }

    fn client(node: impl Handle) -> AccountClient {
        Client::new(Arc::new(node)).into()
    }

    #[test]
    fn a_method_returns_what_the_machines_method_returned() {
        let account = client(Alone::default());
        assert_eq!(block_on(account.deposit(300)), Ok(300));
        assert_eq!(block_on(account.withdraw(200)), Ok(Ok(())));
        assert_eq!(block_on(account.withdraw(200)), Ok(Err(100)));
        assert_eq!(block_on(account.touch(Cell::new(1))), Ok(()));
        assert_eq!(block_on(account.balance()), Ok(101));
        assert_eq!(block_on(account.clone().covers(102)), Ok(false));
    }

    #[test]
    fn the_client_below_tells_the_position() {
        let account = client(Alone::default());
        let call = account.as_client().write(&AccountCommand::Deposit { cents: 5 });
        let Applied { position, response } = block_on(call).expect("it is alone");
        assert_eq!(position, POSITION);
        assert!(matches!(response, AccountResponse::Deposit(5)));
        let below: Client<Account> = account.into();
        let answer = block_on(below.read(&AccountQuery::Balance));
        assert!(matches!(answer, Ok(AccountAnswer::Balance(5))));
    }

    #[test]
    fn the_settings_of_a_client_reach_the_node() {
        let node = Arc::new(Alone::default());
        let account = AccountClient::from(Client::new(node.clone()));
        let quick =
            account.clone().with_timeout(Duration::from_millis(7)).with_consistency(Consistency::Local);
        block_on(quick.deposit(1)).expect("it is alone");
        block_on(quick.balance()).expect("it is alone");
        block_on(account.balance()).expect("it is alone");
        let asked = node.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = Some(Duration::from_millis(7));
        let linearizable = Some(Consistency::Linearizable);
        assert_eq!(*asked, [(limit, None), (limit, Some(Consistency::Local)), (None, linearizable)]);
    }

    #[test]
    fn a_response_of_another_command_is_an_error() {
        // The response of `withdraw`, and the answer of `covers`.
        let account = client(Parrot(Ok(&[2, 0, 0])));
        let source = DecodeError::OtherItem { expected: "deposit", found: "withdraw" };
        let error = block_on(account.deposit(1)).expect_err("of another command");
        assert_eq!(error, WriteError::Response { position: POSITION, source });
        assert!(error.is_definite());
        let source = DecodeError::OtherItem { expected: "balance", found: "covers" };
        assert_eq!(block_on(account.balance()), Err(ReadError::Answer(source)));
    }

    #[test]
    fn bytes_that_are_no_response_are_an_error() {
        let unknown = |kind| DecodeError::UnknownId { kind, id: 9 };
        let account = client(Parrot(Ok(&[9, 0, 0])));
        let source = unknown("response");
        assert_eq!(block_on(account.deposit(1)), Err(WriteError::Response { position: POSITION, source }));
        assert_eq!(block_on(account.balance()), Err(ReadError::Answer(unknown("answer"))));
        let account = client(Parrot(Ok(&[1])));
        let source = DecodeError::TooShort { len: 1 };
        assert_eq!(block_on(account.deposit(1)), Err(WriteError::Response { position: POSITION, source }));
    }

    #[test]
    fn the_errors_of_the_node_pass_through() {
        for error in [
            WriteError::from(NotApplied::DiskFull),
            WriteError::OutcomeUnknown { log_id: None, why: Unknown::Deadline },
        ] {
            let account = client(Parrot(Err(error.clone())));
            assert_eq!(block_on(account.deposit(1)), Err(error));
            assert_eq!(block_on(account.balance()), Err(ReadError::Stopped));
        }
    }

    #[test]
    fn every_call_can_be_spawned() {
        fn sent(_: impl Send + 'static) {}
        let account = client(Alone::default());
        // A command that is not `Sync` is no obstacle.
        let (client, command) = (account.clone(), account.clone());
        sent(async move { command.touch(Cell::new(1)).await });
        sent(async move { client.balance().await });
        let below: Client<Account> = account.into();
        let mut prepared = below.prepare(&AccountCommand::Touch { cell: Cell::new(1) }).expect("a byte");
        sent(async move { prepared.send().await });
        let within = below.clone().with_session(Duration::from_secs(1));
        sent(async move { within.end_session().await });
        sent(async move { below.write(&AccountCommand::Touch { cell: Cell::new(1) }).await });
    }

    #[test]
    fn a_client_prints_its_name() {
        let text = format!("{:?}", client(Alone::default()));
        assert!(text.starts_with("AccountClient(Client"), "{text}");
    }
}
