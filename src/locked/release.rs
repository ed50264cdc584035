//! Releases: of slots and blocks of the heap's, of blocks from elsewhere, of those of the system's; and misuse.

use super::Locked;
use crate::block::prefetch;
use crate::fault::{self, Action, Fault};
use crate::heap::{Heap, Released};
use crate::run::Run;
use crate::source::Source;
use core::alloc::Layout;
use lock_api::{MutexGuard, RawMutex};

impl<S: Source, R: RawMutex> Locked<S, R> {
    /// A release while somebody else is at the heap, or where it need not be fast.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn dealloc_contended(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { self.dealloc_in(self.heap_out_of_line(), block, layout) }
    }

    /// A release with the lock held.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    #[inline(always)]
    pub(super) unsafe fn dealloc_in(&self, heap: MutexGuard<'_, R, Heap>, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe {
            if let Some(heap) = self.dealloc_unless_rejected(heap, block, layout) {
                self.dealloc_rejected(heap, block, layout);
            }
        }
    }

    /// A release with the lock held. The heap is returned if the pointer leads into a run, but not to a slot that is
    /// in use and the heap's: then nothing is done, and [`dealloc_rejected`](Self::dealloc_rejected) is to follow.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    #[inline(always)]
    pub(crate) unsafe fn dealloc_unless_rejected<'a>(
        &self,
        mut heap: MutexGuard<'a, R, Heap>,
        block: *mut u8,
        layout: Layout,
    ) -> Option<MutexGuard<'a, R, Heap>> {
        // SAFETY: the caller's contract is that of the heap; a block of the system's is recognised by its
        // address.
        unsafe {
            match heap.release_slot(block) {
                Released::Slot => {}
                Released::SlotOf(run) => self.settle(heap, run),
                Released::NoSlot => self.dealloc_block(heap, block, layout),
                Released::Rejected => return Some(heap),
            }
        }
        None
    }

    /// The rest of a release of a slot.
    ///
    /// # Safety
    ///
    /// - As for [`Heap::settle`].
    #[inline(never)]
    unsafe fn settle(&self, mut heap: MutexGuard<'_, R, Heap>, run: Run) {
        // SAFETY: the caller's contract.
        unsafe { heap.settle(run) }
        self.source.note_visit(&mut heap);
    }

    /// A release of a block.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`]; the pointer leads into no run.
    #[inline(never)]
    unsafe fn dealloc_block(&self, mut heap: MutexGuard<'_, R, Heap>, block: *mut u8, layout: Layout) {
        // The header behind it, or nearly: what is looked at last.
        prefetch(block.wrapping_add(layout.size()));
        // SAFETY: the caller's contract is that of the heap; a block of the system's is recognised by its
        // address.
        unsafe {
            if !heap.release_block(block) {
                return self.dealloc_rejected(heap, block, layout);
            }
        }
        self.source.note_visit(&mut heap);
    }

    /// The way of a pointer that the heap does not accept: a block of the system's, or a misuse.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn dealloc_rejected(
        &self,
        mut heap: MutexGuard<'_, R, Heap>,
        block: *mut u8,
        layout: Layout,
    ) {
        if S::HAS_ELSEWHERE {
            // SAFETY: the caller's contract.
            if let Some(leftover) = unsafe { self.source.dealloc_elsewhere(&mut heap, block) } {
                drop(heap);
                if let Some(stayed) = leftover.settle() {
                    // SAFETY: they are what the source has just left over.
                    unsafe { self.source.note_stayed(&mut self.heap_out_of_line(), stayed) };
                }
                return;
            }
        }
        self.expect_systems(heap, block, layout, Action::Free);
        #[cfg(feature = "std")]
        // SAFETY: blocks outside of the arena came from `overflow` (contract).
        unsafe {
            self.overflow.dealloc(block, layout);
        }
    }

    /// Ends the program over a pointer that the heap does not accept, unless it may be that of a block of the system's.
    #[inline(never)]
    pub(super) fn expect_systems(
        &self,
        heap: MutexGuard<'_, R, Heap>,
        block: *mut u8,
        layout: Layout,
        action: Action,
    ) {
        let fault = self.fault_of(&heap, block, action);
        drop(heap);
        #[cfg(feature = "std")]
        if matches!(fault, Fault::OutsideArena { .. }) && self.overflow.has_blocks() {
            return;
        }
        fault::raise(fault.with_requested_bytes(layout.size()))
    }

    /// What is wrong with a pointer that is none of a block or slot in use, wherever it leads.
    #[inline(always)]
    pub(super) fn fault_of(&self, heap: &Heap, block: *mut u8, action: Action) -> Fault {
        if S::HAS_ELSEWHERE {
            if let Some(fault) = self.source.fault_elsewhere(heap, block, action) {
                return fault;
            }
        }
        heap.fault_of(block, action)
    }
}
