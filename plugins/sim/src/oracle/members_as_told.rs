//! What whoever changes the members was told is true: a change that was refused is never made, and one that
//! was acknowledged is in the log for good.

use std::collections::{BTreeMap, BTreeSet};

use super::Oracle;
use crate::observe::{Change, Members, NodeLog, Observation, Told, World};

/// An entry, by index and term.
type At = (u64, u64);

/// Somebody asked for a change.
#[derive(Clone, Copy, Debug)]
struct Try {
    change: Change,
    asked: u64,
    /// `None` while nothing definite is known of it: it may be made at any time.
    told: Option<(Told, u64)>,
}

impl Try {
    /// Until when it may have made an entry that makes `change`; `None` when it may not at all.
    fn may_make(&self, change: Change) -> Option<u64> {
        match (self.change, self.told) {
            // Its first part is a change of its own, which may be made when the other one is refused.
            (Change::Replace { new, .. }, told) if change == Change::Add(new) => {
                Some(told.map_or(u64::MAX, |(_, at)| at))
            }
            (asked, told) if asked == change => match told {
                None => Some(u64::MAX),
                Some((Told::Done, at)) => Some(at),
                Some((Told::Refused | Told::Gone, _)) => None,
            },
            _ => None,
        }
    }
}

/// What an entry makes of the members in force before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Makes {
    /// What somebody asks for.
    Change(Change),
    /// What a leader does by itself: it records a disk, or finishes a change of the voters.
    Tends,
    /// What nobody asks for.
    Else,
}

fn makes(before: &Members, now: &Members) -> Makes {
    let absent = |here: &Members, there: &Members| -> Vec<u64> {
        here.recorded.keys().filter(|node| !there.recorded.contains_key(node)).copied().collect()
    };
    let only = |one: &BTreeSet<u64>, other| -> Vec<u64> { one.difference(other).copied().collect() };
    let (came, went) = (absent(now, before), absent(before, now));
    let change = match (&before.voters[..], &now.voters[..]) {
        ([old], [new]) if old == new => match (&came[..], &went[..]) {
            ([], []) => return Makes::Tends,
            ([node], []) => Change::Add(*node),
            ([], [node]) => Change::Remove(*node),
            _ => return Makes::Else,
        },
        ([voters], [old, new]) if voters == old && came.is_empty() && went.is_empty() => {
            match (&only(new, old)[..], &only(old, new)[..]) {
                ([node], []) => Change::Promote(*node),
                ([], [node]) => Change::Remove(*node),
                ([new], [old]) => Change::Replace { old: *old, new: *new },
                _ => return Makes::Else,
            }
        }
        ([old, new], [voters]) if voters == new && came.is_empty() && went == only(old, new) => {
            return Makes::Tends;
        }
        _ => return Makes::Else,
    };
    Makes::Change(change)
}

/// Whether the members are as `change` is to make them.
fn is_as(members: &Members, change: Change) -> bool {
    let is_member = |node: &u64| members.recorded.contains_key(node);
    let votes = |node: &u64| members.voters.iter().all(|set| set.contains(node));
    // Once both sets are committed it is decided, and who is asked may hear that from those that go on.
    let [.., last] = &members.voters[..] else { return false };
    let votes_last = |node: &u64| members.voters[0].contains(node) && !last.contains(node);
    let goes = |node: &u64| !is_member(node) || members.voters.len() > 1 && votes_last(node);
    match change {
        Change::Add(node) => is_member(&node),
        Change::Promote(node) => votes(&node),
        Change::Remove(node) => goes(&node),
        Change::Replace { old, new } => goes(&old) && last.contains(&new),
    }
}

/// Each entry that changes the members was asked for, and of a call no more than one comes: a call that was
/// refused makes none, and one that was acknowledged none later. When it is acknowledged there is a
/// membership as it was asked for, committed and not replaced by another before the call began, and that
/// stays in the log.
#[derive(Debug, Default)]
pub struct MembersAsTold {
    /// How much has happened so far: what orders the rest.
    now: u64,
    tries: BTreeMap<u64, Try>,
    /// The changes that entries make, and when each entry was first seen.
    made: Vec<(Change, u64, At)>,
    /// When each membership came, and when one was first known to be committed at its index.
    came: BTreeMap<At, u64>,
    decided: BTreeMap<u64, u64>,
    /// What is acknowledged: one of these memberships is committed.
    promised: Vec<(Change, Vec<At>)>,
}

