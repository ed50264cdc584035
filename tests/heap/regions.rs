//! Several regions that are handed over at run time, the way a kernel does it: one test for each question.

use mem_alloc_rust::{Locked, RegionError, Regions};
use std::alloc::{GlobalAlloc, Layout};

/// Bytes of each part of a buffer.
const PART: usize = 64 << 10;

/// An allocator, and a buffer of so many parts that nothing else uses.
struct Bench<const OTHERS: usize> {
    allocator: Locked<Regions<OTHERS>>,
    start: *mut u8,
}

impl<const OTHERS: usize> Bench<OTHERS> {
    fn new(parts: usize) -> Self {
        let memory = Box::leak(vec![u64::MAX; parts * PART / 8].into_boxed_slice());
        Self { allocator: Locked::new(), start: memory.as_mut_ptr().cast() }
    }

    fn add(&self, from: usize, len: usize) -> Result<(), RegionError> {
        // SAFETY: the memory is leaked, one allocation, and used by nothing else; what is refused is not touched.
        unsafe { self.allocator.add_region(self.start.wrapping_add(from), len) }
    }

    fn alloc(&self, bytes: usize) -> Option<*mut u8> {
        let layout = Layout::array::<u8>(bytes).unwrap();
        // SAFETY: the layout is not of zero bytes.
        let block = unsafe { self.allocator.alloc(layout) };
        self.allocator.audit().unwrap();
        Some(block).filter(|block| !block.is_null())
    }

    fn free(&self, block: *mut u8, bytes: usize) {
        // SAFETY: the block was allocated for this layout, and is given back once.
        unsafe { self.allocator.dealloc(block, Layout::array::<u8>(bytes).unwrap()) };
        self.allocator.audit().unwrap();
    }

    /// The part that a block lies in.
    fn part(&self, block: *mut u8) -> usize {
        (block.addr() - self.start.addr()) / PART
    }
}

#[test]
fn without_a_region_every_request_gets_null() {
    let bench = Bench::<1>::new(1);
    assert_eq!(bench.alloc(1), None);
    assert_eq!(bench.allocator.stats().arena_bytes, 0);
}

#[test]
fn each_block_lies_in_one_region_and_goes_back_to_it() {
    let bench = Bench::<2>::new(6);
    for part in [4, 0, 2] {
        bench.add(part * PART, PART).unwrap();
    }
    let blocks: Vec<_> = std::iter::from_fn(|| bench.alloc(20_000)).collect();
    let parts: Vec<_> = blocks.iter().map(|&block| bench.part(block)).collect();
    assert_eq!(parts, [4, 4, 4, 0, 0, 0, 2, 2, 2], "the first one serves first");
    for &block in &blocks[3..6] {
        bench.free(block, 20_000);
    }
    let again = bench.alloc(60_000).unwrap();
    assert_eq!(bench.part(again), 0);
    bench.free(again, 60_000);
    blocks[..3].iter().chain(&blocks[6..]).for_each(|&block| bench.free(block, 20_000));
    let stats = bench.allocator.stats();
    assert_eq!((stats.live_blocks, stats.free_blocks), (0, 3));
    assert!(stats.peak_bytes >= 180_000 && stats.arena_bytes > 3 * PART - 200, "{stats:?}");
}

#[test]
fn two_that_touch_serve_what_neither_could_alone() {
    for order in [[0, 1], [1, 0]] {
        let bench = Bench::<0>::new(2);
        bench.add(order[0] * PART, PART).unwrap();
        assert_eq!(bench.alloc(2 * PART - 100), None);
        bench.add(order[1] * PART, PART).unwrap();
        assert!(bench.alloc(2 * PART - 100).is_some(), "{order:?}");
    }
}

