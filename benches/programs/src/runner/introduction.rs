//! What the results say of themselves.

use std::fmt::Write as _;

use programs::{ARENA, RUNS};

use crate::tables::Results;

impl Results<'_> {
    /// How was measured, who, and with what, in Markdown.
    pub(crate) fn introduction(&self, command: &str) -> String {
        let mut text = format!(
            "# Whole programs\n\nMade by `{command}`.\n\n\
             Each number is that of a whole process: a Rust program, built once per allocator, which is its \
             `#[global_allocator]`. {} rounds: in each, every program is run once with every workload, and \
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
        text
    }
}
