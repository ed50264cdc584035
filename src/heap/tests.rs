//! One test for each question that the heap has to answer. Here are those about blocks, and what all of
//! them need. Random and exhaustive sequences are in the package's `tests/`.

mod broken_up;
mod extend;
mod faults;
mod runs;
#[cfg(all(feature = "std", unix))]
mod several;

use super::*;
use std::vec;
use std::vec::Vec;

/// A heap over bytes of its own.
struct Bench {
    heap: Heap,
    memory: Vec<u64>,
}

impl Bench {
    /// One without runs, for questions about blocks.
    fn new(bytes: usize) -> Self {
        let mut memory = vec![0u64; bytes.div_ceil(8)];
        let mut heap = Heap::new();
        // SAFETY: the vector lives as long as the heap and is not touched otherwise.
        unsafe { heap.init_without_runs(memory.as_mut_ptr().cast(), bytes, true) }.unwrap();
        Self { heap, memory }
    }

    fn with_runs(bytes: usize) -> Self {
        let mut memory = vec![0u64; bytes.div_ceil(8)];
        let mut heap = Heap::new();
        // SAFETY: as above.
        unsafe { heap.init(memory.as_mut_ptr().cast(), bytes, true) }.unwrap();
        Self { heap, memory }
    }

    fn alloc(&mut self, bytes: usize) -> *mut u8 {
        self.alloc_aligned(bytes, 1)
    }

    fn alloc_aligned(&mut self, bytes: usize, align: usize) -> *mut u8 {
        let layout = Layout::from_size_align(bytes, align).unwrap();
        let block = self.heap.alloc(layout).map_or(core::ptr::null_mut(), NonNull::as_ptr);
        self.heap.audit().unwrap();
        block
    }

    fn free(&mut self, block: *mut u8) {
        self.try_free(block).unwrap();
    }

    fn try_free(&mut self, block: *mut u8) -> Result<(), Fault> {
        // SAFETY: tests free what they allocated, or ask for a fault that the heap tells without touching
        // memory.
        let result = unsafe { self.heap.dealloc(block) };
        self.heap.audit().unwrap();
        result
    }

