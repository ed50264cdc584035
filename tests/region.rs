//! Memory that is handed over at run time, the way a kernel does it.

use mem_alloc_rust::{Locked, Region, RegionError};
use std::alloc::{GlobalAlloc, Layout};

/// Words behind a pointer that nothing else uses.
fn memory(bytes: usize) -> *mut u8 {
    let words = vec![u64::MAX; bytes.div_ceil(8)];
    Box::leak(words.into_boxed_slice()).as_mut_ptr().cast()
}

#[test]
fn without_a_region_every_request_gets_null() {
    let allocator: Locked<Region> = Locked::new();
    // SAFETY: the layout is not of zero bytes.
    assert!(unsafe { allocator.alloc(Layout::new::<u64>()) }.is_null());
    assert_eq!(allocator.stats().arena_bytes, 0);
}

#[test]
fn a_region_serves_until_it_is_full_and_again_after_a_release() {
    let allocator: Locked<Region> = Locked::new();
    let layout = Layout::new::<[u64; 100]>();
    // SAFETY: the memory is leaked and used by nothing else; blocks are given back once.
    unsafe {
        allocator.init(memory(4096), 4096).unwrap();
        let blocks: Vec<_> =
            std::iter::from_fn(|| Some(allocator.alloc(layout)).filter(|block| !block.is_null())).collect();
        assert_eq!(blocks.len(), 5);
        assert!(allocator.alloc(layout).is_null());
        allocator.dealloc(blocks[2], layout);
        assert_eq!(allocator.alloc(layout), blocks[2]);
    }
    allocator.audit().unwrap();
}

#[test]
fn memory_that_was_not_zero_is_cleared_on_request() {
    let allocator: Locked<Region> = Locked::new();
    let layout = Layout::new::<[u8; 1000]>();
    // SAFETY: as above; a block has as many bytes as its layout says.
    unsafe {
        allocator.init(memory(2048), 2048).unwrap();
        let block = allocator.alloc_zeroed(layout);
        assert!(std::slice::from_raw_parts(block, 1000).iter().all(|&byte| byte == 0));
    }
}

#[test]
fn a_region_is_refused_with_the_reason() {
    let allocator: Locked<Region> = Locked::new();
    // SAFETY: what is refused is not touched, and what is accepted is leaked memory.
    unsafe {
        assert_eq!(allocator.init(std::ptr::null_mut(), 4096), Err(RegionError::InvalidAddress));
        assert_eq!(allocator.init(memory(64), 10), Err(RegionError::TooSmall { len: 10 }));
        assert_eq!(allocator.init(memory(64), 64), Ok(()));
        let second = allocator.init(memory(64), 64).unwrap_err();
        assert_eq!(second.to_string(), "the heap has a region already");
    }
}

#[test]
fn an_allocator_may_move_between_requests() {
    let mut allocator: Box<Locked<mem_alloc_rust::FreeList<4096>>> = Box::default();
    let layout = Layout::new::<[u64; 4]>();
    // SAFETY: the layout is not of zero bytes, and the block is not used after the allocator has moved.
    assert!(!unsafe { allocator.alloc(layout) }.is_null());
    for _ in 0..3 {
        let moved = Box::new(std::mem::take(&mut *allocator));
        assert_eq!(allocator.stats().live_blocks, 0);
        allocator = moved;
        allocator.audit().unwrap();
        assert_eq!(allocator.stats().live_blocks, 1);
    }
}

#[test]
fn an_audit_finds_what_an_overflow_has_destroyed() {
    let allocator: Locked<Region> = Locked::new();
    let layout = Layout::new::<[u8; 1000]>();
    // SAFETY: the memory is leaked and used by nothing else; what is written to is in it, though not the
    // block's.
    unsafe {
        allocator.init(memory(4096), 4096).unwrap();
        let mut blocks = [(); 2].map(|()| allocator.alloc(layout));
        blocks.sort_unstable();
        allocator.audit().unwrap();
        // The header of the block behind.
        blocks[1].sub(4).write_bytes(b'A', 4);
    }
    allocator.audit().unwrap_err();
}

#[test]
fn the_picture_shows_what_is_in_use() {
    let allocator: Locked<Region> = Locked::new();
    let mut cells = [u8::MAX; 8];
    // SAFETY: the memory is leaked and used by nothing else.
    unsafe {
        allocator.init(memory(64 << 10), 64 << 10).unwrap();
        assert!(!allocator.alloc(Layout::new::<[u8; 32 << 10]>()).is_null());
    }
    allocator.occupancy(&mut cells);
    assert!(cells.contains(&0) && cells.contains(&100), "{cells:?}");
    let mean = cells.iter().copied().map(usize::from).sum::<usize>() / cells.len();
    assert!((49..=51).contains(&mean), "{cells:?}");
}
