//! What small blocks leave serves large ones, and the other way round.

use super::*;

/// Small blocks, all of which were freed: so many bytes of the heap's are free, and in memory if the pace has not
/// allowed to give them back.
fn leave_free(allocator: &Allocator, size: usize) {
    const SMALL: usize = 50_000;
    let blocks: Vec<_> = (0..size / SMALL).map(|_| served(allocator, SMALL)).collect();
    for &block in &blocks {
        // SAFETY: it holds that many bytes.
        unsafe { block.write_bytes(1, SMALL) };
    }
    blocks.into_iter().for_each(|block| free(allocator, block, SMALL));
}

#[test]
fn what_is_kept_goes_as_the_heap_grows() {
    let allocator = Allocator::new();
    keep_pages(&allocator, 20 * MIB);
    let blocks: Vec<_> = (0..400).map(|_| served(&allocator, 50_000)).collect();
    // An eighth more than is in use is committed.
    let committed = allocator.committed_bytes();
    assert!(committed < 20 * MIB * 19 / 16 + MIB, "{committed} bytes");
    allocator.audit().unwrap();
    blocks.into_iter().for_each(|block| free(&allocator, block, 50_000));
}

#[test]
fn what_small_blocks_leave_serves_large_ones() {
    let is_served = || {
        let allocator = Allocator::new();
        keep_pages(&allocator, 20 * MIB);
        leave_free(&allocator, 20 * MIB);
        // Nothing is asked of the system then.
        refusals::begin_after(1);
        let block = served(&allocator, 3 * MIB);
        // SAFETY: the block holds that many bytes, is in use, and what it contained stays.
        unsafe {
            block.write_bytes(7, 3 * MIB);
            let grown = allocator.realloc(block, bytes(3 * MIB), 7 * MIB);
            let were_any = refusals::end();
            assert!(!grown.is_null() && (0..3 * MIB).all(|at| grown.add(at).read() == 7));
            allocator.audit().unwrap();
            free(&allocator, grown, 7 * MIB);
            !were_any
        }
    };
    assert!((0..100).any(|_| is_served()));
}

/// What a fall would have given back is in memory still if the pace did not allow it, and what is used of that anew
/// takes nothing from what is kept.
#[test]
fn a_wave_finds_the_pages_of_the_one_before() {
    let is_served = || {
        let allocator = Allocator::new();
        keep_pages(&allocator, 8 * MIB);
        let wave = || {
            let blocks: Vec<_> = (0..120).map(|_| served(&allocator, 50_000)).collect();
            // Nothing is asked of the system then.
            refusals::begin_after(1);
            let large = served(&allocator, 2 * MIB);
            let were_any = refusals::end();
            free(&allocator, large, 2 * MIB);
            blocks.into_iter().for_each(|block| free(&allocator, block, 50_000));
            allocator.audit().unwrap();
            !were_any
        };
        wave();
        wave()
    };
    assert!((0..100).any(|_| is_served()));
}

/// A peak that has gone back to the system long ago does not count.
#[test]
fn a_peak_of_long_ago_does_not_let_pages_pile_up() {
    let allocator = Allocator::new();
    let blocks: Vec<_> = (0..13).map(|_| served(&allocator, 4 * MIB)).collect();
    blocks.into_iter().for_each(|block| free(&allocator, block, 4 * MIB));
    while allocator.committed_bytes() > 2 * MIB {
        sleep(Duration::from_millis(20));
        free(&allocator, served(&allocator, MIB), MIB);
    }
    let mut random = fastrand::Rng::with_seed(1);
    let mut buffers: Vec<_> = (0..8).map(|_| (served(&allocator, MIB), MIB)).collect();
    let mut most_in_use = 8 * MIB;
    for _ in 0..40_000 {
        let number = random.usize(..buffers.len());
        let (buffer, size) = buffers[number];
        free(&allocator, buffer, size);
        let size = random.usize(MIB..3 * MIB);
        buffers[number] = (served(&allocator, size), size);
        most_in_use = most_in_use.max(allocator.live_bytes());
        let committed = allocator.committed_bytes();
        assert!(committed < most_in_use * 17 / 16 + MIB, "{committed} bytes for {most_in_use}");
    }
    buffers.into_iter().for_each(|(buffer, size)| free(&allocator, buffer, size));
    allocator.audit().unwrap();
}

/// It does not know of what it was merged with.
#[test]
#[cfg(target_os = "linux")]
fn what_was_given_back_serves_no_large_block() {
    let allocator = Allocator::new();
    let [first, last] = [50_000; 2].map(|size| {
        leave_free(&allocator, 20 * MIB);
        served(&allocator, size)
    });
    allocator.trim();
    // One that is in memory comes to lie in front of what is not.
    free(&allocator, first, 50_000);
    // SAFETY: the layout is of more than no bytes, and the block is given back once.
    let block = unsafe { allocator.alloc_zeroed(bytes(10 * MIB)) };
    assert!(!block.is_null() && mapping::resident_bytes(block, 10 * MIB) < MIB);
    free(&allocator, block, 10 * MIB);
    free(&allocator, last, 50_000);
}

#[test]
fn a_block_that_doubles_moves_to_what_small_blocks_left() {
    let is_moved = || {
        let allocator = Allocator::new();
        let [block, behind] = [4 * MIB, MIB].map(|size| served(&allocator, size));
        keep_pages(&allocator, 10 * MIB);
        leave_free(&allocator, 14 * MIB);
        // SAFETY: the blocks hold that many bytes, are in use, and are given back once.
        unsafe {
            block.write_bytes(7, 4 * MIB);
            refusals::begin_after(1);
            let grown = allocator.realloc(block, bytes(4 * MIB), 11 * MIB);
            let is_moved = !refusals::end() && !grown.is_null() && allocator.heap().reaches(grown);
            allocator.audit().unwrap();
            let (block, size) = if grown.is_null() { (block, 4 * MIB) } else { (grown, 11 * MIB) };
            assert!((0..4 * MIB).all(|at| block.add(at).read() == 7));
            free(&allocator, block, size);
            free(&allocator, behind, MIB);
            is_moved
        }
    };
    assert!((0..100).any(|_| is_moved()));
}

#[test]
fn a_block_about_the_border_does_not_move_each_time() {
    let allocator = Allocator::new();
    let block = served(&allocator, MIB + MIB / 4);
    // SAFETY: the block is in use.
    let [less, little] = unsafe {
        let less = allocator.realloc(block, bytes(MIB + MIB / 4), MIB - MIB / 4);
        [less, allocator.realloc(less, bytes(MIB - MIB / 4), MIB / 4)]
    };
    // The system may move its pages as they become fewer (qemu does).
    assert!(!allocator.heap().reaches(less) && allocator.heap().reaches(little));
    free(&allocator, little, MIB / 4);
}
