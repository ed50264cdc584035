//! `sort` takes a buffer from the heap for as long as it merges; a `BinaryHeap` sorts where its elements are.

use super::{fingerprint, scrambled};
use crate::stage::Stage;
use crate::trouble::Trouble;
use std::collections::BinaryHeap;

const COUNT: usize = 50_000;

/// Sorts the same numbers twice.
pub(crate) fn run(stage: &mut Stage<'_>) -> Result<(), Trouble<'static>> {
    let mut merged: Vec<u32> = scrambled(COUNT).collect();
    merged.sort();
    let heap: BinaryHeap<u32> = scrambled(COUNT).collect();
    let from_heap = heap.into_sorted_vec();
    stage.snapshot();
    stage.check(
        "smallest of 50000 numbers",
        merged.first().copied().unwrap_or(0),
        "searching",
        smallest(),
    )?;
    stage.check("fingerprint of their order", fingerprint(&merged), "from a heap", fingerprint(&from_heap))
}

fn smallest() -> u32 {
    scrambled(COUNT).min().unwrap_or(0)
}
