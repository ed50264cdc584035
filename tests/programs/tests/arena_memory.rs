//! Where the memory of an arena comes from, and that it goes back there. A process of its own, with a global
//! allocator that counts.

#![cfg(unix)]

#[expect(dead_code, reason = "other tests use more of it")]
mod process;

use allocator_api2::alloc::Allocator;
use allocator_api2::vec::Vec;
use mem_alloc_rust::{Arena, ArenaError, RegionError};
use serial_test::serial;
use std::alloc::{GlobalAlloc, Layout, System};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The sizes of arenas that no one else in this process asks for: one is counted, the other one refused.
const COUNTED: usize = 1_234_568;
const REFUSED: usize = 1_234_576;

/// The system's allocator, which counts the blocks of one size, and has none of another.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to an allocator, or refused.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() == REFUSED {
            return std::ptr::null_mut();
        }
        if layout.size() == COUNTED {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() == COUNTED {
            COUNT.fetch_sub(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static A: Counting = Counting;

fn counted() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// Which pages of a stretch are in memory; an error if one of them is not mapped.
#[cfg(target_os = "linux")]
fn resident_pages(start: *mut u8, len: usize) -> std::io::Result<std::vec::Vec<bool>> {
    // SAFETY: the name is one of the system's.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let first = start.map_addr(|address| address / page * page);
    let bytes = start.addr() + len - first.addr();
    let mut pages = vec![0; bytes.div_ceil(page)];
    // SAFETY: the answer has a byte for each page.
    if unsafe { libc::mincore(first.cast(), bytes, pages.as_mut_ptr()) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(pages.into_iter().map(|page| page & 1 != 0).collect())
}

#[test]
#[serial]
fn a_boxed_arena_gives_its_block_back() {
    let arena = Arena::boxed(COUNTED).unwrap();
    assert_eq!(counted(), 1);
    // What is leaked goes with the arena.
    Vec::<u8, _>::with_capacity_in(1000, &arena).leak();
    let arena = std::boxed::Box::new(arena);
    assert_eq!(counted(), 1);
    drop(arena);
    assert_eq!(counted(), 0);

    let mut list = Vec::new_in(Arena::boxed(COUNTED).unwrap());
    list.push(1);
    assert_eq!(counted(), 1);
    drop(list);
    assert_eq!(counted(), 0, "a list that has its arena takes it along");
}

#[test]
#[serial]
fn an_arena_that_cannot_be_had_is_an_error_and_nothing_is_kept() {
    let refused = Arena::boxed(REFUSED).unwrap_err();
    assert_eq!(refused, ArenaError::OutOfMemory { len: REFUSED });
    for len in [0, 1, 8, 15] {
        let too_small = RegionError::TooSmall { len };
        assert_eq!(Arena::boxed(len).unwrap_err(), too_small.into());
        assert_eq!(Arena::mapped(len).unwrap_err(), too_small.into());
        let mut buffer = [MaybeUninit::uninit(); 16];
        assert_eq!(Arena::over(&mut buffer[..len]).unwrap_err(), too_small);
    }
    let len = usize::MAX;
    assert_eq!(Arena::boxed(len).unwrap_err(), RegionError::TooLarge { len }.into());
    assert_eq!(Arena::mapped(len).unwrap_err(), RegionError::TooLarge { len }.into());
}

#[test]
#[serial]
fn a_buffer_serves_again_after_its_arena() {
    let mut buffer = [MaybeUninit::new(0xDB); 4096];
    for round in 0..3u8 {
        let arena = Arena::over(&mut buffer).unwrap();
        let zeroed = arena.allocate_zeroed(Layout::new::<[u8; 3000]>()).unwrap().cast::<[u8; 3000]>();
        // SAFETY: the block has so many bytes.
        unsafe {
            assert_eq!(zeroed.read(), [0; 3000], "a buffer is not taken to be zero");
            zeroed.write([round; 3000]);
        }
    }
}

#[test]
#[serial]
#[cfg(target_os = "linux")]
fn a_mapped_arena_is_unmapped_when_it_is_dropped() {
    let arena = Arena::mapped(64 << 20).unwrap();
    let mut list = Vec::with_capacity_in(16 << 20, &arena);
    list.resize(16 << 20, 1u8);
    let (start, len) = (list.as_mut_ptr(), list.len());
    assert!(resident_pages(start, len).unwrap().into_iter().all(|is_resident| is_resident));
    list.leak();
    drop(arena);
    let error = resident_pages(start, len).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOMEM), "nothing is mapped there");
}

/// Holds that zeroed memory is not touched while it is fresh, and is cleared after a reset.
#[cfg(target_os = "linux")]
fn clears_only_what_was_used<M>(mut arena: Arena<M>) {
    const LEN: usize = 16 << 20;
    let layout = Layout::from_size_align(LEN, 8).unwrap();
    for round in [0, 1] {
        let block = arena.allocate_zeroed(layout).unwrap().cast::<u8>();
        let pages = resident_pages(block.as_ptr(), LEN).unwrap();
        let resident = pages.iter().filter(|is_resident| **is_resident).count();
        if round == 0 {
            // That of its header, and what lies beside it.
            assert!(resident <= 2, "{resident} of {} pages are in memory", pages.len());
            // SAFETY: the block has so many bytes.
            unsafe { block.write_bytes(0xDB, LEN) };
        } else {
            // SAFETY: as above.
            let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), LEN) };
            assert!(bytes.iter().all(|&byte| byte == 0));
        }
        arena.reset();
    }
}

#[test]
#[serial]
#[cfg(target_os = "linux")]
fn memory_that_was_never_used_is_not_cleared() {
    clears_only_what_was_used(Arena::mapped(64 << 20).unwrap());
    // The system's allocator maps so large a block, too.
    clears_only_what_was_used(Arena::boxed(64 << 20).unwrap());
}

#[test]
#[serial]
#[cfg(target_os = "linux")]
fn a_mapping_that_the_system_refuses_is_an_error() {
    let test = "a_mapping_that_the_system_refuses_is_an_error";
    if process::role().as_deref() != Some(test) {
        process::run_child(test, &[test, "--exact", "--test-threads=1"], &[]).success();
        return;
    }
    let limit = libc::rlimit { rlim_cur: 512 << 20, rlim_max: 512 << 20 };
    // SAFETY: the limit is a valid one.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    let len = 1 << 30;
    assert_eq!(Arena::mapped(len).unwrap_err(), ArenaError::OutOfMemory { len });
    assert!(Arena::mapped(1 << 20).is_ok());
}
