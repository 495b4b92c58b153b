//! What can go wrong.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disk::{Crash, FlushTime};
use crate::wire::LinkTime;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Fault {
    /// The process or machine of a node stops, and starts again.
    Crash {
        /// Whose.
        node: u64,
        /// What it leaves on the disk.
        crash: Crash,
        /// How long it is down.
        down: Duration,
        /// The power fails again at this change of the next boot, in recovery if it is early.
        again_at: Option<u64>,
    },
    /// The power of a node fails at a change of its disk: in the middle of a commit, say.
    Fuse {
        /// Whose.
        node: u64,
        /// At the how many-th change from then.
        changes: u64,
        /// What it leaves on the disk.
        crash: Crash,
        /// How long it is down.
        down: Duration,
    },
    /// A node is cut off from all others.
    Isolate {
        /// Which.
        node: u64,
        /// How long.
        time: Duration,
        /// Whether it still hears the others.
        hears: bool,
        /// Whether the others still hear it.
        is_heard: bool,
    },
    /// A link is cut one way.
    CutOneWay {
        /// From this node.
        from: u64,
        /// To this one.
        to: u64,
        /// How long.
        time: Duration,
    },
    /// Two nodes do not hear each other; everybody else hears both.
    CutLink {
        /// One.
        a: u64,
        /// The other.
        b: u64,
        /// How long.
        time: Duration,
    },
    /// The nodes fall into two halves that do not hear each other.
    Split {
        /// The nodes of one half, node n as bit n.
        half: u64,
        /// How long.
        time: Duration,
    },
    /// A node is cut off and comes back, again and again.
    Flap {
        /// Which.
        node: u64,
        /// How often.
        times: u64,
        /// How long each time.
        off: Duration,
        /// How long it is well in between.
        on: Duration,
    },
    /// Every stream between two nodes is reset.
    Reset {
        /// One.
        a: u64,
        /// The other.
        b: u64,
    },
    /// Every stream between two nodes is left half-open.
    HalfOpen {
        /// Whose ends fail.
        gone: u64,
        /// Who is not told.
        left: u64,
    },
    /// Everything from and to a node is slow, and some of it very late.
    SlowLinks {
        /// Which.
        node: u64,
        /// How slow.
        link: LinkTime,
        /// How long.
        time: Duration,
    },
    /// Dials to a node are refused.
    Refuse {
        /// Which.
        node: u64,
        /// How long.
        time: Duration,
    },
    /// A node does nothing for a while, and goes on as if nothing had been.
    Pause {
        /// Which.
        node: u64,
        /// How long.
        time: Duration,
    },
    /// The commits of a node are slow.
    SlowDisk {
        /// Which.
        node: u64,
        /// How slow.
        flush: FlushTime,
        /// How long.
        time: Duration,
    },
    /// A flush of a node fails, which stops it.
    FlushError {
        /// Which.
        node: u64,
    },
    /// A disk fills up, and has room again later. The node may stop when its reserve is gone too.
    Full {
        /// Whose.
        node: u64,
        /// The bytes that are left.
        spare: u64,
        /// How long.
        time: Duration,
    },
    /// Bits of a node's log flip. A node that finds damage stays down from then on: its disk is lost.
    Rot {
        /// Whose.
        node: u64,
        /// How many bits.
        bits: u64,
        /// Whether the node is stopped first and finds it when it starts.
        stopped: bool,
    },
    /// A node loses its disk and is started on an empty one under its old name, which everybody must
    /// refuse.
    Wipe {
        /// Which.
        node: u64,
    },
    /// The power fails while a snapshot is written or installed.
    SnapshotFuse {
        /// Whose.
        node: u64,
        /// At the how many-th change of the disk after the snapshot was begun.
        changes: u64,
        /// What it leaves on the disk.
        crash: Crash,
        /// How long it is down.
        down: Duration,
    },
    /// The next transfer of a snapshot breaks off in the middle, and can go on from there.
    BreakSnapshot {
        /// After how many answers of the receiver: the first two are greetings, and each later one
        /// is for a piece that has arrived.
        answers: u64,
    },
    /// A node is cut off until the others have purged what it lacks, and hears them again: it needs a
    /// snapshot.
    FallBehind {
        /// Which.
        node: u64,
        /// How long it is cut off at least.
        time: Duration,
    },
    /// A node's clock jumps ahead and drifts from then on.
    Clock {
        /// Which.
        node: u64,
        /// How far it jumps.
        jump: Duration,
        /// How many microseconds it gains in a second from then on; negative when it loses.
        drift_ppm: i32,
    },
    /// The leader is asked to hand over.
    Transfer {
        /// To whom.
        to: u64,
    },
    /// A node is shut down as its operator would, and started again.
    Shutdown {
        /// Which.
        node: u64,
    },
    /// A spare machine is added as a learner, and joins.
    Join {
        /// Which, from 1.
        spare: u64,
    },
    /// A spare machine that has joined is made a voter.
    Promote {
        /// Which, from 1.
        spare: u64,
    },
    /// A spare machine joins in the place of a first member.
    Replace {
        /// Who goes.
        old: u64,
        /// Which comes, from 1.
        spare: u64,
    },
    /// A first member is removed.
    Remove {
        /// Which.
        node: u64,
    },
    /// Whoever leads is removed.
    RemoveLeader,
    /// A spare machine is removed.
    RemoveSpare {
        /// Which, from 1.
        spare: u64,
    },
    /// A spare machine that has joined loses its disk and is started on an empty one under its id, with its
    /// key, which everybody must refuse.
    WipeSpare {
        /// Which, from 1.
        spare: u64,
    },
    /// The id of a spare machine that was removed is given to another one, which is added and joins with an
    /// empty disk.
    GiveIdAgain {
        /// Which, from 1.
        spare: u64,
        /// Whether that one has a key of its own.
        key: bool,
    },
    /// Whoever leads is cut off from all others, and what it appends is not committed.
    IsolateLeader {
        /// How long.
        time: Duration,
    },
    /// Whoever leads crashes.
    CrashLeader {
        /// What it leaves on the disk.
        crash: Crash,
        /// How long it is down.
        down: Duration,
    },
}

