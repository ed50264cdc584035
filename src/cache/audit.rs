//! The audit of an allocator with caches: of the heap as it is, and of what caches have of it.

use super::ThreadCached;
use super::lists::Counted;
use super::slot::Slot;
use crate::block::cached;
use crate::heap::{AuditError, Heap};
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
            let audit = |list| {
                // SAFETY: as above.
                unsafe { audit_list(heap, list) }
            };
            for slot in self.occupied() {
                // SAFETY: as above.
                unsafe { slot.with_closed_gate(|lists| lists.all().try_for_each(audit))? };
            }
            // SAFETY: as above.
            unsafe { self.try_for_each_list_between(audit) }
        })
    }
}

/// One list of cached blocks. Nothing is believed of a link before what it leads to was found to be in use by the
/// heap's account, and to have the key. A link that leads to a block of another list, or to another one of its own, is
/// found by the number of blocks that follow.
///
/// # Safety
///
/// - It is a list of which nobody takes or gives meanwhile.
unsafe fn audit_list(heap: &Heap, list: Counted) -> Result<(), AuditError> {
    const WRITTEN_TO: &str =
        "it is in a cache, and it or the next one there was written to after it was freed";
    let (mut rest, mut last) = (list.first, list.first);
    for _ in 0..list.blocks {
        // Either it or the link to it is not what was written. A list that ends here is too short.
        let Some(block) = NonNull::new(rest).filter(|_| heap.keyed(rest).is_some()) else {
            return Err(heap.violation_at(last, WRITTEN_TO));
        };
        if heap.size_of_cached(block).0 < list.class.payload() {
            return Err(heap.violation_at(rest, "it is in a cache, for larger requests than it holds"));
        }
        last = rest;
        // SAFETY: it is in use by the heap's account, and so has a link's bytes, and it has the key.
        rest = unsafe { cached::next(block) };
    }
    if rest.is_null() {
        return Ok(());
    }
    Err(heap.violation_at(last, "it is in a cache, on a list that is longer than what was put there"))
}