#[test]
fn what_lies_between_two_makes_them_one_and_gives_room_for_another() {
    let bench = Bench::<1>::new(6);
    bench.add(2 * PART, PART).unwrap();
    bench.add(0, PART).unwrap();
    assert_eq!(bench.add(4 * PART, PART), Err(RegionError::TooMany));
    let blocks = [bench.alloc(50_000).unwrap(), bench.alloc(50_000).unwrap()];
    bench.add(PART, PART).unwrap();
    bench.add(4 * PART, PART).unwrap();
    let across = bench.alloc(PART + 10_000).unwrap();
    assert_eq!((bench.part(across), bench.part(across.wrapping_add(PART + 10_000))), (1, 2));
    for block in blocks {
        bench.free(block, 50_000);
    }
    bench.free(across, PART + 10_000);
    assert_eq!(bench.allocator.stats().free_blocks, 2);
}

#[test]
fn a_region_is_extended_at_its_end_again_and_again() {
    let bench = Bench::<0>::new(16);
    bench.add(0, 100).unwrap();
    let mut end = 100;
    // By odd numbers of bytes, while blocks are in use.
    let mut blocks = Vec::new();
    while end + 5003 < 16 * PART {
        bench.add(end, 5003).unwrap();
        end += 5003;
        blocks.extend(bench.alloc(3000));
    }
    assert!(blocks.len() > 200, "{} blocks", blocks.len());
    blocks.into_iter().for_each(|block| bench.free(block, 3000));
    let stats = bench.allocator.stats();
    assert_eq!(stats.free_blocks, 1);
    assert!(bench.alloc(end - end / 2000 - 50).is_some(), "{stats:?}");
}

#[test]
fn a_block_moves_to_another_region_if_it_grows_and_keeps_its_contents() {
    let bench = Bench::<1>::new(4);
    bench.add(0, 1000).unwrap();
    bench.add(2 * PART, PART).unwrap();
    let layout = |bytes| Layout::array::<u8>(bytes).unwrap();
    let mut block = bench.alloc(800).unwrap();
    // SAFETY: the block has 800 bytes.
    unsafe { block.write_bytes(7, 800) };
    let mut size = 800;
    for (new_size, part) in [(900, 0), (5000, 2), (40_000, 2), (800, 2), (50_000, 2)] {
        // SAFETY: the block is in use, and has that layout.
        block = unsafe { bench.allocator.realloc(block, layout(size), new_size) };
        bench.allocator.audit().unwrap();
        assert!(!block.is_null() && bench.part(block) == part, "{new_size}");
        // SAFETY: as above; at least 800 bytes.
        assert!((0..800).all(|offset| unsafe { block.add(offset).read() } == 7), "{new_size}");
        size = new_size;
    }
    // SAFETY: as above.
    assert!(unsafe { bench.allocator.realloc(block, layout(size), 3 * PART) }.is_null());
    assert!(bench.alloc(900).is_some_and(|first| bench.part(first) == 0));
    bench.free(block, size);
}

#[test]
fn memory_from_another_region_is_cleared_on_request() {
    let bench = Bench::<1>::new(4);
    bench.add(0, 1000).unwrap();
    bench.add(2 * PART, PART).unwrap();
    let layout = Layout::new::<[u8; 30_000]>();
    // SAFETY: the layout is not of zero bytes, and the block has as many.
    unsafe {
        let block = bench.allocator.alloc_zeroed(layout);
        assert!(!block.is_null());
        assert!(std::slice::from_raw_parts(block, 30_000).iter().all(|&byte| byte == 0));
    }
}

