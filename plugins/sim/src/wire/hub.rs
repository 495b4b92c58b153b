//! Who is there, the links between them, and the streams over those.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use quorate::transport::{Admission, Lane};
use quorate::types::PeerId;

use super::pipe::{Item, Pipe};
use super::{Death, Forger, LinkTime, identity};
use crate::rng::Rng;
use crate::runtime::time;
use crate::trace::Trace;

/// What the network has been through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireEvents {
    /// Frames that arrived.
    pub frames: u64,
    /// Streams that were opened.
    pub streams: u64,
    /// Ends of streams that failed because nothing was heard for too long.
    pub idle: u64,
    /// Ends of streams that were told of a reset.
    pub resets: u64,
    /// Frames that a dead process had sent and that arrived after its death.
    pub posthumous: u64,
    /// Transfers of snapshots that were made to break off in the middle.
    pub transfers_broken: u64,
    /// Dials that a link refused.
    pub refused: u64,
}

impl WireEvents {
    /// Adds what another network has been through.
    pub fn add(&mut self, other: Self) {
        self.frames += other.frames;
        self.streams += other.streams;
        self.idle += other.idle;
        self.resets += other.resets;
        self.posthumous += other.posthumous;
        self.transfers_broken += other.transfers_broken;
        self.refused += other.refused;
    }
}

/// Wakers to be woken when nothing is locked.
#[must_use]
#[derive(Default)]
pub(super) struct Woken(Vec<Waker>);

impl Woken {
    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }

    fn add(&mut self, waker: &mut Option<Waker>) {
        self.0.extend(waker.take());
    }
}

#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) cut_since: Option<Duration>,
    pub(super) time: LinkTime,
    pub(super) refuses: bool,
    /// Whether it has refused one of whoever dials now, in this boot.
    pub(super) has_refused: bool,
}

/// A stream that was dialled and waits to be accepted.
#[derive(Debug)]
pub(super) struct Dialled {
    /// By whom, as its key proves.
    pub(super) peer: PeerId,
    pub(super) lane: Lane,
    pub(super) stream: u64,
}

pub(super) struct Endpoint {
    pub(super) boot: u64,
    pub(super) open: bool,
    /// Whether its machine would answer a dial, if only to refuse it.
    pub(super) powered: bool,
    pub(super) backlog: VecDeque<Dialled>,
    pub(super) acceptor: Option<Waker>,
    pub(super) admission: Option<Admission>,
}

/// Both directions: 0 leads from who dialled, 1 to it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) lane: Lane,
    pub(super) pipes: [Pipe; 2],
}

pub(super) struct Hub {
    pub(super) rng: Rng,
    pub(super) trace: Trace,
    pub(super) endpoints: BTreeMap<u64, Endpoint>,
    links: BTreeMap<(u64, u64), Link>,
    /// How many keys nodes have had before the one they have, where that is any.
    keys: BTreeMap<u64, u64>,
    pub(super) streams: BTreeMap<u64, Stream>,
    next_stream: u64,
    pub(super) idle_limit: Duration,
    /// After how many answers of its receiver the next transfer of a snapshot breaks off.
    pub(super) break_snapshot: Option<u64>,
    pub(super) forger: Option<Forger>,
    pub(super) events: WireEvents,
}

impl Hub {
    pub(super) fn new(rng: Rng, trace: Trace) -> Self {
        Self {
            rng,
            trace,
            endpoints: BTreeMap::new(),
            links: BTreeMap::new(),
            keys: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_stream: 0,
            idle_limit: Duration::from_millis(2_500),
            break_snapshot: None,
            forger: None,
            events: WireEvents::default(),
        }
    }

    pub(super) fn link(&mut self, from: u64, to: u64) -> &mut Link {
        self.links.entry((from, to)).or_default()
    }

    pub(super) fn is_cut(&self, from: u64, to: u64) -> bool {
        self.links.get(&(from, to)).is_some_and(|link| link.cut_since.is_some())
    }

    pub(super) fn is_any_cut(&self) -> bool {
        self.links.values().any(|link| link.cut_since.is_some())
    }

    /// Sends something off from the end `side` of a stream.
    pub(super) fn send(&mut self, id: u64, side: usize, mut item: Item) {
        let Some(stream) = self.streams.get(&id) else { return };
        let (from, to) = (stream.pipes[side].from, stream.pipes[side].to);
        if self.breaks(id, side) {
            self.events.transfers_broken += 1;
            // Only schedules tasks; the lock is not taken in it.
            self.end_streams(from, to, |stream| (stream.lane == Lane::Snapshot).then_some([true; 2])).wake();
            return;
        }
        if let (Some(forger), Item::Frame { bytes, .. }) = (&mut self.forger, &mut item)
            && let Some(forged) = forger(id, bytes)
        {
            *bytes = forged;
        }
        let due = self.due(from, to);
        if let Some(stream) = self.streams.get_mut(&id) {
            let pipe = &mut stream.pipes[side];
            pipe.push(due, item);
            // Only schedules a task; the lock is not taken in it.
            pipe.receiver.take().into_iter().for_each(Waker::wake);
        }
    }

