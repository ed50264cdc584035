//! Allocates and releases one small block over and over, by functions with names that callgrind can be told to count.
//!
//! The program has one thread, and the block is served by a cache or held by the heap each time: these are the shortest ways.

use mem_alloc_rust::{FreeList, Locked, ThreadCached};
use std::alloc::{GlobalAlloc, Layout};

/// Calls that are counted. What the first one does besides is lost among so many.
const CALLS: u32 = 10_000;

#[global_allocator]
static CACHED: ThreadCached<FreeList> = ThreadCached::new();

static LOCKED: Locked<FreeList> = Locked::new();

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

fn main() {
    let layout = Layout::new::<[u64; 8]>();
    for _ in 0..CALLS {
        cached_dealloc(cached_alloc(layout), layout);
        locked_dealloc(locked_alloc(layout), layout);
    }
}
