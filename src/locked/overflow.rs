//! Blocks that come from the operating system's allocator when the arena cannot serve them.

use super::Contents;
use crate::call_stack;
use crate::stats::Stats;
use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::alloc::System;

/// How many blocks of the system's are in use, and their bytes. As long as there are none, a pointer outside of the
/// arena is a misuse.
pub(super) struct Overflow {
    blocks: AtomicUsize,
    bytes: AtomicUsize,
}

impl Overflow {
    /// No blocks; all zero bytes.
    pub(super) const fn new() -> Self {
        Self { blocks: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    /// Whether blocks of the system's are in use.
    #[inline]
    pub(super) fn has_blocks(&self) -> bool {
        self.blocks.load(Ordering::Relaxed) != 0
    }

    /// Adds them to an allocator's figures.
    #[inline]
    pub(super) fn add_to_stats(&self, stats: &mut Stats) {
        stats.system_blocks = self.blocks.load(Ordering::Relaxed);
        stats.system_bytes = self.bytes.load(Ordering::Relaxed);
    }

    /// A block of the system's, or null.
    pub(super) fn alloc(&self, layout: Layout, contents: Contents) -> *mut u8 {
        let layout = at_least_one_byte(layout);
        // SAFETY: the layout's size is not zero.
        let block = unsafe {
            match contents {
                Contents::Any => System.alloc(layout),
                Contents::Zeroes => System.alloc_zeroed(layout),
            }
        };
        if block.is_null() {
            call_stack::end_if_written();
        } else {
            self.blocks.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(layout.size(), Ordering::Relaxed);
        }
        block
    }

    /// Gives a block back to the system.
    ///
    /// # Safety
    ///
    /// - `block` came from [`alloc`](Self::alloc) or [`realloc`](Self::realloc) for `layout`, and is in use.
    #[inline]
    pub(super) unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(block, at_least_one_byte(layout)) };
        self.blocks.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(layout.size().max(1), Ordering::Relaxed);
    }

    /// Changes the size of one of the system's blocks.
    ///
    /// # Safety
    ///
    /// - `block` came from [`alloc`](Self::alloc) or [`realloc`](Self::realloc) for `layout`, and is in use.
    #[inline]
    pub(super) unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (before, size) = (layout.size().max(1), size.max(1));
        // SAFETY: the caller's contract; a size of zero is served like one.
        let resized = unsafe { System.realloc(block, at_least_one_byte(layout), size) };
        if resized.is_null() {
            call_stack::end_if_written();
        } else {
            // The sum wraps around when it becomes less.
            self.bytes.fetch_add(size.wrapping_sub(before), Ordering::Relaxed);
        }
        resized
    }
}

/// The system's allocator takes no layout of zero bytes.
fn at_least_one_byte(layout: Layout) -> Layout {
    if layout.size() == 0 { Layout::from_size_align(1, layout.align()).unwrap_or(layout) } else { layout }
}