    /// The end `side` has learnt that the stream failed: it is gone, and its peer is told.
    pub(super) fn fail(&mut self, id: u64, side: usize) -> Woken {
        let mut woken = Woken::default();
        let Some(stream) = self.streams.get(&id) else { return woken };
        let (node, told) = (stream.pipes[side].from, stream.pipes[side].sender_done);
        self.drop_end(id, side, &mut woken);
        if !told {
            self.say_reset(id, node, &mut woken);
        }
        woken
    }

    /// Whether the stream is the transfer of a snapshot that breaks off now, instead of an answer. Only
    /// answers count: what else has been sent may not have arrived when the stream breaks.
    fn breaks(&mut self, id: u64, side: usize) -> bool {
        let is_snapshot = |stream: &Stream| stream.lane == Lane::Snapshot;
        match self.break_snapshot {
            Some(left) if side == 1 && self.streams.get(&id).is_some_and(is_snapshot) => {
                self.break_snapshot = left.checked_sub(1);
                left == 0
            }
            _ => false,
        }
    }

    /// When something sent now from one node to another arrives.
    pub(super) fn due(&mut self, from: u64, to: u64) -> Duration {
        let LinkTime { usual_us, late_per_mille, late_ms } = self.link(from, to).time;
        let delay = if self.rng.chance(late_per_mille) {
            self.rng.millis(late_ms.0..late_ms.1.max(late_ms.0) + 1)
        } else {
            Duration::from_micros(self.rng.within(usual_us.0..usual_us.1.max(usual_us.0) + 1))
        };
        time() + delay
    }

    /// The key that a node has now.
    pub(super) fn identity(&self, node: u64) -> PeerId {
        identity(node, self.keys.get(&node).copied().unwrap_or(0))
    }

    /// From now on a node has another key.
    pub(super) fn change_key(&mut self, node: u64) {
        *self.keys.entry(node).or_default() += 1;
    }

    /// Whether the endpoint is the one of that boot, and open.
    pub(super) fn is_open(&self, node: u64, boot: u64) -> bool {
        self.endpoints.get(&node).is_some_and(|endpoint| endpoint.open && endpoint.boot == boot)
    }

    pub(super) fn boot(&mut self, node: u64) -> (u64, Woken) {
        let boot = self.endpoints.get(&node).map_or(0, |endpoint| endpoint.boot) + 1;
        let endpoint = Endpoint {
            boot,
            open: true,
            powered: true,
            backlog: VecDeque::new(),
            acceptor: None,
            admission: None,
        };
        self.endpoints.insert(node, endpoint);
        for (_, link) in self.links.iter_mut().filter(|((from, _), _)| *from == node) {
            link.has_refused = false;
        }
        let mut woken = Woken::default();
        // Whoever still sends to the process of before is told by the machine, or not at all.
        for stream in self.streams_of(node) {
            if self.rng.chance(500) {
                self.say_reset(stream, node, &mut woken);
            }
        }
        (boot, woken)
    }

    fn streams_of(&self, node: u64) -> Vec<u64> {
        let touches = |stream: &Stream| stream.pipes.iter().any(|pipe| pipe.from == node);
        self.streams.iter().filter(|(_, stream)| touches(stream)).map(|(id, _)| *id).collect()
    }

    /// A reset sets off from `node` on a stream of which its own end is gone.
    fn say_reset(&mut self, stream: u64, node: u64, woken: &mut Woken) {
        let Some(side) = self.side_of(stream, node) else { return };
        let (from, to) = (node, self.streams[&stream].pipes[side].to);
        let due = self.due(from, to);
        if let Some(stream) = self.streams.get_mut(&stream) {
            let pipe = &mut stream.pipes[side];
            pipe.silent_since = None;
            pipe.push(due, Item::Reset);
            woken.add(&mut pipe.receiver);
        }
    }

    /// Which end of a stream belongs to `node`.
    fn side_of(&self, stream: u64, node: u64) -> Option<usize> {
        self.streams.get(&stream)?.pipes.iter().position(|pipe| pipe.from == node)
    }

    /// The end `side` of a stream is gone: it neither sends nor receives.
    fn drop_end(&mut self, stream: u64, side: usize, woken: &mut Woken) {
        let Some(stream) = self.streams.get_mut(&stream) else { return };
        let [out, into] = Self::out_and_into(stream, side);
        out.sender_done = true;
        woken.add(&mut out.sender);
        into.receiver_done = true;
        into.clear();
        woken.add(&mut into.receiver);
        woken.add(&mut into.sender);
    }

    pub(super) fn out_and_into(stream: &mut Stream, side: usize) -> [&mut Pipe; 2] {
        let [first, second] = &mut stream.pipes;
        if side == 0 { [first, second] } else { [second, first] }
    }

