//! Each oracle sees what it is there for, and accepts what is right.

use std::collections::BTreeSet;

use quorate::types::{LogIndex, LogTime, Position};

use super::*;
use crate::mutations::{CATALOGUE, Planted};
use crate::observe::{AppliedCommand, Change, EntryMark, Log, Members, Observer, Op, Told, VoteMark};
use crate::trace::Trace;

/// What three nodes do, and which oracle has something against it.
struct Story(Observer);

impl Story {
    /// Whose members nobody asked for.
    fn new() -> Self {
        let asked_for = MembersAsTold::default().name();
        let others = all().into_iter().filter(|oracle| oracle.name() != asked_for);
        Self(Observer::new(3, Trace::default(), others.collect()))
    }

    /// Whose members are changed as somebody asks for it: three voters, of whom two have entry 0.
    fn asked() -> Self {
        Self(Observer::new(3, Trace::default(), all())).named(&[1, 2], 0, &[&[1, 2, 3]], &[1, 2, 3])
    }

    fn queue(self, node: u64, op: Op) -> Self {
        self.0.see(node, &Observation::Queued { op: &op });
        self
    }

    fn write(self, node: u64, op: Op) -> Self {
        let this = self.queue(node, op.clone());
        this.0.see(node, &Observation::Flushed { op: &op });
        this
    }

    /// A node appends a membership of these voters, whose disks are recorded.
    fn members(self, node: u64, index: u64, voters: &[&[u64]]) -> Self {
        let voters: Vec<BTreeSet<u64>> = voters.iter().map(|set| set.iter().copied().collect()).collect();
        let recorded = voters.iter().flatten().map(|voter| (*voter, true)).collect();
        self.of_members(node, (index, 1), &Members { voters, recorded })
    }

    fn of_members(self, node: u64, (index, term): (u64, u64), members: &Members) -> Self {
        self.0.see(node, &Observation::Members { index, term, members });
        self.write(node, entries(index, &[term]))
    }

    /// The first entry of term 2, by which a node leaves these voters alone.
    fn left_alone(self, node: u64, index: u64, voters: &[u64]) -> Self {
        let recorded = voters.iter().map(|voter| (*voter, true)).collect();
        let voters = vec![voters.iter().copied().collect()];
        self.of_members(node, (index, 2), &Members { voters, recorded })
    }

    fn apply(self, node: u64, index: u64, command: &'static str) -> Self {
        let applied = applied(index, command);
        self.0.see(node, &Observation::Applied { applied: &applied });
        self
    }

    fn apply_at(self, node: u64, index: u64, command: &'static str, micros: u64) -> Self {
        let applied = AppliedCommand { time: LogTime::from_micros(micros), ..applied(index, command) };
        self.0.see(node, &Observation::Applied { applied: &applied });
        self
    }

    fn apply_of_term(self, node: u64, index: u64, term: u64, command: &'static str) -> Self {
        let applied = AppliedCommand { term, ..applied(index, command) };
        self.0.see(node, &Observation::Applied { applied: &applied });
        self
    }

    fn acknowledge(self, index: u64, command: &'static str) -> Self {
        let applied = applied(index, command);
        self.0.see(0, &Observation::Acknowledged { applied: &applied });
        self
    }

    fn restore(self, node: u64, last: Option<u64>) -> Self {
        let last = last.map(|index| Position { index: LogIndex(index), ordinal: 0 });
        self.0.see(node, &Observation::Restored { last, on_disk: false });
        self
    }

    fn refuse(self, command: &'static str) -> Self {
        self.0.see(0, &Observation::Refused { command: &command.into() });
        self
    }

    fn ask(self, call: u64, change: Change) -> Self {
        self.0.see(0, &Observation::ChangeAsked { call, change });
        self
    }

    fn tell(self, call: u64, told: Told) -> Self {
        self.0.see(0, &Observation::ChangeTold { call, told });
        self
    }

    /// Node 1 appends whose disks are recorded, and these voters; others write the same.
    fn named(self, by: &[u64], index: u64, voters: &[&[u64]], members: &[u64]) -> Self {
        let members = Members {
            voters: voters.iter().map(|set| set.iter().copied().collect()).collect(),
            recorded: members.iter().map(|node| (*node, true)).collect(),
        };
        self.0.see(by[0], &Observation::Members { index, term: 1, members: &members });
        by.iter().fold(self, |story, node| story.write(*node, entries(index, &[1])))
    }

