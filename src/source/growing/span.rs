//! The span of address space that a heap grows in: reserved at first, committed in steps, given back. And the pages of
//! a block of its own.
//!
//! Where that is wanted, a span is in huge pages beyond its beginning: who goes through a lot of memory in no order
//! waits for translations of addresses otherwise. (Hunter et al., *Beyond malloc efficiency to fleet efficiency: a
//! hugepage-aware memory allocator*, 2021.)

use crate::heap::{Heap, RegionError, Reserved};
use crate::mapping;
use crate::size::MAX_REGION;
use crate::source::give_back_all;
use core::ptr::NonNull;

/// Bytes of a huge page.
pub(super) const HUGE_PAGE: usize = 2 << 20;

/// From so many bytes on a heap is in huge pages: where a step, which is an eighth, is one of them. Before, what nobody
/// uses in the last one would be much beside what is in use.
const SMALL_PAGES: usize = HUGE_PAGE << 3;

/// Reserves a span of `most` bytes, or as many as there are to be had, and `least` at least.
pub(super) fn reserve(most: usize, least: usize) -> Option<(*mut u8, usize)> {
    let whole = |bytes: usize| bytes - bytes % mapping::page();
    let mut bytes = whole(most.min(MAX_REGION).min(mapping::most_address_space() / 2));
    while bytes >= least {
        if let Some(start) = mapping::reserve(bytes) {
            return Some((start.as_ptr(), bytes));
        }
        bytes = whole(bytes / 2);
    }
    None
}

/// Hands a heap a span that is reserved, and whose first `committed` bytes are committed.
///
/// # Safety
///
/// - The span was reserved for this heap, and `committed` bytes of it were committed, which are whole pages.
pub(super) unsafe fn init(
    heap: &mut Heap,
    start: *mut u8,
    len: usize,
    committed: usize,
    huge_pages: bool,
) -> Result<(), RegionError> {
    /// Whole pages of those, and whole huge ones if there is one of these; only what is needed, if the system refuses
    /// more.
    unsafe fn commit(start: *mut u8, least: usize, most: usize) -> usize {
        let in_last = (start.addr() + most) % HUGE_PAGE;
        let huge = most.checked_sub(in_last).filter(|&bytes| bytes >= least && most >= HUGE_PAGE);
        for bytes in [huge.unwrap_or(most), least].map(mapping::whole_pages).into_iter().flatten() {
            // SAFETY: the heap asks for what is reserved for it, whose end is that of a page.
            if unsafe { mapping::commit(start, bytes) } {
                return bytes;
            }
        }
        0
    }
    // SAFETY: the caller's contract; what is reserved can be read, and is all zero.
    unsafe { heap.init_reserved(Reserved { start, len, committed, commit })? };
    if huge_pages {
        // SAFETY: the span was reserved.
        unsafe { prefer_huge_pages(start, start, len) };
    }
    Ok(())
}

/// Asks for huge pages for those pages of a region, which begins at `region`, that lie beyond its small ones.
///
/// # Safety
///
/// - The pages were reserved here.
unsafe fn prefer_huge_pages(region: *mut u8, start: *mut u8, bytes: usize) {
    // A region may lie at the end of the address space.
    let behind_small = region.addr().checked_add(SMALL_PAGES);
    let Some(first) = behind_small.and_then(|behind| behind.checked_next_multiple_of(HUGE_PAGE)) else {
        return;
    };
    let small = first.saturating_sub(start.addr());
    if small < bytes {
        // SAFETY: the caller's contract.
        unsafe { mapping::prefer_huge_pages(start.wrapping_add(small), bytes - small) };
    }
}

/// Maps a block, at a multiple of `align`, in huge pages if that is wanted and there is so much address space.
pub(super) fn map_block_at(bytes: usize, align: usize, huge_pages: bool) -> Option<NonNull<u8>> {
    if huge_pages {
        if let Some(start) = mapping::map(bytes, align.max(HUGE_PAGE)) {
            // SAFETY: it was just mapped.
            unsafe { mapping::prefer_huge_pages(start.as_ptr(), bytes) };
            return Some(start);
        }
    }
    mapping::map(bytes, align.max(mapping::page()))
}

/// Gives back what is free in a heap, in free blocks of at least so many bytes, and what is committed and was never
/// used, but for `kept` bytes. Returns how many bytes of that were in memory.
pub(super) fn give_back(heap: &mut Heap, least: usize, kept: usize, huge_pages: bool) -> usize {
    let mut in_memory = 0;
    heap.give_back(least, mapping::page(), |start, bytes| {
        // A part may have been given back before: a block that is merged with another does not know that.
        // SAFETY: the heap's span was reserved here, and what it gives back is nobody's.
        unsafe { mapping::discard_counted(start, bytes, &mut in_memory) }
    });
    uncommit(heap, kept, huge_pages);
    in_memory
}

/// Gives back all that is free in a heap. Returns how many bytes of that were in memory.
pub(super) fn trim(heap: &mut Heap, huge_pages: bool) -> usize {
    // SAFETY: the heap's span was reserved here.
    let mut given_back = unsafe { give_back_all(heap) };
    // What was never used is in memory, too, where it is in a huge page with something that was.
    uncommit_after(heap, 0, huge_pages, |start, bytes| given_back += mapping::resident_bytes(start, bytes));
    given_back
}

/// Makes what is committed behind the top reserved again, but for `kept` bytes.
pub(super) fn uncommit(heap: &mut Heap, kept: usize, huge_pages: bool) {
    uncommit_after(heap, kept, huge_pages, |_, _| {});
}

/// As [`uncommit`], after a look at the pages.
fn uncommit_after(heap: &mut Heap, kept: usize, huge_pages: bool, look: impl FnOnce(*mut u8, usize)) {
    let region = heap.region_start();
    heap.uncommit(kept, mapping::page(), |start, bytes| {
        look(start, bytes);
        // SAFETY: the heap's span was reserved here, and what it gives back is nobody's.
        unsafe {
            let is_reserved = mapping::uncommit(start, bytes);
            // The new mapping knows nothing of what was asked for the old one.
            if is_reserved && huge_pages {
                prefer_huge_pages(region, start, bytes);
            }
            is_reserved
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::alloc::Layout;
    use std::vec::Vec;

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn what_goes_back_is_counted_by_what_of_it_is_in_memory() {
        const SIZE: usize = 1 << 20;
        let (start, len) = reserve(64 << 20, 64 << 20).unwrap();
        let layout = Layout::from_size_align(SIZE, 8).unwrap();
        let mut heap = Heap::new();
        // SAFETY: the span is this test's, and each block is used and given back once.
        unsafe {
            let committed = mapping::whole_pages(Heap::least_committed(len)).unwrap();
            assert!(mapping::commit(start, committed));
            init(&mut heap, start, len, committed, false).unwrap();
            heap.set_limits(len, len);
            let blocks: Vec<_> = (0..10).map(|_| heap.alloc(layout).unwrap().as_ptr()).collect();
            let _last = heap.alloc(layout).unwrap();
            for block in &blocks {
                block.write_bytes(7, SIZE);
            }
            let mut free = |block: *mut u8| {
                heap.dealloc(block).unwrap();
                let given_back = give_back(&mut heap, SIZE / 2, SIZE, false);
                assert_ne!(block.add(SIZE / 2).read(), 7);
                given_back
            };
            // Each is merged with those before it.
            for &block in &blocks {
                let given_back = free(block);
                assert!(given_back.abs_diff(SIZE) <= 3 * mapping::page(), "{given_back}");
            }
            mapping::unmap(start, len);
        }
    }
}
