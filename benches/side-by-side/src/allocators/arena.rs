//! How an allocator is put over a span of memory, and those that bring their own locking.

use std::fmt;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use std::alloc::GlobalAlloc;

use picoalloc::Size;
use talc::source::Manual;

use super::Ours;

/// The span cannot hold what the allocator needs for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the arena is too small for the allocator's own needs")
    }
}

impl std::error::Error for TooSmall {}

/// An allocator that serves everything from one span.
pub trait ArenaAllocator: GlobalAlloc + Sized {
    /// Builds a fresh allocator in `place`. Some keep pointers into themselves, hence not by value.
    ///
    /// # Errors
    ///
    /// If the span cannot hold what the allocator needs for itself; `place` then counts as uninitialised.
    ///
    /// # Safety
    ///
    /// - The span is valid for reads and writes, and used by nobody else while the allocator lives.
    /// - The value does not move after a success.
    unsafe fn place(place: &mut MaybeUninit<Self>, start: NonNull<u8>, len: usize) -> Result<(), TooSmall>;
}

impl ArenaAllocator for Ours {
    unsafe fn place(place: &mut MaybeUninit<Self>, start: NonNull<u8>, len: usize) -> Result<(), TooSmall> {
        let allocator = place.write(Self::new());
        // SAFETY: forwarded from this function's contract.
        unsafe { allocator.init(start.as_ptr(), len) }.map_err(|_| TooSmall)
    }
}

/// talc behind the spin lock.
pub type Talc = talc::TalcLock<spin::Mutex<()>, Manual>;

impl ArenaAllocator for Talc {
    unsafe fn place(place: &mut MaybeUninit<Self>, start: NonNull<u8>, len: usize) -> Result<(), TooSmall> {
        let allocator = place.write(Self::new(Manual));
        // SAFETY: forwarded from this function's contract; the `Manual` source allows claims.
        let claimed = unsafe { allocator.get_mut().claim(start.as_ptr(), len) };
        claimed.map(drop).ok_or(TooSmall)
    }
}

/// picoalloc behind its own spin lock.
pub type PicoAlloc = picoalloc::Mutex<picoalloc::Allocator<PicoSpan>>;

/// Tells picoalloc where its memory is.
pub struct PicoSpan {
    start: NonNull<u8>,
    size: Size,
}

// SAFETY: the pointer stands for memory that belongs to this value alone, as the contract of `place` has it.
unsafe impl Send for PicoSpan {}

impl picoalloc::Env for PicoSpan {
    fn total_space(&self) -> Size {
        self.size
    }

    unsafe fn allocate_address_space(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    unsafe fn expand_memory_until(&mut self, _base: *mut u8, size: Size) -> bool {
        size <= self.size
    }

    unsafe fn free_address_space(&mut self, _base: *mut u8) {}
}

impl ArenaAllocator for PicoAlloc {
    unsafe fn place(place: &mut MaybeUninit<Self>, start: NonNull<u8>, len: usize) -> Result<(), TooSmall> {
        /// `Size` counts in these units and rounds up, so the length is rounded down before.
        const UNIT: usize = 32;
        let skipped = start.align_offset(UNIT);
        let usable = len.checked_sub(skipped).ok_or(TooSmall)? / UNIT * UNIT;
        let size = Size::from_bytes_usize(usable).ok_or(TooSmall)?;
        // SAFETY: `skipped` bytes lie within the span, as the subtraction above found.
        let start = unsafe { start.add(skipped) };
        place.write(Self::new(picoalloc::Allocator::new(PicoSpan { start, size })));
        Ok(())
    }
}