    /// The id of a node is another machine's.
    fn another(self, node: u64) -> Self {
        self.0.is_another(node);
        self
    }

    fn reboot(self, node: u64, found: &[Op]) -> Self {
        let mut log = Log::default();
        for op in found {
            log.apply(op);
        }
        self.0.crashed(node);
        self.0.reopened(node, &log);
        self
    }

    /// A node that two of three have voted for.
    fn elected(term: u64, node: u64) -> Self {
        let voters = [node, node % 3 + 1];
        let voted =
            voters.into_iter().fold(Self::new(), |story, voter| story.write(voter, vote(term, node, false)));
        voted.write(node, vote(term, node, true))
    }

    /// Entries 0 and 1 of term 1 on two of three nodes.
    fn agreed() -> Self {
        Self::new().write(1, entries(0, &[1, 1])).write(2, entries(0, &[1, 1]))
    }

    fn breaks(self, oracle: &str) {
        let violation = self.0.violation().unwrap_or_else(|| panic!("{oracle} sees nothing"));
        assert_eq!(violation.oracle, oracle, "{violation}");
    }

    fn holds(self) {
        assert_eq!(self.0.violation(), None);
    }
}

fn applied(index: u64, command: &'static str) -> AppliedCommand {
    AppliedCommand {
        position: Position { index: LogIndex(index), ordinal: 0 },
        term: 1,
        time: LogTime::ZERO,
        command: command.into(),
        response: "done".into(),
    }
}

/// Entries of these terms; what an entry is follows from its term.
fn entries(first: u64, terms: &[u64]) -> Op {
    Op::Append(first, terms.iter().map(|term| EntryMark { term: *term, hash: *term }).collect())
}

fn vote(term: u64, node: u64, committed: bool) -> Op {
    Op::Vote(VoteMark { term, committed, node })
}

/// By a story that breaks it and no other first, by a bug that is found only when it fires, or by a
/// workload that is wrong.
#[test]
fn every_oracle_is_shown_to_fire() {
    let stories = include_str!("tests.rs");
    let workloads = include_str!("../../tests/simulation/campaigns.rs");
    for oracle in names() {
        let in_a_story = stories.contains(&format!(".breaks(\"{oracle}\")"));
        let of_a_workload = workloads.contains(&format!("fires(\"{oracle}\","));
        let by_a_bug = CATALOGUE.iter().any(|planted| planted.oracle == Some(oracle));
        assert!(in_a_story || by_a_bug || of_a_workload, "nothing shows that `{oracle}` fires");
    }
    let known = |planted: &&Planted| planted.oracle.is_none_or(|oracle| names().contains(&oracle));
    assert!(CATALOGUE.iter().all(|planted| known(&planted)), "a bug is to be seen by no oracle there is");
}

#[test]
fn what_is_right_is_accepted() {
    Story::agreed().apply(1, 1, "a").acknowledge(1, "a").apply(2, 1, "a").refuse("b").holds();
    Story::elected(1, 1).write(1, vote(2, 3, false)).holds();
    // A conflicting tail gives way.
    Story::agreed().write(2, Op::Truncate(1)).write(2, entries(1, &[2])).holds();
    // What was not flushed may be lost, and applied again after a boot.
    Story::agreed()
        .apply(1, 1, "a")
        .queue(1, entries(2, &[1]))
        .reboot(1, &[entries(0, &[1, 1])])
        .apply(1, 1, "a")
        .holds();
}

#[test]
fn durability_sees_what_was_flushed_and_is_gone() {
    Story::agreed().reboot(1, &[entries(0, &[1])]).breaks("durability");
    Story::agreed().write(1, Op::Truncate(1)).reboot(1, &[entries(0, &[1, 1])]).breaks("durability");
}

#[test]
fn receipts_out_of_order_are_seen() {
    let story = Story::new().queue(1, vote(1, 1, false)).queue(1, entries(0, &[1]));
    story.0.see(1, &Observation::Flushed { op: &entries(0, &[1]) });
    story.breaks("receipts in order");
}

#[test]
fn election_safety_sees_two_leaders_of_a_term() {
    Story::elected(3, 1).write(2, vote(3, 2, true)).breaks("election safety");
}

#[test]
fn votes_sees_a_vote_go_back_and_one_given_twice() {
    Story::new().write(1, vote(3, 1, false)).write(1, vote(2, 1, false)).breaks("votes");
    // Flushed for one, lost, and flushed for another: a quorum could have counted both.
    let twice = Story::new().write(1, vote(3, 1, false)).write(1, vote(3, 2, false));
    twice.breaks("votes");
}