#[test]
fn a_wrong_region_is_refused_with_the_reason_and_changes_nothing() {
    let bench = Bench::<1>::new(8);
    let limit = if usize::BITS > 32 { (4 << 30) - 4096 } else { (2 << 30) - 4096 };
    assert_eq!(bench.add(0, 12), Err(RegionError::TooSmall { len: 12 }));
    // SAFETY: what is refused is not touched.
    let too_large = unsafe { bench.allocator.add_region(std::ptr::without_provenance_mut(4096), limit + 1) };
    assert_eq!(too_large, Err(RegionError::TooLarge { len: limit + 1 }));
    bench.add(PART, PART).unwrap();
    bench.add(4 * PART, PART).unwrap();
    let kept = bench.alloc(1000).unwrap();
    let before = bench.allocator.stats();
    let overlapping = [
        (PART, PART),
        (PART + 1, 1),
        (0, PART + 1),
        (2 * PART - 1, 100),
        (0, 8 * PART),
        (4 * PART, 16),
        (3 * PART, PART + 1),
    ];
    for (from, len) in overlapping {
        assert_eq!(bench.add(from, len), Err(RegionError::Overlaps), "{len} from {from}");
    }
    assert_eq!(bench.add(6 * PART, PART), Err(RegionError::TooMany));
    // SAFETY: what is refused is not touched.
    let add = |start: *mut u8, len: usize| unsafe { bench.allocator.add_region(start, len) };
    assert_eq!(add(std::ptr::null_mut(), PART), Err(RegionError::InvalidAddress));
    let high = std::ptr::without_provenance_mut::<u8>(usize::MAX - PART + 1);
    assert_eq!(add(high, PART), Err(RegionError::InvalidAddress), "it ends behind the address space");
    assert_eq!(add(high, 2 * PART), Err(RegionError::InvalidAddress), "it wraps around");
    assert_eq!(add(high.wrapping_add(PART - 1), usize::MAX), Err(RegionError::InvalidAddress));
    assert_eq!(bench.allocator.stats(), before);
    bench.free(kept, 1000);
    let messages = [
        (RegionError::Overlaps, "the region overlaps memory that is in use already"),
        (RegionError::TooMany, "there is no room for another region that touches none"),
        (RegionError::NotAdjacent, "the memory does not touch the heap's region"),
    ];
    for (error, message) in messages {
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_refusal_tells_of_all_regions() {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    static ARENA: AtomicUsize = AtomicUsize::new(0);
    static LARGEST: AtomicUsize = AtomicUsize::new(0);
    mem_alloc_rust::set_refusal_hook(|refusal| {
        if refusal.layout.size() == 12 * PART {
            ARENA.store(refusal.arena_bytes, Relaxed);
            LARGEST.store(refusal.largest_free_bytes, Relaxed);
        }
    });
    let bench = Bench::<1>::new(4);
    bench.add(0, 1000).unwrap();
    bench.add(2 * PART, PART).unwrap();
    assert_eq!(bench.alloc(12 * PART), None);
    let stats = bench.allocator.stats();
    assert_eq!(
        (ARENA.load(Relaxed), LARGEST.load(Relaxed)),
        (stats.arena_bytes, stats.largest_free_bytes - 4)
    );
    assert!(stats.arena_bytes > PART + 800);
}

/// A region that has refused is asked again when there may be room in it.
#[test]
fn a_region_that_has_refused_is_asked_again() {
    let bench = Bench::<1>::new(8);
    bench.add(0, 4096).unwrap();
    bench.add(PART, 4 * PART).unwrap();
    let layout = Layout::array::<u8>(64).unwrap();
    // SAFETY: the layout is not of zero bytes. (They are too many for an audit after each.)
    let alloc = || Some(unsafe { bench.allocator.alloc(layout) }).filter(|slot| !slot.is_null());
    let slots: Vec<_> = std::iter::from_fn(alloc).collect();
    [56, 40, 24, 8].into_iter().for_each(|bytes| while bench.alloc(bytes).is_some() {});
    // What lies side by side is one run, if it is as many as that has.
    let mut rows = slots.chunk_by(|slot, next| next.addr().wrapping_sub(slot.addr()) == 64);
    let in_row = rows.find(|row| row.len() > 60).unwrap();
    // Thirteen are too many for a run that is broken up.
    let kept: Vec<_> = in_row.iter().copied().take(26).step_by(2).collect();
    in_row.iter().filter(|slot| !kept.contains(slot)).for_each(|&slot| bench.free(slot, 64));
    assert!(bench.alloc(1000).is_none());
    bench.free(kept[1], 64);
    assert!((0..8).any(|_| bench.alloc(1000).is_some()));
}
