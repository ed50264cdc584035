//! The bugs that other allocators had, each as a question to this one.

use crate::support::memory::RegionShape;
use crate::support::operation::Operation::{Alloc, AllocZeroed, Free, Realloc};
use crate::support::shadow::Shadow;
use mem_alloc_rust::{Action, Fault, FreeList, Heap, Locked, Region, RegionError, create_allocator};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::{NonNull, null_mut};

const MIB: usize = 1 << 20;

/// Words of the largest of the tiny regions.
const WORDS: usize = 8;

/// A region at a multiple of 64, not zero in the beginning.
const fn region(len: usize) -> RegionShape {
    RegionShape { len, misalignment: 0, zeroed: false }
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Which of the live blocks has that size; a request for it was not refused then.
fn rank_of_size(shadow: &Shadow, size: usize) -> usize {
    shadow.live.iter().position(|block| block.size() == size).expect("the request was refused")
}

/// RUSTSEC-2022-0063 (linked_list_allocator): a heap that is tiny or misaligned wrote outside of its region.
#[test]
fn regions_of_zero_to_eight_words_at_any_address_are_refused_or_work() {
    for misalignment in 0..16 {
        for len in 0..=WORDS * size_of::<usize>() {
            for zeroed in [false, true] {
                // That exactly those regions are refused which hold no block, and that nothing around them is
                // written, is what the shadow checks.
                let mut shadow = Shadow::new(RegionShape { len, misalignment, zeroed }).unwrap();
                for size in [0, 1, 12, 13, 28, 44, 60] {
                    shadow.apply(Alloc { size, align: 1 }).unwrap();
                    shadow.apply(AllocZeroed { size, align: 16 }).unwrap();
                    shadow.apply(Realloc { which: 0, new_size: size + 8 }).unwrap();
                    shadow.apply(Free { which: 1 }).unwrap();
                }
                shadow.finish().unwrap();
            }
        }
    }
}

/// RUSTSEC-2022-0063 again: a region that is refused is left as it was, and the heap can have another one.
#[test]
fn a_refused_region_is_not_written_to() {
    let mut words = [0x5555_5555_5555_5555u64; 4];
    let start: *mut u8 = words.as_mut_ptr().cast();
    let mut heap = Heap::new();
    for (offset, len) in [(0, 0), (0, 1), (1, 15), (4, 15), (5, 22), (8, 19)] {
        // SAFETY: the span lies in `words`, which nothing else uses while the heap lives.
        let outcome = unsafe { heap.init(start.add(offset), len, false) };
        assert_eq!(outcome, Err(RegionError::TooSmall { len }), "{len} bytes, {offset} bytes off");
    }
    // SAFETY: null is refused, whatever the length.
    assert_eq!(unsafe { heap.init(null_mut(), 4096, false) }, Err(RegionError::InvalidAddress));
    // SAFETY: the span would wrap around, and is refused.
    assert_eq!(unsafe { heap.init(start, usize::MAX, false) }, Err(RegionError::InvalidAddress));
    assert!(!heap.is_initialized());
    // SAFETY: as for the refused ones.
    assert_eq!(unsafe { heap.init(start, size_of_val(&words), false) }, Ok(()));
    assert_eq!(words, [0x5555_5555_5555_5555; 4], "a fresh heap has not been written to either");
}

/// RUSTSEC-2022-0094 (mimalloc): results that were not aligned as the layout says.
#[test]
fn every_alignment_up_to_the_arena_is_served() {
    for log2 in 0..MIB.ilog2() {
        let align = 1 << log2;
        let mut shadow = Shadow::new(region(MIB)).unwrap();
        // So that the first free address is not aligned by chance.
        shadow.apply(Alloc { size: 20, align: 4 }).unwrap();
        // Too large to grow up to the next address of that alignment, as long as the arena has room for it
        // somewhere else.
        let new_size = if align < MIB / 8 { 4000.max(2 * align) } else { 4000 };
        for make in [Alloc { size: 100, align }, AllocZeroed { size: 100, align }] {
            shadow.apply(make).unwrap();
            let which = rank_of_size(&shadow, 100);
            shadow.apply(Alloc { size: 4, align }).unwrap();
            shadow.apply(Realloc { which, new_size }).unwrap();
            let resized = shadow.live[rank_of_size(&shadow, new_size)];
            assert_eq!((resized.layout.align(), resized.start() % align), (align, 0), "{make:?}");
            while shadow.live.len() > 1 {
                shadow.apply(Free { which: 1 }).unwrap();
            }
        }
        shadow.finish().unwrap();
    }
}

/// RUSTSEC-2020-0006 (bumpalo), esp-alloc 5502, rlsf 0.1.1: `realloc` copied the new size, or the block's
/// instead of the layout's, and read or wrote past the end.
#[test]
fn realloc_copies_what_was_there_and_no_more() {
    for (old, new) in
        [(1, 500), (12, 13), (13, 2000), (100, 101), (500, 4000), (2000, 1), (513, 512), (64, 0)]
    {
        let mut shadow = Shadow::new(region(16 << 10)).unwrap();
        // Blocks on both sides, whose bytes the shadow watches; the first one is smaller than what has to be
        // found for it.
        for size in [40, old, 40] {
            shadow.apply(Alloc { size, align: 8 }).unwrap();
        }
        shadow.apply(Realloc { which: 1, new_size: new }).unwrap();
        rank_of_size(&shadow, new);
        shadow.finish().unwrap();
    }
}

/// The same where a block slides over its own old place, because there is no other.
#[test]
fn realloc_moves_a_block_over_itself() {
    let mut shadow = Shadow::new(region(8192)).unwrap();
    shadow.apply(Alloc { size: 60, align: 8 }).unwrap();
    shadow.apply(Alloc { size: 300, align: 8 }).unwrap();
    let place = shadow.live[0].start();
    let rest = shadow.memory.shape().usable_bytes().unwrap() - 64 - 304;
    shadow.apply(Alloc { size: rest - 4, align: 8 }).unwrap();
    shadow.apply(Free { which: 0 }).unwrap();
    shadow.apply(Realloc { which: 0, new_size: 350 }).unwrap();
    assert_eq!((shadow.live[0].start(), shadow.live[0].size()), (place, 350));
    shadow.finish().unwrap();
}

/// tlsf-C 36, libc_alloc 2: a block that moved in `realloc` lost its alignment.
#[test]
fn realloc_keeps_the_alignment() {
    for align in [16, 64, 512, 4096] {
        for new_size in [200, 1000, 9000, 30_000] {
            let mut shadow = Shadow::new(region(128 << 10)).unwrap();
            // Of the two, the one in front has to move when it grows beyond the other.
            shadow.apply(Alloc { size: 24, align }).unwrap();
            shadow.apply(Alloc { size: 4, align }).unwrap();
            let which = rank_of_size(&shadow, 24);
            shadow.apply(Realloc { which, new_size }).unwrap();
            let resized = shadow.live[rank_of_size(&shadow, new_size)];
            assert_eq!((resized.layout.align(), resized.start() % align), (align, 0));
            shadow.finish().unwrap();
        }
    }
}

/// RUSTSEC-2025-0042 (static-alloc): metadata was read before it was initialised.
#[test]
fn without_memory_everything_is_refused() {
    let mut heap = Heap::new();
    for request in [layout(0, 1), layout(1, 1), layout(100, 4096), layout(isize::MAX as usize, 1)] {
        assert_eq!(heap.alloc(request), None);
        assert_eq!(heap.alloc_zeroed(request), None);
    }
    let mut word = 0u64;
    let foreign: *mut u8 = (&raw mut word).cast();
    for pointer in [null_mut(), NonNull::dangling().as_ptr(), foreign] {
        // SAFETY: a heap without memory finds every pointer outside of it, and reads nothing.
        let freed = unsafe { heap.dealloc(pointer) };
        assert!(matches!(freed, Err(Fault::OutsideArena { action: Action::Free, .. })), "{freed:?}");
        // SAFETY: as above.
        let resized = unsafe { heap.realloc(pointer, layout(8, 8), 16) };
        assert!(matches!(resized, Err(Fault::OutsideArena { action: Action::Realloc, .. })), "{resized:?}");
    }
    assert_eq!((heap.audit(), heap.blocks().count(), heap.stats()), (Ok(()), 0, Default::default()));

    let kernel: Locked<Region> = Locked::new();
    // SAFETY: the layout is not of zero bytes.
    assert!(unsafe { kernel.alloc_zeroed(layout(8, 8)) }.is_null());
    let mut by_hand = create_allocator();
    assert!(by_hand.alloc(layout(8, 8)).is_null());
    assert!(by_hand.alloc_zeroed(layout(8, 8)).is_null());
}

/// RUSTSEC-2025-0170 (hugepage-rs): a safe function took a raw pointer and read through it. The one that takes one here
/// looks at the address alone, which may be any.
#[test]
fn no_safe_public_function_takes_a_raw_pointer() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut looked_at = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            for declared in ["pub fn ", "pub const fn "] {
                for signature in source.split(declared).skip(1) {
                    let parameters =
                        signature.split("->").next().and_then(|head| head.split('{').next()).unwrap();
                    let raw = ["*mut ", "*const ", "NonNull<"].iter().any(|raw| parameters.contains(raw));
                    let is_address = signature.starts_with("is_in_arena(&self, ptr: *const u8)");
                    assert!(!raw || is_address, "{}: safe function {parameters}", path.display());
                    looked_at += 1;
                }
            }
        }
    }
    assert!(looked_at > 20, "{looked_at} functions cannot be all");
}

