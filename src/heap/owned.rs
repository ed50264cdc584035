//! Runs that threads' caches own: handing them over, and taking them back.
//!
//! A cache is *active* while its thread may be at its runs without the heap's lock. Before it is not any more, all
//! of its runs that have room are taken back. Those that are full stay its own, unless the heap comes across one
//! while the cache is not active: then it takes that back, too.

use super::Heap;
use crate::run::Run;
#[cfg(all(feature = "std", unix))]
use {
    crate::run::{HEAP, LeadsInto, Owner},
    crate::size::SlotSize,
};

#[cfg(all(feature = "std", unix))]
impl Heap {
    /// The numbers of caches that can own runs begin with this one, and end with that.
    pub(crate) const FIRST_OWNER: Owner = HEAP + 1;
    pub(crate) const LAST_OWNER: Owner = HEAP + u64::BITS as Owner;

    fn bit(owner: Owner) -> u64 {
        invariant!((Self::FIRST_OWNER..=Self::LAST_OWNER).contains(&owner));
        1 << (owner - Self::FIRST_OWNER)
    }

    /// From now on the cache may own runs.
    pub(crate) fn activate(&mut self, owner: Owner) {
        self.active_owners |= Self::bit(owner);
    }

    /// The cache owns no run that has room any more, and its thread is at none without the heap's lock.
    pub(crate) fn deactivate(&mut self, owner: Owner) {
        self.active_owners &= !Self::bit(owner);
    }

    fn is_active(&self, owner: Owner) -> bool {
        owner != HEAP && self.active_owners & Self::bit(owner) != 0
    }

    /// Makes a run with room of a class a cache's, if there is one, or the class has earned one, for the sake of an
    /// object at a multiple of `align`. Also returns how many of its slots are free. They count as in use from now on.
    pub(crate) fn hand_over_run(&mut self, slot: SlotSize, align: usize, owner: Owner) -> Option<(Run, u32)> {
        invariant!(self.is_active(owner));
        if self.classes.head(slot).is_none() && !self.add_run_of_candidate(slot, align) {
            return None;
        }
        // SAFETY: RUNS.
        unsafe {
            let run = self.classes.unlist_first(self.arena, slot)?;
            self.pages.set_owner(run, owner);
            let free = run.hand_over();
            self.count_live(free * slot.granules());
            Some((run, free))
        }
    }

    /// Makes a cache's run the heap's again.
    ///
    /// # Safety
    ///
    /// - It is a run of a cache's, on no list, and nobody else is at it.
    pub(crate) unsafe fn take_over_run(&mut self, run: Run) {
        // SAFETY: the caller's contract; RUNS.
        unsafe {
            let free = run.take_over();
            self.pages.set_owner(run, HEAP);
            self.count_gone(free * run.granules());
            if free > 0 && (self.list_again(run) || free == run.slots()) {
                self.settle(run);
            }
        }
    }

    /// The active cache that owns the run of the slot that a pointer leads to, if that is in use, and its size.
    pub(crate) fn slot_of_cache(&self, block: *mut u8) -> Option<(Owner, SlotSize)> {
        let LeadsInto::Run { owner, run, in_page } = self.pages.at(block.addr()) else { return None };
        // SAFETY: RUNS.
        unsafe {
            let is_used = run.slot_at(in_page).is_some_and(|number| run.is_used(number));
            (is_used && self.is_active(owner)).then(|| (owner, run.slot_size()))
        }
    }

    /// Whether a run is a cache's, active or not.
    pub(super) fn is_run_of_cache(&self, run: Run) -> bool {
        self.pages.owner_of(run) != HEAP
    }

    /// The rest of [`dealloc`](Self::dealloc), for a pointer that [`release_slot`](Self::release_slot) rejected: if
    /// it is that of a slot of a cache that is not active, the run is the heap's from now on. False, and nothing is
    /// done, if it cannot be that of a slot in use.
    ///
    /// # Safety
    ///
    /// - As for [`dealloc`](Self::dealloc).
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn release_left_slot(&mut self, block: *mut u8) -> bool {
        let LeadsInto::Run { owner, run, in_page } = self.pages.at(block.addr()) else { return false };
        if owner == HEAP || self.is_active(owner) {
            return false;
        }
        // SAFETY: RUNS. Nobody is at the runs of a cache that is not active, and those are full.
        let free = unsafe { run.take_over() };
        invariant!(free == 0);
        self.pages.set_owner(run, HEAP);
        // SAFETY: the caller's contract.
        unsafe { self.put_slot_and_settle(run, in_page) }
    }
}

/// Where there are no caches, all runs are the heap's.
#[cfg(not(all(feature = "std", unix)))]
impl Heap {
    /// Whether a run is a cache's.
    pub(super) fn is_run_of_cache(&self, _: Run) -> bool {
        false
    }

    /// The rest of [`dealloc`](Self::dealloc), for a slot of a run that is not the heap's. There is none.
    ///
    /// # Safety
    ///
    /// - As for [`dealloc`](Self::dealloc).
    pub(crate) unsafe fn release_left_slot(&mut self, _: *mut u8) -> bool {
        false
    }
}