#[test]
fn whose_id_is_given_again_has_promised_nothing_and_had_its_part_in_what_was_committed() {
    let voted = || Story::agreed().write(2, vote(3, 1, false));
    voted().another(2).reboot(2, &[]).write(2, vote(3, 2, false)).apply(1, 1, "a").holds();
    voted().reboot(2, &[]).breaks("durability");
    voted().write(2, vote(3, 2, false)).breaks("votes");
    // What it promises itself it has to keep.
    let begins = || voted().another(2).reboot(2, &[]).write(2, vote(3, 2, false));
    begins().reboot(2, &[]).breaks("durability");
    begins().write(2, vote(2, 2, false)).breaks("votes");
}

#[test]
fn log_matching_sees_one_log_id_with_two_contents_or_two_pasts() {
    let other = Op::Append(0, vec![EntryMark { term: 1, hash: 9 }]);
    Story::agreed().write(3, other).breaks("log matching");
    Story::new().write(1, entries(0, &[1, 3])).write(2, entries(0, &[2, 3])).breaks("log matching");
    Story::new().write(1, entries(0, &[2, 1])).breaks("log matching");
}

#[test]
fn commit_on_a_quorum_sees_an_entry_applied_too_early() {
    Story::new()
        .write(1, entries(0, &[1, 1]))
        .queue(2, entries(0, &[1, 1]))
        .apply(1, 1, "a")
        .breaks("commit on a quorum");
}

#[test]
fn state_machine_safety_sees_two_commands_at_a_position() {
    Story::agreed().apply(1, 1, "a").apply(2, 1, "b").breaks("state machine safety");
}

#[test]
fn monotonic_sees_a_command_applied_twice_in_a_boot() {
    Story::agreed().apply(1, 1, "a").apply(1, 1, "a").breaks("monotonic within a boot");
}

#[test]
fn acknowledged_sees_what_nobody_applied_and_what_was_refused_and_is() {
    Story::agreed().acknowledge(1, "a").breaks("acknowledged");
    Story::agreed().apply(1, 1, "a").acknowledge(1, "a").acknowledge(1, "a").breaks("acknowledged");
    Story::agreed().refuse("a").apply(1, 1, "a").breaks("acknowledged");
    Story::agreed().apply(1, 1, "a").refuse("a").breaks("acknowledged");
}

#[test]
fn applied_once_sees_what_is_applied_again_or_left_out_after_a_snapshot() {
    let agreed = || Story::new().write(1, entries(0, &[1; 4])).write(2, entries(0, &[1; 4]));
    let applied = || agreed().apply(1, 1, "a").apply(1, 2, "b").apply(1, 3, "c");
    applied().restore(2, Some(1)).apply(2, 2, "b").apply(2, 3, "c").holds();
    applied().restore(2, None).apply(2, 1, "a").restore(2, Some(3)).holds();
    applied().restore(2, Some(2)).apply(2, 2, "b").breaks("applied once");
    applied().restore(2, Some(1)).apply(2, 3, "c").breaks("applied once");
    applied().apply(2, 2, "b").breaks("applied once");
    agreed().apply(1, 1, "a").apply(1, 2, "a").breaks("applied once");
}

#[test]
fn log_clock_sees_a_time_before_another_that_stands_before_it() {
    let agreed = || Story::new().write(1, entries(0, &[1; 4])).write(2, entries(0, &[1; 4]));
    agreed().apply_at(1, 1, "a", 5).apply_at(1, 2, "b", 5).apply_at(2, 1, "a", 5).holds();
    agreed().apply_at(1, 1, "a", 5).apply_at(1, 2, "b", 4).breaks("log clock");
    // Known first from a node that had a snapshot of what stands before it.
    agreed().restore(2, Some(1)).apply_at(2, 2, "b", 4).apply_at(1, 1, "a", 5).breaks("log clock");
}

#[test]
fn elected_by_a_quorum_sees_a_leader_whose_votes_are_not_on_disks() {
    Story::elected(3, 1).holds();
    let voted = Story::new().write(1, vote(3, 1, false)).queue(2, vote(3, 1, false));
    voted.write(1, vote(3, 1, true)).breaks("elected by a quorum");
    let for_another = Story::new().write(1, vote(3, 1, false)).write(2, vote(3, 2, false));
    for_another.write(1, vote(3, 1, true)).breaks("elected by a quorum");
}

