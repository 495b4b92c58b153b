//! The bugs that can be put in on purpose, and what is to find each.

use quorate::runtime::Bug;
use serde::{Deserialize, Serialize};

use super::{Hunt, of_name};

/// A bug put in on purpose, chosen when a run begins. In a file it goes by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Mutation {
    /// A write is acknowledged when it is queued.
    EarlyAcknowledgement,
    /// A vote is acknowledged and never written.
    ForgottenVote,
    /// The disk says that it flushed, and did not.
    LyingDisk,
    /// What conflicts with the leader's log is not removed.
    SkippedTruncation,
    /// One entry less is removed than conflicts.
    ShortTruncation,
    /// One entry more is purged than was said.
    LongPurge,
    /// Nobody is told that some appends are flushed.
    LostReceipt,
    /// A machine on its disk stores how far it had come a batch before.
    RecordOfBefore,
    /// A machine on its disk says that its tables are flushed, and they are not.
    TablesNotFlushed,
    /// A machine on its disk stores nothing of sessions with its batches.
    SessionsNotStored,
    /// Reads are answered from whatever the node has applied.
    StaleRead,
    /// A vote is acknowledged at once, and written behind what is queued after it.
    VoteOvertaken,
    /// Entries of a disk with flipped bits are given back as though they were right.
    ChecksumNotVerified,
    /// What a follower is sent for another group is taken for this one's.
    OtherGroupAccepted,
    /// A vote that was refused counts as given.
    RefusalIsAVote,
    /// A machine is told the time of its node in the place of the log's.
    ClockInApply,
    /// A machine is told some commands twice.
    AppliedTwice,
    /// What a machine writes depends on the time of day.
    WallClockInApply,
    /// What a machine writes depends on the order of a hash map.
    HashOrderInApply,
    /// What a machine writes depends on memory of its process, which a restart or a snapshot leaves behind.
    ProcessMemoryInApply,
    /// One at its place in the framework.
    Framework(Bug),
}

impl Mutation {
    /// The bug that the framework is asked for.
    pub fn in_framework(self) -> Option<Bug> {
        match self {
            Self::Framework(bug) => Some(bug),
            _ => None,
        }
    }
}

impl From<Mutation> for String {
    fn from(mutation: Mutation) -> Self {
        let planted = CATALOGUE.iter().find(|planted| planted.mutation == mutation);
        planted.map_or_else(|| format!("{mutation:?}"), |planted| planted.name.to_owned())
    }
}

impl TryFrom<String> for Mutation {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        of_name(&name).map(|planted| planted.mutation).ok_or_else(|| format!("there is no bug `{name}`"))
    }
}

/// A bug, and what is expected of the oracles.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// What it is called, in the table and on the command line.
    pub name: &'static str,
    /// What it does, in a few words.
    pub what: &'static str,
    /// How it is put in.
    pub mutation: Mutation,
    /// Within how many seeds it must be found.
    pub within: u64,
    /// Which runs look for it.
    pub hunt: Hunt,
    /// The oracle that must have something to say of a run for the bug to be found in it, be it after
    /// others; `None` when it is found by whatever is wrong.
    pub oracle: Option<&'static str>,
}

impl Planted {
    const fn seen_by(self, oracle: &'static str) -> Self {
        Self { oracle: Some(oracle), ..self }
    }
}

const fn planted(
    name: &'static str,
    what: &'static str,
    mutation: Mutation,
    within: u64,
    hunt: Hunt,
) -> Planted {
    Planted { name, what, mutation, within, hunt, oracle: None }
}

const fn framework(name: &'static str, what: &'static str, bug: Bug, within: u64, hunt: Hunt) -> Planted {
    planted(name, what, Mutation::Framework(bug), within, hunt)
}

use Hunt::{CutOffChanges, Full, LonelyLeaders, Members, OnDisk, Sessions, SessionsOnDisk, SlowJoins};