/// RUSTSEC-2026-0001 (rkyv): exhaustion went unnoticed. It is null, every time, and leaves what is there
/// alone.
#[test]
fn exhaustion_is_null_and_changes_nothing() {
    static FULL: Locked<FreeList<4096>> = Locked::new();
    let quarter = layout(1000, 8);
    // SAFETY: the layouts are not of zero bytes, and blocks are used while they are live.
    unsafe {
        let blocks = [FULL.alloc(quarter), FULL.alloc(quarter), FULL.alloc(quarter), FULL.alloc(quarter)];
        for (number, block) in blocks.into_iter().enumerate() {
            assert!(!block.is_null());
            block.write_bytes(number as u8, 1000);
        }
        let before = FULL.stats();
        assert!(FULL.alloc(quarter).is_null());
        assert!(FULL.alloc_zeroed(quarter).is_null());
        assert!(FULL.alloc(layout(1, 1 << 30)).is_null());
        assert!(FULL.realloc(blocks[1], quarter, 1200).is_null());
        assert!(FULL.realloc(blocks[1], quarter, isize::MAX as usize - 7).is_null());
        assert_eq!(FULL.stats(), before);
        for (number, block) in blocks.into_iter().enumerate() {
            let bytes = std::slice::from_raw_parts(block, 1000);
            assert!(bytes.iter().all(|&byte| byte == number as u8));
        }
        FULL.dealloc(blocks[2], quarter);
        assert_eq!(FULL.alloc(quarter), blocks[2], "what was given back can be had again");
    }
    FULL.audit().unwrap();
}

