//! Where dlmalloc gets its memory: everything at the first request, nothing afterwards.

use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};

/// A source that gives its whole span away at once.
pub struct WholeSpan {
    start: AtomicPtr<u8>,
    len: usize,
}

impl WholeSpan {
    /// A source that has nothing to give.
    pub const fn empty() -> Self {
        Self { start: AtomicPtr::new(null_mut()), len: 0 }
    }

    /// Fills the source.
    pub fn fill(&mut self, start: NonNull<u8>, len: usize) {
        *self = Self { start: AtomicPtr::new(start.as_ptr()), len };
    }
}

// SAFETY: `alloc` hands out the span that `fill` received, once; nothing is ever taken back.
unsafe impl dlmalloc::Allocator for WholeSpan {
    fn alloc(&self, _size: usize) -> (*mut u8, usize, u32) {
        (self.start.swap(null_mut(), Ordering::Relaxed), self.len, 0)
    }

    fn remap(&self, _ptr: *mut u8, _old: usize, _new: usize, _can_move: bool) -> *mut u8 {
        null_mut()
    }

    fn free_part(&self, _ptr: *mut u8, _old: usize, _new: usize) -> bool {
        false
    }

    fn free(&self, _ptr: *mut u8, _size: usize) -> bool {
        false
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        false
    }

    fn page_size(&self) -> usize {
        4096
    }
}
