//! Changing a block's size: in place, in another place, elsewhere, or in the system.

use super::{Contents, Locked, Survey};
use crate::fault::Action;
use crate::heap::{Heap, Resized, copy};
use crate::source::{Elsewhere, Source};
use core::alloc::Layout;
use lock_api::{MutexGuard, RawMutex};

impl<S: Source, R: RawMutex> Locked<S, R> {
    /// Changes a block's size, wherever it lies, and returns the heap, locked, and what came of it.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`]. If the outcome is to move, the caller does it.
    #[inline(always)]
    pub(crate) unsafe fn resize<'a>(
        &'a self,
        mut heap: MutexGuard<'a, R, Heap>,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> (MutexGuard<'a, R, Heap>, Resized) {
        // SAFETY: the caller's contract.
        unsafe {
            if S::HAS_ELSEWHERE {
                return self.resize_anywhere(heap, block, layout, new_size);
            }
            let resized = heap.resize(block, layout, new_size);
            (heap, resized)
        }
    }

    /// As [`resize`](Self::resize), for sources with blocks elsewhere. What is elsewhere is looked for there first if
    /// it is large, and so is what becomes large.
    ///
    /// # Safety
    ///
    /// - As for [`resize`](Self::resize).
    #[inline(never)]
    unsafe fn resize_anywhere<'a>(
        &'a self,
        mut heap: MutexGuard<'a, R, Heap>,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> (MutexGuard<'a, R, Heap>, Resized) {
        let is_in_heap = heap.reaches(block);
        if new_size > layout.size() && !self.source.may_serve(&heap, new_size - layout.size()) {
            return (heap, Resized::Refused);
        }
        // SAFETY: the caller's contract.
        unsafe {
            if !is_in_heap {
                let mut resized = match self.source.resize_elsewhere(&mut heap, block, layout, new_size) {
                    Elsewhere::Unknown => Resized::Rejected,
                    Elsewhere::Known(resized) => resized,
                    Elsewhere::ToMove(to_move) => {
                        drop(heap);
                        let moved = to_move.run();
                        let resized = moved.outcome();
                        heap = self.heap();
                        self.source.note_moved(&mut heap, moved);
                        resized
                    }
                };
                // It may grow in another place.
                if let (Resized::Refused, Ok(layout)) =
                    (resized, Layout::from_size_align(new_size, layout.align()))
                {
                    let found = self.find_anywhere(&mut heap, layout, Contents::Any);
                    resized = found.map_or(resized, |(target, _)| Resized::MoveTo(target));
                }
                return (heap, resized);
            }
            let new_layout = Layout::from_size_align(new_size, layout.align()).ok();
            let elsewhere = |heap: &mut Heap| {
                self.source.alloc_elsewhere(heap, new_layout?).map(|(target, _)| Resized::MoveTo(target))
            };
            let goes = new_size >= S::ELSEWHERE_FROM
                && new_size > layout.size()
                && new_layout.is_some_and(|layout| !self.source.prefers_heap(&heap, layout, false))
                && heap.is_live(block);
            if goes {
                if let Some(resized) = elsewhere(&mut heap) {
                    return (heap, resized);
                }
            }
            let mut resized = heap.resize(block, layout, new_size);
            if resized == Resized::Refused {
                resized = elsewhere(&mut heap).unwrap_or(resized);
            }
            (heap, resized)
        }
    }

    /// The rest of a `realloc` that is not done with the change of size.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`]; `resized` is what came of [`Heap::resize`].
    #[inline(never)]
    pub(super) unsafe fn realloc_elsewhere(
        &self,
        resized: Resized,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> *mut u8 {
        match resized {
            Resized::Done(block) => block.as_ptr(),
            // The lock is not held while contents are copied: nobody waits for that.
            // SAFETY: both hold the smaller of the two sizes, and do not overlap. The old one is given back
            // as the caller had it.
            Resized::MoveTo(target) => unsafe {
                copy(block, target.as_ptr(), layout.size().min(new_size));
                self.dealloc_contended(block, layout);
                target.as_ptr()
            },
            // SAFETY: the heap knows the block; only growing can be refused.
            Resized::Refused => unsafe { self.realloc_refused(block, layout, new_size) },
            // SAFETY: the caller's contract.
            Resized::Rejected => unsafe { self.realloc_rejected(block, layout, new_size) },
        }
    }

    /// The way of a `realloc` that the heap refused: the block may move to the system.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`]; the block lies in the arena.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn realloc_refused(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's contract. When the contents have moved, nobody uses the old block again.
        unsafe {
            let moved = self.move_to_system(block, layout, size, self);
            if !moved.is_null() {
                self.dealloc_contended(block, layout);
            }
            moved
        }
    }

    /// Copies a block that is to have another size to the system, if it may go there; null if not. The old one is left
    /// to the caller.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`]; the block lies in the arena.
    pub(crate) unsafe fn move_to_system(
        &self,
        block: *mut u8,
        layout: Layout,
        size: usize,
        whole: &impl Survey,
    ) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(size, layout.align()) else {
            return core::ptr::null_mut();
        };
        let moved = self.overflow(new_layout, Contents::Any, whole);
        if !moved.is_null() {
            // SAFETY: the two blocks come from different places, and both hold that many bytes.
            unsafe { moved.copy_from_nonoverlapping(block, layout.size().min(size)) };
        }
        moved
    }

    /// As [`dealloc_rejected`](Self::dealloc_rejected), for `realloc`.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`].
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn realloc_rejected(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.expect_systems(self.heap_out_of_line(), block, layout, Action::Realloc);
        #[cfg(feature = "std")]
        // SAFETY: blocks outside of the arena came from `overflow` (contract).
        return unsafe { self.overflow.realloc(block, layout, size) };
        #[cfg(not(feature = "std"))]
        {
            let _ = size;
            core::ptr::null_mut()
        }
    }
}
