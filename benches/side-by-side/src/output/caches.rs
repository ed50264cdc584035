//! The section about what the caches cost in memory.

use super::{Csv, Section, Table};
use crate::allocators::Allocator;
use crate::memory::{CACHES_THREADS, CachesRow, Smallest, TURN, size_with_caches};
use bench_common::statistics::geometric_mean;

/// Puts the rows into one table.
#[must_use]
pub fn section(rows: &[CachesRow]) -> Section {
    let mut csv = Csv::new(&["trace", "threads", "peak_live_bytes", "locked_bytes", "cached_bytes", "ratio"]);
    let mut lines = Vec::new();
    for row in rows {
        let mut line = vec![row.trace.clone()];
        for (index, threads) in CACHES_THREADS.into_iter().enumerate() {
            let (peak, smallest) = (row.peaks[index], row.smallest[index]);
            line.push(format!("{} KiB", peak / 1024));
            let text = |value: &dyn Fn(Smallest) -> String| smallest.map_or_else(String::new, value);
            line.push(smallest.map_or_else(|| "–".to_owned(), |smallest| format!("{:.3}", smallest.ratio())));
            csv.push([
                row.trace.clone(),
                threads.to_string(),
                peak.to_string(),
                text(&|smallest| smallest.locked.to_string()),
                text(&|smallest| smallest.cached.to_string()),
                text(&|smallest| format!("{:.5}", smallest.ratio())),
            ]);
        }
        lines.push(line);
    }
    let mut means = vec!["**geometric mean**".to_owned()];
    means.extend((0..CACHES_THREADS.len()).flat_map(|index| {
        let ratios: Option<Vec<f64>> =
            rows.iter().map(|row| row.smallest[index].map(|smallest| smallest.ratio())).collect();
        let mean = ratios.and_then(geometric_mean);
        [String::new(), mean.map_or_else(|| "–".to_owned(), |mean| format!("**{mean:.3}**"))]
    }));
    lines.push(means);
    let mut header = vec!["trace".to_owned()];
    header.extend(CACHES_THREADS.into_iter().flat_map(|threads| {
        let all = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
        ["peak live".to_owned(), all]
    }));
    Section {
        slug: "smallest-arena-with-caches",
        title: "Memory: what the caches cost",
        method: format!(
            "The same search for `ThreadCached<Region>` and `Locked<Region>`, in steps of less than one percent, every attempt \
             in a process of its own. With several threads each of them replays the same trace at the same time in the same \
             arena; a thread has its turn for {TURN} operations, then the next one, so that every attempt is the same.",
        ),
        tables: vec![Table { caption: caption(), header, rows: lines }],
        charts: Vec::new(),
        csv,
    }
}

fn caption() -> String {
    let locked = Allocator::Ours.bookkeeping().unwrap_or(0);
    let fixed = size_with_caches().map_or_else(String::new, |bytes| {
        format!(" The allocator's own value, the caches of all threads included, has {bytes} bytes whatever the arena; not counted.")
    });
    format!(
        "Smallest arena with caches over the smallest one without (less is better), the heap's bookkeeping of {locked} bytes \
         counted on both sides.{fixed}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_that_no_arena_completes_leaves_no_mean() {
        let row = |cached| CachesRow {
            trace: "test".to_owned(),
            peaks: [2048, 8192],
            smallest: [Some(Smallest { locked: 4000, cached: 4100 }), cached],
        };
        let section = section(&[row(None), row(Some(Smallest { locked: 8000, cached: 9000 }))]);
        let rows = &section.tables[0].rows;
        assert_eq!(rows[0][1..], ["2 KiB", "1.025", "8 KiB", "–"]);
        assert_eq!(rows[2][1..], ["", "**1.025**", "", "–"]);
    }
}
