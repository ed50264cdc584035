//! The results as tables, and what is said of them.

use std::fmt::Write as _;

use bench_common::Table;
use bench_common::comparison::{Comparison, Outcome, Quantity};

use crate::allocators::{Allocator, SYSTEM};
use crate::works::Work;

/// Everything that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Report<'a> {
    /// The columns.
    pub(crate) allocators: &'a [Allocator],
    /// The rows.
    pub(crate) works: &'a [Work],
    /// What was measured.
    pub(crate) comparison: Comparison<'a>,
    /// How often each program was run.
    pub(crate) rounds: usize,
}

impl Report<'_> {
    /// The tables, in their order.
    pub(crate) fn tables(&self) -> [Table; 3] {
        let quantity = |caption: &str, of| Quantity {
            caption: format!("{caption} and ratio to `{SYSTEM}`."),
            of,
            baseline: Some(SYSTEM),
        };
        [
            self.comparison.table(&quantity("Processor time in milliseconds", Outcome::cpu)),
            self.comparison.table(&quantity("Peak resident memory in MiB", Outcome::peak)),
            self.comparison.spreads(),
        ]
    }

    /// How was measured, who, and with what, in Markdown.
    pub(crate) fn introduction(&self, command: &str) -> String {
        let mut text = format!(
            "# Real programs\n\nMade by `{command}`.\n\n\
             Each number is that of a whole process: a published program, built once per allocator with one line added to its \
             main file. {} rounds: in each, every work is done once with every allocator, and the order of \
             the allocators rotates. Numbers are medians. Processor time is that of all threads, in the program and in the \
             system, from the start of the process to its end; peak memory is the high-water mark of what was resident, both as \
             `wait4` tells them. Each program has to print what the unmodified one prints; where it does not, or fails, its cell \
             says so. Allocators over an arena have 512 MiB.\n\n",
            self.rounds
        );
        for allocator in self.allocators {
            let _ = writeln!(text, "- *{}*: {}", allocator.name, allocator.how);
        }
        text.push('\n');
        for work in self.works {
            let _ = writeln!(text, "- *{}*: {} (`{}`)", work.name, work.what, work.command_line());
        }
        text
    }
}
