//! The allocator that is called by hand: one owner of the static arena at a time.

use mem_alloc_rust::{FreeListAllocator, InitOutcome, create_allocator};
use serial_test::serial;
use std::alloc::Layout;

const NUMBER: Layout = Layout::new::<u64>();

fn ready() -> FreeListAllocator {
    let mut allocator = create_allocator();
    // SAFETY: tests run one at a time, and none uses a block of an earlier one.
    assert_eq!(unsafe { allocator.init() }, InitOutcome::Ready);
    allocator
}

#[test]
#[serial]
fn before_init_every_request_gets_null() {
    let mut allocator = create_allocator();
    assert!(allocator.alloc(NUMBER).is_null());
    assert!(allocator.alloc_zeroed(NUMBER).is_null());
}

#[test]
#[serial]
fn the_arena_has_one_owner_at_a_time() {
    let mut first = ready();
    let block = first.alloc(NUMBER);
    let mut second = create_allocator();
    // SAFETY: as in `ready`.
    let refused = unsafe { second.init() };
    assert_eq!(refused, InitOutcome::ArenaInUse);
    assert_eq!(refused.to_string(), "another allocator owns the static arena; this one stays empty");
    assert!(second.alloc(NUMBER).is_null());
    // SAFETY: as in `ready`.
    assert_eq!(unsafe { first.init() }, InitOutcome::AlreadyReady);
    assert_eq!(first.stats().live_blocks, 1, "a second `init` changes nothing");
    assert!(!block.is_null());
    drop(first);
    // SAFETY: as in `ready`.
    assert_eq!(unsafe { second.init() }, InitOutcome::Ready);
    assert!(!second.alloc(NUMBER).is_null());
}

#[test]
#[serial]
fn the_arena_is_one_mebibyte_and_the_allocator_a_few_kibibytes() {
    let allocator = ready();
    assert_eq!(allocator.stats().arena_bytes, (1 << 20) - 8);
    assert!(size_of::<FreeListAllocator>() <= 6144);
}

#[test]
#[serial]
fn contents_survive_a_realloc_and_zeroed_memory_is_zero() {
    let mut allocator = ready();
    let layout = Layout::array::<u8>(100).unwrap();
    // SAFETY: a block is used for as many bytes as it was asked for, and given back once.
    unsafe {
        let mut block = allocator.alloc(layout);
        block.write_bytes(0x5A, 100);
        let wall = allocator.alloc(NUMBER);
        block = allocator.realloc(block, layout, 5000);
        assert!(std::slice::from_raw_parts(block, 100).iter().all(|&byte| byte == 0x5A));
        allocator.dealloc(block);
        let zeroed = allocator.alloc_zeroed(Layout::array::<u8>(5000).unwrap());
        assert!(std::slice::from_raw_parts(zeroed, 5000).iter().all(|&byte| byte == 0));
        allocator.dealloc(zeroed);
        allocator.dealloc(wall);
        let last = allocator.alloc(layout);
        assert!(allocator.realloc(last, layout, 2 << 20).is_null());
    }
    allocator.audit().unwrap();
}

#[test]
#[serial]
fn the_blocks_tell_size_state_and_link() {
    let mut allocator = ready();
    let blocks = [0; 4].map(|_| allocator.alloc(NUMBER));
    // SAFETY: each block is given back once.
    unsafe {
        allocator.dealloc(blocks[0]);
        allocator.dealloc(blocks[2]);
    }
    assert_eq!(allocator.stats().free_blocks, 3);
    let headers: Vec<_> =
        allocator.blocks().map(|(_, header)| (header.size(), header.is_free(), header.next())).collect();
    assert_eq!(headers, [(16, true, None), (16, false, None), (16, true, Some(8)), (16, false, None)]);
}
