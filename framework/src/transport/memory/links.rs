//! Links: one for each ordered pair of endpoints, and the faults of each.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::pipe::{Pipe, Side};

/// Makes the delay of a frame from how many bytes it has.
type Delay = Arc<dyn Fn(usize) -> BoxFuture<'static, ()> + Send + Sync>;

#[derive(Default)]
struct State {
    /// Nothing gets across, and dials fail.
    cut: bool,
    /// Nothing gets across, and dials wait.
    stalled: bool,
    /// Dials are refused with this code.
    refused: Option<u64>,
    delay: Option<Delay>,
    /// The pipes that send over this link, and those whose receivers answer over it.
    pipes: Vec<Weak<Pipe>>,
    answering: Vec<Weak<Pipe>>,
    /// Dials that wait.
    dials: Vec<Waker>,
}

/// One direction between two endpoints.
#[derive(Default)]
pub(super) struct Link {
    /// Cut or stalled; beside the state, so that pipes can ask without its lock.
    blocked: AtomicBool,
    /// Whether a delay is set; likewise.
    delayed: AtomicBool,
    state: Mutex<State>,
}

/// What a dial finds on a link.
pub(super) enum Dial {
    Open,
    Cut,
    Refused(u64),
}

fn add(pipes: &mut Vec<Weak<Pipe>>, pipe: &Arc<Pipe>) {
    if pipes.len() == pipes.capacity() {
        pipes.retain(|pipe| pipe.strong_count() > 0);
    }
    pipes.push(Arc::downgrade(pipe));
}

/// Notes that the task of `cx` waits; once, however often it asks.
pub(super) fn wait(waiting: &mut Vec<Waker>, cx: &Context<'_>) {
    if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
        waiting.push(cx.waker().clone());
    }
}

fn alive(pipes: &[Weak<Pipe>]) -> Vec<Arc<Pipe>> {
    pipes.iter().filter_map(Weak::upgrade).collect()
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::SeqCst)
    }

    /// Begins the delay of so many bytes that are sent now.
    pub(super) fn delay(&self, bytes: usize) -> Option<BoxFuture<'static, ()>> {
        if !self.delayed.load(Ordering::Relaxed) {
            return None;
        }
        let delay = self.lock().delay.clone()?;
        Some(delay(bytes))
    }

    pub(super) fn carry(&self, pipe: &Arc<Pipe>, sends: bool) {
        let mut state = self.lock();
        add(if sends { &mut state.pipes } else { &mut state.answering }, pipe);
    }

    /// The pipes that send over this link.
    pub(super) fn pipes(&self) -> Vec<Arc<Pipe>> {
        alive(&self.lock().pipes)
    }

    /// Changes the faults, and lets pipes and dials look again.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let (pipes, dials) = {
            let mut state = self.lock();
            change(&mut state);
            self.blocked.store(state.cut || state.stalled, Ordering::SeqCst);
            self.delayed.store(state.delay.is_some(), Ordering::SeqCst);
            let mut pipes = alive(&state.pipes);
            pipes.extend(alive(&state.answering));
            (pipes, std::mem::take(&mut state.dials))
        };
        for pipe in pipes {
            pipe.wake();
        }
        dials.into_iter().for_each(Waker::wake);
    }

    /// What a dial finds, once it finds anything.
    pub(super) async fn dial(&self) -> Dial {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.cut {
                return Poll::Ready(Dial::Cut);
            }
            if state.stalled {
                wait(&mut state.dials, cx);
                return Poll::Pending;
            }
            Poll::Ready(state.refused.map_or(Dial::Open, Dial::Refused))
        })
        .await
    }
}

/// Some links of a [`MemoryNetwork`](super::MemoryNetwork), each one direction between two
/// endpoints, and what a test can do to them. Faults stay until [`Self::heal`], whatever becomes of
/// the endpoints.
#[must_use = "naming links does nothing to them"]
pub struct Links {
    pub(super) links: Vec<Arc<Link>>,
}

impl Links {
    fn change(&self, mut change: impl FnMut(&mut State)) {
        self.links.iter().for_each(|link| link.change(&mut change));
    }

    /// Cuts them: open streams stall silently, and a dial fails at once, as unreachable. Frames on
    /// their way are kept; they arrive when the link is healed, if the stream lives that long.
    pub fn cut(&self) {
        self.change(|state| state.cut = true);
    }

    /// Stalls them: open streams stall silently, and a dial waits.
    pub fn stall(&self) {
        self.change(|state| state.stalled = true);
    }

    /// Refuses dials with `code`. A dial is refused by the link from the one who dials. Open
    /// streams stay.
    pub fn refuse(&self, code: u64) {
        self.change(|state| state.refused = Some(code));
    }

    /// Delays every frame by a future that `delay` makes when the frame is sent, so that the
    /// network needs no clock of its own: `|| tokio::time::sleep(ms)`, or a gate that the test
    /// opens. Order is kept: a frame that waits holds up those behind it. A dial waits once for
    /// each direction.
    ///
    /// `delay` is called by whoever sends, its future is polled by whoever receives.
    pub fn delay<F>(&self, delay: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.delay_by_bytes(move |_| delay());
    }

    /// Like [`Self::delay`], for a link of limited rate: `delay` is told how many bytes the frame
    /// has; none for a dial and for the close of a stream.
    pub fn delay_by_bytes<F>(&self, delay: impl Fn(usize) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let delay: Delay = Arc::new(move |bytes| delay(bytes).boxed());
        self.change(|state| state.delay = Some(delay.clone()));
    }

    /// Resets every open stream direction over them: both ends see it at once, even over a link
    /// that is cut.
    pub fn reset(&self) {
        for pipe in self.links.iter().flat_map(|link| link.pipes()) {
            pipe.fail(Side::Both);
        }
    }

    /// Ends every fault set by these methods. Streams that stalled go on where they were.
    pub fn heal(&self) {
        self.change(|state| {
            state.cut = false;
            state.stalled = false;
            state.refused = None;
            state.delay = None;
        });
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Links({})", self.links.len())
    }
}
