//! The chart of whole programs: one picture of what two other packages measured.

use anyhow::{Context, Result};

use super::Grids;
use crate::output::{Bar, Chart, Group};

/// What the bars are compared with.
const SYSTEM: &str = "system";
/// In the order of the bars, with those that are this project's own.
const ALLOCATORS: [(&str, bool); 8] = [
    ("locked", true),
    ("thread_cached", true),
    ("talc", false),
    (SYSTEM, false),
    ("mimalloc", false),
    ("jemalloc", false),
    ("snmalloc", false),
    ("rusty_alloc", false),
];
const GROUPS: [(&str, &str); 4] = [
    ("published programs: time", "published programs: processor time"),
    ("published programs: memory", "published programs: peak memory"),
    ("std programs: time", "std programs: processor time of later runs"),
    ("std programs: memory", "std programs: peak memory"),
];

/// Geometric means of what programs take, over what they take with the C library's allocator.
pub(super) fn of_whole_programs(grids: &Grids) -> Result<Chart> {
    let groups = GROUPS.map(|(name, heading)| {
        let grid = grids.get(name).with_context(|| format!("there is no grid {name:?}"))?;
        let bar = |(allocator, ours): (&str, bool)| {
            let value = grid.mean(allocator, &[SYSTEM.to_owned()]);
            let text = value.map_or_else(|| "not measured".to_owned(), |value| format!("{value:.2}×"));
            Bar { label: allocator.to_owned(), value, text, ours }
        };
        Ok(Group { heading: heading.to_owned(), bars: ALLOCATORS.map(bar).to_vec() })
    });
    Ok(Chart {
        name: "whole-programs".to_owned(),
        title: "Whole programs, relative to the C library's allocator (shorter is better)".to_owned(),
        groups: groups.into_iter().collect::<Result<_>>()?,
        limit: 2.0,
    })
}