#[test]
fn quorums_are_those_of_the_members_in_force() {
    // Entry 1 leaves node 1 alone; what stands behind it needs nobody else, what stands before it does.
    let alone = || Story::new().write(1, entries(0, &[1])).members(1, 1, &[&[1]]).write(1, entries(2, &[1]));
    alone().apply(1, 2, "a").holds();
    let five: &[u64] = &[1, 2, 3, 4, 5];
    let grown = |flushed: &[u64]| {
        let story = Story::new().members(1, 0, &[five]).write(1, entries(1, &[1]));
        flushed.iter().fold(story, |story, node| story.write(*node, entries(0, &[1, 1])))
    };
    grown(&[4, 5]).apply(1, 1, "a").holds();
    grown(&[4]).apply(1, 1, "a").breaks("commit on a quorum");
    // Of both sets while they change.
    let joint = |flushed: &[u64]| {
        let story = Story::new().members(1, 0, &[&[1, 2, 3], &[3, 4, 5]]).write(1, entries(1, &[1]));
        flushed.iter().fold(story, |story, node| story.write(*node, entries(0, &[1, 1])))
    };
    joint(&[3, 4]).apply(1, 1, "a").holds();
    joint(&[2, 3]).apply(1, 1, "a").breaks("commit on a quorum");
    let voted = |voters: &[u64]| {
        let story = Story::new().members(1, 0, &[five]);
        voters.iter().fold(story, |story, voter| story.write(*voter, vote(3, 1, false)))
    };
    voted(&[1, 4, 5]).write(1, vote(3, 1, true)).holds();
    voted(&[1, 4]).write(1, vote(3, 1, true)).breaks("elected by a quorum");
}

#[test]
fn a_leader_counts_by_the_members_that_its_own_log_names() {
    let on_all = |voters: &[u64]| {
        let begun = Story::new().members(1, 0, &[voters]);
        voters[1..].iter().fold(begun, |story, node| story.write(*node, entries(0, &[1])))
    };
    // What the leader of term 2 makes of the members is nothing to the one of term 1.
    let apart = || on_all(&[1, 2, 3]).write(1, entries(1, &[1]));
    apart().left_alone(2, 1, &[1]).apply(1, 1, "a").breaks("commit on a quorum");
    // Unless it has the entry: then it commits it, by one of its own that stands behind it.
    let with_it = || on_all(&[1, 2, 3, 4, 5]).write(1, entries(1, &[1])).write(2, entries(1, &[1]));
    with_it().apply(1, 1, "a").breaks("commit on a quorum");
    let later = || with_it().left_alone(2, 2, &[1, 2, 3]);
    later().apply(2, 1, "a").breaks("commit on a quorum");
    later().write(3, entries(1, &[1, 2])).apply(2, 1, "a").holds();
    // It counts by the last it has, and not by what is in force no more where that stands.
    let grown = || on_all(&[1]).members(1, 1, &[&[1, 2, 3]]).write(1, entries(2, &[1]));
    grown().apply(1, 2, "a").breaks("commit on a quorum");
    grown().write(3, entries(0, &[1; 3])).apply(1, 2, "a").holds();
}

