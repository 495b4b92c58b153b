//! Places in the framework where a simulated run makes what is rare likely, and where it may plant a
//! bug to see whether it is found; and what such a run wants to know of.
//!
//! A runtime decides, by [`Runtime`](super::runtime::Runtime). Under tokio the answer is the constant
//! `false`, so that nothing of a point is compiled: no cfg and no feature, which a build of the whole
//! workspace would switch on in what ships.

/// A place where what is allowed but rare can be made to happen. None of them breaks a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Point {
    /// A batch takes one command, whatever waits.
    LoneCommand,
    /// Entries that are cached are read from the storage.
    CacheMiss,
    /// A read of the log gives one entry.
    SmallRead,
    /// Entries are applied one by one.
    LoneEntry,
    /// A snapshot is due at once.
    EarlySnapshot,
    /// A moment passes before committed entries are applied.
    BeforeApply,
    /// A moment passes between apply and the answers.
    BeforeAnswers,
    /// A moment passes between a flush and the answer to the leader.
    BeforeAppended,
    /// A moment passes before a vote is handed to the storage.
    BeforeVote,
    /// A moment passes between the read index and the query.
    BeforeQuery,
    /// A moment passes before the leader is asked for a read index.
    BeforeReadIndex,
    /// A moment passes before the log is purged.
    BeforePurge,
    /// A moment passes before a snapshot that was received is restored.
    BeforeRestore,
    /// A moment passes in the middle of a restore.
    DuringRestore,
    /// A forwarded write is told to look elsewhere.
    ForwardRefused,
    /// A heartbeat gets no answer.
    HeartbeatLost,
    /// The stream is given up after an append was sent on it.
    AppendLost,
    /// The commit marker, which is lazy, is not written.
    CommitNotMarked,
}

impl Point {
    /// Every point.
    pub const ALL: [Self; 18] = [
        Self::LoneCommand,
        Self::CacheMiss,
        Self::SmallRead,
        Self::LoneEntry,
        Self::EarlySnapshot,
        Self::BeforeApply,
        Self::BeforeAnswers,
        Self::BeforeAppended,
        Self::BeforeVote,
        Self::BeforeQuery,
        Self::BeforeReadIndex,
        Self::BeforePurge,
        Self::BeforeRestore,
        Self::DuringRestore,
        Self::ForwardRefused,
        Self::HeartbeatLost,
        Self::AppendLost,
        Self::CommitNotMarked,
    ];
}

/// Something rare that a simulated run wants to know of: one in which it never happened proves less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sight {
    /// A command of a session was known again, and not applied.
    RepeatKnown,
    /// A command came after its session had ended.
    SessionEnded,
}

/// A bug that a run can ask for. Each breaks a promise, and must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A follower answers for entries that are not flushed.
    FollowerAnswersEarly,
    /// A vote is given before it is flushed.
    VoteNotAwaited,
    /// An append whose flush failed counts as flushed.
    FlushErrorIgnored,
    /// After a restart the whole log counts as committed.
    CommitMarkerIgnored,
    /// A restarted leader goes on leading, with a commit index that was in memory alone.
    LeaderRestored,
    /// Whoever believes that it leads gives a read index without asking a quorum.
    ReadIndexUnconfirmed,
    /// A read does not wait until the read index is applied.
    ReadIndexNotAwaited,
    /// A read is given the index that an earlier read asked for.
    ReadIndexReused,
    /// A snapshot says that it covers one entry less than it does.
    SnapshotOneBehind,
    /// A snapshot says that it covers one entry more than it does.
    SnapshotOneAhead,
    /// The last piece of a snapshot is not written.
    SnapshotCutShort,
    /// The answers to the commands of an entry are given to each other's callers.
    AnswersSwapped,
    /// A write of unknown outcome is reported as not applied.
    UnknownIsRefused,
    /// A write of unknown outcome is tried again.
    UnknownIsRetried,
    /// A link is not dialled again once its stream is lost.
    LinkNotRedialled,
    /// A member is admitted with another disk than the one that is recorded.
    DiskNotCompared,
    /// A command of a session is applied again when it is sent again.
    RepeatApplied,
    /// A snapshot has no sessions.
    SnapshotWithoutSessions,
    /// A command that is sent again has another number.
    RepeatRenumbered,
    /// A learner is made a voter at once, whether or not its disk is recorded and it has caught up.
    PromotedUnseen,
    /// Members are changed whether or not a majority of the voters there would be is alive.
    QuorumNotChecked,
    /// A change of the members of unknown outcome is reported as not applied.
    UnknownChangeIsRefused,
    /// A change of the members is acknowledged as soon as it is proposed.
    ChangeNotAwaited,
    /// A learner is made a voter once its disk is recorded and it answers, however little of the log it has.
    CatchUpNotAwaited,
}
