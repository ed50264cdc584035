//! A CSV file of the results as rows and columns of numbers.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bench_common::statistics::geometric_mean;

/// What of a file a grid consists of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    /// The grid's name in the template.
    pub(super) name: &'static str,
    /// The file, without its ending.
    pub(super) file: &'static str,
    /// Lines that do not have these values are left out.
    pub(super) only: &'static [(&'static str, &'static str)],
    /// Rows that are left out.
    pub(super) without: &'static [&'static str],
    /// What names a row: the first of several lines that make the same cell counts.
    pub(super) row: &'static [&'static str],
    /// What the columns are.
    pub(super) columns: Columns,
    /// Which numbers are better.
    pub(super) better: Better,
}

/// Where columns come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Columns {
    /// A column for each allocator, with the numbers of this field.
    Allocators(&'static str),
    /// The fields themselves.
    Fields(&'static [&'static str]),
}

/// Which numbers are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    Less,
    More,
}

/// Rows and columns of numbers; what could not be measured is not there.
#[derive(Debug)]
pub(super) struct Grid {
    /// Its name in the template.
    pub(super) name: &'static str,
    rows: Vec<String>,
    cells: BTreeMap<(String, String), f64>,
    better: Better,
}

/// Everything of a file.
pub(super) const fn of(
    name: &'static str,
    file: &'static str,
    row: &'static [&'static str],
    better: Better,
    columns: Columns,
) -> Source {
    Source { name, file, only: &[], without: &[], row, columns, better }
}

impl Source {
    /// The same, but only lines that have these values.
    pub(super) const fn only(self, only: &'static [(&'static str, &'static str)]) -> Self {
        Self { only, ..self }
    }

    /// The same, without some rows.
    pub(super) const fn without(self, without: &'static [&'static str]) -> Self {
        Self { without, ..self }
    }

    /// Reads the grid from a folder of results.
    pub(super) fn read(&self, folder: &Path) -> Result<Grid> {
        let file = folder.join(self.file).with_extension("csv");
        let mut reader =
            csv::Reader::from_path(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut grid =
            Grid { name: self.name, rows: Vec::new(), cells: BTreeMap::new(), better: self.better };
        for line in reader.deserialize() {
            let line: BTreeMap<String, String> = line?;
            self.take_in(&line, &mut grid).with_context(|| format!("{}: {line:?}", file.display()))?;
        }
        ensure!(!grid.rows.is_empty(), "{} has nothing for the grid {:?}", file.display(), self.name);
        Ok(grid)
    }

    fn take_in(&self, line: &BTreeMap<String, String>, grid: &mut Grid) -> Result<()> {
        let field = |name: &str| line.get(name).with_context(|| format!("there is no field {name:?}"));
        let row: Result<Vec<&str>> = self.row.iter().map(|name| Ok(field(name)?.as_str())).collect();
        let row = row?.join(", ");
        if self.without.contains(&row.as_str()) {
            return Ok(());
        }
        if !grid.rows.contains(&row) {
            grid.rows.push(row.clone());
        }
        for (name, value) in self.only {
            if field(name)? != value {
                return Ok(());
            }
        }
        let numbers: Vec<(&str, &String)> = match self.columns {
            Columns::Allocators(name) => vec![(field("allocator")?.as_str(), field(name)?)],
            Columns::Fields(names) => {
                names.iter().map(|&name| Ok((name, field(name)?))).collect::<Result<_>>()?
            }
        };
        for (column, number) in numbers {
            if !number.is_empty() {
                let number = number.parse().with_context(|| format!("{number:?} is no number"))?;
                grid.cells.entry((row.clone(), column.to_owned())).or_insert(number);
            }
        }
        Ok(())
    }
}

impl Grid {
    /// Names of the rows, in the order of the file.
    pub(super) fn rows(&self) -> &[String] {
        &self.rows
    }

    /// The number in a cell, if there is one.
    pub(super) fn value(&self, row: &str, column: &str) -> Option<f64> {
        self.cells.get(&(row.to_owned(), column.to_owned())).copied()
    }

    /// The best of a row among some columns, with the column's name.
    pub(super) fn best<'a>(&self, row: &str, among: &'a [String]) -> Option<(&'a str, f64)> {
        let values = among.iter().filter_map(|column| Some((column.as_str(), self.value(row, column)?)));
        values.reduce(|one, other| if self.is_better(other.1, one.1) { other } else { one })
    }

    /// A number over the best of its row among some columns.
    pub(super) fn ratio(&self, row: &str, column: &str, among: &[String]) -> Option<f64> {
        Some(self.value(row, column)? / self.best(row, among)?.1)
    }

    /// The ratios of a column, row by row, as far as there are any.
    pub(super) fn ratios(&self, column: &str, among: &[String]) -> Vec<f64> {
        self.rows.iter().filter_map(|row| self.ratio(row, column, among)).collect()
    }

    /// The geometric mean of the ratios of a column.
    pub(super) fn mean(&self, column: &str, among: &[String]) -> Option<f64> {
        geometric_mean(self.ratios(column, among))
    }

    /// The numbers of a column.
    pub(super) fn column(&self, column: &str) -> Vec<f64> {
        self.rows.iter().filter_map(|row| self.value(row, column)).collect()
    }

    /// The least favourable of some numbers.
    pub(super) fn worst(&self, numbers: Vec<f64>) -> Option<f64> {
        numbers.into_iter().reduce(|one, other| if self.is_better(other, one) { one } else { other })
    }

    fn is_better(&self, one: f64, other: f64) -> bool {
        match self.better {
            Better::Less => one < other,
            Better::More => one > other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(better: Better) -> Grid {
        let folder = tempfile::tempdir().unwrap();
        let text = "\
            workload,past,allocator,outcome,ns\n\
            \"a, b\",alone,ours,completed,2\n\
            \"a, b\",alone,talc,completed,4\n\
            c,alone,ours,completed,3\n\
            c,alone,talc,completed,1\n\
            d,alone,ours,completed,3\n\
            d,alone,talc,too slow,900\n\
            e,alone,ours,completed,1\n\
            \"a, b\",later,ours,completed,70\n";
        std::fs::write(folder.path().join("test.csv"), text).unwrap();
        let source = of("test", "test", &["workload"], better, Columns::Allocators("ns"))
            .only(&[("past", "alone"), ("outcome", "completed")])
            .without(&["e"]);
        source.read(folder.path()).unwrap()
    }

    #[test]
    fn only_what_was_completed_counts() {
        let grid = grid(Better::Less);
        assert_eq!(grid.rows(), ["a, b", "c", "d"]);
        assert_eq!((grid.value("a, b", "ours"), grid.value("d", "talc")), (Some(2.0), None));
        let talc = ["talc".to_owned()];
        assert_eq!(grid.ratios("ours", &talc), [0.5, 3.0]);
        assert_eq!(grid.worst(grid.ratios("ours", &talc)), Some(3.0));
        assert!((grid.mean("ours", &talc).unwrap() - 1.5_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_best_is_the_least_or_the_most() {
        let both = ["ours", "talc"].map(str::to_owned);
        assert_eq!(grid(Better::Less).best("c", &both), Some(("talc", 1.0)));
        assert_eq!(grid(Better::More).best("c", &both), Some(("ours", 3.0)));
        assert_eq!(grid(Better::More).best("e", &both), None);
    }
}
