//! A fresh arena costs nothing: it lies in `.bss`, and the first allocation touches two of its pages at most.
#![cfg(target_os = "linux")]

use mem_alloc_rust::{FreeList, Locked};
use std::alloc::{GlobalAlloc, Layout};

const ARENA: usize = 32 << 20;
const PAGE: usize = 4096;

/// How many of the pages that the static lies in are in memory now.
fn resident_pages(place: *const u8, bytes: usize) -> usize {
    let start = place.map_addr(|address| address & !(PAGE - 1));
    let bytes = bytes + (place.addr() - start.addr());
    let mut pages = vec![0u8; bytes.div_ceil(PAGE)];
    // SAFETY: the span is part of this program's own memory, and the vector has a byte for each of its pages.
    let result = unsafe { libc::mincore(start.cast_mut().cast(), bytes, pages.as_mut_ptr()) };
    assert_eq!(result, 0);
    pages.iter().filter(|&&page| page & 1 != 0).count()
}

#[test]
fn the_first_allocation_touches_three_pages_at_most_whatever_its_size() {
    static SMALL: Locked<FreeList<ARENA>> = Locked::new();
    static LARGE: Locked<FreeList<ARENA>> = Locked::new();
    static ALIGNED: Locked<FreeList<ARENA>> = Locked::new();
    static ZEROED: Locked<FreeList<ARENA>> = Locked::new();

    let layout = |size, align| Layout::from_size_align(size, align).unwrap();
    let cases: [(&Locked<FreeList<ARENA>>, Layout, bool); 4] = [
        (&SMALL, layout(1, 1), false),
        (&LARGE, layout(ARENA - ARENA / 2048, 8), false),
        (&ALIGNED, layout(1000, 1 << 20), false),
        (&ZEROED, layout(ARENA / 2, 8), true),
    ];
    for (allocator, layout, zeroed) in cases {
        let place: *const u8 = (&raw const *allocator).cast();
        // The pages of the allocator's own bookkeeping are brought in first; those of other statics beside it
        // may be in.
        allocator.audit().unwrap();
        let before = resident_pages(place, size_of_val(allocator));
        assert!(before <= 4, "{before} pages of a fresh arena are in memory");
        // SAFETY: the layout is not of zero bytes.
        let block = unsafe { if zeroed { allocator.alloc_zeroed(layout) } else { allocator.alloc(layout) } };
        assert!(!block.is_null());
        let touched = resident_pages(place, size_of_val(allocator)) - before;
        assert!(touched <= 3, "{layout:?} touched {touched} pages");
    }
}
