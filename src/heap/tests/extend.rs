//! Regions that grow, and heaps that become one.

use super::*;
use crate::run::Grid;
use fastrand::Rng;
use std::format;

const NO_MEMORY: Result<(), RegionError> = Err(RegionError::NotAdjacent);

/// A block that was handed out, and what is in it.
#[derive(Clone, Copy)]
struct Live {
    block: *mut u8,
    layout: Layout,
    number: u8,
}

/// Heaps over parts of one buffer, in the order of their addresses.
struct Parts {
    memory: Vec<u64>,
    heaps: Vec<Heap>,
    live: Vec<Live>,
    numbers: u8,
}

impl Parts {
    fn new(bytes: usize) -> Self {
        Self { memory: vec![0u64; bytes.div_ceil(8)], heaps: Vec::new(), live: Vec::new(), numbers: 0 }
    }

    fn at(&mut self, offset: usize) -> *mut u8 {
        self.memory.as_mut_ptr().cast::<u8>().wrapping_add(offset)
    }

    /// Makes a heap over a part that is behind those that there are.
    fn add(&mut self, from: usize, to: usize, zeroed: bool) {
        let start = self.at(from);
        let mut heap = Heap::new();
        // SAFETY: the vector lives as long as the heap and is not touched otherwise.
        unsafe { heap.init_with_pages(start, to - from, zeroed, Some(Grid::Common)) }.unwrap();
        self.heaps.push(heap);
    }

    fn extend(&mut self, which: usize, from: usize, to: usize) -> Result<(), RegionError> {
        let start = self.at(from);
        // SAFETY: as above; the memory is all zero and one allocation.
        let outcome = unsafe { self.heaps[which].extend_with_pages(start, to - from, true, Grid::Common) };
        self.check();
        outcome
    }

    /// Makes two neighbours one.
    fn join(&mut self, upper: usize) -> bool {
        let mut upper_heap = self.heaps.remove(upper);
        let lower = &mut self.heaps[upper - 1];
        // SAFETY: all memory is one allocation.
        let joined = unsafe { upper_heap.join(lower, Grid::Common) };
        if joined {
            assert!(!lower.is_initialized());
            *lower = upper_heap;
        } else {
            self.heaps.insert(upper, upper_heap);
        }
        self.check();
        joined
    }

    fn alloc(&mut self, which: usize, size: usize, align: usize, zeroed: bool) -> Option<Live> {
        let layout = Layout::from_size_align(size, align).unwrap();
        let heap = &mut self.heaps[which];
        let block = if zeroed { heap.alloc_zeroed(layout) } else { heap.alloc(layout) }?.as_ptr();
        // SAFETY: the block has as many bytes as its layout says.
        let bytes = unsafe { core::slice::from_raw_parts_mut(block, size) };
        assert!(!zeroed || bytes.iter().all(|&byte| byte == 0), "{size} bytes are not zero");
        self.numbers = self.numbers.wrapping_add(1);
        bytes.fill(self.numbers);
        self.live.push(Live { block, layout, number: self.numbers });
        self.live.last().copied()
    }

    fn free(&mut self, live: Live) {
        // SAFETY: the block has as many bytes as its layout says, and is given back once.
        unsafe {
            let bytes = core::slice::from_raw_parts(live.block, live.layout.size());
            assert!(bytes.iter().all(|&byte| byte == live.number), "contents changed");
            let heap = self.heaps.iter_mut().find(|heap| {
                let (start, end) = heap.region().unwrap();
                (start..end).contains(&live.block.addr())
            });
            heap.unwrap().dealloc(live.block).unwrap();
        }
    }

    fn check(&self) {
        for heap in &self.heaps {
            heap.audit().unwrap();
            let stats = heap.stats();
            let sum = stats.live_bytes + stats.free_bytes + stats.overhead_bytes;
            assert_eq!(stats.arena_bytes, sum, "{stats:?}");
        }
    }

    /// Frees everything, and expects each heap to be one span.
    fn finish(mut self) {
        while let Some(live) = self.live.pop() {
            self.free(live);
        }
        self.check();
        for heap in &mut self.heaps {
            heap.move_map_behind_top();
            heap.audit().unwrap();
            let stats = heap.stats();
            assert_eq!((stats.live_bytes, stats.free_blocks), (0, 1), "{stats:?}");
            assert_eq!(stats.largest_free_bytes, stats.arena_bytes);
        }
    }
}

