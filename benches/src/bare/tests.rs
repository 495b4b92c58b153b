//! The glue's messages, apart from it because what shares the glue has no tests.

use std::collections::BTreeSet;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::raft::StreamAppendError;

use super::glue::types::{AppendRequest, Entry, LeaderId, LogId, Membership, Vote};
use super::glue::wire::{Input, append_request, append_result, read_append_request, read_append_result};
use super::host::Command;

fn id(index: u64) -> LogId {
    LogId { leader_id: LeaderId { term: 3, node_id: 2 }, index }
}

#[test]
fn an_append_comes_back() {
    let voters = BTreeSet::from([1, 2, 3]);
    let membership = Membership::new_with_defaults(vec![voters], []);
    let value = Bytes::from_static(b"value");
    let request = AppendRequest {
        vote: Vote { leader_id: LeaderId { term: 3, node_id: 2 }, committed: true },
        prev_log_id: Some(id(8)),
        entries: vec![
            Entry { log_id: id(9), payload: EntryPayload::Blank },
            Entry { log_id: id(10), payload: EntryPayload::Normal(Command::Put { value }) },
            Entry { log_id: id(11), payload: EntryPayload::Membership(membership) },
        ],
        leader_commit: None,
    };
    let bytes = append_request(&request);
    let read = read_append_request(&mut Input(bytes.clone())).expect("whole");
    assert_eq!(read.entries, request.entries);
    assert_eq!((read.vote, read.prev_log_id), (request.vote, request.prev_log_id));
    for len in 0..bytes.len() {
        assert!(read_append_request(&mut Input(bytes.slice(..len))).is_err(), "{len} bytes");
    }
}

#[test]
fn every_answer_comes_back() {
    let vote = Vote { leader_id: LeaderId { term: 4, node_id: 1 }, committed: false };
    for result in [
        Ok(None),
        Ok(Some(id(4))),
        Err(StreamAppendError::Conflict(id(5))),
        Err(StreamAppendError::HigherVote(vote)),
    ] {
        let read = read_append_result(&mut Input(append_result(&result))).expect("whole");
        assert_eq!(read, result);
    }
}
