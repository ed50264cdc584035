//! What a runner of programs does when everything was measured.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::comparison::Comparison;
use crate::{Table, files};

/// Prints the tables; writes `NAME.md` and `NAME.csv` into a folder, if one is given; and tells
/// which programs failed, which is what the exit status says, too.
///
/// # Errors
///
/// If a file cannot be written.
pub fn publish<const FURTHER: usize>(
    name: &str,
    comparison: &Comparison<'_, FURTHER>,
    tables: &[Table],
    introduction: &str,
    folder: Option<&PathBuf>,
) -> Result<ExitCode> {
    for table in tables {
        println!("{}", table.terminal());
    }
    if let Some(folder) = folder {
        let mut markdown = introduction.to_owned();
        for table in tables {
            markdown.push('\n');
            markdown.push_str(&table.markdown());
        }
        let [markdown_file, csv_file] = ["md", "csv"].map(|ending| format!("{name}.{ending}"));
        files::write(folder, &[(&markdown_file, &markdown), (&csv_file, &comparison.csv().text())])?;
        eprintln!("written to {}", folder.display());
    }
    let failures: Vec<String> = comparison.failures().collect();
    for failure in &failures {
        eprintln!("FAILED: {failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::comparison::{Outcome, Row};

    #[test]
    fn what_is_published_lies_in_the_folder_and_a_failure_shows_in_the_exit_status() {
        let folder = std::env::temp_dir().join(format!("bench-common-results-{}", std::process::id()));
        let rows = [Row { name: "row", outcomes: vec![Outcome::<0>::Failed("exit status: 1".to_owned())] }];
        let comparison = Comparison { what: "work", columns: &["only"], further: [], rows: &rows };
        let status =
            publish("test", &comparison, &[comparison.spreads()], "# Test\n", Some(&folder)).unwrap();
        assert_eq!(status, ExitCode::FAILURE);
        let markdown = fs::read_to_string(folder.join("test.md")).unwrap();
        assert!(markdown.starts_with("# Test\n\nSpread of the processor time"), "{markdown}");
        assert!(fs::read_to_string(folder.join("test.csv")).unwrap().contains("row,only,exit status: 1,"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
