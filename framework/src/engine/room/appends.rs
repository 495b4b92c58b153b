//! What is taken of appends while room is short: what elections, changes of members and deadlines
//! need, and a little of what an earlier leader left.

use std::collections::BTreeMap;

use openraft::raft::AppendEntriesRequest;

use crate::engine::group::{Group, Library};
use crate::engine::runtime::Runtime;
use crate::engine::types::{Entry, Payload, RaftLogId, TypeConfig};
use crate::storage::Health;

/// How many bytes an entry without commands may have that is taken while room is short.
const SMALL: usize = 64 << 10;
/// What part of what may be under way is taken of earlier leaders while room is short.
const TAIL: usize = 8;

/// Commands of earlier leaders that were taken since the last entries that found room: by index, their
/// length. What is sent again counts once.
#[derive(Default)]
pub(super) struct Tail(BTreeMap<u64, usize>);

impl Tail {
    /// How many of the first of these entries, of index and length, are taken as well, of at most `limit`
    /// bytes; the first append is, however long. They take the place of whatever the log has from there on.
    fn takes(&mut self, entries: &[(u64, usize)], limit: usize) -> usize {
        let Some((from, _)) = entries.first() else { return 0 };
        let kept: usize = self.0.range(..from).map(|(_, bytes)| bytes).sum();
        let mut sum = kept;
        let fits = |(_, bytes): &&(u64, usize)| {
            sum += bytes;
            sum == kept || kept == 0 || sum <= limit
        };
        let taken = entries.iter().take_while(fits).count();
        if taken > 0 {
            drop(self.0.split_off(from));
            self.0.extend(entries[..taken].iter().copied().filter(|(_, bytes)| *bytes > 0));
        }
        taken
    }
}

impl<RT: Runtime> Group<RT> {
    /// How many of the first entries of an append are taken. `last` is the last entry that came over the
    /// same stream, which may not be in the log yet.
    ///
    /// While room is short those without commands are: elections, changes of members and deadlines
    /// append them, they are few and small, and without them a majority that is short of room could
    /// have no leader that serves. Nor could it while commands of an earlier leader stand before them
    /// in the log: some of those are taken. New commands are refused, and what lies behind them with them.
    pub(in crate::engine) async fn has_room_for(
        &self,
        request: &mut AppendEntriesRequest<TypeConfig<RT>>,
        last: Option<RaftLogId>,
    ) -> usize {
        let (term, all) = (request.vote.leader_id.term, request.entries.len());
        match self.health() {
            Health::Ok => {
                self.room.is_back();
                all
            }
            // Refused anyway by the log, which has seen a later vote.
            Health::Low if term < self.view.with(|view| view.term.0) => all,
            Health::Low => {
                let (matches, there) = self.last_known(request, last).await;
                if !matches {
                    // The log says so to the leader, and takes none of it.
                    request.entries.clear();
                    return 0;
                }
                let entries = &request.entries;
                let small = |entry: &Entry| {
                    entry.encoded.len() <= SMALL && !matches!(entry.payload, Payload::Commands(_))
                };
                let is_taken = |entry: &Entry| {
                    let bytes = if small(entry) { 0 } else { entry.encoded.len() };
                    (bytes == 0 || *entry.log_id.leader_id < term).then_some((entry.log_id.index, bytes))
                };
                let new = entries.partition_point(|entry| there >= Some(entry.log_id.index));
                let left: Vec<_> = entries[new..].iter().map_while(is_taken).collect();
                new + self.room.state().tail.takes(&left, self.max_unflushed() / TAIL)
            }
            _ => 0,
        }
    }

    /// Whether the log has what stands before the entries of an append, and the index up to which it has
    /// these: a leader that finds out how far it goes sends what it has already.
    async fn last_known(
        &self,
        request: &AppendEntriesRequest<TypeConfig<RT>>,
        last: Option<RaftLogId>,
    ) -> (bool, Option<u64>) {
        let committed = self.view.with(|view| view.committed).map(|committed| committed.index.0);
        let before = request.prev_log_id;
        let ids: Vec<RaftLogId> =
            before.into_iter().chain(request.entries.iter().map(|it| it.log_id)).collect();
        let look = move |raft: Library<RT>| async move {
            let look = raft.with_raft_state(move |state| {
                let has =
                    |id: &&RaftLogId| Some(**id) == last || state.log_ids.get(id.index).as_ref() == Some(*id);
                ids.iter().rev().find(has).map(|id| id.index)
            });
            look.await.ok().flatten()
        };
        // What is equal at one index is equal up to there, and so is what is committed.
        let there = self.call(look).await.max(committed);
        (before.is_none_or(|before| there >= Some(before.index)), there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_earlier_leaders_the_first_are_taken_and_then_no_more_than_the_limit() {
        let mut tail = Tail::default();
        assert_eq!(tail.takes(&[], 100), 0);
        assert_eq!(tail.takes(&[(1, 200)], 100), 1, "one command may be larger than the limit");
        assert_eq!(tail.takes(&[(2, 1)], 100), 0);
        assert_eq!(tail.takes(&[(1, 200)], 100), 1, "it has that one");
        let mut tail = Tail::default();
        assert_eq!((tail.takes(&[(1, 60)], 100), tail.takes(&[(2, 40)], 100)), (1, 1));
        assert_eq!(tail.takes(&[(3, 0), (4, 1), (5, 0)], 100), 1, "what is small is always taken");
    }

    #[test]
    fn what_an_earlier_leader_left_counts_once_however_often_it_is_sent() {
        let mut tail = Tail::default();
        for _ in 0..10 {
            assert_eq!(tail.takes(&[(1, 30), (2, 30)], 100), 2);
        }
        assert_eq!(tail.takes(&[(2, 30), (3, 40)], 100), 2);
        assert_eq!(tail.takes(&[(4, 1)], 100), 0);
        // Another leader's takes the place of all from there on, if it is taken.
        assert_eq!(tail.takes(&[(2, 80)], 100), 0);
        assert_eq!(tail.takes(&[(4, 1)], 100), 0, "nothing was replaced");
        assert_eq!(tail.takes(&[(2, 0), (3, 70), (4, 1)], 100), 2);
        assert_eq!(tail.0.values().sum::<usize>(), 100);
    }
}