    fn realloc(&mut self, block: *mut u8, old: usize, new: usize) -> *mut u8 {
        let layout = Layout::from_size_align(old, 1).unwrap();
        // SAFETY: tests resize what they allocated.
        let block = unsafe { self.heap.realloc(block, layout, new) }.unwrap();
        self.heap.audit().unwrap();
        block.map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    /// Allocates all that is left, so that only what a test frees is free.
    fn fill(&mut self) -> *mut u8 {
        let left = self.heap.end.granules_since(self.heap.top) as usize * GRANULE;
        self.alloc(left - 4)
    }
}

#[test]
fn freeing_everything_leaves_one_block() {
    for order in [[0, 1, 2], [2, 1, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2], [1, 2, 0]] {
        let mut bench = Bench::new(4096);
        let blocks = [bench.alloc(40), bench.alloc(400), bench.alloc(4)];
        for which in order {
            bench.free(blocks[which]);
        }
        let stats = bench.heap.stats();
        assert_eq!((stats.free_blocks, stats.live_blocks, stats.live_bytes), (1, 0, 0));
        assert_eq!(stats.largest_free_bytes, stats.arena_bytes);
    }
}

#[test]
fn the_arena_can_be_had_in_one_block_but_for_eight_bytes_and_the_header() {
    let mut bench = Bench::new(4096);
    assert!(bench.alloc(4096 - 8 - 3).is_null());
    assert!(!bench.alloc(4096 - 8 - 4).is_null());
}

#[test]
fn a_block_costs_four_bytes() {
    let mut bench = Bench::new(4096);
    let blocks = [bench.alloc(20), bench.alloc(20), bench.alloc(20)];
    assert_eq!(blocks[1].addr() - blocks[0].addr(), 24);
    assert_eq!(blocks[2].addr() - blocks[1].addr(), 24);
}

#[test]
fn a_freed_block_is_used_again_before_the_top() {
    let mut bench = Bench::new(4096);
    let first = bench.alloc(100);
    bench.alloc(8);
    bench.free(first);
    assert_eq!(bench.alloc(100), first);
}

#[test]
fn the_tightest_hole_is_taken() {
    let mut bench = Bench::new(1 << 16);
    let holes: Vec<_> = [3000, 1030, 1100, 2000]
        .map(|bytes| {
            let hole = bench.alloc(bytes);
            bench.alloc(8);
            hole
        })
        .to_vec();
    for &hole in &holes {
        bench.free(hole);
    }
    assert_eq!(bench.alloc(1020), holes[1]);
    assert_eq!(bench.alloc(1020), holes[2]);
    assert_eq!(bench.alloc(1500), holes[3]);
}

#[test]
fn a_hole_in_the_bin_of_smaller_sizes_is_found_before_a_refusal() {
    let mut bench = Bench::new(1 << 18);
    // More blocks of the same bin than are probed, and the only one that fits is the last on the list.
    let fitting = bench.alloc(8180);
    bench.alloc(8);
    let smaller: Vec<_> = (0..4)
        .map(|_| {
            let block = bench.alloc(7700);
            (block, bench.alloc(8)).0
        })
        .filter(|block| !block.is_null())
        .collect();
    bench.fill();
    bench.free(fitting);
    for block in smaller {
        bench.free(block);
    }
    assert_eq!(bench.alloc(8150), fitting);
}

#[test]
fn a_request_of_zero_bytes_gets_a_block_of_its_own() {
    let mut bench = Bench::new(256);
    let (first, second) = (bench.alloc(0), bench.alloc(0));
    assert!(!first.is_null() && !second.is_null() && first != second);
    bench.free(first);
    bench.free(second);
}

#[test]
fn huge_requests_are_refused() {
    let mut bench = Bench::new(4096);
    for bytes in [4096, MAX_REGION, isize::MAX as usize] {
        assert!(bench.alloc(bytes).is_null());
    }
    assert!(bench.alloc_aligned(1, 1 << (usize::BITS - 2)).is_null());
    assert!(bench.alloc_aligned(isize::MAX as usize & !((1 << 20) - 1), 1 << 20).is_null());
}

#[test]
fn a_heap_without_a_region_refuses() {
    let mut heap = Heap::new();
    assert_eq!(heap.alloc(Layout::new::<u64>()), None);
    assert_eq!(heap.alloc_zeroed(Layout::new::<u128>()), None);
    assert_eq!(heap.stats(), crate::Stats::default());
    heap.audit().unwrap();
    // SAFETY: the heap owns nothing, which it tells by a fault.
    let fault = unsafe { heap.dealloc(core::ptr::without_provenance_mut(4096)) };
    assert!(matches!(fault, Err(Fault::OutsideArena { .. })));
}

#[test]
fn the_gap_in_front_of_an_aligned_block_is_free_memory() {
    let mut bench = Bench::new(1 << 14);
    bench.alloc(8);
    let aligned = bench.alloc_aligned(100, 4096);
    assert_eq!(aligned.addr() % 4096, 0);
    let stats = bench.heap.stats();
    assert_eq!(stats.live_bytes, 16 + 104);
    bench.free(aligned);
    assert_eq!(bench.heap.stats().free_blocks, 1);
}

#[test]
fn an_aligned_hole_that_only_just_fits_is_found() {
    let mut bench = Bench::new(1 << 14);
    bench.alloc(8);
    let aligned = bench.alloc_aligned(1020, 1024);
    bench.fill();
    while !bench.alloc(1).is_null() {}
    bench.free(aligned);
    assert_eq!(bench.alloc_aligned(1020, 1024), aligned);
}

#[test]
fn a_block_grows_into_the_hole_behind_it() {
    let mut bench = Bench::new(4096);
    let (block, hole, guard) = (bench.alloc(40), bench.alloc(100), bench.alloc(8));
    bench.free(hole);
    assert_eq!(bench.realloc(block, 40, 100), block);
    assert_eq!(bench.realloc(block, 100, 140), block);
    let moved = bench.realloc(block, 140, 200);
    assert!(moved > guard);
}

#[test]
fn the_last_block_grows_and_shrinks_at_the_top() {
    let mut bench = Bench::new(4096);
    let block = bench.alloc(40);
    assert_eq!(bench.realloc(block, 40, 4000), block);
    assert_eq!(bench.realloc(block, 4000, 8), block);
    assert_eq!(bench.heap.stats().live_bytes, 16);
    assert!(bench.realloc(block, 8, 5000).is_null());
    bench.free(block);
}

#[test]
fn what_a_shrinking_block_gives_back_is_one_with_the_hole_behind_it() {
    let mut bench = Bench::new(4096);
    let (block, hole, _guard) = (bench.alloc(100), bench.alloc(100), bench.alloc(8));
    bench.free(hole);
    assert_eq!(bench.realloc(block, 100, 90), block);
    assert_eq!(bench.heap.stats().largest_free_bytes.min(112), 112);
    assert_eq!(bench.heap.blocks().filter(|(_, header)| header.is_free()).count(), 1);
}

#[test]
fn a_block_that_cannot_move_slides_into_the_hole_in_front_of_it() {
    let mut bench = Bench::new(4096);
    let (front, block) = (bench.alloc(500), bench.alloc(600));
    let (behind, _guard) = (bench.alloc(400), bench.alloc(8));
    bench.fill();
    for offset in 0..600 {
        // SAFETY: the block has 600 bytes.
        unsafe { block.add(offset).write(offset as u8) };
    }
    bench.free(front);
    bench.free(behind);
    let moved = bench.realloc(block, 600, 1400);
    assert_eq!(moved, front);
    for offset in 0..600 {
        // SAFETY: the block has 1400 bytes now.
        assert_eq!(unsafe { moved.add(offset).read() }, offset as u8);
    }
    assert!(bench.realloc(moved, 1400, 1600).is_null());
}

#[test]
fn fresh_memory_is_not_cleared_and_used_memory_is() {
    let mut bench = Bench::new(4096);
    let used = bench.alloc(100);
    // SAFETY: the block has 100 bytes.
    unsafe { used.write_bytes(0xAA, 100) };
    bench.free(used);
    // Outside of what was used, the memory is marked behind the heap's back to see that it is left alone.
    bench.memory[64] = u64::MAX;
    let layout = Layout::array::<u8>(1000).unwrap();
    let block = bench.heap.alloc_zeroed(layout).unwrap().as_ptr();
    assert_eq!(block, used);
    // SAFETY: the block has 1000 bytes.
    let bytes = unsafe { core::slice::from_raw_parts(block, 1000) };
    assert!(bytes[..100].iter().all(|&byte| byte == 0));
    assert_eq!(bytes.iter().filter(|&&byte| byte == 0xFF).count(), 8, "only the mark is left");
}

#[test]
fn a_region_that_was_not_zero_is_cleared() {
    let mut memory = vec![u64::MAX; 64];
    let mut heap = Heap::new();
    // SAFETY: the vector lives as long as the heap and is not touched otherwise.
    unsafe { heap.init(memory.as_mut_ptr().cast(), 512, false) }.unwrap();
    let block = heap.alloc_zeroed(Layout::array::<u8>(400).unwrap()).unwrap().as_ptr();
    // SAFETY: the block has 400 bytes.
    let bytes = unsafe { core::slice::from_raw_parts(block, 400) };
    assert!(bytes.iter().all(|&byte| byte == 0));
}

#[test]
fn a_first_allocation_writes_its_header_only() {
    let mut bench = Bench::new(1 << 16);
    bench.alloc(20_000);
    assert_eq!(bench.memory.iter().filter(|&&word| word != 0).count(), 1);
}

#[test]
fn regions_that_cannot_be_managed_are_refused() {
    let mut heap = Heap::new();
    let at = core::ptr::without_provenance_mut::<u8>;
    // SAFETY: a region that is refused is not touched.
    let mut refusal = |start, len| unsafe { heap.init(start, len, false) }.unwrap_err();
    assert_eq!(refusal(at(0), 4096), RegionError::InvalidAddress);
    assert_eq!(refusal(at(usize::MAX - 100), 4096), RegionError::InvalidAddress);
    assert_eq!(refusal(at(4096), MAX_REGION + 1), RegionError::TooLarge { len: MAX_REGION + 1 });
    for misalignment in 0..8 {
        for len in 0..16 {
            assert_eq!(refusal(at(4096 + misalignment), len), RegionError::TooSmall { len });
        }
    }
    let mut bench = Bench::new(64);
    // SAFETY: as above.
    let second = unsafe { bench.heap.init(at(4096), 64, false) };
    assert_eq!(second, Err(RegionError::AlreadyInitialized));
}

#[test]
fn blocks_are_listed_in_order_with_their_links() {
    let mut bench = Bench::new(4096);
    let blocks = [bench.alloc(44), bench.alloc(28), bench.alloc(44), bench.alloc(28)];
    bench.free(blocks[0]);
    bench.free(blocks[2]);
    let seen: Vec<_> =
        bench.heap.blocks().map(|(at, header)| (at, header.size(), header.is_free())).collect();
    assert_eq!(seen, [(8, 48, true), (56, 32, false), (88, 48, true), (136, 32, false)]);
    let links: Vec<_> = bench.heap.blocks().map(|(_, header)| header.next()).collect();
    assert_eq!(links, [None, None, Some(8), None]);
}

#[test]
fn the_picture_shows_what_is_in_use() {
    let mut bench = Bench::new(8 + 8192);
    let blocks: Vec<_> = (0..64).map(|_| bench.alloc(124)).collect();
    let mut cells = [0u8; 4];
    bench.heap.occupancy(&mut cells);
    assert_eq!(cells, [100; 4]);
    for &block in blocks[16..24].iter().chain(&blocks[48..]) {
        bench.free(block);
    }
    bench.heap.occupancy(&mut cells);
    assert_eq!(cells, [100, 50, 100, 0]);
    bench.heap.occupancy(&mut []);
    let mut fine = [0u8; 2048];
    bench.heap.occupancy(&mut fine);
    assert_eq!(fine.iter().filter(|&&cell| cell == 100).count(), 2048 * 5 / 8);
}

#[test]
fn a_large_aligned_block_finds_the_hole_that_it_left() {
    let mut bench = Bench::new(1 << 16);
    let holes: Vec<_> = (0..10).map(|_| (bench.alloc_aligned(1040, 16), bench.alloc(8)).0).collect();
    let top = bench.heap.top;
    for &hole in &holes {
        bench.free(hole);
    }
    for _ in &holes {
        assert!(!bench.alloc_aligned(1040, 16).is_null());
    }
    assert_eq!(bench.heap.top, top);
}

#[test]
fn an_aligned_block_that_was_given_back_is_found_again() {
    for (bytes, align) in [(100, 32), (1040, 64), (8000, 4096)] {
        let mut bench = Bench::new(1 << 17);
        let block = bench.alloc_aligned(bytes, align);
        bench.alloc(8);
        bench.free(block);
        assert_eq!(bench.alloc_aligned(bytes, align), block);
    }
}

#[test]
fn a_broad_block_does_not_cut_the_free_memory_in_two() {
    // A table that is replaced by a smaller one: both are there for a moment.
    let mut bench = Bench::new(100_000);
    bench.alloc(1000);
    let table = bench.alloc_aligned(50_000, 16);
    bench.alloc(1000);
    assert!(!bench.alloc(45_000).is_null());
    bench.free(table);
    // A block that grows stays where it can grow.
    let mut bench = Bench::new(100_000);
    let block = bench.alloc(1000);
    bench.alloc(8);
    let grown = bench.realloc(block, 1000, 60_000);
    assert_eq!(bench.realloc(grown, 60_000, 90_000), grown);
}

#[test]
fn a_broad_block_at_the_far_end_can_grow_nevertheless() {
    let mut bench = Bench::new(100_000);
    bench.alloc(1000);
    let block = bench.alloc(60_000);
    // SAFETY: the block has 60,000 bytes.
    unsafe { block.write_bytes(7, 60_000) };
    let grown = bench.realloc(block, 60_000, 90_000);
    assert!(grown < block && !grown.is_null());
    // SAFETY: the block has 90,000 bytes.
    assert!((0..60_000).all(|offset| unsafe { grown.add(offset).read() } == 7));
}

/// Whether a hole has room for an aligned block depends on where it lies: those that have none come last
/// afterwards.
#[test]
fn holes_of_one_size_are_looked_at_in_turn() {
    let mut bench = Bench::new(1 << 20);
    let holes: Vec<_> = (0..100)
        .map(|_| {
            let hole = bench.alloc(5004);
            bench.alloc(12);
            hole
        })
        .collect();
    let rest = bench.heap.stats().largest_free_bytes - 4;
    bench.alloc(rest);
    holes.iter().for_each(|&hole| bench.free(hole));
    // What is skipped has to be a block, so one granule cannot be.
    let skipped = |hole: &*mut u8| hole.addr().next_multiple_of(4096) - hole.addr();
    let expected =
        holes.iter().map(skipped).filter(|&skipped| skipped != 8 && skipped + 4104 <= 5008).count();
    let served = (0..expected).filter(|_| !bench.alloc_aligned(4096, 4096).is_null()).count();
    assert!(expected > 10 && served == expected, "{served} of {expected}");
    bench.heap.audit().unwrap();
}

/// Blocks of which each has one place only in what is free, where most of that is in between.
#[test]
fn aligned_requests_are_served_as_long_as_there_is_a_place_for_them() {
    for (least, most, align, percent) in [(400, 500, 512, 65), (200, 250, 256, 72), (60, 100, 128, 60)] {
        let mut bench = Bench::new(1 << 20);
        let (mut live, mut bytes, mut state) = (Vec::new(), 0, 1u64);
        let mut random = |most: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % most
        };
        for round in 0..20_000 {
            while bytes > (percent << 20) / 100 {
                let (block, size): (NonNull<u8>, usize) = live.swap_remove(random(live.len()));
                bytes -= size;
                // SAFETY: each block is given back once.
                unsafe { bench.heap.dealloc(block.as_ptr()) }.unwrap();
            }
            let size = least + random(most - least);
            let layout = Layout::from_size_align(size, align).unwrap();
            let block = bench.heap.alloc(layout);
            live.push((block.unwrap_or_else(|| panic!("{size} at {align} in round {round}")), size));
            bytes += size;
        }
        bench.heap.audit().unwrap();
    }
}
