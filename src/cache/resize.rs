//! Changes of size that the thread's cache does not serve at once.

use super::ThreadCached;
use super::class::{Class, LARGEST_PAYLOAD, LARGEST_SMALL_PAYLOAD};
use crate::fault::Action;
use crate::heap::{Resized, copy};
use crate::source::Source;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

impl<S: Source> ThreadCached<S> {
    /// A change of size of a block that is not small or is not to be, or that the cache does not serve at once.
    ///
    /// What the cache or the depot has is taken, and copying takes less time than a turn of the lock. What they have
    /// not is for the heap: there a block may grow where it is. What was too large for caches and becomes one of theirs
    /// moves if there is a place for it: where it is, it would be cached when it is released, and keep what was cut
    /// from it from becoming one again.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`].
    #[inline(never)]
    pub(super) unsafe fn realloc_otherwise(
        &self,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> *mut u8 {
        let align = layout.align();
        let own = Class::serving(new_size, align).zip(self.own_slot()).filter(|(_, slot)| slot.is_awake());
        let target = own.and_then(|(class, slot)| {
            // Small blocks never change their size where they are.
            let is_small = || {
                // SAFETY: the slot is this thread's.
                class.is_small() && unsafe { slot.find(block) }.is_some_and(|(_, class)| class.is_small())
            };
            // Nothing is copied from what is no block.
            let comes_in = || layout.size() > LARGEST_PAYLOAD && self.locked.has(block);
            // SAFETY: as above.
            unsafe { slot.take_instead(block, class, align, &self.depot) }.or_else(|| {
                if is_small() || comes_in() { self.take_or_refill(slot, class, align).1 } else { None }
            })
        });
        let Some(target) = target.map(NonNull::as_ptr) else {
            // SAFETY: the caller's contract.
            return unsafe { self.realloc_locked(block, layout, new_size) };
        };
        if target != block {
            // SAFETY: both hold the smaller of the two sizes, and do not overlap; the old one is given back as the
            // caller had it.
            unsafe {
                copy(block, target, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
        }
        target
    }

    /// A change of size by the heap, after draining if need be.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`].
    #[inline(never)]
    pub(super) unsafe fn realloc_locked(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let heap = self.unless_cached(self.heap(), block, layout, Action::Realloc);
        // SAFETY: the caller's contract.
        let (mut heap, mut result) = unsafe { self.locked.resize(heap, block, layout, new_size) };
        if let (Resized::Refused, Ok(new_layout)) =
            (result, Layout::from_size_align(new_size, layout.align()))
        {
            let is_drained;
            (heap, is_drained) = self.drained_for(heap, new_layout);
            if is_drained {
                // SAFETY: as above; what was refused is unchanged.
                (heap, result) = unsafe { self.locked.resize(heap, block, layout, new_size) };
            }
            if matches!(result, Resized::Refused) && self.break_up_for(&mut heap, new_layout) {
                // SAFETY: as above.
                (heap, result) = unsafe { self.locked.resize(heap, block, layout, new_size) };
            }
        }
        drop(heap);
        match result {
            Resized::Done(block) => block.as_ptr(),
            // SAFETY: both hold the smaller of the two sizes, and do not overlap. The old one is given back
            // as the caller had it.
            Resized::MoveTo(target) => unsafe {
                copy(block, target.as_ptr(), layout.size().min(new_size));
                if layout.size() > LARGEST_SMALL_PAYLOAD {
                    // Who grows step by step hardly comes back to what it has left, and nobody has left such a block
                    // before that would have been taken.
                    let heap = self.unless_cached(self.heap(), block, layout, Action::Free);
                    self.dealloc_locked(heap, block, layout);
                } else {
                    self.dealloc(block, layout);
                }
                target.as_ptr()
            },
            // SAFETY: the heap knows the block; only growing can be refused.
            Resized::Refused => unsafe { self.realloc_refused(block, layout, new_size) },
            // SAFETY: the caller's contract.
            Resized::Rejected => unsafe { self.locked.realloc_rejected(block, layout, new_size) },
        }
    }

    /// A change of size by a panicking thread: what grows moves to the system.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`].
    #[cold]
    pub(super) unsafe fn realloc_panicking(
        &self,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> *mut u8 {
        // SAFETY: the caller's contract.
        unsafe {
            if new_size > layout.size() && self.locked.has(block) {
                self.realloc_refused(block, layout, new_size)
            } else {
                self.realloc_locked(block, layout, new_size)
            }
        }
    }

    /// The way of a `realloc` that the heap refused: the block may move to the system.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`]; the block lies in the arena.
    #[cold]
    pub(super) unsafe fn realloc_refused(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's contract. When the contents have moved, nobody uses the old block again.
        unsafe {
            let moved = self.locked.move_to_system(block, layout, new_size, self);
            if !moved.is_null() {
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
