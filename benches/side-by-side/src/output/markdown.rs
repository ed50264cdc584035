//! The report as files: one Markdown document, and a CSV file and charts per section.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Section, machine};
use crate::allocators::Allocator;

/// Writes everything into a folder, which is made if need be.
///
/// # Errors
///
/// If a file cannot be written.
pub fn write_all(folder: &Path, command: &str, sections: &[Section]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for section in sections {
        write(&folder.join(format!("{}.csv", section.slug)), section.csv.as_str())?;
        for chart in &section.charts {
            chart.draw(&folder.join(format!("{}.svg", chart.name)))?;
        }
    }
    write(&folder.join("report.md"), &document(command, sections))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn document(command: &str, sections: &[Section]) -> String {
    let mut text = format!("# Side by side\n\nMade by `{command}`.\n\n## Machine\n\n| | |\n| :-- | :-- |\n");
    for (name, value) in machine::facts() {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text.push_str("\n## Who takes part\n\n| name | class | how | bytes outside the arena |\n| :-- | :-- | :-- | --: |\n");
    for allocator in Allocator::ALL {
        let outside = allocator.bookkeeping().map_or_else(String::new, |bytes| bytes.to_string());
        let (name, class, how) = (allocator.name(), allocator.class(), allocator.how());
        let _ = writeln!(text, "| {name} | {class:?} | {how} | {outside} |");
    }
    for section in sections {
        text.push('\n');
        text.push_str(&fragment(section));
    }
    text
}

/// One section as Markdown.
#[must_use]
pub fn fragment(section: &Section) -> String {
    let mut text = format!("## {}\n\n{}\n", section.title, section.method);
    for chart in &section.charts {
        let _ = writeln!(text, "\n![{}]({}.svg)", chart.title, chart.name);
    }
    for table in &section.tables {
        text.push('\n');
        text.push_str(&table.markdown());
    }
    text
}
