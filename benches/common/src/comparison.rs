//! Programs compared with each other: each work with each allocator, round after round.
//!
//! Processor time and peak memory are taken of every run. `FURTHER` is how many other times are.

use std::time::Duration;
use std::{array, iter};

use crate::statistics::{Spread, geometric_mean};
use crate::{Csv, Table};

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub struct Sample<const FURTHER: usize = 0> {
    /// Processor time.
    pub cpu: Duration,
    /// Other times of the same run.
    pub further: [Duration; FURTHER],
    /// Peak resident memory in KiB.
    pub peak_kib: u64,
}

/// The runs of one work with one allocator, or how one of them failed.
pub type Cell<const FURTHER: usize = 0> = Result<Vec<Sample<FURTHER>>, String>;

/// What came out for one work with one allocator.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<const FURTHER: usize = 0> {
    /// The results are right.
    Completed {
        /// Milliseconds of processor time.
        cpu: Spread,
        /// Medians of the further times, in milliseconds.
        further: [f64; FURTHER],
        /// Peak resident memory in MiB.
        peak: Spread,
    },
    /// A run failed or its results are wrong.
    Failed(String),
}

impl<const FURTHER: usize> Outcome<FURTHER> {
    /// Summarises the runs.
    #[must_use]
    pub fn of(cell: Cell<FURTHER>) -> Self {
        let runs = match cell {
            Ok(runs) => runs,
            Err(reason) => return Self::Failed(reason),
        };
        let cpu = milliseconds(runs.iter().map(|run| run.cpu));
        let peak = Spread::of(runs.iter().map(|run| run.peak_kib as f64 / 1024.0));
        let (Some(cpu), Some(peak)) = (cpu, peak) else {
            return Self::Failed("was not run".to_owned());
        };
        let further = array::from_fn(|which| {
            let spread = milliseconds(runs.iter().map(|run| run.further[which]));
            spread.expect("the processor time was taken of some runs").median
        });
        Self::Completed { cpu, further, peak }
    }

    /// Median of the processor time in milliseconds, if it completed.
    #[must_use]
    pub fn cpu(&self) -> Option<f64> {
        match self {
            Self::Completed { cpu, .. } => Some(cpu.median),
            Self::Failed(_) => None,
        }
    }

    /// Median of the peak resident memory in MiB, if it completed.
    #[must_use]
    pub fn peak(&self) -> Option<f64> {
        match self {
            Self::Completed { peak, .. } => Some(peak.median),
            Self::Failed(_) => None,
        }
    }
}

fn milliseconds(times: impl Iterator<Item = Duration>) -> Option<Spread> {
    Spread::of(times.map(|time| 1000.0 * time.as_secs_f64()))
}

/// A row of the tables: one work, one outcome per allocator.
#[derive(Clone, Debug)]
pub struct Row<const FURTHER: usize = 0> {
    /// Name of the work.
    pub name: &'static str,
    /// In the order of the columns.
    pub outcomes: Vec<Outcome<FURTHER>>,
}

/// Runs every row with every column in turn, round after round. `run` is told the row and the
/// column, and says how the run failed, if it did; a cell that failed is not run again.
///
/// # Errors
///
/// If `run` cannot run a program at all.
pub fn in_turn<const FURTHER: usize, E>(
    rows: &[&'static str],
    columns: usize,
    rounds: usize,
    mut run: impl FnMut(usize, usize) -> Result<Result<Sample<FURTHER>, String>, E>,
) -> Result<Vec<Row<FURTHER>>, E> {
    let mut cells: Vec<Vec<Cell<FURTHER>>> = vec![vec![Ok(Vec::new()); columns]; rows.len()];
    for round in 0..rounds {
        for (row, cells) in cells.iter_mut().enumerate() {
            for turn in 0..columns {
                // Nobody always comes first, or always after the same neighbour's cold caches.
                let column = (turn + round + row) % columns;
                if let Ok(runs) = &mut cells[column] {
                    match run(row, column)? {
                        Ok(sample) => runs.push(sample),
                        Err(reason) => cells[column] = Err(reason),
                    }
                }
            }
        }
    }
    let outcomes = cells.into_iter().map(|cells| cells.into_iter().map(Outcome::of).collect());
    Ok(iter::zip(rows, outcomes).map(|(&name, outcomes)| Row { name, outcomes }).collect())
}

/// One of the things that are measured.
#[derive(Clone, Debug)]
pub struct Quantity<const FURTHER: usize = 0> {
    /// What the table says above it.
    pub caption: String,
    /// The value of one outcome.
    pub of: fn(&Outcome<FURTHER>) -> Option<f64>,
    /// What the ratio is to: the same column for all rows, or the best of each.
    pub baseline: Option<&'static str>,
}

/// Rows and columns that were measured.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a, const FURTHER: usize = 0> {
    /// What names the rows, at the head of the first column.
    pub what: &'static str,
    /// Names of the allocators.
    pub columns: &'a [&'static str],
    /// Names of the further times, for [`csv`](Self::csv).
    pub further: [&'static str; FURTHER],
    /// The works.
    pub rows: &'a [Row<FURTHER>],
}

