//! The blocks of a global allocator: what is allocated with `&A` of a static one.

use super::blocks::{Blocks, moved};
use crate::size::GRANULE;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

/// An allocator that others use, too.
pub(super) struct Shared<'a, A>(pub(super) &'a A);

// The layouts are of more than no bytes, as `GlobalAlloc` wants.
impl<A: GlobalAlloc> Blocks for Shared<'_, A> {
    #[inline]
    fn alloc(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: contract of the trait.
        NonNull::new(unsafe { self.0.alloc(layout) })
    }

    #[inline]
    fn alloc_zeroed(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: contract of the trait.
        NonNull::new(unsafe { self.0.alloc_zeroed(layout) })
    }

    #[inline]
    unsafe fn dealloc(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { self.0.dealloc(block.as_ptr(), layout) }
    }

    #[inline]
    unsafe fn resize(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>> {
        // A `realloc` keeps the alignment, and its block has to be given back with that, unless both are no more than
        // any block has, be it one of the system's.
        let is_usual = new.align().max(old.align()) <= GRANULE;
        match Layout::from_size_align(old.size(), new.align()) {
            // SAFETY: the caller's contract, and `new` is a layout of more than no bytes.
            Ok(layout) if is_usual || new.align() == old.align() => unsafe {
                NonNull::new(self.0.realloc(block.as_ptr(), layout, new.size()))
            },
            // SAFETY: as above.
            _ => unsafe { moved(self, block, old, new) },
        }
    }
}
