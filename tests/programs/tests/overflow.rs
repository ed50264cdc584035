//! `OrSystem`: what the arena cannot serve comes from the operating system, and each block goes back to where
//! it came from.

use mem_alloc_rust::{FreeList, Locked, OrSystem, Region};
use serial_test::serial;
use std::alloc::{GlobalAlloc, Layout};

const ARENA: usize = 64 << 10;

#[global_allocator]
static A: Locked<OrSystem<FreeList<ARENA>>> = Locked::new();

fn in_arena(block: *const u8) -> bool {
    let start = (&raw const A).addr();
    (start..start + size_of_val(&A)).contains(&block.addr())
}

#[test]
#[serial]
fn what_is_too_large_comes_from_the_system_and_the_rest_from_the_arena() {
    let small = Box::new(5u64);
    let large = vec![7u8; 10 << 20];
    assert!(in_arena((&raw const *small).cast()));
    assert!(!in_arena(large.as_ptr()));
    assert!(large.iter().all(|&byte| byte == 7));
    let [small, large] = [(&raw const *small).cast(), large.as_ptr()];
    assert!(A.is_in_arena(small) && !A.is_in_arena(large));
    // SAFETY: both are in use.
    let usable = [small, large].map(|block| unsafe { A.usable_size(block.cast_mut()) });
    assert!(usable[0] >= Some(8) && usable[1].is_none(), "{usable:?}");
}

#[test]
#[serial]
fn a_growing_block_moves_out_of_the_arena_with_its_contents_and_back() {
    let mut numbers: Vec<u32> = Vec::with_capacity(16);
    assert!(in_arena(numbers.as_ptr().cast()));
    numbers.extend(0..100_000);
    assert!(!in_arena(numbers.as_ptr().cast()));
    assert!(numbers.iter().copied().eq(0..100_000));
    numbers.truncate(10);
    numbers.shrink_to_fit();
    assert!(numbers.iter().copied().eq(0..10), "a block of the system's shrinks there");
    A.audit().unwrap();
}

#[test]
fn a_block_that_moved_out_of_the_arena_is_given_back_there() {
    static B: Locked<OrSystem<FreeList<4096>>> = Locked::new();

    let layout = |size| Layout::from_size_align(size, 8).unwrap();
    // SAFETY: the layouts are not of zero bytes; each block is resized and given back once, with its layout.
    unsafe {
        let block = B.alloc(layout(100));
        assert_eq!(B.stats().live_blocks, 1);
        let moved = B.realloc(block, layout(100), 100_000);
        assert_eq!(B.stats().live_blocks, 0);
        B.dealloc(moved, layout(100_000));
    }
    assert_eq!(B.stats().free_blocks, 1);
}

#[test]
fn a_region_may_come_after_the_first_blocks_of_the_system() {
    static B: Locked<OrSystem<Region>> = Locked::new();

    let layout = Layout::new::<[u64; 10]>();
    let memory = Box::leak(vec![0u64; 512].into_boxed_slice());
    let bounds = memory.as_ptr_range();
    let bounds = bounds.start.addr()..bounds.end.addr();
    // SAFETY: the layout is not of zero bytes; the memory is leaked and used by nothing else; blocks are
    // given back once.
    unsafe {
        let early = B.alloc(layout);
        B.init(memory.as_mut_ptr().cast(), size_of_val(memory)).unwrap();
        let late = B.alloc(layout);
        assert!(!bounds.contains(&early.addr()) && bounds.contains(&late.addr()));
        assert!(!B.is_in_arena(early) && B.is_in_arena(late));
        assert_eq!([early, late].map(|block| B.usable_size(block)), [None, Some(84)]);
        B.dealloc(early, layout);
        B.dealloc(late, layout);
    }
    assert_eq!(B.stats().free_blocks, 1);
}

#[test]
#[serial]
fn zeroed_and_aligned_requests_overflow_too() {
    for align in [1, 64, 4096] {
        let layout = Layout::from_size_align(1 << 20, align).unwrap();
        // SAFETY: the layout is not of zero bytes; the block is given back with the same layout.
        unsafe {
            let block = A.alloc_zeroed(layout);
            assert!(!block.is_null() && block.addr() % align == 0 && !in_arena(block));
            assert!(std::slice::from_raw_parts(block, layout.size()).iter().all(|&byte| byte == 0));
            A.dealloc(block, layout);
        }
    }
}

#[test]
#[serial]
fn threads_may_overflow_at_the_same_time() {
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            scope.spawn(move || {
                for round in 0..200 {
                    let block = vec![thread; 30_000 + round];
                    assert!(block.iter().all(|&byte| byte == thread));
                }
            });
        }
    });
    A.audit().unwrap();
}