impl<const FURTHER: usize> Comparison<'_, FURTHER> {
    /// The position of a column, if there is one of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|&column| column == name)
    }

    /// The value that the others of a row are compared with.
    fn base(&self, row: &Row<FURTHER>, quantity: &Quantity<FURTHER>) -> Option<f64> {
        match quantity.baseline {
            Some(name) => (quantity.of)(&row.outcomes[self.column(name)?]),
            None => row.outcomes.iter().filter_map(quantity.of).reduce(f64::min),
        }
    }

    /// The ratios of one column, row by row, as far as there are any.
    #[must_use]
    pub fn ratios(&self, column: usize, quantity: &Quantity<FURTHER>) -> Vec<f64> {
        let ratio =
            |row: &Row<FURTHER>| Some((quantity.of)(&row.outcomes[column])? / self.base(row, quantity)?);
        self.rows.iter().filter_map(ratio).collect()
    }

    /// The names of the columns, with `first` before them.
    #[must_use]
    pub fn header(&self, first: &str) -> Vec<String> {
        iter::once(first).chain(self.columns.iter().copied()).map(str::to_owned).collect()
    }

    /// Each value with its ratio, and the means of the ratios.
    #[must_use]
    pub fn table(&self, quantity: &Quantity<FURTHER>) -> Table {
        let mut rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| {
                let best = row.outcomes.iter().filter_map(quantity.of).reduce(f64::min);
                let base = self.base(row, quantity);
                let cells = row.outcomes.iter().map(|outcome| cell(outcome, quantity.of, best, base));
                iter::once(row.name.to_owned()).chain(cells).collect()
            })
            .collect();
        let means = (0..self.columns.len()).map(|column| {
            let ratios = self.ratios(column, quantity);
            let completed = ratios.len();
            let mean = geometric_mean(ratios).map_or_else(|| "–".to_owned(), times);
            if completed == self.rows.len() { mean } else { format!("{mean} ({completed})") }
        });
        rows.push(iter::once("**geometric mean of the ratios**".to_owned()).chain(means).collect());
        Table { caption: quantity.caption.clone(), header: self.header(self.what), rows }
    }

    /// How far the rounds lie apart.
    #[must_use]
    pub fn spreads(&self) -> Table {
        let spread = |outcome: &Outcome<FURTHER>| match outcome {
            Outcome::Completed { cpu, .. } => format!("{:.1} %", 100.0 * cpu.relative_width()),
            Outcome::Failed(_) => String::new(),
        };
        let rows = self
            .rows
            .iter()
            .map(|row| iter::once(row.name.to_owned()).chain(row.outcomes.iter().map(spread)).collect());
        Table {
            caption: "Spread of the processor time: distance between the quartiles of the rounds, as a share of the median."
                .to_owned(),
            header: self.header(self.what),
            rows: rows.collect(),
        }
    }

    /// Every cell with its spreads.
    #[must_use]
    pub fn csv(&self) -> Csv {
        let further = self.further.map(|name| format!("{name}_median_ms"));
        let header = [
            &[
                self.what,
                "allocator",
                "outcome",
                "cpu_min_ms",
                "cpu_lower_quartile_ms",
                "cpu_median_ms",
                "cpu_upper_quartile_ms",
            ],
            &further.each_ref().map(String::as_str)[..],
            &["peak_min_mib", "peak_lower_quartile_mib", "peak_median_mib", "peak_upper_quartile_mib"],
        ];
        let mut csv = Csv::new(&header.concat());
        let number = |value: f64| format!("{value:.3}");
        let numbers = |spread: &Spread| [spread.min, spread.lower, spread.median, spread.upper].map(number);
        for row in self.rows {
            for (&allocator, outcome) in iter::zip(self.columns, &row.outcomes) {
                let (state, values) = match outcome {
                    Outcome::Completed { cpu, further, peak } => {
                        ("completed", [&numbers(cpu)[..], &further.map(number), &numbers(peak)].concat())
                    }
                    Outcome::Failed(reason) => (reason.as_str(), vec![String::new(); 8 + FURTHER]),
                };
                csv.push([row.name, allocator, state].map(str::to_owned).into_iter().chain(values));
            }
        }
        csv
    }

    /// A sentence for each cell that failed.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        self.rows.iter().flat_map(|row| {
            iter::zip(self.columns, &row.outcomes).filter_map(|(column, outcome)| match outcome {
                Outcome::Failed(reason) => Some(format!("{} with {column}: {reason}", row.name)),
                Outcome::Completed { .. } => None,
            })
        })
    }
}

