//! The section about placement.

use super::{Csv, Section, Table, header};
use crate::allocators::Allocator;
use crate::cases::Found;
use crate::cases::placement::{RUNS, STAGES, STRINGS};

/// Puts what was found into tables.
#[must_use]
pub fn section(found: &[Found], allocators: &[Allocator]) -> Section {
    Section {
        slug: "placement",
        title: "Placement",
        method: format!(
            "{STRINGS} strings are built letter by letter and cut to five bytes (*built*), sorted, and freed where one is there \
             twice; a string is made of each (*upper case*), they are joined and split again (*split*), and everything is dropped. \
             {RUNS} runs on one heap, a process for each allocator. Order of addresses is what decides how fast a program \
             sorts and reads such strings."
        ),
        tables: vec![
            table(
                found,
                allocators,
                "Strings within a cache line of the one before (more is better).",
                0,
                |share| format!("{:.0} %", 100.0 * share),
            ),
            table(
                found,
                allocators,
                "Cache lines in which strings begin, per string (less is better).",
                1,
                |lines| format!("{lines:.2}"),
            ),
        ],
        charts: Vec::new(),
        csv: csv(found, allocators),
    }
}

/// Where the numbers of a run and a stage begin.
fn places() -> impl Iterator<Item = (usize, &'static str, usize)> {
    let pairs = (1..=RUNS).flat_map(|run| STAGES.map(|stage| (run, stage)));
    pairs.zip((0..).step_by(2)).map(|((run, stage), index)| (run, stage, index))
}

fn table(
    found: &[Found],
    allocators: &[Allocator],
    caption: &str,
    offset: usize,
    show: impl Fn(f64) -> String,
) -> Table {
    let rows = places().map(|(run, stage, index)| {
        let cells = found
            .iter()
            .map(|found| found.number(index + offset).map_or_else(|| found.word().to_owned(), &show));
        std::iter::once(format!("run {run}, {stage}")).chain(cells).collect()
    });
    Table { caption: caption.to_owned(), header: header("", allocators), rows: rows.collect() }
}

fn csv(found: &[Found], allocators: &[Allocator]) -> Csv {
    let mut csv = Csv::new(&["run", "stage", "allocator", "outcome", "share_near", "lines_per_string"]);
    for (run, stage, index) in places() {
        for (allocator, found) in std::iter::zip(allocators, found) {
            let numbers = [0, 1].map(|offset| {
                found.number(index + offset).map_or_else(String::new, |number| format!("{number:.4}"))
            });
            let head =
                [run.to_string(), stage.to_owned(), allocator.name().to_owned(), found.word().to_owned()];
            csv.push(head.into_iter().chain(numbers));
        }
    }
    csv
}
