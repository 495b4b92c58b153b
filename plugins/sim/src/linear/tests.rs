//! Against every order there is, and on histories as long as a run's. Longer ones are in
//! `tests/linear`.

use super::register::{Register, RegisterOp};
use super::*;
use crate::rng::Rng;

type History = Vec<Operation<RegisterOp>>;

const BUDGET: usize = 1_000_000;

/// A register of which no transitions are known.
struct Opaque;

impl Model for Opaque {
    type State = Option<u64>;
    type Op = RegisterOp;

    fn init(&self) -> Option<u64> {
        Register.init()
    }

    fn step(&self, state: &Option<u64>, op: &RegisterOp) -> Option<Option<u64>> {
        Register.step(state, op)
    }

    fn step_blindly(&self, state: &Option<u64>, op: &RegisterOp) -> Option<u64> {
        Register.step_blindly(state, op)
    }

    fn only_reads(&self, op: &RegisterOp) -> bool {
        Register.only_reads(op)
    }
}

/// Tries every order, with and without each operation of unknown outcome.
fn brute(history: &History, placed: u32, state: Option<u64>) -> bool {
    let open = |index: &usize| placed & (1 << index) == 0;
    let left: Vec<usize> = (0..history.len()).filter(open).collect();
    if left.iter().all(|index| history[*index].end.is_none()) {
        return true;
    }
    let first_end = left.iter().filter_map(|index| history[*index].end).min().expect("one is known");
    left.iter().filter(|index| history[**index].call < first_end).any(|index| {
        let Operation { op, end, .. } = &history[*index];
        let after = match end {
            Some(_) => Register.step(&state, op),
            None => Some(Register.step_blindly(&state, op)),
        };
        after.is_some_and(|after| brute(history, placed | 1 << index, after))
    })
}

#[test]
fn a_write_that_is_made_once_more_may_take_effect_twice_if_nobody_knows_of_the_first() {
    for known in [false, true] {
        let done = |op, call| Operation { op, call, end: Some(call + 1) };
        let first = Operation { op: RegisterOp::Write(1), call: 0, end: known.then_some(1) };
        let once_more = [
            first,
            done(RegisterOp::Write(1), 2),
            done(RegisterOp::Write(2), 4),
            done(RegisterOp::Read(Some(1)), 6),
        ];
        let verdict = check(&Register, &once_more, BUDGET);
        assert_eq!(verdict == Verdict::Linearizable, !known, "{verdict:?}");
    }
}

/// How many operations had ended before the first that makes it wrong, and where that stands.
fn brute_evidence(history: &History) -> Option<(usize, usize)> {
    let mut ends: Vec<(u64, usize)> =
        history.iter().enumerate().filter_map(|(index, operation)| Some((operation.end?, index))).collect();
    ends.sort_unstable();
    ends.iter().enumerate().find_map(|(explained, (end, stuck))| {
        let mut history = history.clone();
        history.retain(|operation| operation.call < *end);
        for operation in &mut history {
            operation.end = operation.end.filter(|other| other <= end);
        }
        (!brute(&history, 0, None)).then_some((explained, *stuck))
    })
}

fn random_op(rng: &mut Rng, values: u64, unique: Option<u64>) -> RegisterOp {
    let value = |rng: &mut Rng| unique.unwrap_or_else(|| rng.below(values));
    let seen = |rng: &mut Rng| Some(rng.below(values + 1)).filter(|value| *value < values);
    match rng.below(5) {
        0 | 1 => RegisterOp::Read(seen(rng)),
        2 => RegisterOp::Write(value(rng)),
        _ => RegisterOp::Cas { expected: seen(rng), new: value(rng), done: rng.chance(500) },
    }
}

/// Times at random; every outcome with the same chance, so that many histories are impossible. In
/// every second one no value is written twice.
fn random_history(rng: &mut Rng, operations: u64) -> History {
    let mut times: Vec<u64> = (0..operations * 2).collect();
    for last in (1..times.len()).rev() {
        times.swap(last, rng.below(last as u64 + 1) as usize);
    }
    let unique = rng.chance(500);
    let values = if unique { operations } else { rng.within(2..5) };
    let unknown_per_mille = *rng.pick(&[100, 300, 600]);
    let operation = |(number, pair): (usize, &[u64])| {
        let (call, end) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
        Operation { op: random_op(rng, values, unique.then_some(number as u64)), call, end: Some(end) }
    };
    let mut history: History = times.chunks(2).enumerate().map(operation).collect();
    for operation in &mut history {
        if !matches!(operation.op, RegisterOp::Read(_)) && rng.chance(unknown_per_mille) {
            operation.end = None;
        }
    }
    history
}

