//! A block of the allocator that a case drives.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;

use crate::execute::{call_alloc, call_dealloc, call_realloc, touch};

/// A live block, with what it was asked for.
#[derive(Debug)]
pub(super) struct Block {
    address: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory belongs to whoever has the value.
unsafe impl Send for Block {}

impl Block {
    /// Allocates, and writes to every page; none if the allocator refuses.
    ///
    /// # Panics
    ///
    /// If there is no such layout, or no bytes are asked for.
    #[inline(always)]
    pub(super) fn new<A: GlobalAlloc>(allocator: &A, size: usize, align: usize) -> Option<Self> {
        let layout = Layout::from_size_align(size, align).expect("cases ask for sensible sizes");
        assert!(size > 0, "cases ask for bytes");
        // SAFETY: the size is not zero.
        let block = unsafe { Self::taken(call_alloc(allocator, layout), layout)? };
        // SAFETY: the block has that many bytes.
        unsafe { touch(block.address.as_ptr(), 0, size) };
        Some(block)
    }

    /// What an allocator returned for a layout.
    ///
    /// # Safety
    ///
    /// It did, and nobody else has it.
    #[inline(always)]
    pub(super) unsafe fn taken(address: *mut u8, layout: Layout) -> Option<Self> {
        NonNull::new(address).map(|address| Self { address, layout })
    }

    /// Its first byte.
    pub(super) fn address(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// Its bytes.
    pub(super) fn size(&self) -> usize {
        self.layout.size()
    }

    /// Resizes it; false if the allocator refuses, and all is as it was.
    #[inline(always)]
    pub(super) fn resize<A: GlobalAlloc>(&mut self, allocator: &A, size: usize) -> bool {
        assert!(size > 0, "cases ask for bytes");
        // SAFETY: the block is live, with this layout, and the size is not zero.
        let address = unsafe { call_realloc(allocator, self.address.as_ptr(), self.layout, size) };
        let Some(address) = NonNull::new(address) else { return false };
        let before = self.size();
        self.address = address;
        self.layout =
            Layout::from_size_align(size, self.layout.align()).expect("cases ask for sensible sizes");
        if size > before {
            // SAFETY: the block has that many bytes.
            unsafe { touch(address.as_ptr(), before, size) };
        }
        true
    }

    /// Frees it; the allocator has to be the one that it came from.
    #[inline(always)]
    pub(super) fn free<A: GlobalAlloc>(self, allocator: &A) {
        // SAFETY: the block is live, with this layout, and given up here.
        unsafe { call_dealloc(allocator, self.address.as_ptr(), self.layout) };
    }
}