#[test]
fn a_region_grows_at_its_end_and_a_block_lies_across_the_border() {
    for (len, more) in [(64, 64), (100, 1000), (1000, 3000), (4096, 40), (4096, 4096), (4096, 1 << 20)] {
        let mut parts = Parts::new(len + more);
        parts.add(0, len, true);
        let before = parts.heaps[0].stats().arena_bytes;
        let kept = parts.alloc(0, 40, 8, false).unwrap();
        parts.extend(0, len, len + more).unwrap();
        let stats = parts.heaps[0].stats();
        assert!(stats.arena_bytes >= before + more - more / 2000 - 24, "{stats:?}");
        parts.free(kept);
        parts.live.remove(0);
        let across = parts.alloc(0, stats.arena_bytes - HEADER, 8, true).unwrap();
        assert!(across.block.addr() < parts.at(len).addr());
        parts.finish();
    }
}

#[test]
fn a_region_grows_in_front_and_a_block_lies_across_the_border() {
    for (len, more) in [(64, 64), (100, 1000), (1000, 3000), (4096, 40), (4096, 4096), (4096, 1 << 20)] {
        let mut parts = Parts::new(len + more);
        parts.add(more, len + more, true);
        let before = parts.heaps[0].stats().arena_bytes;
        let kept = parts.alloc(0, 20, 8, false).unwrap();
        parts.extend(0, 0, more).unwrap();
        let stats = parts.heaps[0].stats();
        assert!(stats.arena_bytes >= before + more - more / 2000 - 24, "{stats:?}");
        parts.free(kept);
        parts.live.remove(0);
        let across = parts.alloc(0, stats.arena_bytes - HEADER, 8, true).unwrap();
        assert!(across.block.addr() < parts.at(more).addr());
        parts.finish();
    }
}

#[test]
fn two_that_touch_serve_what_neither_could_alone() {
    let mut parts = Parts::new(128 << 10);
    parts.add(0, 64 << 10, true);
    parts.add(64 << 10, 128 << 10, true);
    assert!((0..2).all(|which| parts.alloc(which, 100_000, 8, false).is_none()));
    assert!(parts.join(1));
    assert!(parts.alloc(0, 130_000, 8, true).is_some());
    parts.finish();
}

#[test]
fn what_is_wrong_with_more_memory_is_told_and_changes_nothing() {
    let mut parts = Parts::new(4096);
    let mut extend = |from: usize, len: usize| {
        let start = parts.at(from);
        // SAFETY: what is refused is not touched.
        unsafe { parts.heaps.first_mut().unwrap_or(&mut Heap::new()).extend(start, len, true) }
    };
    assert_eq!(extend(0, 4096), NO_MEMORY, "there is no region yet");
    parts.add(1024, 2048, true);
    let before = (parts.heaps[0].stats(), parts.heaps[0].region());
    let mut extend = |from: usize, len: usize| {
        let start = parts.at(from);
        // SAFETY: as above.
        unsafe { parts.heaps[0].extend(start, len, true) }
    };
    assert_eq!(extend(2056, 1000), NO_MEMORY);
    assert_eq!(extend(0, 1016), NO_MEMORY);
    for (from, len) in [(1023, 2), (1024, 1024), (1500, 8), (0, 1025), (2047, 1000), (0, 4096)] {
        assert_eq!(extend(from, len), Err(RegionError::Overlaps), "{len} from {from}");
    }
    for len in 0..16 {
        assert_eq!(extend(1024 - len, len), Err(RegionError::TooSmall { len }));
        // The last granule may have been one but for four bytes.
        if len < 12 {
            assert_eq!(extend(2048, len), Err(RegionError::TooSmall { len }));
        }
    }
    let to_end = usize::MAX - parts.at(2048).addr();
    let mut extend = |start: *mut u8, len: usize| {
        // SAFETY: as above.
        unsafe { parts.heaps[0].extend(start, len, true) }
    };
    assert_eq!(extend(core::ptr::null_mut(), 4096), Err(RegionError::InvalidAddress));
    let behind = extend(core::ptr::without_provenance_mut(usize::MAX - to_end), to_end);
    assert_eq!(behind, Err(RegionError::InvalidAddress));
    assert_eq!((parts.heaps[0].stats(), parts.heaps[0].region()), before);
    parts.finish();
}