impl MembersAsTold {
    /// Gives every entry that makes `change` a call that may have made it, each call to one: of those that
    /// can have made it, the one that can have made a later one the least.
    fn asked_for(&self, change: Change) -> Result<(), String> {
        let may = |of: &Try| Some((of.may_make(change)?, of.asked));
        let mut calls: Vec<(u64, u64)> = self.tries.values().filter_map(may).collect();
        calls.sort_unstable();
        for (_, at, (index, term)) in self.made.iter().filter(|(made, ..)| *made == change) {
            let Some(call) = calls.iter().position(|(until, asked)| asked < at && at < until) else {
                let refused = self.tries.values().filter(|of| of.change == change);
                let told: Vec<Option<Told>> = refused.map(|of| of.told.map(|(told, _)| told)).collect();
                return Err(format!(
                    "T{term}-{index} makes that {change}, which was asked for by no call that is not told to be refused, \
                     or done before: of the calls for it is told {told:?}"
                ));
            };
            calls.remove(call);
        }
        Ok(())
    }

    fn appended(&mut self, world: &World, node: u64, at: At, members: &Members) -> Result<(), String> {
        let (index, term) = at;
        if self.came.insert(at, self.now).is_some() {
            return Ok(());
        }
        let log = world.logs.get(&node).map(NodeLog::queued);
        let before = index.checked_sub(1).and_then(|upto| world.members_in(log?, upto));
        let Some((_, before)) = before else { return Ok(()) };
        match makes(before, members) {
            Makes::Tends => Ok(()),
            Makes::Change(change) => {
                self.made.push((change, self.now, at));
                self.asked_for(change)
            }
            Makes::Else => Err(format!(
                "n{node} appends at T{term}-{index} what nobody asks for: {members:?} behind {before:?}"
            )),
        }
    }

    fn told(&mut self, world: &World, asked: u64, told: Told) -> Result<(), String> {
        let Some(of) = self.tries.get_mut(&asked) else { return Ok(()) };
        of.told = Some((told, self.now));
        let Try { change, asked, .. } = *of;
        if told == Told::Refused {
            return self.asked_for(change);
        }
        // Nothing that is known to be committed replaced it before it was asked for.
        let known = |index: &u64| self.decided.get(index).is_some_and(|at| *at < asked);
        let first = world.decided_members().rev().map(|(index, _)| index).find(known).unwrap_or(0);
        let holds = |(index, term): &At| {
            world
                .decided
                .get(index)
                .map_or_else(|| world.is_on_quorum(*index, *term).is_ok(), |of| of == term)
        };
        let since = world.members.range((first, 0)..).filter(|(_, members)| is_as(members, change));
        let promised: Vec<At> = since.map(|(at, _)| *at).filter(holds).collect();
        if promised.is_empty() {
            return Err(format!(
                "it is told to be done that {change}, and no committed membership since it was asked for says so"
            ));
        }
        self.promised.push((change, promised));
        if told == Told::Gone { self.asked_for(change) } else { Ok(()) }
    }

    /// Whether what is known to be committed leaves one of what was promised.
    fn kept(&mut self, world: &World) -> Result<(), String> {
        let known = self.decided.len();
        for index in world.decided.keys() {
            self.decided.entry(*index).or_insert(self.now);
        }
        if self.decided.len() == known {
            return Ok(());
        }
        let is = |(index, term): &At| world.decided.get(index).map(|of| of == term);
        self.promised.retain(|(_, entries)| !entries.iter().any(|at| is(at) == Some(true)));
        let lost =
            self.promised.iter().position(|(_, entries)| entries.iter().all(|at| is(at) == Some(false)));
        lost.map_or(Ok(()), |at| {
            let (change, entries) = self.promised.remove(at);
            Err(format!(
                "it was told to be done that {change}, at {entries:?}, and the log has something else there"
            ))
        })
    }
}

impl Oracle for MembersAsTold {
    fn name(&self) -> &'static str {
        "members as told"
    }

    fn see(&mut self, world: &World, node: u64, observation: &Observation<'_>) -> Result<(), String> {
        self.now += 1;
        match observation {
            Observation::Members { index, term, members } => {
                self.appended(world, node, (*index, *term), members)
            }
            Observation::ChangeAsked { call, change } => {
                self.tries.insert(*call, Try { change: *change, asked: self.now, told: None });
                Ok(())
            }
            Observation::ChangeTold { call, told } => self.told(world, *call, *told),
            Observation::Status { .. } | Observation::Applied { .. } => self.kept(world),
            _ => Ok(()),
        }
    }
}
