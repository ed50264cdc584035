//! Golden instruction counts: the shortest ways through the allocators take at most so many instructions, by callgrind.
//!
//! A small block is served by a cache or by a run that has room; a large one is cut from a free block and melts into it
//! again. What is counted is a function that does one call: what a program's own call of its global allocator comes to.

use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig};
use gungraun::{library_benchmark, library_benchmark_group, main};
use mem_alloc_rust::{FreeList, Locked, ThreadCached};
use std::alloc::{GlobalAlloc, Layout};

#[global_allocator]
static CACHED: ThreadCached<FreeList> = ThreadCached::new();

static LOCKED: Locked<FreeList> = Locked::new();

const SMALL: Layout = Layout::new::<[u64; 8]>();
const LARGE: Layout = Layout::new::<[u64; 200]>();

/// Small blocks that stay in use, so that their class has runs.
const KEPT: u32 = 1000;

/// Fails at more than so many instructions.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

/// A block of an allocator that has served such blocks before.
fn block_of(allocator: &impl GlobalAlloc, layout: Layout) -> *mut u8 {
    let alloc = |layout| {
        // SAFETY: the layout is not of zero bytes.
        let block = unsafe { allocator.alloc(layout) };
        assert!(!block.is_null());
        block
    };
    for _ in 0..KEPT {
        alloc(SMALL);
    }
    // SAFETY: each block is given back once, with its layout.
    (0..KEPT).for_each(|_| unsafe { allocator.dealloc(alloc(layout), layout) });
    alloc(layout)
}

/// The layout of a block that an allocator has served before, and has back.
fn served_before(allocator: &impl GlobalAlloc, layout: Layout) -> Layout {
    let block = block_of(allocator, layout);
    // SAFETY: the block is given back once, with its layout.
    unsafe { allocator.dealloc(block, layout) };
    layout
}

#[library_benchmark(config = at_most(24))]
#[bench::of_64_bytes(served_before(&CACHED, SMALL))]
fn cached_alloc(layout: Layout) -> *mut u8 {
    // SAFETY: the layout is not of zero bytes.
    unsafe { CACHED.alloc(layout) }
}

#[library_benchmark(config = at_most(63))]
#[bench::of_64_bytes(block_of(&CACHED, SMALL), SMALL)]
fn cached_dealloc(block: *mut u8, layout: Layout) {
    // SAFETY: the block is given back once, with its layout.
    unsafe { CACHED.dealloc(block, layout) }
}

library_benchmark_group!(name = cached, benchmarks = [cached_alloc, cached_dealloc]);

#[library_benchmark]
#[bench::of_64_bytes(args = (served_before(&LOCKED, SMALL)), config = at_most(55))]
#[bench::of_1600_bytes(args = (served_before(&LOCKED, LARGE)), config = at_most(129))]
fn locked_alloc(layout: Layout) -> *mut u8 {
    // SAFETY: the layout is not of zero bytes.
    unsafe { LOCKED.alloc(layout) }
}

#[library_benchmark]
#[bench::of_64_bytes(args = (block_of(&LOCKED, SMALL), SMALL), config = at_most(68))]
#[bench::of_1600_bytes(args = (block_of(&LOCKED, LARGE), LARGE), config = at_most(136))]
fn locked_dealloc(block: *mut u8, layout: Layout) {
    // SAFETY: the block is given back once, with its layout.
    unsafe { LOCKED.dealloc(block, layout) }
}

library_benchmark_group!(name = locked, benchmarks = [locked_alloc, locked_dealloc]);

main!(library_benchmark_groups = [cached, locked]);
