//! Releases: into the thread's cache, and where that does not take them.

use super::drain::{give_back, give_back_empty_runs, give_back_list, raise_outside};
use super::lists::{Given, Lists};
use super::trial::Call;
use super::{Guard, ThreadCached, home, is_for_caches};
use crate::fault::Action;
use crate::source::Source;
use core::alloc::Layout;
use core::ptr::NonNull;

impl<S: Source> ThreadCached<S> {
    /// A release of a block, or of a slot that the cache does not take at once.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    // Its arguments are in the order in which the caller of `dealloc` has them: that has nothing to move on its way
    // here.
    #[inline(never)]
    pub(super) unsafe fn dealloc_otherwise(block: *mut u8, layout: Layout, this: &Self) {
        // SAFETY: the slot is this thread's, or nobody's; the caller's contract.
        unsafe {
            if this.rests() {
                let heap = this.unless_cached(this.locked.heap(), block, layout, Action::Free);
                this.dealloc_locked(heap, block, layout);
            } else if !is_for_caches(layout) || !home::slot().give_block(this.identity(), block) {
                this.dealloc_slow(block, layout);
            }
        }
    }

    /// A release that the cache does not take at once.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    #[inline(never)]
    pub(super) unsafe fn dealloc_slow(&self, block: *mut u8, layout: Layout) {
        if let Some(heap) = self.heap_if_asleep(Call::Free, layout) {
            let heap = self.unless_cached(heap, block, layout, Action::Free);
            // SAFETY: the caller's contract.
            return unsafe { self.dealloc_locked(heap, block, layout) };
        }
        let slot = if is_for_caches(layout) { self.own_slot().or_else(|| self.join()) } else { None };
        // SAFETY: the slot is this thread's.
        let found = slot.and_then(|slot| Some((slot, unsafe { slot.find(block) }?)));
        let Some((slot, (_, class))) = found else {
            let heap = self.unless_cached(self.heap(), block, layout, Action::Free);
            // SAFETY: the caller's contract.
            return unsafe { self.dealloc_locked(heap, block, layout) };
        };
        // SAFETY: the slot is this thread's; the caller's contract.
        match unsafe { slot.give_slowly(block, &self.depot) } {
            Given::Yes => return,
            Given::TooMuch => return self.give_back_empty_runs(),
            Given::No => {}
        }
        let mut heap = self.heap();
        if !self.wakes_in_time(slot, Call::Free, Some(class), &mut heap) {
            // It fell asleep just now. SAFETY: the caller's contract.
            return unsafe { self.dealloc_locked(heap, block, layout) };
        }
        // It is time to look the cache over, the depot did not take a full list, or the gate was closed a moment ago.
        // What was found before may have been a slot of a run that was broken up since.
        // SAFETY: the slot is this thread's.
        let Some((found, class)) = (unsafe { slot.find(block) }) else {
            let heap = self.unless_cached(heap, block, layout, Action::Free);
            // SAFETY: the caller's contract.
            return unsafe { self.dealloc_locked(heap, block, layout) };
        };
        let (mut full, mut outcome) = (None, Ok(()));
        let give = |lists: &mut Lists| {
            outcome = self.visit(slot, lists, class, &mut heap);
            lists.make_room(class, |block| {
                outcome = outcome.and(give_back(&mut heap, &self.strays, block));
            });
            lists.lengthen(class);
            // SAFETY: it is what was found, which nobody uses (contract).
            unsafe {
                if lists.give_or_pass_on(found, class, &self.depot) == Given::No {
                    full = lists.take_spare(class).inspect(|&full| lists.note_leaving(full));
                    return lists.give(found) != Given::No;
                }
                true
            }
        };
        // SAFETY: this thread is the owner, outside of its gate, and has the lock.
        let is_given = unsafe { slot.with_lock(give) };
        if let Some(full) = full {
            let give_back = |lists: &mut Lists| give_back_list(lists, &mut heap, &self.strays, full.first);
            // SAFETY: as above.
            outcome = outcome.and(unsafe { slot.with_lock(give_back) });
        }
        let heap = raise_outside(heap, outcome);
        if is_given {
            drop(self.without_many_strays(heap));
        } else {
            // The cache keeps none of this class. SAFETY: the caller's contract.
            unsafe { self.dealloc_locked(heap, block, layout) }
        }
    }

    /// A release to the heap.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    #[inline]
    pub(super) unsafe fn dealloc_locked(&self, heap: Guard<'_>, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe {
            if let Some(heap) = self.locked.dealloc_unless_rejected(heap, block, layout) {
                self.dealloc_of_cache(heap, block, layout);
            }
        }
    }

    /// A release to the heap of what that does not take: a slot of a run that is a cache's, or a misuse.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    #[inline(never)]
    unsafe fn dealloc_of_cache(&self, mut heap: Guard<'_>, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe {
            let Some(((owner, slot), stray)) = heap.slot_of_cache(block).zip(NonNull::new(block)) else {
                if !heap.release_left_slot(block) {
                    self.locked.dealloc_rejected(heap, block, layout);
                }
                return;
            };
            // This thread has the lock; the slot is in use, and nobody uses its bytes any more (contract).
            self.strays.put(owner, stray, slot.bytes());
        }
        drop(self.without_many_strays(heap));
    }

    /// Gives back the runs of the calling thread's cache that have no slot in use.
    #[cold]
    #[inline(never)]
    pub(super) fn give_back_empty_runs(&self) {
        let Some(slot) = self.own_slot() else { return };
        let mut heap = self.heap();
        // SAFETY: this thread is the owner, outside of its gate, and has the lock.
        unsafe { slot.with_lock(|lists| give_back_empty_runs(lists, &mut heap)) };
        self.locked.source.note_visit(&mut heap);
    }
}
