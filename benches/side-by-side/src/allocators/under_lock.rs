//! Allocators without a lock of their own, all behind the same one.

use std::alloc::{GlobalAlloc, Layout};
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};

use super::whole_span::WholeSpan;
use super::{ArenaAllocator, TooSmall};

/// An allocator that is driven through `&mut self`.
///
/// The methods have the contracts of the `GlobalAlloc` methods of those names.
pub trait Heap: Sized {
    /// A heap without memory.
    fn empty() -> Self;

    /// Gives the heap its memory; the contract is that of [`ArenaAllocator::place`].
    unsafe fn adopt(&mut self, start: NonNull<u8>, len: usize) -> Result<(), TooSmall>;

    /// See `GlobalAlloc::alloc`.
    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8;

    /// See `GlobalAlloc::dealloc`.
    unsafe fn dealloc(&mut self, block: NonNull<u8>, layout: Layout);

    /// See `GlobalAlloc::realloc`. Heaps that offer nothing better move the block, under one
    /// acquisition of the lock.
    unsafe fn realloc(&mut self, block: NonNull<u8>, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller vouches that the new size makes a valid layout.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: the new size is not zero, as the caller vouches.
        let moved = unsafe { self.alloc(new_layout) };
        if !moved.is_null() {
            // SAFETY: both blocks are live and hold that many bytes; the old one is given up
            // afterwards.
            unsafe {
                moved.copy_from_nonoverlapping(block.as_ptr(), layout.size().min(new_size));
                self.dealloc(block, layout);
            }
        }
        moved
    }
}

/// A heap behind the spin lock that all of them share.
pub struct SpinLocked<H>(spin::Mutex<H>);

impl<H: Heap> ArenaAllocator for SpinLocked<H> {
    unsafe fn place(place: &mut MaybeUninit<Self>, start: NonNull<u8>, len: usize) -> Result<(), TooSmall> {
        let locked = place.write(Self(spin::Mutex::new(H::empty())));
        // SAFETY: forwarded from this function's contract.
        unsafe { locked.0.get_mut().adopt(start, len) }
    }
}

// SAFETY: every call is forwarded under the lock to a heap that follows the same contract.
unsafe impl<H: Heap> GlobalAlloc for SpinLocked<H> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: forwarded.
        unsafe { self.0.lock().alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: forwarded; a live block is never null.
        unsafe { self.0.lock().dealloc(NonNull::new_unchecked(ptr), layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: forwarded; a live block is never null.
        unsafe { self.0.lock().realloc(NonNull::new_unchecked(ptr), layout, new_size) }
    }
}

fn or_null(block: Option<NonNull<u8>>) -> *mut u8 {
    block.map_or(null_mut(), NonNull::as_ptr)
}

/// rlsf with 25 first-level classes (32 bytes to 1 GiB) of 16 lists each.
pub type TwoLevelSegregatedFit = rlsf::Tlsf<'static, u32, u16, 25, 16>;

impl Heap for TwoLevelSegregatedFit {
    fn empty() -> Self {
        Self::new()
    }

    unsafe fn adopt(&mut self, start: NonNull<u8>, len: usize) -> Result<(), TooSmall> {
        // SAFETY: forwarded.
        let used = unsafe { self.insert_free_block_ptr(NonNull::slice_from_raw_parts(start, len)) };
        used.map(drop).ok_or(TooSmall)
    }

    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        or_null(self.allocate(layout))
    }

    unsafe fn dealloc(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: forwarded.
        unsafe { self.deallocate(block, layout.align()) }
    }

    unsafe fn realloc(&mut self, block: NonNull<u8>, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller vouches that the new size makes a valid layout.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: forwarded.
        or_null(unsafe { self.reallocate(block, new_layout) })
    }
}

/// The Rust port of dlmalloc.
pub type DlMalloc = dlmalloc::Dlmalloc<WholeSpan>;

impl Heap for DlMalloc {
    fn empty() -> Self {
        Self::new_with_allocator(WholeSpan::empty())
    }

    unsafe fn adopt(&mut self, start: NonNull<u8>, len: usize) -> Result<(), TooSmall> {
        /// Room for the segment's footer, with a margin.
        const FOOTER: usize = 256;
        if len < FOOTER {
            return Err(TooSmall);
        }
        self.allocator_mut().fill(start, len);
        Ok(())
    }

    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        // SAFETY: forwarded.
        unsafe { self.malloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: forwarded.
        unsafe { self.free(block.as_ptr(), layout.size(), layout.align()) }
    }

    unsafe fn realloc(&mut self, block: NonNull<u8>, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: forwarded.
        unsafe { dlmalloc::Dlmalloc::realloc(self, block.as_ptr(), layout.size(), layout.align(), new_size) }
    }
}

/// good_memory_allocator with its default bins.
pub type GoodMemory = good_memory_allocator::Allocator;

impl Heap for GoodMemory {
    fn empty() -> Self {
        Self::empty()
    }