/// talc PR 49: sizes of 16 MiB and more were read from the wrong byte. Every power of two that a heap can
/// hold, as a block and as a gap between blocks, and one granule less and more; the memory is never touched
/// but for the headers.
#[cfg(target_pointer_width = "64")]
#[test]
fn blocks_and_gaps_of_gibibytes_keep_their_size() {
    const FOUR_GIB: usize = 1 << 32;
    const LARGEST: usize = FOUR_GIB - 4096;
    let mut memory: Vec<u64> = Vec::with_capacity(FOUR_GIB / size_of::<u64>());
    let start: *mut u8 = memory.as_mut_ptr().cast();
    let mut heap = Heap::new();
    // SAFETY: the span lies in the vector's memory, which nothing else uses while the heap lives.
    assert_eq!(unsafe { heap.init(start, FOUR_GIB, false) }, Err(RegionError::TooLarge { len: FOUR_GIB }));
    // SAFETY: as above.
    assert_eq!(unsafe { heap.init(start, LARGEST, false) }, Ok(()));
    let whole = heap.stats().arena_bytes;
    // The map has a byte for each page, which is longer than 4 KiB.
    assert!(LARGEST - whole < 16 + LARGEST / 4096);
    assert_eq!(heap.alloc(layout(FOUR_GIB, 1)), None);
    assert_eq!(heap.alloc(layout(whole - 3, 1)), None);
    let all = heap.alloc(layout(whole - 4, 1)).unwrap();
    // SAFETY: the block is live.
    unsafe { heap.dealloc(all.as_ptr()) }.unwrap();

    for bytes in (12..32).flat_map(|log2| [(1 << log2) - 8, 1 << log2, (1 << log2) + 8]) {
        // The gap that the first block leaves behind is all that is left, so the second block has to take it,
        // whole.
        let wanted = layout(bytes - 4, 8);
        let Some(first) = heap.alloc(wanted) else {
            assert!(bytes > whole, "{bytes} bytes were refused");
            continue;
        };
        let taken = heap.stats().live_bytes;
        assert!(
            (bytes..bytes + 64).contains(&taken),
            "large blocks may be made of whole cache lines: {taken}"
        );
        let rest = heap.stats().largest_free_bytes;
        let fence = heap.alloc(layout(rest.saturating_sub(4), 8));
        // SAFETY: the block is live.
        unsafe { heap.dealloc(first.as_ptr()) }.unwrap();
        if let Some(fence) = fence {
            assert_eq!(heap.stats().largest_free_bytes, taken, "the gap");
            assert_eq!(heap.alloc(layout(taken - 3, 8)), None, "a gap of {taken} bytes holds 4 less");
            assert_eq!(heap.alloc(wanted), Some(first));
            // SAFETY: both blocks are live; shrunk to nothing and grown again, the first has the same place.
            unsafe {
                assert_eq!(heap.realloc(first.as_ptr(), wanted, 0), Ok(Some(first)));
                assert_eq!(heap.realloc(first.as_ptr(), layout(0, 8), bytes - 4), Ok(Some(first)));
                heap.audit().unwrap();
                heap.dealloc(fence.as_ptr()).unwrap();
                heap.dealloc(first.as_ptr()).unwrap();
            }
        }
        heap.audit().unwrap();
        assert_eq!((heap.stats().free_blocks, heap.stats().largest_free_bytes), (1, whole));
    }
}

