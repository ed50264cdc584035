//! The section about creep.

use super::{Csv, Section, Table, header};
use crate::allocators::Allocator;
use crate::cases::ARENA;
use crate::cases::creep::{LARGE, ROUNDS, Row, STEPS, Total};

/// Puts the rows into tables.
#[must_use]
pub fn section(rows: &[Row], allocators: &[Allocator], seeds: usize) -> Section {
    Section {
        slug: "creep",
        title: "Memory: a program that keeps its heap more than half full",
        method: format!(
            "Connections with buffers that grow as vectors do, messages that come and go, and names, in an arena of {} MiB; whenever \
             so much of it is live, connections end. Every {STEPS} steps one block of {} MiB is asked for, and freed at once: \
             {ROUNDS} times. What is refused is counted, and the program goes on. *large*: buffers up to 150 KB, messages up to \
             600 bytes; *small*: up to 20 KB and 200 bytes. Sums over {seeds} seeds, each with a process of its own.",
            ARENA >> 20,
            LARGE >> 20,
        ),
        tables: vec![
            table(rows, allocators, "Refusals per 1,000 requests (less is better).", |total| {
                format!("{:.2}", refusals(total))
            }),
            table(rows, allocators, "Blocks of 1 MiB that were served (more is better).", |total| {
                format!("{:.1} %", 100.0 * total.large)
            }),
        ],
        charts: Vec::new(),
        csv: csv(rows, allocators),
    }
}

fn refusals(total: &Total) -> f64 {
    1000.0 * total.refusals / total.requests
}

fn table(rows: &[Row], allocators: &[Allocator], caption: &str, show: impl Fn(&Total) -> String) -> Table {
    let rows = rows.iter().map(|row| {
        let cells = row.totals.iter().map(|total| total.as_ref().map_or_else(Clone::clone, &show));
        std::iter::once(format!("{}, {} % live", row.mix.name(), row.share)).chain(cells).collect()
    });
    Table { caption: caption.to_owned(), header: header("mix", allocators), rows: rows.collect() }
}

fn csv(rows: &[Row], allocators: &[Allocator]) -> Csv {
    let columns = ["mix", "live_percent", "allocator", "outcome", "requests", "refusals", "large_share"];
    let mut csv = Csv::new(&columns);
    for row in rows {
        for (allocator, total) in std::iter::zip(allocators, &row.totals) {
            let values = match total {
                Ok(Total { requests, refusals, large }) => {
                    ["measured".to_owned(), requests.to_string(), refusals.to_string(), format!("{large:.4}")]
                }
                Err(word) => [word.clone(), String::new(), String::new(), String::new()],
            };
            let head = [row.mix.name().to_owned(), row.share.to_string(), allocator.name().to_owned()];
            csv.push(head.into_iter().chain(values));
        }
    }
    csv
}