    unsafe fn adopt(&mut self, start: NonNull<u8>, len: usize) -> Result<(), TooSmall> {
        /// One free chunk, with a margin; less makes `init` panic.
        const CHUNK: usize = 64;
        if len < CHUNK {
            return Err(TooSmall);
        }
        // SAFETY: forwarded; the heap is empty.
        unsafe { self.init(start.as_ptr() as usize, len) };
        Ok(())
    }

    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        // SAFETY: forwarded.
        unsafe { good_memory_allocator::Allocator::alloc(self, layout) }
    }

    unsafe fn dealloc(&mut self, block: NonNull<u8>, _layout: Layout) {
        // SAFETY: forwarded.
        unsafe { good_memory_allocator::Allocator::dealloc(self, block.as_ptr()) }
    }

    unsafe fn realloc(&mut self, block: NonNull<u8>, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: forwarded.
        unsafe { good_memory_allocator::Allocator::realloc(self, block.as_ptr(), layout, new_size) }
    }
}

/// linked_list_allocator: address-ordered first fit.
pub type LinkedList = linked_list_allocator::Heap;

impl Heap for LinkedList {
    fn empty() -> Self {
        Self::empty()
    }

    unsafe fn adopt(&mut self, start: NonNull<u8>, len: usize) -> Result<(), TooSmall> {
        /// Its smallest hole, with a margin; less makes `init` panic.
        const HOLE: usize = 64;
        if len < HOLE {
            return Err(TooSmall);
        }
        // SAFETY: forwarded; the heap is empty.
        unsafe { self.init(start.as_ptr(), len) };
        Ok(())
    }

    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        or_null(self.allocate_first_fit(layout).ok())
    }

    unsafe fn dealloc(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: forwarded.
        unsafe { self.deallocate(block, layout) }
    }
}

/// buddy_system_allocator with blocks up to 2 GiB.
pub type BuddySystem = buddy_system_allocator::Heap<32>;

impl Heap for BuddySystem {
    fn empty() -> Self {
        Self::empty()
    }

    unsafe fn adopt(&mut self, start: NonNull<u8>, len: usize) -> Result<(), TooSmall> {
        // SAFETY: forwarded; the heap is empty.
        unsafe { self.init(start.as_ptr() as usize, len) };
        Ok(())
    }

    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        or_null(buddy_system_allocator::Heap::alloc(self, layout).ok())
    }

    unsafe fn dealloc(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: forwarded.
        unsafe { buddy_system_allocator::Heap::dealloc(self, block, layout) }
    }
}

/// buddy-alloc: 64-byte blocks from one part of the arena, buddies from the rest.
pub struct BuddyAlloc(buddy_alloc::NonThreadsafeAlloc);

// SAFETY: it owns the memory that its pointers name, and is only reached through `&mut`.
unsafe impl Send for BuddyAlloc {}

impl BuddyAlloc {
    /// The smallest block of the buddy part.
    const LEAF: usize = 16;
    /// The share of the arena set aside for 64-byte blocks: what the README of buddy-alloc shows.
    const FAST_SHARE: usize = 32;

    /// What has to be asked for so that an aligned block is in it: it ignores alignments, and
    /// aligns to a leaf.
    fn padded(layout: Layout) -> Option<Layout> {
        let is_over_aligned = layout.align() > Self::LEAF;
        // SAFETY: no workload comes near the largest size.
        is_over_aligned
            .then(|| unsafe { Layout::from_size_align_unchecked(layout.size() + layout.align(), Self::LEAF) })
    }

    fn over(start: *const u8, fast_len: usize, buddy_len: usize) -> Self {
        let buddy_start = start.wrapping_add(fast_len);
        Self(buddy_alloc::NonThreadsafeAlloc::new(
            buddy_alloc::FastAllocParam::new(start, fast_len),
            buddy_alloc::BuddyAllocParam::new(buddy_start, buddy_len, Self::LEAF),
        ))
    }
}

impl Heap for BuddyAlloc {
    fn empty() -> Self {
        Self::over(std::ptr::null(), 0, 0)
    }

    unsafe fn adopt(&mut self, start: NonNull<u8>, len: usize) -> Result<(), TooSmall> {
        /// Below this its tables do not fit, and it panics.
        const SMALLEST: usize = 64 << 10;
        /// What it calls its block size.
        const FAST_BLOCK: usize = 64;
        if len < SMALLEST || !(start.as_ptr() as usize).is_multiple_of(FAST_BLOCK) {
            return Err(TooSmall);
        }
        let fast_len = len / Self::FAST_SHARE / FAST_BLOCK * FAST_BLOCK;
        *self = Self::over(start.as_ptr(), fast_len, len - fast_len);
        Ok(())
    }

    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        let Some(padded) = Self::padded(layout) else {
            // SAFETY: forwarded.
            return unsafe { self.0.alloc(layout) };
        };
        // SAFETY: the size is larger than the given one, hence not zero.
        let block = unsafe { self.0.alloc(padded) };
        if block.is_null() {
            return block;
        }
        // From one to `align` bytes further, in steps of a leaf: there is room for a pointer in
        // front.
        let ahead = layout.align() - block.addr() % layout.align();
        // SAFETY: the block has so many bytes more than are asked for, and is aligned like a leaf.
        unsafe {
            let address = block.add(ahead);
            address.cast::<*mut u8>().sub(1).write(block);
            address
        }
    }

    unsafe fn dealloc(&mut self, block: NonNull<u8>, layout: Layout) {
        let block = block.as_ptr();
        match Self::padded(layout) {
            // SAFETY: forwarded.
            None => unsafe { self.0.dealloc(block, layout) },
            // SAFETY: `alloc` wrote the pointer there, for the same layout.
            Some(padded) => unsafe { self.0.dealloc(block.cast::<*mut u8>().sub(1).read(), padded) },
        }
    }
}