#[test]
fn memory_behind_is_zero_where_it_was_and_is_cleared_where_it_was_not() {
    for zeroed in [false, true] {
        for used in [0, 4000, 4068] {
            let mut parts = Parts::new(8192);
            parts.memory[if zeroed { 512 } else { 0 }..512].fill(u64::MAX);
            parts.add(0, 4096, zeroed);
            let first = (used > 0).then(|| parts.alloc(0, used, 8, true).unwrap());
            parts.extend(0, 4096, 8192).unwrap();
            if let Some(first) = first {
                parts.free(first);
                parts.live.pop();
            }
            parts.alloc(0, 8000, 8, true).unwrap();
            parts.finish();
        }
    }
}

#[test]
fn runs_stay_where_they_are_and_new_memory_has_runs_too() {
    const PART: usize = 1 << 20;
    let mut parts = Parts::new(4 * PART);
    parts.add(PART, 2 * PART, true);
    parts.add(3 * PART + 40, 4 * PART, true);
    for which in [0, 1, 0, 1] {
        (0..3000).for_each(|_| _ = parts.alloc(which, 40, 8, false).unwrap());
    }
    parts.extend(0, 0, PART).unwrap();
    parts.extend(0, 2 * PART, 3 * PART + 40).unwrap();
    assert!(parts.join(1));
    let runs = |parts: &Parts| parts.heaps[0].blocks().filter(|(_, header)| header.is_run()).count();
    let before = runs(&parts);
    assert!(before > 80, "{before} runs");
    let more: Vec<_> = (0..100_000).map_while(|_| parts.alloc(0, 40, 8, true)).collect();
    assert!(runs(&parts) > before + 300, "{} runs", runs(&parts));
    for (first, end) in [(0, PART), (2 * PART, 3 * PART)] {
        let span = parts.at(first).addr()..parts.at(end).addr();
        assert!(more.iter().any(|live| span.contains(&live.block.addr())), "none in {first}..");
    }
    // Each slot is still found, and a second release, too.
    let slot = parts.live.swap_remove(1000);
    parts.free(slot);
    // SAFETY: it is what shall be found.
    let double = unsafe { parts.heaps[0].dealloc(slot.block) };
    assert!(matches!(double, Err(Fault::AlreadyFree { .. })), "{double:?}");
    parts.finish();
}

#[test]
fn a_map_without_room_behind_the_top_gets_a_block_until_there_is() {
    const PART: usize = 1 << 20;
    let mut parts = Parts::new(2 * PART);
    parts.add(0, PART, true);
    parts.add(PART, 2 * PART, true);
    // The last block reaches to the far end.
    let low = parts.alloc(0, 1000, 8, false).unwrap();
    let first = parts.alloc(1, 100_000, 8, false).unwrap();
    let rest = parts.heaps[1].stats().largest_free_bytes;
    let last = parts.alloc(1, rest - HEADER, 8, false).unwrap();
    parts.live.clear();
    parts.free(first);
    assert!(parts.join(1));
    let heap = &mut parts.heaps[0];
    let map = heap.pages.map();
    let (start, end) = heap.bounds();
    assert!((start..end).contains(&map.addr()));
    assert!(!heap.move_map_behind_top());
    // It is nobody's.
    for offset in [0, 8, 16] {
        // SAFETY: it is what shall be found.
        let fault = unsafe { heap.dealloc(map.wrapping_add(offset)) };
        assert!(matches!(fault, Err(Fault::NotABlock { .. })), "{fault:?}");
    }
    assert_eq!(heap.stats().live_blocks, 2);
    parts.free(low);
    parts.free(last);
    assert_eq!(parts.heaps[0].stats().free_blocks, 2);
    assert!(parts.heaps[0].move_map_behind_top());
    parts.finish();
}

#[test]
fn what_would_be_too_large_stays_two() {
    let mut heaps = [Heap::new(), Heap::new()];
    let start = core::ptr::without_provenance_mut::<u8>(1 << 20);
    let half = MAX_REGION / 2 + 4096;
    // SAFETY: nothing is written to memory that is all zero as long as nothing is allocated.
    unsafe {
        heaps[0].init_with_pages(start, half, true, Some(Grid::Common)).unwrap();
        heaps[1].init_with_pages(start.wrapping_add(half), half, true, Some(Grid::Common)).unwrap();
        let [lower, upper] = &mut heaps;
        assert!(!upper.join(lower, Grid::Common));
        let outcome = lower.extend_with_pages(start.wrapping_add(half), half, true, Grid::Common);
        assert_eq!(outcome, Err(RegionError::TooLarge { len: 2 * half }));
    }
    assert!(heaps.iter().all(Heap::is_initialized));
}