/// Every bug.
pub const CATALOGUE: &[Planted] = &[
    planted(
        "early-acknowledgement",
        "a write is acknowledged when it is queued",
        Mutation::EarlyAcknowledgement,
        10,
        Full,
    ),
    planted("forgotten-vote", "a vote is acknowledged and never written", Mutation::ForgottenVote, 30, Full),
    planted("lying-disk", "the disk says that it flushed, and did not", Mutation::LyingDisk, 30, Full),
    planted(
        "skipped-truncation",
        "what conflicts with the leader's log is not removed",
        Mutation::SkippedTruncation,
        120,
        Full,
    )
    .seen_by("nodes keep running"),
    planted(
        "short-truncation",
        "one entry less is removed than conflicts",
        Mutation::ShortTruncation,
        120,
        Full,
    ),
    planted("long-purge", "one entry more is purged than was said", Mutation::LongPurge, 30, Full),
    planted("lost-receipt", "nobody is told that some appends are flushed", Mutation::LostReceipt, 10, Full)
        .seen_by("receipts in order"),
    planted(
        "stale-read",
        "reads are answered from whatever the node has applied",
        Mutation::StaleRead,
        10,
        Full,
    )
    .seen_by("linearizability"),
    planted(
        "vote-overtaken",
        "a vote is acknowledged at once, and written behind what is queued after it",
        Mutation::VoteOvertaken,
        120,
        Full,
    )
    .seen_by("votes"),
    planted(
        "checksum-not-verified",
        "entries of a disk with flipped bits are given back as though they were right",
        Mutation::ChecksumNotVerified,
        120,
        Full,
    )
    .seen_by("state machine safety"),
    planted(
        "other-group-accepted",
        "what a follower is sent for another group is taken for this one's",
        Mutation::OtherGroupAccepted,
        10,
        Full,
    )
    .seen_by("log matching"),
    planted(
        "refusal-is-a-vote",
        "a vote that was refused counts as given",
        Mutation::RefusalIsAVote,
        60,
        Full,
    )
    .seen_by("leader completeness"),
    planted(
        "clock-in-apply",
        "a machine is told the time of its node in the place of the log's",
        Mutation::ClockInApply,
        10,
        Full,
    )
    .seen_by("log clock"),
    planted("applied-twice", "a machine is told some commands twice", Mutation::AppliedTwice, 10, Full)
        .seen_by("monotonic within a boot"),
    planted(
        "wall-clock-in-apply",
        "what a machine writes depends on the time of day",
        Mutation::WallClockInApply,
        10,
        Full,
    )
    .seen_by("state machine safety"),
    planted(
        "hash-order-in-apply",
        "what a machine writes depends on the order of a hash map",
        Mutation::HashOrderInApply,
        10,
        Full,
    )
    .seen_by("state machine safety"),
    planted(
        "process-memory-in-apply",
        "what a machine writes depends on memory of its process, such as a static: a restart or a snapshot lacks it",
        Mutation::ProcessMemoryInApply,
        30,
        Full,
    )
    .seen_by("state machine safety"),
    planted(
        "record-of-before",
        "a machine on its disk stores how far it had come a batch before: some is applied twice",
        Mutation::RecordOfBefore,
        30,
        OnDisk,
    ),
    planted(
        "tables-not-flushed",
        "a machine on its disk says that its tables are flushed, and they are not",
        Mutation::TablesNotFlushed,
        30,
        OnDisk,
    ),
    framework(
        "follower-answers-early",
        "a follower answers for entries that are not flushed",
        Bug::FollowerAnswersEarly,
        10,
        Full,
    ),
    framework("vote-not-awaited", "a vote is given before it is flushed", Bug::VoteNotAwaited, 10, Full),
    framework(
        "flush-error-ignored",
        "an append whose flush failed counts as flushed",
        Bug::FlushErrorIgnored,
        200,
        Full,
    ),
    framework(
        "commit-marker-ignored",
        "after a restart the whole log counts as committed",
        Bug::CommitMarkerIgnored,
        10,
        LonelyLeaders,
    ),
    framework(
        "leader-restored",
        "a restarted leader goes on leading, with a commit index that was in memory alone",
        Bug::LeaderRestored,
        150,
        Full,
    ),
    framework(
        "read-index-unconfirmed",
        "whoever believes that it leads gives a read index",
        Bug::ReadIndexUnconfirmed,
        120,
        Full,
    ),
    framework(
        "read-index-not-awaited",
        "a read does not wait for its index to be applied",
        Bug::ReadIndexNotAwaited,
        10,
        Full,
    ),
    framework(
        "read-index-reused",
        "a read is given the index that an earlier one asked for",
        Bug::ReadIndexReused,
        10,
        Full,
    ),
    framework(
        "snapshot-one-behind",
        "a snapshot says that it covers one entry less than it does",
        Bug::SnapshotOneBehind,
        30,
        Full,
    ),
    framework(
        "snapshot-one-ahead",
        "a snapshot says that it covers one entry more than it does",
        Bug::SnapshotOneAhead,
        10,
        Full,
    ),
    framework(
        "snapshot-cut-short",
        "the last piece of a snapshot is not written",
        Bug::SnapshotCutShort,
        30,
        Full,
    ),
    framework(
        "answers-swapped",
        "the answers to the commands of an entry go to each other's callers",
        Bug::AnswersSwapped,
        20,
        Full,
    ),
    framework(
        "unknown-is-refused",
        "a write of unknown outcome is reported as not applied",
        Bug::UnknownIsRefused,
        120,
        Full,
    ),
    framework(
        "unknown-is-retried",
        "a write of unknown outcome is tried again",
        Bug::UnknownIsRetried,
        30,
        Full,
    ),
    framework(
        "link-not-redialled",
        "a link is not dialled again once its stream is lost",
        Bug::LinkNotRedialled,
        30,
        Full,
    )
    .seen_by("liveness"),
    framework(
        "disk-not-compared",
        "a member is admitted with another disk than the one that is recorded",
        Bug::DiskNotCompared,
        30,
        Full,
    )
    .seen_by("a replaced disk is refused"),
    framework(
        "repeat-applied",
        "a command of a session is applied again when it is sent again",
        Bug::RepeatApplied,
        30,
        Sessions,
    )
    .seen_by("applied once"),
    framework(
        "repeat-renumbered",
        "a command of a session has another number when it is sent again",
        Bug::RepeatRenumbered,
        30,
        Sessions,
    )
    .seen_by("applied once"),
    framework(
        "snapshot-without-sessions",
        "a snapshot has no sessions",
        Bug::SnapshotWithoutSessions,
        120,
        Sessions,
    ),
    planted(
        "sessions-not-stored",
        "a machine on its disk stores nothing of sessions with its batches: after a restart it knows none",
        Mutation::SessionsNotStored,
        30,
        SessionsOnDisk,
    ),
    framework(
        "promoted-unseen",
        "a learner is made a voter at once, whether or not its disk is recorded and it has caught up",
        Bug::PromotedUnseen,
        30,
        Members,
    )
    .seen_by("voters are known"),
    framework(
        "quorum-not-checked",
        "members are changed whether or not a majority of the voters there would be is alive",
        Bug::QuorumNotChecked,
        30,
        Members,
    )
    .seen_by("liveness"),
    framework(
        "unknown-change-is-refused",
        "a change of the members of unknown outcome is reported as not applied",
        Bug::UnknownChangeIsRefused,
        30,
        CutOffChanges,
    )
    .seen_by("members as told"),
    framework(
        "change-not-awaited",
        "a change of the members is acknowledged as soon as it is proposed",
        Bug::ChangeNotAwaited,
        30,
        Members,
    )
    .seen_by("members as told"),
    framework(
        "catch-up-not-awaited",
        "a learner is made a voter once its disk is recorded and it answers, however little of the log it has",
        Bug::CatchUpNotAwaited,
        30,
        SlowJoins,
    )
    .seen_by("voters are known"),
];
