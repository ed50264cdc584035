//! The sections about memory.

use super::{Bar, Chart, Csv, Group, Section, Table, header, times};
use crate::allocators::Allocator;
use crate::memory::{FillRow, SmallestRow};
use bench_common::statistics::geometric_mean;

/// Fill to refusal.
#[must_use]
pub fn fill_section(rows: &[FillRow], allocators: &[Allocator]) -> Section {
    let percent = |share: Option<f64>| {
        share.map_or_else(|| "too slow".to_owned(), |share| format!("{:.1} %", 100.0 * share))
    };
    let mut csv = Csv::new(&["arena", "sizes", "allocator", "live_share", "refusals"]);
    let mut table_rows = Vec::new();
    let mut groups = Vec::new();
    for row in rows {
        let best = row.cells.iter().filter_map(|cell| cell.share).fold(0.0, f64::max);
        let mut line = vec![format!("{}, {}", row.arena, row.mix)];
        let mut bars = Vec::new();
        for (&allocator, cell) in std::iter::zip(allocators, &row.cells) {
            let mut text = percent(cell.share);
            if cell.share == Some(best) {
                text = format!("**{text}**");
            }
            if cell.refusals < row.refusals && cell.share.is_some() {
                text.push_str(&format!(" ({} only)", cell.refusals));
            }
            line.push(text);
            bars.push(Bar {
                label: allocator.name().to_owned(),
                value: cell.share,
                text: percent(cell.share),
                ours: allocator.is_own(),
            });
            csv.push([
                row.arena.to_owned(),
                row.mix.to_owned(),
                allocator.name().to_owned(),
                cell.share.map_or_else(String::new, |share| format!("{share:.5}")),
                cell.refusals.to_string(),
            ]);
        }
        table_rows.push(line);
        groups.push(Group { heading: format!("{}, {}", row.arena, row.mix), bars });
    }
    let refusals: Vec<String> = rows.iter().map(|row| format!("{} in {}", row.refusals, row.arena)).collect();
    let mut refusals_once = refusals;
    refusals_once.dedup();
    Section {
        slug: "fill",
        title: "Memory: fill to refusal",
        method: format!(
            "An arena of so many bytes, alignment 8 where it is not mixed: allocate; after each success free one random block with probability \
             1/10; at each refusal note the live user bytes over the arena, then free a random half. Mean of the refusals \
             ({}); *only*: fewer, because the time for the cell ran out.",
            refusals_once.join(", ")
        ),
        tables: vec![Table {
            caption:
                "Share of the arena that holds live user data when a request is refused (more is better)."
                    .to_owned(),
            header: header("arena and sizes", allocators),
            rows: table_rows,
        }],
        charts: vec![Chart {
            name: "fill".to_owned(),
            title: "Live share of the arena at refusal (longer is better)".to_owned(),
            groups,
            limit: 1.0,
        }],
        csv,
    }
}

/// The smallest arena per trace.
#[must_use]
pub fn smallest_section(rows: &[SmallestRow], allocators: &[Allocator]) -> Section {
    let mut csv = Csv::new(&["trace", "peak_live_bytes", "allocator", "bytes", "ratio"]);
    let mut table_rows = Vec::new();
    for row in rows {
        let ratios: Vec<Option<f64>> = (0..allocators.len()).map(|index| row.ratio(index)).collect();
        let best = ratios.iter().flatten().copied().reduce(f64::min);
        let mut line = vec![row.trace.clone(), format!("{} KiB", row.peak / 1024)];
        for (index, allocator) in allocators.iter().enumerate() {
            let ratio = ratios[index];
            line.push(match ratio {
                Some(value) if Some(value) == best => format!("**{value:.3}**"),
                Some(value) => format!("{value:.3}"),
                None => "–".to_owned(),
            });
            csv.push([
                row.trace.clone(),
                row.peak.to_string(),
                allocator.name().to_owned(),
                row.bytes[index].map_or_else(String::new, |bytes| bytes.to_string()),
                ratio.map_or_else(String::new, |ratio| format!("{ratio:.5}")),
            ]);
        }
        table_rows.push(line);
    }
    let means: Vec<Option<f64>> = (0..allocators.len())
        .map(|index| {
            let ratios: Option<Vec<f64>> = rows.iter().map(|row| row.ratio(index)).collect();
            geometric_mean(ratios?)
        })
        .collect();
    let mut mean_line = vec!["**geometric mean**".to_owned(), String::new()];
    mean_line
        .extend(means.iter().map(|mean| mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.3}"))));
    table_rows.push(mean_line);
    let mut header = header("trace", allocators);
    header.insert(1, "peak live".to_owned());
    let bars = std::iter::zip(allocators, &means)
        .map(|(&allocator, &mean)| Bar {
            label: allocator.name().to_owned(),
            value: mean,
            text: mean.map_or_else(|| "not completed".to_owned(), times),
            ours: allocator.is_own(),
        })
        .collect();
    Section {
        slug: "smallest-arena",
        title: "Memory: the smallest arena that completes a trace",
        method: "Bisection over arena sizes in steps of 64 bytes, then probes below the result and across the range, because \
                 a larger arena may lay blocks out worse. The number is the smallest arena found, plus the bytes that \
                 the allocator keeps outside it, over the most bytes that the trace has live at one time. *–*: no arena \
                 up to twelve times the peak completed it in time."
            .to_owned(),
        tables: vec![Table {
            caption: "Bytes needed per byte live at the peak (less is better).".to_owned(),
            header,
            rows: table_rows,
        }],
        charts: vec![Chart {
            name: "smallest-arena".to_owned(),
            title: "Smallest arena over peak live bytes (shorter is better)".to_owned(),
            groups: vec![Group { heading: "geometric mean over the traces".to_owned(), bars }],
            limit: 4.0,
        }],
        csv,
    }
}
