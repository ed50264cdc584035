//! The results as tables and files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
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

    /// The section in Markdown.
    fn markdown(&self, command: &str) -> String {
        let mut text = format!(
            "## Real programs\n\n\
             Each number is that of a whole process: a published program, built once per allocator with one line added to its \
             main file. Made by `{command}`. {} rounds: in each, every work is done once with every allocator, and the order of \
             the allocators rotates. Numbers are medians. Processor time is that of all threads, in the program and in the \
             system, from the start of the process to its end; peak memory is the high-water mark of what was resident, both as \
             `wait4` tells them. Each program has to print what the unmodified one prints; where it does not, or fails, its cell \
             says so. Allocators over an arena have 1 GiB.\n\n",
            self.rounds
        );
        for allocator in self.allocators {
            let _ = writeln!(text, "- *{}*: {}", allocator.name, allocator.how);
        }
        text.push('\n');
        for work in self.works {
            let _ = writeln!(text, "- *{}*: {} (`{}`)", work.name, work.what, work.command_line());
        }
        for table in self.tables() {
            text.push('\n');
            text.push_str(&table.markdown());
        }
        text
    }

    /// Writes everything into a folder, which is made if need be.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub(crate) fn write(&self, folder: &Path, command: &str) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let (markdown, csv) = (self.markdown(command), self.comparison.csv());
        for (name, text) in [("real-programs.md", markdown.as_str()), ("real-programs.csv", csv.as_str())] {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}