impl Fault {
    /// The nodes that it names.
    pub fn nodes(&self) -> Vec<u64> {
        match *self {
            Self::Crash { node, .. }
            | Self::Fuse { node, .. }
            | Self::Isolate { node, .. }
            | Self::Flap { node, .. }
            | Self::SlowLinks { node, .. }
            | Self::Refuse { node, .. }
            | Self::Pause { node, .. }
            | Self::SlowDisk { node, .. }
            | Self::FlushError { node }
            | Self::Full { node, .. }
            | Self::Rot { node, .. }
            | Self::Wipe { node }
            | Self::SnapshotFuse { node, .. }
            | Self::FallBehind { node, .. }
            | Self::Clock { node, .. }
            | Self::Transfer { to: node }
            | Self::Shutdown { node }
            | Self::Remove { node }
            | Self::Replace { old: node, .. } => vec![node],
            Self::CutOneWay { from: a, to: b, .. }
            | Self::CutLink { a, b, .. }
            | Self::Reset { a, b }
            | Self::HalfOpen { gone: a, left: b } => vec![a, b],
            Self::Split { half, .. } => (0..64).filter(|node| half & (1 << node) != 0).collect(),
            Self::BreakSnapshot { .. }
            | Self::IsolateLeader { .. }
            | Self::CrashLeader { .. }
            | Self::Join { .. }
            | Self::Promote { .. }
            | Self::RemoveLeader
            | Self::RemoveSpare { .. }
            | Self::WipeSpare { .. }
            | Self::GiveIdAgain { .. } => Vec::new(),
        }
    }

    /// What the crash leaves that it has.
    pub(super) fn crash(&self) -> Option<Crash> {
        match *self {
            Self::Crash { crash, .. }
            | Self::Fuse { crash, .. }
            | Self::SnapshotFuse { crash, .. }
            | Self::CrashLeader { crash, .. } => Some(crash),
            _ => None,
        }
    }

    /// The spare machine that it names.
    pub fn spare(&self) -> Option<u64> {
        match *self {
            Self::Join { spare }
            | Self::Promote { spare }
            | Self::Replace { spare, .. }
            | Self::RemoveSpare { spare }
            | Self::WipeSpare { spare }
            | Self::GiveIdAgain { spare, .. } => Some(spare),
            _ => None,
        }
    }

    /// Whether it changes the members, or is about a machine that is none at first.
    pub fn changes_members(&self) -> bool {
        self.spare().is_some() || matches!(self, Self::Remove { .. } | Self::RemoveLeader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_misspelt_in_a_fault_is_told() {
        let (down, time) = (Duration::from_secs(1), Duration::from_secs(1));
        for (fault, word) in [
            (Fault::Crash { node: 1, crash: Crash::LoseAll, down, again_at: Some(3) }, "again_at"),
            (Fault::CrashLeader { crash: Crash::Torn { sector: 512 }, down }, "sector"),
            (Fault::SlowLinks { node: 1, link: LinkTime::default(), time }, "late_ms"),
            (Fault::SlowDisk { node: 1, flush: FlushTime::default(), time }, "slow_ms"),
        ] {
            let text = serde_json::to_string(&fault).expect("numbers and words");
            assert_eq!(serde_json::from_str::<Fault>(&text).ok(), Some(fault), "{text}");
            let right = format!("\"{word}\":");
            // Beside the right one, or its absence could be what is told.
            let misspelt = text.replacen(&right, &format!("\"{word}s\":1,{right}"), 1);
            let told = serde_json::from_str::<Fault>(&misspelt).expect_err(&misspelt).to_string();
            assert!(told.starts_with(&format!("unknown field `{word}s`")), "{told}");
        }
    }
}