#[test]
fn members_as_told_sees_a_change_that_was_refused_and_is_made() {
    const THREE: &[u64] = &[1, 2, 3];
    const FOUR: &[u64] = &[1, 2, 3, 4];
    let add = || Story::asked().ask(1, Change::Add(4));
    let made = |story: Story| story.named(&[1, 2], 1, &[THREE], FOUR);
    let is_broken = |story: Story| story.breaks("members as told");
    // Refused, before or after it shows; or asked for by nobody.
    is_broken(made(add()).tell(1, Told::Refused));
    is_broken(made(add().tell(1, Told::Refused)));
    is_broken(made(Story::asked()));
    is_broken(made(Story::asked().ask(1, Change::Add(5))));
    // By an earlier call of which nobody knows, and found by a later one.
    made(add()).ask(2, Change::Add(4)).tell(2, Told::Done).holds();
    made(add().ask(2, Change::Add(4)).tell(2, Told::Refused))
        .ask(3, Change::Add(4))
        .tell(3, Told::Done)
        .holds();
    // Of two calls at once one is refused: either may have made it, and it is there once.
    let two = || add().ask(2, Change::Add(4));
    made(two().tell(1, Told::Refused)).tell(2, Told::Done).holds();
    is_broken(made(two()).tell(1, Told::Refused).tell(2, Told::Refused));
    let again = |story: Story| {
        let removed = story.ask(8, Change::Remove(4)).named(&[1, 2], 2, &[THREE], THREE).tell(8, Told::Done);
        removed.named(&[1, 2], 3, &[THREE], FOUR)
    };
    again(made(two())).holds();
    is_broken(again(made(two())).tell(1, Told::Refused));
    is_broken(again(made(two()).tell(1, Told::Done).tell(2, Told::Done)));
    // What a replacement is refused for is the second part of it.
    let replaces = || Story::asked().ask(1, Change::Replace { old: 3, new: 4 });
    let swapped =
        |story: Story| story.write(4, entries(0, &[1, 1])).named(&[1, 2], 2, &[THREE, &[1, 2, 4]], FOUR);
    made(replaces()).tell(1, Told::Refused).holds();
    is_broken(swapped(made(replaces())).tell(1, Told::Refused));
    let done = |story: Story| story.named(&[1, 2], 3, &[&[1, 2, 4]], &[1, 2, 4]).tell(1, Told::Done);
    done(swapped(made(replaces()))).holds();
    // What a leader does by itself was asked for by nobody, and anything else is a change.
    let unrecorded = Members {
        voters: vec![THREE.iter().copied().collect()],
        recorded: [(1, true), (2, true), (3, true), (4, false)].into(),
    };
    let seen = || add().of_members(1, (1, 1), &unrecorded);
    seen().named(&[1], 2, &[THREE], FOUR).holds();
    is_broken(seen().named(&[1], 2, &[THREE], &[1, 2, 3, 4, 5, 6]));
    is_broken(add().named(&[1], 1, &[&[1, 2]], &[1, 2]));
}

#[test]
fn members_as_told_sees_a_change_that_was_acknowledged_and_is_missing() {
    const THREE: &[u64] = &[1, 2, 3];
    let add = || Story::asked().ask(1, Change::Add(4));
    let made = |by: &[u64]| add().named(by, 1, &[THREE], &[1, 2, 3, 4]);
    let is_broken = |story: Story| story.breaks("members as told");
    made(&[1, 2]).tell(1, Told::Done).holds();
    is_broken(add().tell(1, Told::Done));
    is_broken(made(&[1]).tell(1, Told::Done));
    // On a quorum when it is told, by disks that then give way to another leader.
    let replaced = |by: &[u64]| {
        let told = made(&[1, 2]).tell(1, Told::Done);
        by.iter().fold(told, |story, node| story.write(*node, Op::Truncate(1)).write(*node, entries(1, &[2])))
    };
    is_broken(replaced(&[2, 3]).apply_of_term(2, 1, 2, "a"));
    // What another leader has in the place of a membership replaces none that was in force before.
    let other = |story: Story, node| story.write(node, entries(1, &[2]));
    let discarded = other(other(made(&[1]).write(3, entries(0, &[1])), 2), 3).apply_of_term(2, 1, 2, "a");
    let removes = |story: Story| story.ask(2, Change::Remove(4)).tell(2, Told::Gone);
    removes(other(discarded.write(1, Op::Truncate(1)), 1)).holds();
    // Who removes what is not there is told so, and that must be the case.
    let gone = |story: Story| story.ask(2, Change::Remove(4)).tell(2, Told::Gone);
    gone(Story::asked()).holds();
    let shown = made(&[1, 2]).write(1, entries(2, &[1])).write(2, entries(2, &[1])).apply(1, 2, "a");
    is_broken(gone(shown));
}

#[test]
fn voters_are_known_sees_one_without_a_disk_or_a_log() {
    let three: &[u64] = &[1, 2, 3];
    let begun = || Story::new().members(1, 0, &[three]).members(1, 1, &[three]);
    let change: [&[u64]; 2] = [three, &[1, 2, 3, 4]];
    begun().write(4, entries(0, &[1, 1])).members(1, 2, &change).holds();
    begun().write(4, entries(0, &[1])).members(1, 2, &change).breaks("voters are known");
    let unrecorded = Members {
        voters: change.iter().map(|set| set.iter().copied().collect()).collect(),
        recorded: [(1, true), (2, true), (3, true), (4, false)].into(),
    };
    begun().write(4, entries(0, &[1, 1])).of_members(1, (2, 1), &unrecorded).breaks("voters are known");
}
