//! The section about single calls.

use super::{Bar, Chart, Csv, Group, Section, Table, nanoseconds};
use crate::clock::Clock;
use crate::latency::{ACTIONS, Kind, Latency, Line, SHARES};

/// Puts the lines into tables, one per kind of call.
#[must_use]
pub fn section(latency: &Latency, rounds: usize) -> Section {
    let lines = &latency.lines;
    let mut header = vec!["allocator".to_owned()];
    header.extend(SHARES.map(|(name, _)| name.to_owned()));
    header.push("max, raw".to_owned());
    let tables = Kind::ALL
        .into_iter()
        .map(|kind| Table {
            caption: format!("`{}`, nanoseconds per call.", kind.name()),
            header: header.clone(),
            rows: of_kind(lines, kind)
                .map(|line| {
                    let mut cells = vec![line.allocator.name().to_owned()];
                    cells.extend(line.nanoseconds.map(nanoseconds));
                    cells.push(nanoseconds(line.raw_max));
                    cells
                })
                .collect(),
        })
        .collect();
    let groups = Kind::ALL
        .into_iter()
        .flat_map(|kind| [(kind, 0), (kind, 2)])
        .map(|(kind, share)| Group {
            heading: format!("{} {}", kind.name(), SHARES[share].0),
            bars: of_kind(lines, kind)
                .map(|line| Bar {
                    label: line.allocator.name().to_owned(),
                    value: Some(line.nanoseconds[share]),
                    text: format!("{} ns", nanoseconds(line.nanoseconds[share])),
                    ours: line.allocator.is_own(),
                })
                .collect(),
        })
        .collect();
    let mut csv = Csv::new(&["allocator", "kind", "p50_ns", "p99_ns", "p99_9_ns", "max_ns", "raw_max_ns"]);
    for line in lines {
        let head = [line.allocator.name().to_owned(), line.kind.name().to_owned()];
        let values = line.nanoseconds.into_iter().chain([line.raw_max]).map(|value| format!("{value:.2}"));
        csv.push(head.into_iter().chain(values));
    }
    Section {
        slug: "latency",
        title: "Latency of single calls",
        method: format!(
            "{ACTIONS} random actions of skewed sizes, alignments mixed, with realloc and up to 1,000 live blocks, in a process of \
             its own for each allocator, whose heap is kept from round to round; each call is timed with {}, \
             which moves in steps of {:.1} ns here, and the cost of reading it is subtracted. Every call gets the mean of \
             the faster half of {rounds} rounds: the operations are the same each time, so what an interrupt cost it in one \
             round is not the allocator's. *max, raw* is the longest call of any round, interrupts included. `realloc` \
             includes copying.",
            Clock::description(),
            latency.clock_step,
        ),
        tables,
        charts: vec![Chart {
            name: "latency".to_owned(),
            title: "Latency of single calls (shorter is better)".to_owned(),
            groups,
            limit: 500.0,
        }],
        csv,
    }
}

fn of_kind(lines: &[Line], kind: Kind) -> impl Iterator<Item = &Line> {
    lines.iter().filter(move |line| line.kind == kind)
}
