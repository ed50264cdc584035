//! The allocator that does nothing: what remains is the cost of the loop.

use std::alloc::{GlobalAlloc, Layout};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{ArenaAllocator, TooSmall};

/// Addresses are given out from a window of this size, over and over, so that the cache stays warm.
const WINDOW: usize = 64 << 10;

/// Gives out the addresses of a window in turn, whether or not they are in use.
///
/// Larger blocks begin in the window and extend beyond it. A resized block stays where it is.
pub struct LoopAlone {
    start: NonNull<u8>,
    /// Atomic only because a visitor may share an allocator between threads: a relaxed load and a relaxed store are
    /// plain ones.
    cursor: AtomicUsize,
}

// SAFETY: the pointer is only copied and offset here, and the cursor is atomic.
unsafe impl Sync for LoopAlone {}

impl ArenaAllocator for LoopAlone {
    unsafe fn place(place: &mut MaybeUninit<Self>, start: NonNull<u8>, len: usize) -> Result<(), TooSmall> {
        if len < 2 * WINDOW {
            return Err(TooSmall);
        }
        place.write(Self { start, cursor: AtomicUsize::new(0) });
        Ok(())
    }
}

// SAFETY: the blocks overlap, which breaks the contract. This value is only given to code that writes to blocks but
// never relies on their contents (`Allocator::keeps_contents`), and blocks stay within an arena that is far
// larger than the window and the largest block together.
unsafe impl GlobalAlloc for LoopAlone {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Masks instead of divisions: this has to cost next to nothing.
        let offset =
            (self.cursor.load(Ordering::Relaxed) + layout.align() - 1) & !(layout.align() - 1) & (WINDOW - 1);
        self.cursor.store(offset + layout.size(), Ordering::Relaxed);
        // SAFETY: the offset is less than `WINDOW`, and the arena is larger.
        unsafe { self.start.as_ptr().add(offset) }
    }

    unsafe fn dealloc(&self, _ptr: *mut u8, _layout: Layout) {}

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: forwarded.
        unsafe { self.alloc(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, _layout: Layout, _new_size: usize) -> *mut u8 {
        ptr
    }
}
