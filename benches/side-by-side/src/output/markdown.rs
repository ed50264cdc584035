//! The results as files: for each section its tables in Markdown, a CSV file, and charts.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use bench_common::{Csv, files};

use super::{Section, machine};
use crate::allocators::Allocator;

/// The file that says on what machine the results were measured, and when.
pub const MACHINE: &str = "machine.csv";

/// Writes everything into a folder, which is made if need be.
///
/// # Errors
///
/// If a file cannot be written.
pub fn write_all(folder: &Path, command: &str, sections: &[Section]) -> Result<()> {
    let mut facts = Csv::new(&["fact", "value"]);
    facts.push(["command".to_owned(), command.to_owned()]);
    machine::facts().into_iter().for_each(|(name, value)| facts.push([name.to_owned(), value]));
    files::write(folder, &[(MACHINE, &facts.text()), ("allocators.md", &allocators())])?;
    for section in sections {
        let [markdown, csv] = ["md", "csv"].map(|ending| format!("{}.{ending}", section.slug));
        let texts = (document(command, section), section.csv.text());
        files::write(folder, &[(&markdown, &texts.0), (&csv, &texts.1)])?;
        for chart in &section.charts {
            chart.draw(&folder.join(format!("{}.svg", chart.name)))?;
        }
    }
    Ok(())
}

/// Who takes part.
fn allocators() -> String {
    let mut text =
        "# Who takes part\n\n| name | class | how | bytes outside the arena |\n| :-- | :-- | :-- | --: |\n"
            .to_owned();
    for allocator in Allocator::ALL {
        let outside = allocator.bookkeeping().map_or_else(String::new, |bytes| bytes.to_string());
        let (name, class, how) = (allocator.name(), allocator.class(), allocator.how());
        let _ = writeln!(text, "| {name} | {class:?} | {how} | {outside} |");
    }
    text
}

/// One section as Markdown.
fn document(command: &str, section: &Section) -> String {
    let mut text = format!("# {}\n\nMade by `{command}`.\n\n{}\n", section.title, section.method);
    for chart in &section.charts {
        let _ = writeln!(text, "\n![{}]({}.svg)", chart.title, chart.name);
    }
    for table in &section.tables {
        text.push('\n');
        text.push_str(&table.markdown());
    }
    text
}
