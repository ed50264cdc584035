//! The heap's figures at one moment.

#![forbid(unsafe_code)]

/// What the heap looks like at one moment, in bytes and blocks.
///
/// A block's bytes include its 4-byte header and what rounding added. Everything adds up:
/// `live_bytes + free_bytes` is `arena_bytes`.
///
/// ```
/// use core::alloc::Layout;
/// use mem_alloc_rust::Heap;
///
/// let mut arena = [0u64; 512];
/// let mut heap = Heap::new();
/// // SAFETY: only the heap uses the arena, which is all zero. Each block is given back once.
/// unsafe {
///     heap.init(arena.as_mut_ptr().cast(), size_of_val(&arena), true).unwrap();
///     let [first, second, _third] = [(); 3].map(|()| heap.alloc(Layout::new::<[u8; 100]>()).unwrap());
///     heap.dealloc(first.as_ptr()).unwrap();
///     let stats = heap.stats();
///     assert_eq!((stats.live_blocks, stats.live_bytes, stats.peak_bytes), (2, 2 * 104, 3 * 104));
///     assert_eq!(stats.live_bytes + stats.free_bytes, stats.arena_bytes);
///     // The hole of the first block, and what was never used.
///     assert_eq!((stats.free_blocks, stats.largest_free_bytes), (2, stats.free_bytes - 104));
///     assert!(stats.fragmentation() > 0.02);
///     heap.dealloc(second.as_ptr()).unwrap();
///     assert_eq!(heap.stats().free_blocks, 2, "neighbours that are free are one block");
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes that blocks can be made of: the arena without the few bytes at its ends that alignment costs.
    pub arena_bytes: usize,
    /// Bytes of the blocks in use. With a `ThreadCached`, caches were drained before: only what the program has.
    pub live_bytes: usize,
    /// The most that `live_bytes` was since the beginning, or since the last `reset_peak`; with a `ThreadCached`, what
    /// was in caches counts as in use. An arena has to be larger than that:
    /// [choosing](crate::choosing#how-large-an-arena) says by how much.
    pub peak_bytes: usize,
    /// Bytes that are not in use.
    pub free_bytes: usize,
    /// Bytes of the largest free block: the largest request that succeeds now is 4 bytes less.
    pub largest_free_bytes: usize,
    /// Blocks in use.
    pub live_blocks: usize,
    /// Free blocks; one when everything was given back.
    pub free_blocks: usize,
}

impl Stats {
    /// The share of the free bytes that the largest free block does not have, from 0.0 (all free memory is
    /// one block) towards 1.0 (crumbs only).
    pub fn fragmentation(&self) -> f64 {
        if self.free_bytes == 0 {
            return 0.0;
        }
        1.0 - self.largest_free_bytes as f64 / self.free_bytes as f64
    }
}

/// What the threads' caches of a `ThreadCached` have at one moment.
///
/// ```
/// use mem_alloc_rust::{CacheStats, FreeList, ThreadCached};
///
/// #[global_allocator]
/// static A: ThreadCached<FreeList> = ThreadCached::new();
///
/// fn main() {
///     drop((0..100).map(|n| Box::new(n)).collect::<Vec<_>>());
///     let caches: CacheStats = A.caches();
///     // All caches together, and what is between them, are little beside what is free.
///     assert!(caches.bytes <= A.stats().free_bytes / 32);
///     // Where there are no caches, nothing is in them.
///     assert!(caches.are_available || caches == CacheStats::default());
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Whether threads get caches from this allocator: it lies in static memory, and is the first one of the
    /// process that does.
    pub are_available: bool,
    /// Threads that have a cache.
    pub threads: usize,
    /// Bytes in all caches, and on their way from one thread to another. Each block counts as what its size
    /// class promises.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragmentation_is_what_the_largest_block_lacks() {
        let stats = Stats { free_bytes: 400, largest_free_bytes: 100, ..Stats::default() };
        assert_eq!(stats.fragmentation(), 0.75);
        assert_eq!(Stats::default().fragmentation(), 0.0);
    }
}
