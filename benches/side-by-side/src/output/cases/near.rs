//! The section about heaps that are nearly full.

use super::{Csv, Section, Table, header, nanoseconds, times};
use crate::allocators::Allocator;
use crate::cases::near::{LEVELS, NUMBERS, Near, OPERATIONS, Row, TIMED};
use crate::cases::{ARENA, Found};

/// Positions in [`NUMBERS`].
const PER_OPERATION: usize = 0;
const REFUSALS: usize = 1;
const SUCCESS: usize = 2;
const REFUSAL: usize = 4;
const REFUSAL_P99: usize = 5;

/// Puts the rows into tables.
#[must_use]
pub fn section(rows: &[Row], allocators: &[Allocator], rounds: usize) -> Section {
    let most = LEVELS[LEVELS.len() - 1];
    let full: Vec<&Row> = rows.iter().filter(|row| row.case.level == most).collect();
    Section {
        slug: "near",
        title: "Near the bound",
        method: format!(
            "Threads fill an arena of {} MiB in step until it refuses, free blocks at random down to a share of what fitted, and \
             then allocate and free at that level: {OPERATIONS} operations all in all, of processor time; whoever is refused frees \
             a block and goes on. *small*: 16 to 255 bytes; *mixed*: all magnitudes from 16 bytes to 8 KiB. Afterwards one thread \
             fills the heap and times {TIMED} requests one by one, freeing one block after each refusal. Every measurement has a \
             process of its own; medians of {rounds} rounds.",
            ARENA >> 20
        ),
        tables: vec![
            table(
                rows.iter(),
                allocators,
                "Nanoseconds per operation, and ratio to the best of the row.",
                true,
                per_operation,
            ),
            table(
                rows.iter(),
                allocators,
                "Refusals per 1,000 requests (less is better).",
                true,
                |found, _| found.number(REFUSALS).map(|refusals| format!("{refusals:.2}")),
            ),
            table(
                full.into_iter(),
                allocators,
                "Single requests to a full heap, nanoseconds: a success / a refusal (medians; p99 of refusals in brackets).",
                false,
                single,
            ),
        ],
        charts: Vec::new(),
        csv: csv(rows, allocators),
    }
}

fn name(case: &Near, with_level: bool) -> String {
    let threads = if case.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", case.threads) };
    let sizes = if case.mixed { "mixed" } else { "small" };
    let level = if with_level { format!(", {} %", case.level as f64 / 10.0) } else { String::new() };
    format!("{threads}, {sizes}{level}")
}

fn table<'a>(
    rows: impl Iterator<Item = &'a Row>,
    allocators: &[Allocator],
    caption: &str,
    with_level: bool,
    show: impl Fn(&Found, &Row) -> Option<String>,
) -> Table {
    let rows = rows.map(|row| {
        let cells = row.found.iter().map(|found| show(found, row).unwrap_or_else(|| found.word().to_owned()));
        std::iter::once(name(&row.case, with_level)).chain(cells).collect()
    });
    let first = if with_level { "threads, sizes, level" } else { "threads, sizes" };
    Table { caption: caption.to_owned(), header: header(first, allocators), rows: rows.collect() }
}

fn per_operation(found: &Found, row: &Row) -> Option<String> {
    let own = found.number(PER_OPERATION)?;
    let best = row.found.iter().filter_map(|found| found.number(PER_OPERATION)).reduce(f64::min)?;
    let text = nanoseconds(own);
    Some(if own <= best { format!("**{text}**") } else { format!("{text} {}", times(own / best)) })
}

fn single(found: &Found, _row: &Row) -> Option<String> {
    let at = |index| Some(nanoseconds(found.number(index).filter(|number| number.is_finite())?));
    found.number(SUCCESS)?;
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let [success, refusal, slowest] = [at(SUCCESS), at(REFUSAL), at(REFUSAL_P99)].map(or_none);
    Some(format!("{success} / {refusal} ({slowest})"))
}

fn csv(rows: &[Row], allocators: &[Allocator]) -> Csv {
    let columns = ["threads", "permille", "sizes", "allocator", "outcome"];
    let mut csv = Csv::new(&[&columns[..], &NUMBERS].concat());
    for Row { case, found } in rows {
        for (allocator, found) in std::iter::zip(allocators, found) {
            let numbers = (0..NUMBERS.len()).map(|index| {
                let number = found.number(index).filter(|number| number.is_finite());
                number.map_or_else(String::new, |number| format!("{number:.3}"))
            });
            let head = [
                case.threads.to_string(),
                case.level.to_string(),
                if case.mixed { "mixed" } else { "small" }.to_owned(),
                allocator.name().to_owned(),
                found.word().to_owned(),
            ];
            csv.push(head.into_iter().chain(numbers));
        }
    }
    csv
}