/// esp-alloc 6018: of two adjacent regions, one took the other's blocks.
#[test]
fn a_block_of_an_adjacent_heap_is_a_fault() {
    const HALF: usize = 1024;
    let mut memory = [0u64; 2 * HALF / size_of::<u64>()];
    let start: *mut u8 = memory.as_mut_ptr().cast();
    let (mut left, mut right) = (Heap::new(), Heap::new());
    // SAFETY: the halves lie in `memory`, do not overlap, and are used by the heaps only.
    unsafe {
        left.init(start, HALF, true).unwrap();
        right.init(start.add(HALF), HALF, true).unwrap();
    }
    // The blocks next to the border, on either side: the left heap is full, the right one has its first block
    // there.
    let last = {
        let first = left.alloc(layout(500, 8)).unwrap();
        assert!(first.as_ptr().addr() < start.addr() + HALF);
        let rest = left.stats().largest_free_bytes;
        left.alloc(layout(rest - 4, 8)).unwrap()
    };
    let first = right.alloc(layout(100, 8)).unwrap();
    let before = (left.stats(), right.stats());
    // SAFETY: the heaps tell by the address alone that the blocks are not theirs, and touch nothing.
    let faults = unsafe {
        [
            (left.dealloc(first.as_ptr()).unwrap_err(), first, left.bounds()),
            (right.dealloc(last.as_ptr()).unwrap_err(), last, right.bounds()),
        ]
    };
    for (fault, pointer, (start, end)) in faults {
        let address = pointer.as_ptr().addr();
        let is_told = matches!(fault, Fault::OutsideArena { action: Action::Free, address: told, start: from, end: to, .. }
            if (told, from, to) == (address, start, end));
        assert!(is_told, "{fault:?}");
    }
    // SAFETY: as above.
    let resized = unsafe { right.realloc(last.as_ptr(), layout(100, 8), 50) };
    assert!(matches!(resized, Err(Fault::OutsideArena { action: Action::Realloc, .. })), "{resized:?}");
    assert_eq!((left.stats(), right.stats()), before);
    // SAFETY: now each block goes back to its own heap.
    unsafe {
        left.dealloc(last.as_ptr()).unwrap();
        right.dealloc(first.as_ptr()).unwrap();
    }
    left.audit().and(right.audit()).unwrap();
}

