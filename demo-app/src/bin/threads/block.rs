//! A block of an allocator that is called by hand.

use std::alloc::{GlobalAlloc, Layout};

/// Bytes at a block's beginning that carry its owner's mark.
const MARKED: usize = 8;

/// A block that is given back when it is dropped.
pub(crate) struct Block {
    start: *mut u8,
    layout: Layout,
    mark: u8,
    allocator: &'static (dyn GlobalAlloc + Sync),
}

// SAFETY: the block is this value's alone, and its allocator may be called by any thread.
unsafe impl Send for Block {}

impl Block {
    /// Allocates a block of so many bytes, at least [`MARKED`], and marks it; `None` if that is refused.
    pub(crate) fn new(allocator: &'static (dyn GlobalAlloc + Sync), bytes: usize, mark: u8) -> Option<Self> {
        let layout = Layout::from_size_align(bytes.max(MARKED), 8).ok()?;
        // SAFETY: the layout is not of zero bytes.
        let start = unsafe { allocator.alloc(layout) };
        if start.is_null() {
            return None;
        }
        // SAFETY: the block has that many bytes at least.
        unsafe { start.write_bytes(mark, MARKED) };
        Some(Self { start, layout, mark, allocator })
    }

    /// Whether the mark is as it was.
    pub(crate) fn is_intact(&self) -> bool {
        // SAFETY: the block has that many bytes at least, which `new` wrote.
        let marked = unsafe { std::slice::from_raw_parts(self.start, MARKED) };
        marked.iter().all(|&byte| byte == self.mark)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the block came from this allocator for this layout, and nobody else has it.
        unsafe { self.allocator.dealloc(self.start, self.layout) }
    }
}