#[test]
fn it_agrees_with_every_order_there_is() {
    let mut rng = Rng::new(1);
    let (mut good, mut bad, mut unknown) = (0, 0, 0);
    for round in 0..40_000 {
        let operations = 2 + rng.below(7);
        let history = random_history(&mut rng, operations);
        let expected = brute(&history, 0, None);
        let evidence = brute_evidence(&history);
        assert_eq!(evidence.is_none(), expected, "what is wrong is so from some end on");
        for found in [check(&Register, &history, BUDGET), check(&Opaque, &history, BUDGET)] {
            let expected = evidence.map_or(Verdict::Linearizable, |(explained, stuck)| {
                Verdict::NotLinearizable { explained, stuck }
            });
            assert_eq!(found, expected, "round {round}: {history:?}");
        }
        (good, bad) = (good + u32::from(expected), bad + u32::from(!expected));
        unknown += history.iter().filter(|operation| operation.end.is_none()).count();
    }
    assert!(good > 8_000 && bad > 10_000 && unknown > 30_000, "{good} {bad} {unknown}");
}

/// What `clients` could have seen of a register, `unknown_per_mille` of the writes without an answer.
fn possible_history(rng: &mut Rng, operations: usize, clients: u64, unknown_per_mille: u64) -> History {
    let mut history = History::new();
    let (mut now, mut state) = (0, None);
    let mut busy: Vec<(u64, usize)> = Vec::new();
    while history.len() < operations || !busy.is_empty() {
        now += 1;
        if (busy.len() as u64) < clients && history.len() < operations && rng.chance(600) {
            // The value is unique, so that a read names its write. It takes effect at its end.
            busy.push((now, history.len()));
            let op = match rng.below(3) {
                0 => RegisterOp::Write(now),
                1 => RegisterOp::Cas { expected: state, new: now, done: false },
                _ => RegisterOp::Read(None),
            };
            history.push(Operation { op, call: now, end: None });
        } else if !busy.is_empty() {
            let (_, index) = busy.swap_remove(rng.below(busy.len() as u64) as usize);
            let unknown = !matches!(history[index].op, RegisterOp::Read(_)) && rng.chance(unknown_per_mille);
            if unknown && rng.chance(500) {
                continue;
            }
            let Operation { op, end, .. } = &mut history[index];
            *end = (!unknown).then_some(now);
            match op {
                RegisterOp::Read(seen) => *seen = state,
                RegisterOp::Cas { expected, done, .. } => *done = *expected == state,
                RegisterOp::Write(_) => {}
            }
            state = Register.step_blindly(&state, op);
        }
    }
    history
}

/// Calls of which a model says nothing are searched as well, if not as many.
#[test]
fn a_long_history_is_decided_and_one_wrong_read_in_it_is_found() {
    fn judged<M: Model<Op = RegisterOp>>(model: &M, history: &mut History, what: &str) {
        assert_eq!(check(model, history, 100 * BUDGET), Verdict::Linearizable, "{what}");
        let is_read = |operation: &Operation<RegisterOp>| {
            matches!(operation.op, RegisterOp::Read(Some(_))) && operation.end.is_some()
        };
        let reads: Vec<usize> = (0..history.len()).filter(|index| is_read(&history[*index])).collect();
        let wrong = reads[reads.len() / 3];
        history[wrong].op = RegisterOp::Read(Some(u64::MAX));
        let verdict = check(model, history, 100 * BUDGET);
        assert!(
            matches!(verdict, Verdict::NotLinearizable { stuck, .. } if stuck == wrong),
            "{what}: {verdict:?}"
        );
    }
    let mut rng = Rng::new(2);
    for (operations, clients, unknown) in [(10_000, 8, 0), (10_000, 6, 5), (3_000, 4, 20)] {
        let what = format!("{operations} of {clients}, {unknown} unknown");
        let history = possible_history(&mut rng, operations, clients, unknown);
        judged(&Register, &mut history.clone(), &what);
        judged(&Opaque, &mut history.clone(), &what);
    }
}

#[test]
fn a_write_that_came_back_from_nowhere_is_allowed_and_a_lost_one_is_not() {
    let op = |op, call, end| Operation { op, call, end };
    let written = op(RegisterOp::Write(1), 0, Some(1));
    let unknown = op(RegisterOp::Write(2), 2, None);
    let sees = |value, at| op(RegisterOp::Read(Some(value)), at, Some(at + 1));
    let late = vec![written.clone(), unknown.clone(), sees(1, 10), sees(2, 12)];
    assert_eq!(check(&Register, &late, BUDGET), Verdict::Linearizable);
    let back = vec![written, unknown, sees(2, 10), sees(1, 12)];
    let verdict = check(&Register, &back, BUDGET);
    assert_eq!(verdict, Verdict::NotLinearizable { explained: 2, stuck: 3 });
}

#[test]
fn a_search_that_is_given_up_is_no_pass() {
    let mut rng = Rng::new(3);
    let history = possible_history(&mut rng, 200, 6, 0);
    assert_eq!(check(&Register, &history, 5), Verdict::Undecided);
}
