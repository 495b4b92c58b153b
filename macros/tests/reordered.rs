//! Where and in which order things are declared is no part of the wire form.

#![allow(clippy::unused_self, reason = "machines without a state: only their lists matter here")]

use quorate::prelude::*;
use quorate::state_machine::Wire;

mod first {
    use super::*;

    /// One order.
    #[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
    #[raft(
        command(1, put(key: String, value: u64)),
        command(2, take(key: String) -> Option<u64>),
        query(7, get(key: String) -> Option<u64>),
        query(8, len() -> u64),
    )]
    pub struct Store;

    impl Store {
        fn put(&mut self, _key: String, _value: u64) {}
        fn take(&mut self, _key: String) -> Option<u64> {
            None
        }
        fn get(&self, _key: String) -> Option<u64> {
            None
        }
        fn len(&self) -> u64 {
            0
        }
    }
}

mod second {
    use super::*;

    /// Another order, another list, other names of methods, and one command more.
    #[derive(Clone, Debug, Default, Serialize, Deserialize, RaftStateMachine)]
    #[raft(query(8, size() -> u64), query(7, look_up(k: String) -> Option<u64>))]
    #[raft(command(3, clear()), command(2, remove(k: String) -> Option<u64>))]
    #[raft(command(1, insert(k: String, v: u64)))]
    pub struct Store;

    impl Store {
        fn insert(&mut self, _key: String, _value: u64) {}
        fn remove(&mut self, _key: String) -> Option<u64> {
            None
        }
        fn clear(&mut self) {}
        fn look_up(&self, _key: String) -> Option<u64> {
            None
        }
        fn size(&self) -> u64 {
            0
        }
    }
}

fn bytes(value: &impl Wire) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes).expect("plain values");
    bytes
}

#[test]
fn reordering_and_renaming_changes_no_byte() {
    let key = || "k".to_owned();
    let put = bytes(&first::StoreCommand::Put { key: key(), value: 300 });
    assert_eq!(put, [1, 0, 1, b'k', 0xac, 0x02]);
    assert_eq!(put, bytes(&second::StoreCommand::Insert { k: key(), v: 300 }));
    let take = bytes(&first::StoreCommand::Take { key: key() });
    assert_eq!(take, bytes(&second::StoreCommand::Remove { k: key() }));
    let get = bytes(&first::StoreQuery::Get { key: key() });
    assert_eq!(get, bytes(&second::StoreQuery::LookUp { k: key() }));
    assert_eq!(bytes(&first::StoreQuery::Len), bytes(&second::StoreQuery::Size));

    let taken = bytes(&first::StoreResponse::Take(Some(5)));
    assert_eq!(taken, [2, 0, 1, 5]);
    assert_eq!(taken, bytes(&second::StoreResponse::Remove(Some(5))));
    assert_eq!(bytes(&first::StoreAnswer::Len(5)), bytes(&second::StoreAnswer::Size(5)));
}
