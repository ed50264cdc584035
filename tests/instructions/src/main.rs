//! Allocates and releases one small block over and over, by functions with names that callgrind can be told to count.
//!
//! The program has one thread, and the small block is served by a cache or by a run that has room each time: these are
//! the shortest ways. The large one is cut from the top and melts into it again.

use mem_alloc_rust::{FreeList, Locked, ThreadCached};
use std::alloc::{GlobalAlloc, Layout};

/// Calls that are counted. What the first one does besides is lost among so many.
const CALLS: u32 = 10_000;

#[global_allocator]
static CACHED: ThreadCached<FreeList> = ThreadCached::new();

static LOCKED: Locked<FreeList> = Locked::new();

static LARGE: Locked<FreeList> = Locked::new();

/// The functions that are counted: what a program's own call of its global allocator comes to.
macro_rules! counted {
    ($alloc:ident, $dealloc:ident, $allocator:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        fn $alloc(layout: Layout) -> *mut u8 {
            // SAFETY: the layout is not of zero bytes.
            unsafe { $allocator.alloc(layout) }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        fn $dealloc(block: *mut u8, layout: Layout) {
            // SAFETY: the callers give each block back once, with its layout.
            unsafe { $allocator.dealloc(block, layout) }
        }
    };
}

counted!(cached_alloc, cached_dealloc, CACHED);
counted!(locked_alloc, locked_dealloc, LOCKED);
counted!(block_alloc, block_dealloc, LARGE);

/// Small blocks that stay in use, so that their class has runs.
const KEPT: u32 = 1000;

fn main() {
    let (small, large) = (Layout::new::<[u64; 8]>(), Layout::new::<[u64; 200]>());
    for _ in 0..KEPT {
        // SAFETY: the layout is not of zero bytes.
        let kept = unsafe { [LOCKED.alloc(small), CACHED.alloc(small)] };
        assert!(kept.iter().all(|kept| !kept.is_null()));
    }
    for _ in 0..CALLS {
        cached_dealloc(cached_alloc(small), small);
        locked_dealloc(locked_alloc(small), small);
        block_dealloc(block_alloc(large), large);
    }
}
