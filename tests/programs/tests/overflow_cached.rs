//! `ThreadCached<OrSystem<…>>` past its arena: blocks go back to where they came from, and no call drains caches
//! that have nothing. A process of its own with one test: only one allocator of a process has caches.

#![cfg(all(feature = "std", unix))]

use mem_alloc_rust::{FreeList, OrSystem, ThreadCached};
use std::alloc::{GlobalAlloc, Layout};
use std::thread;

const ARENA: usize = 1 << 20;

static A: ThreadCached<OrSystem<FreeList<ARENA>>> = ThreadCached::new();

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

fn in_arena(block: *const u8) -> bool {
    let start = (&raw const A).addr();
    (start..start + size_of_val(&A)).contains(&block.addr())
}

/// Allocates a block that the system serves, and gives it back.
fn overflow(bytes: usize) {
    // SAFETY: the layout is not of zero bytes; the block has so many bytes and is given back once.
    unsafe {
        let block = A.alloc(layout(bytes));
        assert!(!block.is_null() && !in_arena(block) && !A.is_in_arena(block));
        assert_eq!(A.usable_size(block), None);
        block.write_bytes(1, bytes);
        let block = A.realloc(block, layout(bytes), 2 * bytes);
        assert!(std::slice::from_raw_parts(block, bytes).iter().all(|&byte| byte == 1));
        A.dealloc(block, layout(2 * bytes));
    }
}

#[test]
fn past_the_arena_caches_keep_nothing_and_the_system_serves() {
    // SAFETY: the layouts are not of zero bytes; each block is given back once.
    unsafe {
        let blocks: Vec<_> = std::iter::repeat_with(|| A.alloc(layout(64)))
            .take_while(|&block| {
                in_arena(block) || {
                    A.dealloc(block, layout(64));
                    false
                }
            })
            .collect();
        assert!(blocks.len() * 64 > ARENA * 9 / 10, "{} blocks", blocks.len());
        thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || (0..1000).for_each(|number| overflow(64 + 8 * (thread + number % 50))));
            }
        });
        assert_eq!(A.caches().bytes, 0, "what has been drained stays empty");
        assert_eq!(A.stats().live_blocks, blocks.len());
        // What is free again is used again.
        let (given_back, kept) = blocks.split_at(100);
        given_back.iter().for_each(|&block| A.dealloc(block, layout(64)));
        let again = A.alloc(layout(64));
        assert!(in_arena(again) && A.is_in_arena(again));
        assert!(A.usable_size(again) >= Some(64));
        A.dealloc(again, layout(64));
        kept.iter().for_each(|&block| A.dealloc(block, layout(64)));
    }
    A.audit().unwrap();
    assert_eq!(A.stats().live_bytes, 0);
}
