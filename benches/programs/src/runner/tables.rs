//! The results as tables.

use programs::workloads::Workload;

use crate::allocators::{Allocator, SYSTEM, THREAD_CACHED};
use crate::measure::{Outcome, Row};
use bench_common::Table;
use bench_common::statistics::geometric_mean;

/// What `thread_cached` may take, relative to the best program of each row.
const CPU_TARGET: f64 = 1.05;

/// What `thread_cached` may occupy, relative to the program with the C library's allocator.
const PEAK_TARGET: f64 = 1.0;

/// Everything that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Results<'a> {
    /// The columns.
    pub(crate) allocators: &'a [Allocator],
    /// The workloads, for their descriptions.
    pub(crate) workloads: &'a [Workload],
    /// The workloads that do something.
    pub(crate) rows: &'a [Row],
    /// The one that does nothing.
    pub(crate) start: &'a Row,
    /// How often each program was run.
    pub(crate) rounds: usize,
}

/// One of the two things that are measured.
struct Quantity {
    caption: String,
    of: fn(&Outcome) -> Option<f64>,
    /// What the ratio is to: the same allocator for all rows, or the best of each.
    baseline: Option<&'static str>,
}

impl Results<'_> {
    /// The tables, in their order.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let (cpu, peak) = (self.cpu(), self.peak());
        vec![
            self.table(&cpu),
            self.growth(),
            self.table(&peak),
            self.start_table(),
            self.targets(&cpu, &peak),
            self.spreads(),
        ]
    }

    fn cpu(&self) -> Quantity {
        Quantity {
            caption: "Processor time of a run in milliseconds, the first of the process left out, and ratio to the best of the row."
                .to_owned(),
            of: Outcome::cpu,
            baseline: None,
        }
    }

    fn peak(&self) -> Quantity {
        Quantity {
            caption: format!("Peak resident memory in MiB and ratio to `{SYSTEM}`."),
            of: Outcome::peak,
            baseline: Some(SYSTEM),
        }
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.allocators.iter().position(|allocator| allocator.name == name)
    }

    /// The value that the others of a row are compared with.
    fn base(&self, row: &Row, quantity: &Quantity) -> Option<f64> {
        match quantity.baseline {
            Some(name) => (quantity.of)(&row.outcomes[self.column(name)?]),
            None => row.outcomes.iter().filter_map(quantity.of).reduce(f64::min),
        }
    }

    /// The ratios of one allocator, row by row, as far as there are any.
    fn ratios(&self, column: usize, quantity: &Quantity) -> Vec<f64> {
        let ratio = |row: &Row| Some((quantity.of)(&row.outcomes[column])? / self.base(row, quantity)?);
        self.rows.iter().filter_map(ratio).collect()
    }

    fn header(&self, first: &str) -> Vec<String> {
        let names = self.allocators.iter().map(|allocator| allocator.name.to_owned());
        std::iter::once(first.to_owned()).chain(names).collect()
    }

    fn table(&self, quantity: &Quantity) -> Table {
        let mut rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| {
                let best = row.outcomes.iter().filter_map(quantity.of).reduce(f64::min);
                let base = self.base(row, quantity);
                let cells = row.outcomes.iter().map(|outcome| cell(outcome, quantity.of, best, base));
                std::iter::once(row.workload.to_owned()).chain(cells).collect()
            })
            .collect();
        let means = (0..self.allocators.len()).map(|column| {
            let ratios = self.ratios(column, quantity);
            let completed = ratios.len();
            let mean = geometric_mean(ratios).map_or_else(|| "–".to_owned(), times);
            if completed == self.rows.len() { mean } else { format!("{mean} ({completed})") }
        });
        rows.push(std::iter::once("**geometric mean of the ratios**".to_owned()).chain(means).collect());
        Table { caption: quantity.caption.clone(), header: self.header("workload"), rows }
    }

    /// What becomes of the speed when the heap is no longer fresh.
    fn growth(&self) -> Table {
        let show = |growth: Option<f64>| growth.map_or_else(|| "–".to_owned(), times);
        let mut rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| {
                let cells = row.outcomes.iter().map(|outcome| show(outcome.growth()));
                std::iter::once(row.workload.to_owned()).chain(cells).collect()
            })
            .collect();
        let means = (0..self.allocators.len()).map(|column| {
            let growths: Option<Vec<f64>> =
                self.rows.iter().map(|row| row.outcomes[column].growth()).collect();
            show(growths.and_then(geometric_mean))
        });
        rows.push(std::iter::once("**geometric mean**".to_owned()).chain(means).collect());
        Table {
            caption: "Processor time of a later run over that of the first one, which alone pays for bringing in the pages. Above \
                      1.00× the heap serves the same work worse than before."
                .to_owned(),
            header: self.header("workload"),
            rows,
        }
    }

    /// What it costs that a program starts and ends.
    fn start_table(&self) -> Table {
        let line = |name: &str, of: fn(&Outcome) -> Option<f64>| {
            let cells = self.start.outcomes.iter().map(|outcome| cell(outcome, of, None, None));
            std::iter::once(name.to_owned()).chain(cells).collect()
        };
        Table {
            caption: "What a program costs that does nothing, from its start to its end: contained in the peak memory above, not \
                      in the processor time."
                .to_owned(),
            header: self.header(self.start.workload),
            rows: vec![line("processor time, ms", Outcome::process), line("peak memory, MiB", Outcome::peak)],
        }
    }

    /// What the project wants to reach, beside what it has reached.
    fn targets(&self, cpu: &Quantity, peak: &Quantity) -> Table {
        let line = |what: &str, target: f64, quantity: &Quantity| {
            let ratios =
                self.column(THREAD_CACHED).map(|column| self.ratios(column, quantity)).unwrap_or_default();
            let worst = ratios.iter().copied().reduce(f64::max);
            // A mean over some of the rows is not what the target is about.
            let mean = geometric_mean(ratios.iter().copied()).filter(|_| ratios.len() == self.rows.len());
            let verdict = mean.map_or("–", |mean| if mean <= target { "yes" } else { "no" });
            let shown = |ratio: Option<f64>| ratio.map_or_else(|| "–".to_owned(), times);
            vec![
                what.to_owned(),
                format!("≤ {}", times(target)),
                shown(mean),
                shown(worst),
                verdict.to_owned(),
            ]
        };
        Table {
            caption: format!("The targets for `{THREAD_CACHED}`, for the geometric mean over all workloads."),
            header: ["", "target", "measured", "worst row", "met"].map(str::to_owned).to_vec(),
            rows: vec![
                line("processor time to that of the best", CPU_TARGET, cpu),
                line("peak memory to that of the C library's allocator", PEAK_TARGET, peak),
            ],
        }
    }

    fn spreads(&self) -> Table {
        let spread = |outcome: &Outcome| match outcome {
            Outcome::Completed { cpu, .. } => format!("{:.1} %", 100.0 * cpu.relative_width()),
            Outcome::Failed(_) => String::new(),
        };
        let rows = self.rows.iter().chain([self.start]).map(|row| {
            std::iter::once(row.workload.to_owned()).chain(row.outcomes.iter().map(spread)).collect()
        });
        Table {
            caption: "Spread of the processor time: distance between the quartiles of the rounds, as a share of the median."
                .to_owned(),
            header: self.header("workload"),
            rows: rows.collect(),
        }
    }
}