    pub(super) fn kill(&mut self, node: u64, death: Death) -> Woken {
        let mut woken = Woken::default();
        if let Some(endpoint) = self.endpoints.get_mut(&node) {
            (endpoint.open, endpoint.powered) = (false, death == Death::Process);
            endpoint.backlog.clear();
            woken.add(&mut endpoint.acceptor);
        }
        for id in self.streams_of(node) {
            let Some(side) = self.side_of(id, node) else { continue };
            self.drop_end(id, side, &mut woken);
            if death == Death::Process {
                self.say_reset(id, node, &mut woken);
            } else if let Some(stream) = self.streams.get_mut(&id) {
                let out = &mut stream.pipes[side];
                out.silent_since.get_or_insert_with(time);
                woken.add(&mut out.receiver);
            }
        }
        woken
    }

    pub(super) fn set_cut(&mut self, from: u64, to: u64, cut: bool) -> Woken {
        let now = time();
        let link = self.link(from, to);
        link.cut_since = if cut { link.cut_since.or(Some(now)) } else { None };
        let mut woken = Woken::default();
        for pipe in self.streams.values_mut().flat_map(|stream| &mut stream.pipes) {
            if (pipe.from, pipe.to) == (from, to) {
                woken.add(&mut pipe.receiver);
            }
        }
        woken
    }

    /// Fails the chosen ends of every stream between two nodes. The peer is told when only one is.
    pub(super) fn end_streams(
        &mut self,
        a: u64,
        b: u64,
        which: impl Fn(&Stream) -> Option<[bool; 2]>,
    ) -> Woken {
        let mut woken = Woken::default();
        let between = |stream: &&Stream| {
            let Pipe { from, to, .. } = stream.pipes[0];
            (from, to) == (a, b) || (from, to) == (b, a)
        };
        let chosen = self.streams.iter().filter(|(_, stream)| between(stream));
        let chosen: Vec<_> = chosen.filter_map(|(id, stream)| Some((*id, which(stream)?))).collect();
        for (id, ends) in chosen {
            for side in (0..2).filter(|side| ends[*side]) {
                let node = self.streams[&id].pipes[side].from;
                self.drop_end(id, side, &mut woken);
                self.say_reset(id, node, &mut woken);
            }
        }
        woken
    }

    pub(super) fn half_open(&mut self, gone: u64, left: u64) -> Woken {
        let mut woken = Woken::default();
        for id in self.streams_of(gone) {
            let Some(side) = self.side_of(id, gone) else { continue };
            if self.streams[&id].pipes[side].to != left {
                continue;
            }
            self.drop_end(id, side, &mut woken);
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.pipes[side].silent_since.get_or_insert_with(time);
                woken.add(&mut stream.pipes[side].receiver);
            }
        }
        woken
    }

    pub(super) fn open_stream(&mut self, from: u64, to: u64, lane: Lane) -> u64 {
        self.next_stream += 1;
        self.events.streams += 1;
        let pipes = [Pipe::new(from, to), Pipe::new(to, from)];
        self.streams.insert(self.next_stream, Stream { lane, pipes });
        self.next_stream
    }

    /// Puts a stream before the next call of accept.
    pub(super) fn offer(&mut self, to: u64, dialled: Dialled) -> Woken {
        let mut woken = Woken::default();
        if let Some(endpoint) = self.endpoints.get_mut(&to) {
            endpoint.backlog.push_back(dialled);
            woken.add(&mut endpoint.acceptor);
        }
        woken
    }

    /// The half that sends is dropped; without a close before, that is a reset.
    pub(super) fn drop_sender(&mut self, id: u64, side: usize) -> Woken {
        let mut woken = Woken::default();
        let Some(stream) = self.streams.get_mut(&id) else { return woken };
        let node = stream.pipes[side].from;
        if !std::mem::replace(&mut stream.pipes[side].sender_done, true) {
            self.say_reset(id, node, &mut woken);
        }
        self.forget_if_done(id);
        woken
    }

    /// The half that receives is dropped: nobody listens, and the sender learns it at once.
    pub(super) fn drop_receiver(&mut self, id: u64, side: usize) -> Woken {
        let mut woken = Woken::default();
        let Some(stream) = self.streams.get_mut(&id) else { return woken };
        let into = &mut stream.pipes[1 - side];
        into.receiver_done = true;
        into.clear();
        woken.add(&mut into.sender);
        self.forget_if_done(id);
        woken
    }

    fn forget_if_done(&mut self, id: u64) {
        let done = |pipe: &Pipe| pipe.sender_done && pipe.receiver_done;
        if self.streams.get(&id).is_some_and(|stream| stream.pipes.iter().all(done)) {
            self.streams.remove(&id);
        }
    }

    /// Since when nothing can arrive over that direction, if that is so.
    pub(super) fn blocked_since(&mut self, id: u64, pipe: usize) -> Option<Duration> {
        let pipe = &self.streams.get(&id)?.pipes[pipe];
        let (from, to, silent) = (pipe.from, pipe.to, pipe.silent_since);
        let arrives = !pipe.queue.is_empty();
        self.link(from, to).cut_since.or(silent.filter(|_| !arrives))
    }
}