/// A ratio with two decimals.
#[must_use]
pub fn times(ratio: f64) -> String {
    format!("{ratio:.2}×")
}

/// A value with its ratio to the base; bold if it is the best of its row.
#[must_use]
pub fn cell<const FURTHER: usize>(
    outcome: &Outcome<FURTHER>,
    of: fn(&Outcome<FURTHER>) -> Option<f64>,
    best: Option<f64>,
    base: Option<f64>,
) -> String {
    let value = match outcome {
        Outcome::Failed(reason) => return format!("FAILED: {reason}"),
        Outcome::Completed { .. } => of(outcome).unwrap_or_default(),
    };
    let shown = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    let shown = if best.is_some_and(|best| value <= best) { format!("**{shown}**") } else { shown };
    match base {
        Some(base) if base != value => format!("{shown} {}", times(value / base)),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [&str; 3] = ["first", "system", "third"];

    fn sample(milliseconds: u64, mebibytes: u64) -> Sample {
        Sample { cpu: Duration::from_millis(milliseconds), further: [], peak_kib: mebibytes << 10 }
    }

    fn completed(cpu: u64, peak: u64) -> Outcome {
        Outcome::of(Ok(vec![sample(cpu, peak)]))
    }

    fn table(rows: &[Row], baseline: Option<&'static str>) -> Table {
        let quantity = Quantity { caption: String::new(), of: Outcome::cpu, baseline };
        Comparison { what: "work", columns: &COLUMNS, further: [], rows }.table(&quantity)
    }

    #[test]
    fn medians_are_taken_of_the_runs() {
        let outcome = Outcome::of(Ok(vec![sample(9, 3), sample(1, 1), sample(2, 2)]));
        assert_eq!((outcome.cpu(), outcome.peak()), (Some(2.0), Some(2.0)));
    }

    #[test]
    fn further_times_are_between_the_others_by_their_medians() {
        let sample = |first| Sample {
            cpu: Duration::from_millis(2),
            further: [first, 10 * first].map(Duration::from_millis),
            peak_kib: 1024,
        };
        let rows = [Row { name: "row", outcomes: vec![Outcome::of(Ok([9, 1, 4].map(sample).to_vec()))] }];
        let further = ["first", "whole"];
        let comparison = Comparison { what: "work", columns: &["only"], further, rows: &rows };
        let csv = comparison.csv().text();
        let (header, values) = csv.split_once('\n').unwrap();
        assert!(header.contains(",cpu_upper_quartile_ms,first_median_ms,whole_median_ms,peak_min_mib,"));
        assert!(values.contains(",2.000,4.000,40.000,1.000,"), "{values}");
    }

    #[test]
    fn values_are_compared_with_the_best_or_with_a_column() {
        let rows = [Row { name: "row", outcomes: vec![completed(3, 8), completed(4, 4), completed(2, 2)] }];
        assert_eq!(table(&rows, None).rows[0], ["row", "3.0 1.50×", "4.0 2.00×", "**2.0**"]);
        assert_eq!(table(&rows, Some("system")).rows[0], ["row", "3.0 0.75×", "4.0", "**2.0** 0.50×"]);
        assert_eq!(table(&rows, Some("absent")).rows[0], ["row", "3.0", "4.0", "**2.0**"]);
    }

    #[test]
    fn a_failure_is_shown_and_left_out_of_the_mean() {
        let failed = Outcome::Failed("signal: 11".to_owned());
        let rows = [
            Row { name: "a", outcomes: vec![failed, completed(2, 2), completed(2, 2)] },
            Row { name: "b", outcomes: vec![completed(1, 1), completed(1, 1), completed(1, 1)] },
        ];
        let table = table(&rows, None);
        assert_eq!(table.rows[0][1], "FAILED: signal: 11");
        assert_eq!(table.rows[2][1], "1.00× (1)");
        let comparison = Comparison { what: "work", columns: &COLUMNS, further: [], rows: &rows };
        assert_eq!(comparison.failures().collect::<Vec<_>>(), ["a with first: signal: 11"]);
        assert!(comparison.csv().text().contains("a,first,signal: 11,,,,,,,,\n"));
    }

    #[test]
    fn everybody_has_a_turn_in_each_round_until_it_fails() {
        let mut turns = Vec::new();
        let rows = in_turn(&["a", "b"], 2, 3, |row, column| {
            turns.push((row, column));
            Ok::<_, ()>(if (row, column) == (1, 0) { Err("wrong".to_owned()) } else { Ok(sample(1, 1)) })
        })
        .unwrap();
        assert_eq!(turns[..4], [(0, 0), (0, 1), (1, 1), (1, 0)]);
        assert_eq!(turns.len(), 3 * 3 + 1);
        assert_eq!(rows[1].outcomes[0], Outcome::Failed("wrong".to_owned()));
        assert_eq!(rows[1].outcomes[1].cpu(), Some(1.0));
    }
}
