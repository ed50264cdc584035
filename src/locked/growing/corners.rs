//! What is in each other's way: pages that are kept, free blocks, further heaps, the cap, and the system.

mod large_and_small;

use super::*;
use crate::mapping::{self, refusals};
use crate::source::sealed::Source as _;
use core::alloc::{GlobalAlloc, Layout};
use core::time::Duration;
use std::thread::sleep;
use std::vec::Vec;

const MIB: usize = 1 << 20;

type Allocator = Locked<Growing<{ 64 * MIB }, true>>;

fn bytes(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

/// A block that was served.
fn served(allocator: &Allocator, size: usize) -> *mut u8 {
    // SAFETY: the layout is of more than no bytes.
    let block = unsafe { allocator.alloc(bytes(size)) };
    assert!(!block.is_null(), "{size} bytes are refused, with {:?}", allocator.stats());
    block
}

/// Gives a block of so many bytes back.
fn free(allocator: &Allocator, block: *mut u8, size: usize) {
    // SAFETY: the tests give back what was served, once.
    unsafe { allocator.dealloc(block, bytes(size)) };
}

/// Frees so much that pages are kept when the next block is freed.
fn keep_pages(allocator: &Allocator, size: usize) {
    for _ in 0..1000 {
        free(allocator, served(allocator, size), size);
        if allocator.committed_bytes() > size {
            return;
        }
    }
    panic!("pages are given back each time");
}

#[test]
fn pages_that_are_kept_are_not_in_the_way_of_small_requests() {
    for size in [40, 3000, 70_000] {
        let allocator = Allocator::new();
        keep_pages(&allocator, 40 * MIB);
        let count = 50 * MIB / size;
        assert!((0..count).all(|_| !served(&allocator, size).is_null()));
        allocator.audit().unwrap();
    }
}

#[test]
fn blocks_of_any_size_are_cut_from_what_is_kept_and_grow_into_it() {
    let allocator = Allocator::new();
    keep_pages(&allocator, 40 * MIB);
    let before = allocator.committed_bytes();
    let block = served(&allocator, 10 * MIB);
    // SAFETY: the block is in use, and is given back once.
    let grown = unsafe { allocator.realloc(block, bytes(10 * MIB), 30 * MIB) };
    assert_eq!(grown, block);
    let other = served(&allocator, 5 * MIB);
    assert_eq!(allocator.committed_bytes(), before);
    allocator.audit().unwrap();
    free(&allocator, grown, 30 * MIB);
    free(&allocator, other, 5 * MIB);
    allocator.trim();
    assert!(allocator.committed_bytes() < MIB);
}

/// A block that grows has new pages, and what it does not grow into is kept.
#[test]
fn what_is_kept_is_bounded_by_what_was_in_use() {
    let allocator = Allocator::new();
    let mut random = fastrand::Rng::with_seed(1);
    let (mut blocks, mut live, mut most_live) = ([(std::ptr::null_mut(), 0usize); 4], 0, 0);
    for _ in 0..400 {
        let (block, had) = &mut blocks[random.usize(..4)];
        if *had > 0 {
            live -= had.next_multiple_of(mapping::page());
            free(&allocator, *block, *had);
        }
        let size = random.usize(MIB..8 * MIB);
        live += size.next_multiple_of(mapping::page());
        most_live = most_live.max(live);
        // SAFETY: the block is in use.
        *block = unsafe { allocator.realloc(served(&allocator, MIB), bytes(MIB), size) };
        *had = size;
        assert!(!block.is_null());
        let committed = allocator.committed_bytes();
        assert!(
            committed < most_live + most_live / 16 + MIB,
            "{committed} bytes, {live} of {most_live} in use"
        );
    }
    allocator.audit().unwrap();
    blocks.into_iter().for_each(|(block, had)| free(&allocator, block, had));
}

/// To copy what it has takes less time than to have as many new pages.
#[test]
fn a_block_that_doubles_moves_to_what_is_kept() {
    let is_moved = || {
        let allocator = Allocator::new();
        keep_pages(&allocator, 20 * MIB);
        let [block, behind] = [4 * MIB, MIB].map(|size| served(&allocator, size));
        // SAFETY: the block holds that many bytes, is in use, and what it contained stays.
        unsafe {
            block.write_bytes(7, 4 * MIB);
            // Nothing is asked of the system then.
            refusals::begin_after(1);
            let grown = allocator.realloc(block, bytes(4 * MIB), 10 * MIB);
            let is_moved = !refusals::end() && grown != block;
            allocator.audit().unwrap();
            if is_moved {
                assert!((0..4 * MIB).all(|at| grown.add(at).read() == 7));
                free(&allocator, grown, 10 * MIB);
            }
            free(&allocator, behind, MIB);
            is_moved
        }
    };
    // Meanwhile some of what is kept may go back.
    assert!((0..100).any(|_| is_moved()));
}

/// Others may want what both would have together.
#[test]
fn a_block_does_not_move_to_what_is_kept_near_the_cap() {
    let allocator = Allocator::new();
    keep_pages(&allocator, 40 * MIB);
    let [block, behind] = [10 * MIB, MIB].map(|size| served(&allocator, size));
    allocator.set_cap(allocator.committed_bytes() + 9 * MIB);
    allocator.reset_peak();
    // SAFETY: the block is in use.
    let grown = unsafe { allocator.realloc(block, bytes(10 * MIB), 20 * MIB) };
    assert!(!grown.is_null() && allocator.peak_bytes() < 22 * MIB);
    free(&allocator, grown, 20 * MIB);
    free(&allocator, behind, MIB);
}

#[test]
fn pages_that_are_kept_go_when_they_stand_in_the_way_of_the_system() {
    let allocator = Allocator::new();
    keep_pages(&allocator, 40 * MIB);
    // The system has no memory until some comes back: the next mapping is refused, in huge pages and in others, and no
    // other call.
    refusals::refuse_next(1 + u32::from(mapping::HAS_HUGE_PAGES));
    // What is kept has no such alignment for certain.
    let layout = Layout::from_size_align(20 * MIB, 2 * mapping::page()).unwrap();
    // SAFETY: the layout is of more than no bytes, and the block is given back once.
    unsafe {
        let block = allocator.alloc(layout);
        assert!(!block.is_null() && allocator.committed_bytes() < 21 * MIB);
        allocator.dealloc(block, layout);
    }
}

#[test]
fn pages_that_are_kept_go_in_time_though_nothing_small_is_freed() {
    let allocator = Allocator::new();
    let other = served(&allocator, 2 * MIB);
    keep_pages(&allocator, 40 * MIB);
    sleep(Duration::from_millis(1200));
    free(&allocator, other, 2 * MIB);
    assert!(allocator.committed_bytes() < 2 * MIB, "{} bytes", allocator.committed_bytes());
}

#[test]
fn pages_that_are_kept_are_cleared_for_who_wants_zeroes() {
    const SIZE: usize = 10 * MIB;
    let allocator = Allocator::new();
    keep_pages(&allocator, SIZE);
    let block = served(&allocator, SIZE);
    assert!(allocator.committed_bytes() < SIZE + MIB, "it has the pages that were kept");
    // SAFETY: the blocks hold that many bytes, and are given back once.
    unsafe {
        block.write_bytes(7, SIZE);
        allocator.dealloc(block, bytes(SIZE));
        let block = allocator.alloc_zeroed(bytes(SIZE - 5000));
        assert!((0..SIZE - 5000).all(|at| block.add(at).read() == 0));
        allocator.dealloc(block, bytes(SIZE - 5000));
    }
}

#[test]
fn nothing_is_kept_beyond_the_cap() {
    let allocator = Allocator::new();
    keep_pages(&allocator, 40 * MIB);
    let block = served(&allocator, 40 * MIB);
    allocator.set_cap(8 * MIB);
    free(&allocator, block, 40 * MIB);
    assert!(allocator.committed_bytes() < MIB);
    free(&allocator, served(&allocator, 7 * MIB), 7 * MIB);
}

#[test]
fn a_block_can_always_shrink() {
    let allocator = Allocator::new();
    for size in [4 * MIB, 5000] {
        let block = served(&allocator, 8 * MIB);
        refusals::begin_after(0);
        // SAFETY: the block is in use.
        let shrunk = unsafe { allocator.realloc(block, bytes(8 * MIB), size) };
        assert!(refusals::end() || size == 5000);
        assert!(!shrunk.is_null());
        allocator.audit().unwrap();
        free(&allocator, shrunk, size);
    }
    assert_eq!(allocator.stats().live_bytes, 0);
}

/// The system refuses to cut a mapping in two, when a process has as many as it may have.
#[test]
fn pages_that_the_system_does_not_take_back_serve_again_and_go_later() {
    const SIZE: usize = 3 * MIB;
    let allocator = Allocator::new();
    free(&allocator, served(&allocator, 100), 100);
    // In the second round it does not even take what they contain.
    for refused in [1, 2] {
        let block = served(&allocator, SIZE);
        let others = allocator.committed_bytes() - SIZE;
        // SAFETY: the block holds that many bytes.
        unsafe { block.write_bytes(7, SIZE) };
        refusals::refuse_next(refused);
        free(&allocator, block, SIZE);
        let stayed = allocator.committed_bytes() - others;
        assert_eq!(stayed, if refused == 1 { mapping::page() } else { SIZE });
        // SAFETY: the layout is of more than no bytes, the block holds as many, and is given back once.
        unsafe {
            let again = allocator.alloc_zeroed(bytes(SIZE - 5000));
            assert_eq!(again, block);
            assert!((0..SIZE - 5000).all(|at| again.add(at).read() == 0));
            refusals::refuse_next(refused);
            allocator.dealloc(again, bytes(SIZE - 5000));
        }
        allocator.audit().unwrap();
        assert!(allocator.trim() >= stayed);
        assert!(allocator.committed_bytes() <= others);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_block_that_grows_keeps_what_the_system_does_not_take_back() {
    let allocator = Allocator::new();
    let (small, large) = (MIB + 5000, 3 * MIB + 5000);
    let block = served(&allocator, small);
    refusals::begin_after(1);
    // SAFETY: the block is in use.
    let grown = unsafe { allocator.realloc(block, bytes(small), large) };
    assert!(refusals::end());
    assert!(!grown.is_null());
    allocator.audit().unwrap();
    // SAFETY: the block holds that many bytes.
    unsafe { grown.write_bytes(7, large) };
    free(&allocator, grown, large);
    assert_eq!(allocator.stats().live_bytes, 0);
    assert!(allocator.committed_bytes() < MIB);
}

#[test]
#[cfg(target_os = "linux")]
fn a_block_grows_to_the_cap() {
    let allocator = Allocator::new();
    let (small, large) = (MIB + 5000, 3 * MIB + 5000);
    let block = served(&allocator, small);
    let page = mapping::page();
    let more = large.next_multiple_of(page) - small.next_multiple_of(page);
    allocator.set_cap(allocator.committed_bytes() + more);
    // SAFETY: the block is in use.
    let grown = unsafe { allocator.realloc(block, bytes(small), large) };
    assert!(!grown.is_null());
    assert_eq!(allocator.committed_bytes(), allocator.cap());
    free(&allocator, grown, large);
}

#[test]
fn a_block_with_pages_of_its_own_grows_into_what_is_free_if_the_cap_leaves_no_pages() {
    let allocator = Allocator::new();
    let small: Vec<_> = (0..40).map(|_| served(&allocator, 900_000)).collect();
    let _last = served(&allocator, 900_000);
    let block = served(&allocator, 2 * MIB);
    // SAFETY: the block holds that many bytes.
    unsafe { block.write_bytes(7, 2 * MIB) };
    small.into_iter().for_each(|block| free(&allocator, block, 900_000));
    allocator.set_cap(allocator.committed_bytes());
    // SAFETY: the block is in use, and what it contained stays.
    unsafe {
        let grown = allocator.realloc(block, bytes(2 * MIB), 20 * MIB);
        assert!(!grown.is_null());
        assert!((0..2 * MIB).all(|at| grown.add(at).read() == 7));
        free(&allocator, grown, 20 * MIB);
    }
    allocator.audit().unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_block_grows_though_its_owner_has_changed_what_its_pages_are() {
    let allocator = Allocator::new();
    let block = served(&allocator, 2 * MIB);
    // The system does not move two mappings in one, which a program makes of a block when it locks a part of it in
    // memory, or keeps it out of core dumps.
    // SAFETY: the block holds that many bytes, is in use, and is whole pages, and what it contained stays.
    unsafe {
        block.write_bytes(7, 2 * MIB);
        let page = mapping::page();
        assert_eq!(libc::madvise(block.add(page).cast(), page, libc::MADV_DONTDUMP), 0);
        let grown = allocator.realloc(block, bytes(2 * MIB), 20 * MIB);
        assert!(!grown.is_null());
        assert!((0..2 * MIB).all(|at| grown.add(at).read() == 7));
        free(&allocator, grown, 20 * MIB);
    }
    assert_eq!(allocator.stats().live_bytes, 0);
}

/// Where a copy of all of it would be more than the cap allows.
#[test]
#[cfg(target_os = "linux")]
fn a_block_of_two_mappings_grows_near_the_cap() {
    const SMALL: usize = 8 * MIB;
    const LARGE: usize = 9 * MIB + 5000;
    let allocator = Allocator::new();
    let block = served(&allocator, SMALL);
    // SAFETY: the block holds that many bytes, is in use, and is whole pages, and what it contained stays.
    unsafe {
        (0..SMALL).for_each(|at| block.add(at).write((at >> 10) as u8));
        assert_eq!(libc::madvise(block.add(MIB).cast(), MIB, libc::MADV_DONTDUMP), 0);
        let whole = LARGE.next_multiple_of(mapping::page());
        allocator.set_cap(allocator.committed_bytes() + whole - SMALL);
        let grown = allocator.realloc(block, bytes(SMALL), LARGE);
        assert!(!grown.is_null() && allocator.committed_bytes() == allocator.cap());
        assert!((0..SMALL).all(|at| grown.add(at).read() == (at >> 10) as u8));
        assert!((SMALL..LARGE).all(|at| grown.add(at).read() == 0));
        // What neither can be made longer nor copied stays as it was.
        allocator.set_cap(64 * MIB);
        assert_eq!(libc::madvise(grown.add(MIB).cast(), MIB, libc::MADV_DONTDUMP), 0);
        refusals::begin_after(0);
        let more = allocator.realloc(grown, bytes(LARGE), 20 * MIB);
        assert!(refusals::end() && more.is_null());
        assert!((0..SMALL).all(|at| grown.add(at).read() == (at >> 10) as u8));
        allocator.audit().unwrap();
        free(&allocator, grown, LARGE);
    }
    assert_eq!(allocator.stats().live_bytes, 0);
}

/// Whether the system makes pages longer that it has as two mappings.
#[cfg(target_os = "linux")]
fn system_moves_two_mappings() -> bool {
    let page = mapping::page();
    let start = mapping::map(2 * page, page).unwrap().as_ptr();
    // SAFETY: the pages were just mapped, and nobody else has them.
    unsafe {
        assert_eq!(libc::madvise(start.cast(), page, libc::MADV_DONTDUMP), 0);
        let longer = mapping::remap(start, 2 * page, 4 * page);
        match longer {
            Some(start) => mapping::unmap(start.as_ptr(), 4 * page),
            None => mapping::unmap(start, 2 * page),
        }
        longer.is_some()
    }
}

/// Whichever call the system refuses while such a block is copied to more pages.
#[test]
#[cfg(target_os = "linux")]
fn a_block_of_two_mappings_is_not_lost_and_neither_are_its_pages() {
    const SMALL: usize = 3 * MIB;
    const LARGE: usize = 4 * MIB;
    // An emulated system may move such a block.
    let mut have_stayed = system_moves_two_mappings();
    for calls in 0..10 {
        let allocator = Allocator::new();
        let block = served(&allocator, SMALL);
        // SAFETY: the block holds that many bytes, is in use, and is whole pages, and what it contained stays.
        unsafe {
            block.write_bytes(7, SMALL);
            assert_eq!(libc::madvise(block.add(MIB).cast(), MIB, libc::MADV_DONTDUMP), 0);
            refusals::begin_after(calls);
            let grown = allocator.realloc(block, bytes(SMALL), LARGE);
            refusals::end();
            let (block, size) = if grown.is_null() { (block, SMALL) } else { (grown, LARGE) };
            assert!((0..SMALL).all(|at| block.add(at).read() == 7));
            allocator.audit().unwrap();
            // If the system does not take the old pages, they are there until it does.
            have_stayed |= !grown.is_null() && allocator.committed_bytes() > SMALL + LARGE;
            free(&allocator, block, size);
        }
        allocator.trim();
        assert!(allocator.committed_bytes() < MIB && allocator.stats().live_bytes == 0);
    }
    assert!(have_stayed);
}

#[test]
fn what_is_to_be_had_is_what_the_cap_leaves() {
    let allocator = Allocator::new();
    let _block = served(&allocator, 60 * MIB);
    let stats = allocator.stats();
    assert!(stats.largest_free_bytes <= 4 * MIB, "{stats:?}");
    free(&allocator, served(&allocator, stats.largest_free_bytes - 4096), stats.largest_free_bytes - 4096);
}

/// An allocator whose first heap has no room for more than 1 MiB, and is full.
fn with_a_full_heap() -> Allocator {
    let allocator = Allocator::new();
    allocator.set_cap(MIB);
    // SAFETY: the layout is of more than no bytes.
    while !unsafe { allocator.alloc(bytes(5000)) }.is_null() {}
    allocator.set_cap(64 * MIB);
    allocator
}

#[test]
fn a_further_heap_is_not_made_and_unmade_in_turn() {
    let allocator = with_a_full_heap();
    let full = allocator.committed_bytes();
    let block = served(&allocator, 5000);
    let further = allocator.committed_bytes();
    assert!(further > full && further - full < MIB);
    free(&allocator, block, 5000);
    assert_eq!(allocator.committed_bytes(), further);
    allocator.trim();
    assert_eq!(allocator.committed_bytes(), full);
    allocator.audit().unwrap();
}

#[test]
fn what_is_free_in_further_heaps_goes_back_though_nothing_else_is_freed() {
    let allocator = with_a_full_heap();
    let blocks: Vec<_> = (0..400).map(|_| served(&allocator, 100_000)).collect();
    let peak = allocator.committed_bytes();
    blocks.into_iter().skip(1).rev().for_each(|block| free(&allocator, block, 100_000));
    let committed = allocator.committed_bytes();
    assert!(peak > 38 * MIB && committed < 8 * MIB, "{committed} of {peak} bytes");
    allocator.audit().unwrap();
}

#[test]
fn what_could_not_go_back_at_once_goes_later() {
    let allocator = Allocator::new();
    let rise_and_fall = || {
        let blocks: Vec<_> = (0..400).map(|_| served(&allocator, 100_000)).collect();
        // What is not in memory goes back at any pace.
        // SAFETY: the blocks hold that many bytes.
        blocks.iter().for_each(|block| unsafe { block.write_bytes(7, 100_000) });
        blocks.into_iter().rev().for_each(|block| free(&allocator, block, 100_000));
        allocator.committed_bytes()
    };
    assert!(rise_and_fall() < 8 * MIB, "a peak goes back at once");
    assert!(rise_and_fall() > 20 * MIB, "one that follows has to wait");
    std::thread::sleep(core::time::Duration::from_millis(1100));
    (0..100).for_each(|_| free(&allocator, served(&allocator, 100), 100));
    (0..20).for_each(|_| free(&allocator, served(&allocator, 100_000), 100_000));
    assert!(allocator.committed_bytes() < 8 * MIB);
    allocator.audit().unwrap();
}

#[test]
fn what_is_beyond_the_cap_goes_back_at_once() {
    // However long ago it was that the pace refused to give back what had fallen.
    for visits in 0..20 {
        let allocator = Allocator::new();
        for _ in 0..2 {
            let blocks: Vec<_> = (0..50).map(|_| served(&allocator, 1_000_000)).collect();
            blocks.into_iter().rev().for_each(|block| free(&allocator, block, 1_000_000));
        }
        let mut blocks: Vec<_> = (0..18).map(|_| served(&allocator, 1_000_000)).collect();
        (0..visits).for_each(|_| free(&allocator, served(&allocator, 1_000_000), 1_000_000));
        allocator.set_cap(4 * MIB);
        blocks.drain(8..).rev().for_each(|block| free(&allocator, block, 1_000_000));
        assert!(allocator.committed_bytes() < 10 * MIB, "{} {visits}", allocator.committed_bytes());
        allocator.audit().unwrap();
    }
}

#[test]
fn what_is_free_in_further_heaps_serves_large_requests_if_the_cap_leaves_no_pages() {
    let allocator = with_a_full_heap();
    let blocks: Vec<_> = (0..400).map(|_| served(&allocator, 100_000)).collect();
    let _last = served(&allocator, 100_000);
    blocks.into_iter().for_each(|block| free(&allocator, block, 100_000));
    allocator.set_cap(allocator.committed_bytes());
    free(&allocator, served(&allocator, 20 * MIB), 20 * MIB);
    allocator.audit().unwrap();
}

#[test]
fn what_one_heap_has_committed_and_not_used_serves_another_one() {
    let allocator = with_a_full_heap();
    let blocks: Vec<_> = (0..300).map(|_| served(&allocator, 100_000)).collect();
    // The last ones are free, and lie at the top of the further heap.
    blocks.into_iter().skip(290).for_each(|block| free(&allocator, block, 100_000));
    let left = 64 * MIB - allocator.committed_bytes();
    let block = served(&allocator, left + MIB / 2);
    free(&allocator, block, left + MIB / 2);
    allocator.audit().unwrap();
}

#[test]
fn caps_at_the_extremes() {
    for cap in [0, 1, 4095, 4096, 65_535, usize::MAX] {
        let allocator = Allocator::new();
        allocator.set_cap(cap);
        // SAFETY: the layout is of more than no bytes.
        let is_served = unsafe { !allocator.alloc(bytes(100)).is_null() };
        assert_eq!(is_served, cap > 65_535, "{cap}");
        assert!(allocator.committed_bytes() <= cap);
        // Raised later, it serves, and lowered to anything, it keeps what is in use.
        allocator.set_cap(3 * MIB + 1);
        let block = served(&allocator, 100_000);
        assert!(allocator.committed_bytes() <= 3 * MIB + 1);
        allocator.set_cap(cap);
        free(&allocator, block, 100_000);
        allocator.audit().unwrap();
    }
}

/// Little is in use where a program begins, and caches are to serve its threads then, too, unless there are very many.
#[test]
fn what_is_only_reserved_is_free_for_each_cache() {
    /// How much is free for the sake of so many caches, while so many bytes are in use.
    fn free_for<const CAP: usize>(caches: [usize; 4], in_use: usize) -> [usize; 4] {
        let allocator = Locked::<Growing<CAP>>::new();
        // SAFETY: the layouts are of more than no bytes, and what was served is given back, once.
        unsafe {
            let blocks: Vec<_> = (0..in_use / 100_000).map(|_| allocator.alloc(bytes(100_000))).collect();
            assert!(blocks.iter().all(|block| !block.is_null()));
            let free = caches.map(|caches| allocator.heap().free_for(caches));
            blocks.into_iter().for_each(|block| allocator.dealloc(block, bytes(100_000)));
            free
        }
    }

    const LARGE: usize = 1536 * MIB;
    const SMALL: usize = 256 * MIB;
    let caches = [1, 2, 16, 64];
    assert_eq!(free_for::<LARGE>(caches, MIB), [64, 128, 1024, 1024].map(|mib| mib * MIB));
    let [one, two, many, more] = free_for::<LARGE>(caches, 200 * MIB);
    assert!(one == two && (200 * MIB - 100_000..201 * MIB).contains(&one), "as much as is in use");
    assert_eq!((many, more), (1024 * MIB, 1024 * MIB));
    let [.., many] = free_for::<SMALL>(caches, 100 * MIB);
    assert!((155 * MIB..156 * MIB + 100_000).contains(&many), "no more than there may be");
}

/// Caches are told of a fall once, also where more is committed than the cap allows.
#[test]
fn beyond_the_cap_caches_are_told_once() {
    let allocator = Allocator::new();
    let note_cache = || allocator.source.note_cache(&mut allocator.heap());
    let mut blocks: Vec<_> = (0..8000).map(|_| served(&allocator, 5000)).collect();
    blocks.drain(..7000).for_each(|block| free(&allocator, block, 5000));
    assert!((0..100).any(|_| !note_cache()));
    // What is in use lies at the end, so that all is committed.
    allocator.set_cap(10 * MIB);
    assert!(allocator.committed_bytes() > 10 * MIB);
    assert!((0..10).all(|_| !note_cache()), "nothing is less in use");
    blocks.into_iter().for_each(|block| free(&allocator, block, 5000));
}

/// What caches give back may be little, and all that much more was kept for.
#[test]
fn what_is_free_after_caches_were_told_goes_back() {
    let allocator = Locked::<Growing<{ 64 * MIB }>>::new();
    let note_cache = || allocator.source.note_cache(&mut allocator.heap());
    // SAFETY: the layouts are of more than no bytes, and what was served is given back, once.
    unsafe {
        let last = 31;
        let blocks: Vec<_> = (0..8000).map(|_| allocator.alloc(bytes(4000))).collect();
        for (number, &block) in blocks.iter().enumerate() {
            block.write_bytes(7, 4000);
            if number % 32 != last {
                allocator.dealloc(block, bytes(4000));
            }
        }
        // The pace may not allow it at once.
        let is_told = (0..400).any(|_| {
            sleep(Duration::from_millis(10));
            note_cache()
        });
        assert!(is_told);
        let few: Vec<_> = blocks.into_iter().skip(last).step_by(32).collect();
        assert!(few.len() * 4000 < MIB, "that is no fall");
        // As caches do.
        few.into_iter().for_each(|block| allocator.heap().dealloc(block).unwrap());
        let is_all_back = (0..400).any(|_| {
            sleep(Duration::from_millis(10));
            note_cache();
            allocator.committed_bytes() < 2 * MIB
        });
        assert!(is_all_back, "{} bytes", allocator.committed_bytes());
    }
}

/// Whoever frees what makes memory fall, caches are told, once.
#[test]
fn a_fall_is_told_whoever_sees_it() {
    let allocator = Locked::<Growing<{ 1024 * MIB }>>::new();
    let note_cache = || allocator.source.note_cache(&mut allocator.heap());
    // SAFETY: the layouts are of more than no bytes, and what was served is given back, once.
    unsafe {
        let blocks: Vec<_> = (0..1000).map(|_| allocator.alloc(bytes(100_000))).collect();
        assert!(!note_cache());
        blocks.into_iter().for_each(|block| allocator.dealloc(block, bytes(100_000)));
    }
    assert_eq!([note_cache(), note_cache()], [true, false]);
}
