//! Rounds over all workloads and allocators.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use indicatif::ProgressBar;
use programs::workloads::Workload;

use crate::allocators::Allocator;
use crate::child::{self, Run};
use bench_common::statistics::Spread;

/// What came out for one allocator on one workload.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The results are right.
    Completed {
        /// Milliseconds of processor time of a run but the first.
        cpu: Spread,
        /// Median of that of the first run.
        first: f64,
        /// Median of that of the whole process.
        process: f64,
        /// Peak resident memory in MiB.
        peak: Spread,
    },
    /// The program failed or its results are wrong.
    Failed(String),
}

/// A row of the tables: one workload, one outcome per allocator.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The workload.
    pub(crate) workload: &'static str,
    /// In the order in which the allocators were given.
    pub(crate) outcomes: Vec<Outcome>,
}

/// The runs of one program with one workload, or how one of them failed.
type Cell = Result<Vec<Run>, String>;

/// Runs every workload with every allocator's program in `folder`, round after round.
///
/// # Errors
///
/// If a program cannot be started.
pub(crate) fn run(
    folder: &Path,
    workloads: &[Workload],
    allocators: &[Allocator],
    rounds: usize,
    bar: &ProgressBar,
) -> Result<Vec<Row>> {
    bar.set_length((rounds * workloads.len() * allocators.len()) as u64);
    // This process has Rust's default allocator, so it knows what the results should be.
    let expected: Vec<u64> = workloads.iter().map(Workload::checksum).collect();
    let mut cells: Vec<Vec<Cell>> = vec![vec![Ok(Vec::new()); allocators.len()]; workloads.len()];
    for round in 0..rounds {
        for (row, workload) in workloads.iter().enumerate() {
            for turn in 0..allocators.len() {
                // Nobody always comes first, or always after the same neighbour's cold caches.
                let column = (turn + round + row) % allocators.len();
                bar.set_message(format!("{}, {}", workload.name, allocators[column].name));
                let cell = &mut cells[row][column];
                if let Ok(runs) = cell {
                    match child::run(&folder.join(allocators[column].name), workload)? {
                        Ok(run) if run.report.checksum == expected[row] => runs.push(run),
                        Ok(_) => *cell = Err("wrong results".to_owned()),
                        Err(reason) => *cell = Err(reason),
                    }
                }
                bar.inc(1);
            }
        }
    }
    let rows = std::iter::zip(workloads, cells);
    Ok(rows
        .map(|(workload, cells)| Row {
            workload: workload.name,
            outcomes: cells.into_iter().map(outcome).collect(),
        })
        .collect())
}

fn outcome(cell: Cell) -> Outcome {
    let runs = match cell {
        Ok(runs) => runs,
        Err(reason) => return Outcome::Failed(reason),
    };
    let spread =
        |time: fn(&Run) -> Duration| Spread::of(runs.iter().map(|run| 1000.0 * time(run).as_secs_f64()));
    let cpu = spread(Run::later);
    let first = spread(|run| run.report.runs[0]);
    let process = spread(|run| run.process);
    let peak = Spread::of(runs.iter().map(|run| run.report.peak_kib as f64 / 1024.0));
    match (cpu, first, process, peak) {
        (Some(cpu), Some(first), Some(process), Some(peak)) => {
            Outcome::Completed { cpu, first: first.median, process: process.median, peak }
        }
        _ => Outcome::Failed("was not run".to_owned()),
    }
}

impl Outcome {
    /// How much longer a later run takes than the first, if the program completed.
    pub(crate) fn growth(&self) -> Option<f64> {
        match self {
            Self::Completed { cpu, first, .. } => Some(cpu.median / first),
            Self::Failed(_) => None,
        }
    }

    /// Median of the processor time of the whole process in milliseconds, if the program completed.
    pub(crate) fn process(&self) -> Option<f64> {
        match self {
            Self::Completed { process, .. } => Some(*process),
            Self::Failed(_) => None,
        }
    }

    /// Median of the processor time of a later run in milliseconds, if the program completed.
    pub(crate) fn cpu(&self) -> Option<f64> {
        match self {
            Self::Completed { cpu, .. } => Some(cpu.median),
            Self::Failed(_) => None,
        }
    }

    /// Median of the peak resident memory in MiB, if the program completed.
    pub(crate) fn peak(&self) -> Option<f64> {
        match self {
            Self::Completed { peak, .. } => Some(peak.median),
            Self::Failed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use programs::Report;
    use programs::workloads;

    use super::*;

    #[test]
    fn medians_are_taken_of_the_runs() {
        let run = |milliseconds: u64, mebibytes: u64| Run {
            process: Duration::from_millis(10 * milliseconds),
            report: Report {
                checksum: 0,
                runs: [2 * milliseconds, milliseconds - 1, milliseconds + 1].map(Duration::from_millis),
                peak_kib: mebibytes << 10,
            },
        };
        let outcome = outcome(Ok(vec![run(9, 3), run(1, 1), run(2, 2)]));
        assert_eq!((outcome.cpu(), outcome.peak()), (Some(2.0), Some(2.0)));
        assert_eq!((outcome.growth(), outcome.process()), (Some(0.5), Some(20.0)));
    }

    #[test]
    fn wrong_results_and_failures_are_told_apart_from_right_results() {
        let folder = std::env::temp_dir().join(format!("programs-test-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let right = format!("echo {:016x} 2048 3 2 1", workloads::NOTHING.checksum());
        let scripts = [("right", right.as_str()), ("wrong", "echo 0 2048 3 2 1"), ("broken", "exit 3")];
        let allocators = scripts.map(|(name, script)| {
            let file = folder.join(name);
            fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            Allocator { name, how: "" }
        });
        let rows = run(&folder, &[workloads::NOTHING], &allocators, 2, &ProgressBar::hidden()).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let outcomes = &rows[0].outcomes;
        assert_eq!(outcomes[0].peak(), Some(2.0));
        assert_eq!(outcomes[1], Outcome::Failed("wrong results".to_owned()));
        assert_eq!(outcomes[2], Outcome::Failed("exit status: 3".to_owned()));
    }
}
