//! Threads that come and go: joining, leaving, forking.

use super::ThreadCached;
use super::drain::raise_outside;
use super::home::{self, Home};
use super::slot::Slot;
use crate::heap::Heap;
use crate::raw_lock::preserving_errno;
use crate::source::Source;
use crate::static_memory;
use crate::sync::atomic::Ordering;

/// How many caches of threads that ended are kept for the next ones, as they are, and how much each may have
/// in it: this share of what one thread may keep, 1/4.
pub(super) const LEFT: usize = 8;
const LEFT_SHARE_LOG2: u32 = 2;

impl<S: Source> ThreadCached<S> {
    /// This allocator, as `home` sees it.
    ///
    /// # Safety
    ///
    /// - The reference is kept, or used after the caller returned, only if the allocator lies in static
    ///   memory. There it stays where it is as long as the program runs, or the library that it is part of is
    ///   loaded: who uses it by `GlobalAlloc` has to know that it must be neither moved nor dropped, and others
    ///   have a `&'static` to it.
    unsafe fn everlasting(&self) -> &'static Self {
        // SAFETY: the caller's contract.
        unsafe { &*core::ptr::from_ref(self) }
    }

    /// Makes this allocator the one that has caches, if there is none. Whatever is requested first: a child
    /// that is forked has to find the heap in order even if no thread has a cache.
    #[cold]
    #[inline(never)]
    pub(super) fn register(&self) {
        // SAFETY: `home::register` keeps the reference only if the allocator lies in static memory.
        let everlasting = unsafe { self.everlasting() };
        let is_static = || {
            let is_static = static_memory::has(self);
            if is_static {
                static_memory::keep_loaded(self);
            }
            self.is_not_static.store(!is_static, Ordering::Relaxed);
            is_static
        };
        preserving_errno(|| home::register(everlasting, is_static));
    }

    /// Gives the calling thread a cache, if it can have one.
    #[cold]
    #[inline(never)]
    pub(super) fn join(&self) -> Option<&'static Slot> {
        // SAFETY: `home::join` keeps the reference, or uses it after it returned, only if the allocator lies
        // in static memory.
        let everlasting = unsafe { self.everlasting() };
        let occupy = |adopt: &dyn Fn(&'static Slot)| {
            let mut heap = everlasting.locked.heap();
            if everlasting.is_too_much_in_use(&heap) {
                return true;
            }
            let mut vacant = None;
            for (number, slot) in (Heap::FIRST_OWNER..).zip(&everlasting.slots) {
                if slot.is_left() {
                    // SAFETY: the slot is left, and this thread has the lock.
                    unsafe { slot.take_over(&mut heap) };
                    adopt(slot);
                    return true;
                }
                if slot.is_vacant() {
                    vacant = vacant.or(Some((number, slot)));
                }
            }
            let Some((number, slot)) = vacant else { return false };
            if heap.is_initialized() {
                let budget = everlasting.budget(&heap);
                // SAFETY: the slot is vacant, and this thread has the lock.
                unsafe { slot.occupy(everlasting.identity(), number, &mut heap, budget) };
                everlasting.pressure.note_awake();
                everlasting.pressure.note_cache();
                adopt(slot);
            }
            true
        };
        let mut has_joined = false;
        preserving_errno(|| has_joined = home::join(everlasting, occupy));
        has_joined.then(home::slot)
    }

    /// Bytes that one thread may keep.
    pub(super) fn budget(&self, heap: &Heap) -> usize {
        self.pressure.budget(|caches| heap.free_for(caches))
    }
}

impl<S: Source> Home for ThreadCached<S> {
    fn leave(&self, slot: &Slot) {
        let mut heap = self.locked.heap();
        if slot.is_vacant() {
            // This is a child that was forked by a signal handler while its thread was about to end.
            return;
        }
        let most = self.budget(&heap) >> LEFT_SHARE_LOG2;
        // SAFETY: the calling thread is the owner, has the lock, and does not use the slot again.
        let mut outcome = unsafe { slot.with_closed_gate(|lists| self.take_back_runs(lists, &mut heap)) };
        // SAFETY: as above.
        let bytes = unsafe { slot.with_closed_gate(|lists| lists.bytes()) };
        if outcome.is_ok() && bytes <= most && self.occupied().filter(|slot| slot.is_left()).count() < LEFT {
            // SAFETY: as above.
            return unsafe { slot.leave(&mut heap) };
        }
        // SAFETY: as above.
        outcome = outcome.and(unsafe { slot.with_closed_gate(|lists| self.empty_lists(lists, &mut heap)) });
        let heap = raise_outside(heap, outcome);
        let mut heap = self.without_many_strays(heap);
        // SAFETY: as above.
        unsafe { slot.vacate(&mut heap) };
        self.pressure.note_cache_gone();
    }

    fn before_fork(&self) {
        core::mem::forget(self.heap());
        self.close_all();
    }

    fn after_fork_in_parent(&self) {
        self.open_all();
        // SAFETY: `before_fork` took the lock in this thread, and forgot the guard.
        drop(unsafe { self.locked.remembered_guard() });
    }

    fn after_fork_in_child(&self) {
        // SAFETY: `before_fork` took the lock in this thread, which is the only one now, and forgot the
        // guard.
        let mut heap = unsafe { self.locked.remembered_guard() };
        heap.note_fork();
        let own = home::slot();
        let mut outcome = Ok(());
        for slot in self.occupied().filter(|slot| !core::ptr::eq(*slot, own)) {
            // SAFETY: this thread has the lock; the gate was closed, and its owner is not there any more.
            unsafe {
                outcome = outcome.and(slot.with_closed_gate(|lists| self.empty(lists, &mut heap)));
                slot.open();
                slot.vacate(&mut heap);
            }
            self.pressure.note_cache_gone();
        }
        self.open_all();
        drop(self.without_many_strays(raise_outside(heap, outcome)));
    }
}
