//! The results as files: a section in Markdown, and comma-separated values.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use programs::{ARENA, RUNS};

use crate::measure::Outcome;
use crate::tables::Results;
use bench_common::Csv;
use bench_common::statistics::Spread;

impl Results<'_> {
    /// The section in Markdown.
    fn markdown(&self, command: &str) -> String {
        let mut text = format!(
            "## Whole programs\n\n\
             Each number is that of a whole process: a Rust program, built once per allocator, which is its \
             `#[global_allocator]`. Made by `{command}`. {} rounds: in each, every program is run once with every workload, and \
             the order of the allocators rotates. A program performs its workload {RUNS} times, and the runs after the first one \
             count: a heap is fresh once only. Numbers are medians. Processor time is that of all threads, in the program and in \
             the system, and is taken inside of the process. Peak memory is the high-water mark of \
             the resident memory (`VmHWM`) when all runs are done. Each program's results have to be those of the others; where \
             they are not, or where a program fails, its cell says so. Allocators over an arena have {} MiB.\n\n",
            self.rounds,
            ARENA >> 20
        );
        for allocator in self.allocators {
            let _ = writeln!(text, "- *{}*: {}", allocator.name, allocator.how);
        }
        text.push('\n');
        for workload in self.workloads {
            let _ = writeln!(text, "- *{}*: {}", workload.name, workload.what);
        }
        for table in self.tables() {
            text.push('\n');
            text.push_str(&table.markdown());
        }
        text
    }

    fn csv(&self) -> Csv {
        let mut csv = Csv::new(&[
            "workload",
            "allocator",
            "outcome",
            "cpu_min_ms",
            "cpu_lower_quartile_ms",
            "cpu_median_ms",
            "cpu_upper_quartile_ms",
            "first_run_median_ms",
            "process_median_ms",
            "peak_min_mib",
            "peak_lower_quartile_mib",
            "peak_median_mib",
            "peak_upper_quartile_mib",
        ]);
        let numbers = |spread: &Spread| {
            [spread.min, spread.lower, spread.median, spread.upper].map(|value| format!("{value:.3}"))
        };
        for row in self.rows.iter().chain([self.start]) {
            for (allocator, outcome) in std::iter::zip(self.allocators, &row.outcomes) {
                let (state, values) = match outcome {
                    Outcome::Completed { cpu, first, process, peak } => {
                        let single = [*first, *process].map(|value| format!("{value:.3}"));
                        ("completed", [&numbers(cpu)[..], &single, &numbers(peak)].concat())
                    }
                    Outcome::Failed(reason) => (reason.as_str(), vec![String::new(); 10]),
                };
                let head = [row.workload, allocator.name, state].map(str::to_owned);
                csv.push(head.into_iter().chain(values));
            }
        }
        csv
    }

    /// Writes everything into a folder, which is made if need be.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub(crate) fn write(&self, folder: &Path, command: &str) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        for (name, text) in
            [("programs.md", self.markdown(command).as_str()), ("programs.csv", self.csv().as_str())]
        {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}
