//! The audit of an allocator with caches: of the heap as it is, and of what caches have of it.

use super::ThreadCached;
use super::class::Class;
use super::slot::Slot;
use crate::block::cached;
use crate::heap::{AuditError, Heap};
use crate::size::GRANULE;
use crate::source::Source;
use core::ptr::NonNull;

impl<S: Source> ThreadCached<S> {
    /// Checks every invariant of the heap, and that what caches have was not written to since it was given back; holds
    /// the lock for a time in proportion to the number of blocks. Does not allocate.
    ///
    /// Nothing is drained. Takes a system call, and waits for threads that are just in their caches, as
    /// [`caches`](Self::caches) does.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    ///
    /// fn main() {
    ///     drop((0..1000).map(|n| Box::new(n)).collect::<Vec<_>>());
    ///     let before = A.caches();
    ///     assert_eq!(A.audit(), Ok(()));
    ///     assert_eq!(A.caches(), before, "nothing is changed by looking");
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The first violation found; see [`Heap::audit`]. A block that is in a cache, and has another key or link than it
    /// was given there, was used after it was freed.
    pub fn audit(&self) -> Result<(), AuditError> {
        self.with_closed_gates(|heap| {
            // SAFETY: this thread has the lock and has closed the gates.
            let with_room = |slot: &Slot| unsafe { slot.with_closed_gate(|lists| lists.runs.audit(heap)) };
            let of_all = || self.occupied().try_fold(0, |sum, slot| Ok(sum + with_room(slot)?));
            self.locked.audit_beside(heap, of_all)?;
            let audit = |class, list| {
                // SAFETY: as above.
                unsafe { audit_list(heap, class, list) }
            };
            for slot in self.occupied() {
                // SAFETY: as above.
                unsafe {
                    slot.with_closed_gate(|lists| {
                        lists.all().try_for_each(|(class, list)| audit(class, list))
                    })?
                };
            }
            // SAFETY: as above.
            unsafe { self.depot.try_for_each_list(audit) }
        })
    }
}

/// One list of cached blocks. Nothing is believed of a link before what it leads to was found to be in use by the
/// heap's account, and to have the key.
///
/// # Safety
///
/// - It is null or the first block of a list for that class, of which nobody takes or gives meanwhile.
unsafe fn audit_list(heap: &Heap, class: Class, list: *mut u8) -> Result<(), AuditError> {
    let (start, end) = heap.bounds();
    let (mut rest, mut last, mut left) = (list, list, (end - start) / GRANULE);
    while let Some(block) = NonNull::new(rest) {
        if heap.keyed(rest).is_none() {
            // Either it or the link to it is not what was written.
            let what = "it is in a cache, and it or the next one there was written to after it was freed";
            return Err(heap.violation_at(last, what));
        }
        if heap.size_of_cached(block).0 < class.payload() {
            return Err(heap.violation_at(rest, "it is in a cache, for larger requests than it holds"));
        }
        if left == 0 {
            return Err(heap.violation_at(rest, "it is in a cache, on a list without an end"));
        }
        left -= 1;
        last = rest;
        // SAFETY: it is in use by the heap's account, and so has a link's bytes, and it has the key.
        rest = unsafe { cached::next(block) };
    }
    Ok(())
}
