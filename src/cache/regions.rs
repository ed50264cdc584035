//! Regions that are added while threads have caches.
//!
//! Owners find out whose a block is without the heap's lock, from copies of where the first region's arena and pages
//! are. Both may change when a region is added. So the gates are closed meanwhile, all caches are emptied, and the
//! copies are made anew.

use super::ThreadCached;
use super::drain::{Afterwards, raise_outside};
use crate::heap::RegionError;
use crate::locked::note_arena;
use crate::source::Regions;

impl<const OTHERS: usize> ThreadCached<Regions<OTHERS>> {
    /// As for [`Locked::add_region`](crate::Locked::add_region); also takes back what all threads' caches have.
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{Regions, ThreadCached};
    ///
    /// static A: ThreadCached<Regions> = ThreadCached::new();
    /// let memory = Box::leak(vec![0u64; 1000].into_boxed_slice());
    /// let start: *mut u8 = memory.as_mut_ptr().cast();
    /// // SAFETY: the memory is leaked, one allocation, and used by nothing else. The layout is of more than no bytes.
    /// unsafe {
    ///     A.add_region(start, 4000).unwrap();
    ///     A.add_region(start.add(4000), 4000).unwrap();
    ///     assert!(!A.alloc(Layout::new::<[u64; 800]>()).is_null());
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Locked::add_region`](crate::Locked::add_region).
    ///
    /// # Safety
    ///
    /// - As for [`Locked::add_region`](crate::Locked::add_region).
    pub unsafe fn add_region(&self, start: *mut u8, len: usize) -> Result<(), RegionError> {
        let mut heap = self.heap();
        self.close_all();
        let outcome = self.take_back(&mut heap, Afterwards::Awake);
        heap.forget_copies();
        // SAFETY: the caller's contract. There is nothing in the caches, and no owner is in one.
        let added = unsafe { self.locked.add_region_in(&mut heap, start, len) };
        for slot in self.occupied() {
            // SAFETY: this thread has the lock and has closed the gates.
            unsafe { slot.follow(&mut heap) };
        }
        self.open_all();
        drop(raise_outside(heap, outcome));
        added?;
        note_arena((start.addr(), start.addr() + len));
        Ok(())
    }
}