#[test]
fn a_region_may_lie_at_either_end_of_the_address_space() {
    let at = core::ptr::without_provenance_mut::<u8>;
    let behind = usize::MAX - GRANULE;
    // SAFETY: nothing is written to memory that is all zero as long as nothing is allocated, and what is refused is
    // not touched.
    unsafe {
        for grid in [Grid::Own, Grid::Common] {
            let mut heap = Heap::new();
            assert_eq!(
                heap.init_with_pages(at(behind - 4095), 4096, true, Some(grid)),
                Err(RegionError::InvalidAddress)
            );
            heap.init_with_pages(at(behind - 500), 500, true, Some(grid)).unwrap();
            assert_eq!(heap.region(), Some((behind - 500, behind)));
            assert_eq!(heap.extend(at(behind), 100, true), Err(RegionError::InvalidAddress));
            assert_eq!(heap.extend(at(behind), 0, true), Err(RegionError::TooSmall { len: 0 }));
            assert_eq!(heap.extend(at(behind - 501), 100, true), Err(RegionError::Overlaps));
            let mut heap = Heap::new();
            heap.init_with_pages(at(9), 499, true, Some(grid)).unwrap();
            assert_eq!(heap.extend(at(1), 8, true), Err(RegionError::TooSmall { len: 8 }));
            assert_eq!(heap.extend(at(0), 9, true), Err(RegionError::InvalidAddress));
            // It ends where a granule does, so that there is nothing to clear.
            heap.extend(at(508), 300, true).unwrap();
            assert_eq!(heap.region(), Some((9, 808)));
        }
    }
}

/// Whatever is in use where: parts of a buffer of all sizes become one from below, from above and from the middle.
#[test]
fn random_parts_become_one() {
    for seed in 0..if cfg!(miri) { 3 } else { 600 } {
        let mut rng = Rng::with_seed(seed);
        let bytes = [2000, 20_000, 200_000][rng.usize(..3)];
        let mut borders: Vec<usize> = (0..rng.usize(1..5)).map(|_| rng.usize(..bytes)).collect();
        borders.extend([rng.usize(..8), bytes]);
        borders.sort_unstable();
        let mut parts = Parts::new(bytes);
        // Some parts are heaps in the beginning, the others are memory for later.
        let mut memory = Vec::new();
        for pair in borders.windows(2).filter(|pair| pair[1] - pair[0] >= 100) {
            if rng.bool() || parts.heaps.is_empty() {
                parts.add(pair[0], pair[1], true)
            } else {
                memory.push((pair[0], pair[1]))
            }
        }
        let one_in = [10, 40, 200][rng.usize(..3)];
        for _ in 0..rng.usize(..600) {
            let which = rng.usize(..parts.heaps.len());
            match rng.u32(..one_in) {
                0 if which > 0 => _ = parts.join(which),
                1 if !memory.is_empty() => {
                    let (from, to) = memory.swap_remove(rng.usize(..memory.len()));
                    let (start, end) = (parts.at(from).addr(), parts.at(to).addr());
                    let touches = |heap: &Heap| {
                        heap.region().is_some_and(|region| region.0 == end || region.1 == start)
                    };
                    if let Some(which) = parts.heaps.iter().position(touches) {
                        parts.extend(which, from, to).unwrap();
                    }
                }
                step if step % 3 == 0 && !parts.live.is_empty() => {
                    let live = parts.live.swap_remove(rng.usize(..parts.live.len()));
                    parts.free(live);
                }
                _ => {
                    let size = [rng.usize(..100), 40, rng.usize(..bytes / 4)][rng.usize(..3)];
                    parts.alloc(which, size, 1 << rng.u32(..8), rng.bool());
                }
            }
            parts.check();
        }
        let touching = |parts: &Parts| {
            (1..parts.heaps.len()).find(|&upper| {
                parts.heaps[upper].region().unwrap().0 == parts.heaps[upper - 1].region().unwrap().1
            })
        };
        while let Some(upper) = touching(&parts) {
            if !parts.join(upper) {
                let live = parts.live.pop().unwrap_or_else(|| {
                    panic!("{}", format!("seed {seed}: two empty ones do not become one"))
                });
                parts.free(live);
            }
        }
        parts.finish();
    }
}
