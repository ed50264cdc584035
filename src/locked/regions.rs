//! Handing an allocator the memory that it serves from, at run time.

use super::{Locked, note_arena};
use crate::heap::{Heap, RegionError};
use crate::source::{Regions, RunTimeSource};
use lock_api::RawMutex;

impl<S: RunTimeSource, R: RawMutex> Locked<S, R> {
    /// Hands the allocator the region of `len` bytes at `start`, of any alignment. Until then every request
    /// gets null.
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{Locked, Region};
    ///
    /// static A: Locked<Region> = Locked::new();
    /// let memory = Box::leak(vec![0u64; 1000].into_boxed_slice());
    /// // SAFETY: the memory is leaked, and nothing else uses it. The layout is of more than no bytes.
    /// unsafe {
    ///     A.init(memory.as_mut_ptr().cast(), size_of_val(memory)).unwrap();
    ///     assert!(!A.alloc(Layout::new::<[u64; 10]>()).is_null());
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Refuses a region that is too small for a block, too large, at null or wrapping around, and a second
    /// region; see [`RegionError`].
    ///
    /// # Safety
    ///
    /// - The region is valid for reads and writes as long as the allocator or anything allocated from it is
    ///   in use.
    /// - Nothing else reads or writes it, except through pointers that the allocator hands out.
    pub unsafe fn init(&self, start: *mut u8, len: usize) -> Result<(), RegionError> {
        let mut heap = self.heap.lock();
        // SAFETY: the caller's contract is the same; what the region contains is not known.
        unsafe { heap.init(start, len, false)? };
        self.source.note_region(start.addr(), len);
        let bounds = heap.bounds();
        drop(heap);
        note_arena(bounds);
        Ok(())
    }
}

impl<const OTHERS: usize, R: RawMutex> Locked<Regions<OTHERS>, R> {
    /// Hands the allocator the `len` bytes at `start`, of any alignment: in any order, at any distance from others, and
    /// while it is in use. What touches a region that it has makes that larger; so a region is extended at its end,
    /// or in front, and two become one if what lies between them is added. Until the first one, every request gets
    /// null.
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{Locked, RegionError, Regions};
    ///
    /// static A: Locked<Regions<1>> = Locked::new();
    ///
    /// let memory = Box::leak(vec![0u64; 1000].into_boxed_slice());
    /// let start: *mut u8 = memory.as_mut_ptr().cast();
    /// // SAFETY: the memory is leaked, one allocation, and used by nothing else. The layout is of more than no bytes.
    /// unsafe {
    ///     A.add_region(start, 1000).unwrap();
    ///     A.add_region(start.add(1000), 1000).unwrap();
    ///     assert!(!A.alloc(Layout::new::<[u8; 1500]>()).is_null());
    ///     A.add_region(start.add(3000), 1000).unwrap();
    ///     assert_eq!(A.add_region(start.add(1), 100), Err(RegionError::Overlaps));
    ///     assert_eq!(A.add_region(start.add(5000), 1000), Err(RegionError::TooMany));
    ///     assert_eq!(A.add_region(core::ptr::null_mut(), 1000), Err(RegionError::InvalidAddress));
    /// }
    /// ```
    ///
    /// The lock is held for a time in proportion to the number of blocks, if they have to be counted from elsewhere.
    ///
    /// # Errors
    ///
    /// Refuses a region that overlaps another, is too small for a block, too large, at null or wrapping around, and one
    /// for which there is no room; see [`RegionError`]. Nothing is changed then.
    ///
    /// # Safety
    ///
    /// - The region is valid for reads and writes as long as the allocator or anything allocated from it is in use.
    /// - Nothing else reads or writes it, except through pointers that the allocator hands out.
    /// - If it touches another region, it is one allocation with that, as parts of a buffer or of a mapping are, or
    ///   memory that no allocator of the program knows of. Two buffers that touch by chance are not: leave a byte
    ///   between them.
    pub unsafe fn add_region(&self, start: *mut u8, len: usize) -> Result<(), RegionError> {
        // SAFETY: the caller's contract.
        unsafe { self.add_region_in(&mut self.heap.lock(), start, len)? };
        note_arena((start.addr(), start.addr() + len));
        Ok(())
    }

    /// As [`add_region`](Self::add_region), with the lock held.
    ///
    /// # Errors
    ///
    /// As for [`add_region`](Self::add_region).
    ///
    /// # Safety
    ///
    /// - As for [`add_region`](Self::add_region).
    pub(crate) unsafe fn add_region_in(
        &self,
        heap: &mut Heap,
        start: *mut u8,
        len: usize,
    ) -> Result<(), RegionError> {
        // SAFETY: the caller's contract.
        unsafe { self.source.add(heap, start, len) }
    }
}
