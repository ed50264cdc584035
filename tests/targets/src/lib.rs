//! What a program has of the crate: a global allocator, and the others beside it. A static has its code generated
//! with the functions that use it, and these are public, so that all of it is there in a library, too.

#![cfg_attr(not(feature = "std"), no_std)]

use allocator_api2::alloc::Allocator;
use core::alloc::{GlobalAlloc, Layout};
use core::mem::MaybeUninit;
#[cfg(target_has_atomic = "ptr")]
use mem_alloc_rust::watch::{Counted, Refusing};
use mem_alloc_rust::{Arena, FreeList, Locked, Region, ThreadCached};

#[global_allocator]
static A: ThreadCached<FreeList<{ 64 << 10 }>> = ThreadCached::new();

static FIXED: Locked<FreeList<4096>> = Locked::new();

static FOUND: Locked<Region> = Locked::new();

#[cfg(target_has_atomic = "ptr")]
static WATCHED: Counted<Refusing<Locked<FreeList<4096>>>> = Counted::new(Refusing::new(Locked::new()));

#[cfg(feature = "std")]
static OVERFLOWING: Locked<mem_alloc_rust::OrSystem<FreeList<4096>>> = Locked::new();

/// Calls every method of an allocator. Returns whether a block was had.
///
/// # Safety
///
/// - The layout is of more than no bytes, and `new_size` is none that overflows with its alignment.
unsafe fn use_all(allocator: &impl GlobalAlloc, layout: Layout, new_size: usize) -> bool {
    // SAFETY: the sizes are good (contract); each block is given back once, with the layout that it has then.
    unsafe {
        let block = allocator.alloc(layout);
        if !block.is_null() {
            allocator.dealloc(block, layout);
        }
        let block = allocator.alloc_zeroed(layout);
        if block.is_null() {
            return false;
        }
        let larger = allocator.realloc(block, layout, new_size);
        if larger.is_null() {
            allocator.dealloc(block, layout);
            return false;
        }
        allocator.dealloc(larger, Layout::from_size_align_unchecked(new_size, layout.align()));
        true
    }
}

/// Uses all allocators. Returns whether each of them had a block.
///
/// # Safety
///
/// - `start` leads to `len` bytes that nothing else uses.
/// - The layout is of more than no bytes, and `new_size` is none that overflows with its alignment.
pub unsafe fn use_everything(start: *mut u8, len: usize, layout: Layout, new_size: usize) -> bool {
    // SAFETY: the caller's contract.
    unsafe {
        let is_given = FOUND.init(start, len).is_ok();
        #[cfg(feature = "std")]
        let overflows = use_all(&OVERFLOWING, layout, new_size);
        #[cfg(not(feature = "std"))]
        let overflows = true;
        #[cfg(target_has_atomic = "ptr")]
        let watched = use_all(&WATCHED, layout, new_size) && WATCHED.counts().realloc_calls > 0;
        #[cfg(not(target_has_atomic = "ptr"))]
        let watched = true;
        is_given
            && overflows
            && watched
            && use_all(&A, layout, new_size)
            && use_all(&FIXED, layout, new_size)
            && use_all(&FOUND, layout, new_size)
            && A.audit().and(FIXED.audit()).and(FOUND.audit()).is_ok()
    }
}

/// Calls every method of an allocator of collections. Returns whether a block was had.
fn use_all_for_collections(allocator: impl Allocator, layout: Layout, larger: Layout) -> bool {
    let Ok(block) = allocator.allocate(layout) else { return false };
    // SAFETY: each block is given back once, with the layout that it has then; the new ones are larger and smaller.
    unsafe {
        allocator.deallocate(block.cast(), layout);
        let Ok(block) = allocator.allocate_zeroed(layout) else { return false };
        let Ok(block) = allocator.grow(block.cast(), layout, larger) else { return false };
        let Ok(block) = allocator.shrink(block.cast(), larger, layout) else { return false };
        let Ok(block) = allocator.grow_zeroed(block.cast(), layout, larger) else { return false };
        allocator.deallocate(block.cast(), larger);
    }
    true
}

/// Uses arenas of every kind. Returns whether each of them had a block; `larger` is no smaller than `layout`.
pub fn use_arenas(buffer: &mut [MaybeUninit<u8>], layout: Layout, larger: Layout) -> bool {
    let use_all = |allocator: &dyn Allocator| use_all_for_collections(allocator, layout, larger);
    #[cfg(feature = "std")]
    let boxed = Arena::boxed(buffer.len()).is_ok_and(|arena| use_all(&arena));
    #[cfg(not(feature = "std"))]
    let boxed = true;
    #[cfg(all(feature = "std", unix))]
    let mapped = Arena::mapped(buffer.len()).is_ok_and(|arena| use_all(&arena));
    #[cfg(not(all(feature = "std", unix)))]
    let mapped = true;
    boxed
        && mapped
        && use_all(&&A)
        && use_all(&&FIXED)
        && Arena::over(buffer).is_ok_and(|arena| use_all(&arena))
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn every_allocator_has_a_block() {
        let mut memory = [0; 4096];
        // SAFETY: the sizes are good, and nothing else uses the memory as long as the allocators are used.
        assert!(unsafe { use_everything(memory.as_mut_ptr(), memory.len(), Layout::new::<[u64; 5]>(), 100) });
    }

    #[test]
    fn every_arena_has_a_block() {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        assert!(use_arenas(&mut buffer, Layout::new::<[u64; 5]>(), Layout::new::<[u64; 50]>()));
    }
}
