//! What was measured: by side and appenders a figure per round, and what follows from them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::Run;

/// One round of one cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Entries, or flushes.
    pub per_second: f64,
    /// The median wait for a receipt.
    pub p50: Duration,
    /// What 99 of 100 did not wait longer than.
    pub p99: Duration,
}

impl Figure {
    /// Of all the runs of a round; `None` when nothing was run.
    pub fn of(runs: &[Run]) -> Option<Self> {
        let took: Duration = runs.iter().map(|run| run.took).sum();
        let mut waits: Vec<Duration> = runs.iter().flat_map(|run| run.waits.iter().copied()).collect();
        waits.sort_unstable();
        let last = waits.len().checked_sub(1)?;
        let at = |percent: usize| waits[last * percent / 100];
        Some(Self { per_second: waits.len() as f64 / took.as_secs_f64(), p50: at(50), p99: at(99) })
    }
}

/// The figures of a contest.
#[derive(Debug, Default)]
pub struct Figures {
    /// The sides, in the order in which they are shown.
    pub sides: Vec<&'static str>,
    cells: BTreeMap<(usize, &'static str), Vec<Figure>>,
}

impl Figures {
    /// None yet.
    pub fn new(sides: Vec<&'static str>) -> Self {
        Self { sides, cells: BTreeMap::new() }
    }

    /// Adds a round. Rounds of the sides belong together in the order in which they are added.
    pub fn add(&mut self, appenders: usize, side: &'static str, figure: Figure) {
        self.cells.entry((appenders, side)).or_default().push(figure);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// How many appenders there were.
    pub fn appenders(&self) -> Vec<usize> {
        let mut all: Vec<usize> = self.cells.keys().map(|(appenders, _)| *appenders).collect();
        all.dedup();
        all
    }

    /// The medians of a cell's rounds.
    pub fn median(&self, appenders: usize, side: &'static str) -> Option<Figure> {
        let rounds = self.cells.get(&(appenders, side))?;
        let of = |field: fn(&Figure) -> f64| median(rounds.iter().map(field).collect());
        Some(Figure {
            per_second: of(|figure| figure.per_second)?,
            p50: Duration::from_secs_f64(of(|figure| figure.p50.as_secs_f64())?),
            p99: Duration::from_secs_f64(of(|figure| figure.p99.as_secs_f64())?),
        })
    }

    /// The median over the rounds of `side`'s throughput divided by `rival`'s in the same round.
    pub fn ratio(&self, appenders: usize, side: &'static str, rival: &'static str) -> Option<f64> {
        let (ours, theirs) = (self.cells.get(&(appenders, side))?, self.cells.get(&(appenders, rival))?);
        median(ours.iter().zip(theirs).map(|(ours, theirs)| ours.per_second / theirs.per_second).collect())
    }

    /// As Markdown; `ours` divided by each in the last column.
    pub fn table(&self, ours: &'static str) -> String {
        let mut out = String::from("| appenders | side | entries/s | p50 ms | p99 ms | ours / this |\n");
        out.push_str("|--:|---|--:|--:|--:|--:|\n");
        for appenders in self.appenders() {
            for &side in &self.sides {
                let Some(figure) = self.median(appenders, side) else { continue };
                let Figure { per_second, p50, p99 } = figure;
                let (p50, p99) = (p50.as_secs_f64() * 1e3, p99.as_secs_f64() * 1e3);
                let ratio = self.ratio(appenders, ours, side).map_or("-".to_owned(), |r| format!("{r:.2}"));
                writeln!(out, "| {appenders} | {side} | {per_second:.0} | {p50:.2} | {p99:.2} | {ratio} |")
                    .expect("a string takes everything");
            }
        }
        out
    }
}

/// The middle one, or what lies between the two in the middle.
pub fn median(mut of: Vec<f64>) -> Option<f64> {
    of.sort_unstable_by(f64::total_cmp);
    let middle = of.len() / 2;
    let upper = *of.get(middle)?;
    Some(if of.len() % 2 == 1 { upper } else { f64::midpoint(of[middle - 1], upper) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(per_second: f64) -> Figure {
        Figure { per_second, p50: Duration::from_millis(1), p99: Duration::from_millis(2) }
    }

    #[test]
    fn a_figure_is_of_all_runs() {
        let run = |ms: [u64; 2]| Run {
            took: Duration::from_millis(ms[1]),
            waits: ms.map(Duration::from_millis).to_vec(),
        };
        let found = Figure::of(&[run([30, 40]), run([10, 20]), run([1, 60])]).expect("six waits");
        assert_eq!(
            (found.per_second, found.p50, found.p99),
            (50.0, run([20, 0]).waits[0], run([40, 0]).waits[0])
        );
        assert_eq!(Figure::of(&[]), None);
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_the_medians() {
        let mut figures = Figures::new(vec!["a", "b"]);
        assert!(figures.is_empty());
        for (a, b) in [(10.0, 10.0), (20.0, 10.0), (300.0, 100.0), (1.0, 1.0)] {
            figures.add(64, "a", figure(a));
            figures.add(64, "b", figure(b));
        }
        figures.add(1, "b", figure(5.0));
        assert_eq!(figures.ratio(64, "a", "b"), Some(1.5));
        assert_eq!(figures.ratio(1, "a", "b"), None);
        assert_eq!(
            figures.table("a").lines().skip(2).collect::<Vec<_>>(),
            [
                "| 1 | b | 5 | 1.00 | 2.00 | - |",
                "| 64 | a | 15 | 1.00 | 2.00 | 1.00 |",
                "| 64 | b | 10 | 1.00 | 2.00 | 1.50 |"
            ]
        );
    }
}
