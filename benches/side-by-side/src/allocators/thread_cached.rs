//! This project's allocator with a cache for each thread.

use mem_alloc_rust::{FreeList, ThreadCached};

/// As large as an arena may be: what is not used of it takes no memory.
const ARENA: usize = 1 << 30;

/// A static, because no other one gets caches; and one for all measurements, because only the first one of a process gets them.
pub(super) static ALLOCATOR: ThreadCached<FreeList<ARENA>> = ThreadCached::new();

/// Merges all that is free. What is held from a workload lies where that workload left it, up to all that it ever used; the next
/// workload would find its blocks scattered over hundreds of megabytes.
pub(super) fn start_afresh() {
    // Counting merges first.
    let stats = ALLOCATOR.stats();
    debug_assert_eq!(stats.live_blocks, 0, "a workload gives everything back");
}