/// Frees every block, from one end of the arena or the other: all of it is one free block then.
fn free_all_and_find_one_block(mut shadow: Shadow, descending: bool) {
    while let Some(last) = shadow.live.len().checked_sub(1) {
        shadow.apply(Free { which: if descending { last } else { 0 } }).unwrap();
    }
    let stats = shadow.heap.stats();
    assert_eq!((stats.live_bytes, stats.free_blocks, stats.largest_free_bytes), (0, 1, stats.arena_bytes));
    shadow.finish().unwrap();
}

/// linked_list_allocator 66 and 85: gaps made for alignment were never seen again, and a free wrote into
/// them.
#[test]
fn gaps_made_for_alignment_come_back() {
    for descending in [false, true] {
        let mut shadow = Shadow::new(region(8192)).unwrap();
        for align in [16, 32, 64, 128, 256, 512, 1024] {
            shadow.apply(Alloc { size: 4, align: 4 }).unwrap();
            shadow.apply(Alloc { size: 20, align }).unwrap();
        }
        let gaps = shadow.heap.stats().free_blocks;
        assert!(gaps >= 5, "there are gaps to lose: {gaps}");
        free_all_and_find_one_block(shadow, descending);
    }
}

/// The same for slots: in whatever order they are freed, nothing is left of their runs.
#[test]
fn freed_slots_come_back() {
    for size in [8, 24, 100, 256] {
        for descending in [false, true] {
            let mut shadow = Shadow::new(region(MIB / 2)).unwrap();
            for _ in 0..300 {
                shadow.apply(Alloc { size, align: 8 }).unwrap();
            }
            let runs = shadow.heap.blocks().filter(|(_, header)| header.is_run()).count();
            assert!(runs > 0, "{size} bytes");
            free_all_and_find_one_block(shadow, descending);
        }
    }
}

/// The same where a request needs the place of a run that has no slot in use and is kept for the next ones.
#[test]
fn idle_runs_are_given_up_before_a_refusal() {
    let mut shadow = Shadow::new(region(MIB / 8)).unwrap();
    let runs = |shadow: &Shadow| shadow.heap.blocks().filter(|(_, header)| header.is_run()).count();
    while runs(&shadow) < 3 {
        shadow.apply(Alloc { size: 32, align: 8 }).unwrap();
    }
    // The third run has one slot in use.
    let slots = |at| shadow.heap.slots(at).map(|(at, _)| at).collect::<Vec<_>>();
    let mut slots_of_runs =
        shadow.heap.blocks().filter(|(_, header)| header.is_run()).map(|(at, _)| slots(at));
    let alone = slots_of_runs.find(|slots| slots.len() == 1).unwrap()[0];
    let address = shadow.heap.bounds().0 - 4 + alone;
    let which = shadow.live.iter().position(|block| block.start() == address).unwrap();
    shadow.apply(Free { which }).unwrap();
    assert_eq!(runs(&shadow), 3, "the only one that has room is kept");
    let largest = shadow.heap.stats().largest_free_bytes;
    shadow.apply(Alloc { size: largest - 4, align: 8 }).unwrap();
    // Holes are used up before.
    while runs(&shadow) == 3 {
        let live = shadow.live.len();
        shadow.apply(Alloc { size: 400, align: 8 }).unwrap();
        assert_eq!(shadow.live.len(), live + 1, "refused");
    }
    shadow.finish().unwrap();
}

/// hermit PR 1045: a wrapper that forgets `realloc` gets the default one, which always moves. That a fresh
/// `alloc_zeroed` touches no page is asked in `fresh_arena.rs`.
#[test]
fn locked_resizes_in_place() {
    static A: Locked<FreeList<4096>> = Locked::new();
    // SAFETY: the layouts are not of zero bytes and those of the live block.
    unsafe {
        let block = A.alloc(layout(100, 8));
        assert_eq!(A.realloc(block, layout(100, 8), 3000), block, "grown into the free memory behind");
        assert_eq!(A.realloc(block, layout(3000, 8), 50), block, "shrunk");
        A.dealloc(block, layout(50, 8));
    }
    assert_eq!(A.stats().live_blocks, 0);
    assert!(A.stats().peak_bytes < 3100, "the block was never there twice");
}
