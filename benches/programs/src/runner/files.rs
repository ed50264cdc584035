//! The results as files: a section in Markdown, and comma-separated values.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use programs::{ARENA, RUNS};

use crate::tables::Results;

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

    /// Writes everything into a folder, which is made if need be.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub(crate) fn write(&self, folder: &Path, command: &str) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let (markdown, csv) = (self.markdown(command), self.all.csv());
        for (name, text) in [("programs.md", markdown.as_str()), ("programs.csv", csv.as_str())] {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}
