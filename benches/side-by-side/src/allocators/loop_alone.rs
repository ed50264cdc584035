//! The allocator that does nothing: what remains is the cost of the loop.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use super::{ArenaAllocator, TooSmall};

/// Addresses are given out from a window of this size, over and over, so that the cache stays warm.
const WINDOW: usize = 64 << 10;

/// Gives out the addresses of a window in turn, whether or not they are in use.
///
/// Larger blocks begin in the window and extend beyond it. A resized block stays where it is.
pub struct LoopAlone {
    start: NonNull<u8>,
    cursor: Cell<usize>,
}

impl ArenaAllocator for LoopAlone {
    unsafe fn place(place: &mut MaybeUninit<Self>, start: NonNull<u8>, len: usize) -> Result<(), TooSmall> {
        if len < 2 * WINDOW {
            return Err(TooSmall);
        }
        place.write(Self { start, cursor: Cell::new(0) });
        Ok(())
    }
}

// SAFETY: the blocks overlap, which breaks the contract. This value is only given to code that writes to blocks but
// never relies on their contents (`Allocator::keeps_contents`), and blocks stay within an arena that is far
// larger than the window and the largest block together.
unsafe impl GlobalAlloc for LoopAlone {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Masks instead of divisions: this has to cost next to nothing.
        let offset = (self.cursor.get() + layout.align() - 1) & !(layout.align() - 1) & (WINDOW - 1);
        self.cursor.set(offset + layout.size());
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
