//! The section about instructions per call.

use super::{Csv, Section, Table};
use crate::allocators::Allocator;
use crate::instructions::{Adversary, Cost};

/// Puts the costs into one table: a line per sequence and kind of call, median and worst per allocator.
#[must_use]
pub fn section(costs: &[Cost], adversaries: &[Adversary], allocators: &[Allocator]) -> Section {
    let mut csv = Csv::new(&["sequence", "call", "refused", "allocator", "calls", "median", "worst"]);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for adversary in adversaries {
        let name = &adversary.sequence.name;
        let of_this: Vec<&Cost> = costs.iter().filter(|cost| cost.adversary == *name).collect();
        let mut lines: Vec<(bool, &str)> =
            of_this.iter().map(|cost| (cost.refused, cost.kind.name())).collect();
        lines.sort_unstable();
        lines.dedup();
        for (refused, kind) in lines {
            let mut row = vec![format!("{name}: {kind}{}", if refused { ", refused" } else { "" })];
            row.extend(allocators.iter().map(|&allocator| {
                let cost = of_this.iter().find(|cost| {
                    cost.allocator == allocator && cost.refused == refused && cost.kind.name() == kind
                });
                cost.map_or_else(String::new, |cost| format!("{} / {}", cost.median, cost.worst))
            }));
            rows.push(row);
        }
    }
    for cost in costs {
        csv.push([
            cost.adversary.clone(),
            cost.kind.name().to_owned(),
            cost.refused.to_string(),
            cost.allocator.name().to_owned(),
            cost.calls.to_string(),
            cost.median.to_string(),
            cost.worst.to_string(),
        ]);
    }
    let mut header = vec!["sequence and call".to_owned()];
    header.extend(allocators.iter().map(|allocator| allocator.name().to_owned()));
    let described: String = adversaries
        .iter()
        .map(|adversary| format!("- *{}*: {}\n", adversary.sequence.name, adversary.description))
        .collect();
    Section {
        slug: "instructions",
        title: "Instructions per call",
        method: format!(
            "Counted by callgrind, call by call, from the call through the lock to the return; `realloc` includes copying, \
             a release the marking of a page of slots that is given up. The numbers are the same on every machine with the \
             same compiler and the same C library. *(loop alone)* is the cost of two calls around \
             nothing, contained in every number.\n\n{described}"
        ),
        tables: vec![Table { caption: "Median / worst.".to_owned(), header, rows }],
        charts: Vec::new(),
        csv,
    }
}
