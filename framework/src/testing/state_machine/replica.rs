//! One copy of the machine, fed with bytes as a replica is.

use super::MachineHarness;
use crate::state_machine::{ApplyContext, QueryContext, StateMachine, Wire};
use crate::testing::Seeded;
use crate::types::{ClusterId, GroupId, LogId, LogIndex, LogTime, Position, Term};

/// The bytes of a value.
pub(super) fn encode<W: Wire>(value: &W) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes).unwrap_or_else(|error| panic!("{error}"));
    bytes
}

/// The value with these bytes, which were made by `encode`.
pub(super) fn decode<W: Wire>(bytes: &[u8], what: &str) -> W {
    W::decode(bytes).unwrap_or_else(|error| panic!("{what} does not come back from its bytes: {error}"))
}

/// As many encoded commands as a case applies.
pub(super) fn commands<H: MachineHarness>(rng: &mut Seeded) -> Vec<Vec<u8>> {
    (0..H::COMMANDS).map(|_| encode(&H::command(rng))).collect()
}

pub(super) struct Replica<H: MachineHarness> {
    machine: H::Machine,
    /// How many commands it has applied.
    applied: usize,
}

impl<H: MachineHarness> Replica<H> {
    pub(super) fn new() -> Self {
        Self { machine: H::machine(), applied: 0 }
    }

    /// The log's clock after the commands applied so far.
    fn now(&self) -> LogTime {
        LogTime::from_micros(self.applied as u64 / 3 * 700_000)
    }

    /// Applies the next command and returns the bytes of its response.
    pub(super) fn apply(&mut self, command: &[u8]) -> Vec<u8> {
        let number = self.applied as u64;
        let time = self.now();
        self.applied += 1;
        // Several commands share an entry, and terms change.
        let position = Position { index: LogIndex(1 + number / 3), ordinal: (number % 3) as u32 };
        let term = Term(1 + number / 100);
        let mut context = ApplyContext::new(ClusterId([7; 32]), GroupId::MAIN, term, position, time);
        let command = decode::<<H::Machine as StateMachine>::Command>(command, "a command");
        let label = command.label();
        let response = encode(&self.machine.apply(&mut context, command));
        let what = format!("the response of `{label}`");
        let again = decode::<<H::Machine as StateMachine>::Response>(&response, &what);
        assert!(encode(&again) == response, "{what} comes back from its bytes as another one");
        response
    }

    /// Applies commands and returns the bytes of their responses.
    pub(super) fn apply_all(&mut self, commands: &[Vec<u8>]) -> Vec<Vec<u8>> {
        commands.iter().map(|command| self.apply(command)).collect()
    }

    /// The bytes of the answers to the queries of a seed.
    pub(super) fn answers(&self, seed: u64) -> Vec<Vec<u8>> {
        let mut rng = Seeded::new(seed);
        let number = self.applied as u64;
        let context = QueryContext::new(Some(LogId::new(1 + number / 100, 1 + number / 3)), self.now());
        let mut answer = || {
            let query = encode(&H::query(&mut rng)?);
            let query = decode::<<H::Machine as StateMachine>::Query>(&query, "a query");
            let label = query.label();
            let answer = encode(&self.machine.query(&context, query));
            let what = format!("the answer to `{label}`");
            let again = decode::<<H::Machine as StateMachine>::Answer>(&answer, &what);
            assert!(encode(&again) == answer, "{what} comes back from its bytes as another one");
            Some(answer)
        };
        (0..50).filter_map(|_| answer()).collect()
    }

    pub(super) fn capture(&self) -> <H::Machine as StateMachine>::Snapshot {
        self.machine.snapshot()
    }

    pub(super) fn write(snapshot: <H::Machine as StateMachine>::Snapshot) -> Vec<u8> {
        let mut bytes = Vec::new();
        H::Machine::write(snapshot, &mut bytes).expect("a snapshot can be written to memory");
        bytes
    }

    /// Replaces the state by that of a snapshot taken after `applied` commands.
    pub(super) fn restore(&mut self, snapshot: &[u8], applied: usize) {
        let mut input = snapshot;
        self.machine.restore(&mut input).expect("a snapshot of this machine can be restored");
        self.applied = applied;
    }

    /// Fails unless `other` shows the same state: by answers, by its next deadline, and by its
    /// snapshot where equal states write equal ones.
    pub(super) fn assert_same(&self, other: &Self, seed: u64, when: &str) {
        for (number, (ours, theirs)) in self.answers(seed).iter().zip(other.answers(seed)).enumerate() {
            assert!(*ours == theirs, "{when}, query {number} is answered differently");
        }
        let now = self.now();
        let deadline = self.machine.deadline(now);
        assert_eq!(deadline, other.machine.deadline(now), "{when}, the deadlines differ");
        assert!(
            deadline.is_none_or(|deadline| deadline > now),
            "{when}, at {now}, the next deadline is said to be {deadline:?}, which has passed: it hides later ones"
        );
        if H::SAME_SNAPSHOTS {
            assert!(
                Self::write(self.capture()) == Self::write(other.capture()),
                "{when}, the snapshots differ: the states do, or equal states write different bytes, as a \
                 `HashMap` does; then use a `BTreeMap`, or say `SAME_SNAPSHOTS = false`"
            );
        }
    }
}
