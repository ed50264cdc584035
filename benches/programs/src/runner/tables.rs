//! The results as tables.

use std::iter;

use bench_common::Table;
use bench_common::comparison::{self, cell, times};
use bench_common::statistics::geometric_mean;
use programs::workloads::Workload;

use crate::allocators::{Allocator, SYSTEM, THREAD_CACHED};
use crate::measure::{FURTHER, Outcome, Row, growth, process};

type Comparison<'a> = comparison::Comparison<'a, { FURTHER.len() }>;
type Quantity = comparison::Quantity<{ FURTHER.len() }>;

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
    /// All that was run.
    pub(crate) all: Comparison<'a>,
    /// The workloads that do something.
    pub(crate) working: Comparison<'a>,
    /// The one that does nothing.
    pub(crate) start: &'a Row,
    /// How often each program was run.
    pub(crate) rounds: usize,
}

impl Results<'_> {
    /// The tables, in their order.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let (cpu, peak) = (self.cpu(), self.peak());
        vec![
            self.working.table(&cpu),
            self.growth(),
            self.working.table(&peak),
            self.start_table(),
            self.targets(&cpu, &peak),
            self.all.spreads(),
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

    /// What becomes of the speed when the heap is no longer fresh.
    fn growth(&self) -> Table {
        let show = |ratio: Option<f64>| ratio.map_or_else(|| "–".to_owned(), times);
        let mut rows: Vec<Vec<String>> = self
            .working
            .rows
            .iter()
            .map(|row| {
                let cells = row.outcomes.iter().map(|outcome| show(growth(outcome)));
                iter::once(row.name.to_owned()).chain(cells).collect()
            })
            .collect();
        let means = (0..self.allocators.len()).map(|column| {
            let growths: Option<Vec<f64>> =
                self.working.rows.iter().map(|row| growth(&row.outcomes[column])).collect();
            show(growths.and_then(geometric_mean))
        });
        rows.push(iter::once("**geometric mean**".to_owned()).chain(means).collect());
        Table {
            caption: "Processor time of a later run over that of the first one, which alone pays for bringing in the pages. Above \
                      1.00× the heap serves the same work worse than before."
                .to_owned(),
            header: self.working.header(self.working.what),
            rows,
        }
    }

    /// What it costs that a program starts and ends.
    fn start_table(&self) -> Table {
        let line = |name: &str, of: fn(&Outcome) -> Option<f64>| {
            let cells = self.start.outcomes.iter().map(|outcome| cell(outcome, of, None, None));
            iter::once(name.to_owned()).chain(cells).collect()
        };
        Table {
            caption: "What a program costs that does nothing, from its start to its end: contained in the peak memory above, not \
                      in the processor time."
                .to_owned(),
            header: self.all.header(self.start.name),
            rows: vec![line("processor time, ms", process), line("peak memory, MiB", Outcome::peak)],
        }
    }

    /// What the project wants to reach, beside what it has reached.
    fn targets(&self, cpu: &Quantity, peak: &Quantity) -> Table {
        let line = |what: &str, target: f64, quantity: &Quantity| {
            let column = self.working.column(THREAD_CACHED);
            let ratios = column.map(|column| self.working.ratios(column, quantity)).unwrap_or_default();
            let worst = ratios.iter().copied().reduce(f64::max);
            // A mean over some of the rows is not what the target is about.
            let mean =
                geometric_mean(ratios.iter().copied()).filter(|_| ratios.len() == self.working.rows.len());
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
}

#[cfg(test)]
mod tests {
    use std::slice;

    use bench_common::statistics::Spread;

    use super::*;

    const ALLOCATORS: [Allocator; 3] = [
        Allocator { name: THREAD_CACHED, how: "" },
        Allocator { name: SYSTEM, how: "" },
        Allocator { name: "third", how: "" },
    ];

    fn completed(cpu: f64, peak: f64) -> Outcome {
        let spread = |value| Spread::of([value]).unwrap();
        Outcome::Completed { cpu: spread(cpu), further: [cpu; FURTHER.len()], peak: spread(peak) }
    }

    fn row(outcomes: [Outcome; 3]) -> Row {
        Row { name: "row", outcomes: outcomes.into() }
    }

    fn tables(rows: &[Row]) -> Vec<Table> {
        let start = &row([completed(1.0, 1.0), completed(1.0, 1.0), completed(1.0, 1.0)]);
        let columns = ALLOCATORS.map(|allocator| allocator.name);
        let working = Comparison { what: "workload", columns: &columns, further: FURTHER, rows };
        let all = Comparison { rows: &[rows, slice::from_ref(start)].concat(), ..working };
        Results { allocators: &ALLOCATORS, workloads: &[], all, working, start, rounds: 1 }.tables()
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
    fn a_failure_meets_no_target() {
        let failed = Outcome::Failed("signal: 11".to_owned());
        let rows = [
            row([failed, completed(2.0, 2.0), completed(2.0, 2.0)]),
            row([completed(1.0, 1.0), completed(1.0, 1.0), completed(1.0, 1.0)]),
        ];
        assert_eq!(tables(&rows)[4].rows[0][2..], ["–", "1.00×", "–"]);
    }
}