/// A ratio with two decimals.
fn times(ratio: f64) -> String {
    format!("{ratio:.2}×")
}

/// A value with its ratio to the base; bold if it is the best of its row.
fn cell(outcome: &Outcome, of: fn(&Outcome) -> Option<f64>, best: Option<f64>, base: Option<f64>) -> String {
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
    use bench_common::statistics::Spread;

    const ALLOCATORS: [Allocator; 3] = [
        Allocator { name: THREAD_CACHED, how: "" },
        Allocator { name: SYSTEM, how: "" },
        Allocator { name: "third", how: "" },
    ];

    fn completed(cpu: f64, peak: f64) -> Outcome {
        let spread = |value| Spread::of([value]).unwrap();
        Outcome::Completed { cpu: spread(cpu), first: cpu, process: cpu, peak: spread(peak) }
    }

    fn row(outcomes: [Outcome; 3]) -> Row {
        Row { workload: "row", outcomes: outcomes.into() }
    }

    fn tables(rows: &[Row]) -> Vec<Table> {
        let start = &row([completed(1.0, 1.0), completed(1.0, 1.0), completed(1.0, 1.0)]);
        Results { allocators: &ALLOCATORS, workloads: &[], rows, start, rounds: 1 }.tables()
    }

    #[test]
    fn processor_time_is_compared_with_the_best_and_memory_with_the_system() {
        let row = row([completed(3.0, 8.0), completed(4.0, 4.0), completed(2.0, 2.0)]);
        let tables = tables(&[row]);
        assert_eq!(tables[0].rows[0], ["row", "3.0 1.50×", "4.0 2.00×", "**2.0**"]);
        assert_eq!(tables[2].rows[0], ["row", "8.0 2.00×", "4.0", "**2.0** 0.50×"]);
        assert_eq!(tables[4].rows[0][2..], ["1.50×", "1.50×", "no"]);
        assert_eq!(tables[4].rows[1][2..], ["2.00×", "2.00×", "no"]);
    }

    #[test]
    fn a_target_is_met_by_the_mean_over_the_rows() {
        let rows = [
            row([completed(1.0, 1.0), completed(2.0, 2.0), completed(2.0, 2.0)]),
            row([completed(2.2, 3.0), completed(2.0, 2.0), completed(2.0, 2.0)]),
        ];
        let tables = tables(&rows);
        assert_eq!(tables[4].rows[0][2..], ["1.05×", "1.10×", "yes"]);
        assert_eq!(tables[4].rows[1][2..], ["0.87×", "1.50×", "yes"]);
    }

    #[test]
    fn a_failure_is_shown_and_meets_no_target() {
        let failed = Outcome::Failed("signal: 11".to_owned());
        let rows = [
            row([failed, completed(2.0, 2.0), completed(2.0, 2.0)]),
            row([completed(1.0, 1.0), completed(1.0, 1.0), completed(1.0, 1.0)]),
        ];
        let tables = tables(&rows);
        assert_eq!(tables[0].rows[0][1], "FAILED: signal: 11");
        assert_eq!(tables[0].rows[2][1], "1.00× (1)");
        assert_eq!(tables[4].rows[0][2..], ["–", "1.00×", "–"]);
    }
}
