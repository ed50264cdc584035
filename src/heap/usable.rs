//! How many bytes of a block or a slot its owner may use, also without the heap's lock.

use super::Heap;
use crate::block::Arena;
use crate::fault::{Action, Fault};
use crate::run::Pages;
use crate::size::{BlockSize, GRANULE, Index};

impl Heap {
    /// How many bytes of a block in use may be used: those that were asked for, and what rounding added. Takes constant
    /// time.
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use mem_alloc_rust::Heap;
    ///
    /// let mut arena = [0u64; 512];
    /// let mut heap = Heap::new();
    /// // SAFETY: only the heap uses the arena, which is all zero. The block is in use, and as long as it says.
    /// unsafe {
    ///     heap.init(arena.as_mut_ptr().cast(), size_of_val(&arena), true).unwrap();
    ///     let block = heap.alloc(Layout::new::<[u8; 101]>()).unwrap();
    ///     let usable = heap.usable_size(block.as_ptr()).unwrap();
    ///     assert_eq!(usable, 108, "with the header of 4 bytes a multiple of 8");
    ///     block.write_bytes(1, usable);
    /// }
    /// heap.audit().unwrap();
    /// ```
    ///
    /// A layout of so many bytes, or of as many as were asked for, is right for [`realloc`](Self::realloc).
    ///
    /// # Errors
    ///
    /// A [`Fault`] if the pointer cannot be that of a block in use, as for [`dealloc`](Self::dealloc).
    ///
    /// # Safety
    ///
    /// - `block` came from this heap, and was not given back since. Pointers for which this does not hold are found
    ///   out as for [`dealloc`](Self::dealloc).
    pub unsafe fn usable_size(&self, block: *mut u8) -> Result<usize, Fault> {
        let used = self.arena.address(Index::FIRST)..self.arena.address(self.top);
        // SAFETY: the heap is borrowed; the caller's contract. Without a region there is no such address.
        let usable = unsafe { Self::usable_size_as_it_is(self, block, |address| used.contains(&address)) };
        usable.ok_or_else(|| self.fault_of(block, Action::UsableSize))
    }

    /// As [`usable_size`](Self::usable_size), for a heap that another thread may have to itself. `None` if the pointer
    /// cannot be that of a block in use, or if it is to be asked for with the lock.
    ///
    /// # Safety
    ///
    /// - As for [`usable_size_as_it_is`](Self::usable_size_as_it_is).
    pub(crate) unsafe fn usable_size_at(
        heap: *const Self,
        block: *mut u8,
        is_in_arena: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        // SAFETY: the caller's contract. No run is broken up meanwhile.
        unsafe {
            let read = || Self::usable_size_as_it_is(heap, block, is_in_arena);
            Self::figures(heap).while_runs_stay(read).flatten()
        }
    }

    /// As [`usable_size`](Self::usable_size), for a heap that another thread may have to itself but breaks up no runs.
    /// `None` if the pointer cannot be that of a block in use.
    ///
    /// Where blocks and pages begin does not change as long as a block is in use. What else is read are headers, which
    /// are relaxed atomics, and what a run's header says about all of its slots, which does not change as long as one
    /// is in use, either, but for how many are opened: of those more and more.
    ///
    /// # Safety
    ///
    /// - The heap is there.
    /// - `is_in_arena` is true for addresses of the heap's region only, and for all those of its blocks.
    /// - As for [`usable_size`](Self::usable_size).
    unsafe fn usable_size_as_it_is(
        heap: *const Self,
        block: *mut u8,
        is_in_arena: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let address = block.addr();
        if !is_in_arena(address) {
            return None;
        }
        // SAFETY: the heap is there (contract), and has a region, because a block of it is in use. Nobody writes these.
        let (arena, pages): (Arena, Pages) = unsafe { ((*heap).arena, (*heap).pages) };
        if let Some((run, in_page)) = pages.run_at(address) {
            // SAFETY: RUNS, as far as that run goes: with a slot in use it stays one.
            return unsafe {
                let number = run.slot_at(in_page)?;
                run.is_used(number).then(|| run.slot_size().bytes())
            };
        }
        if address < arena.address(Index::FIRST) || arena.offset_of(address) % GRANULE != 0 {
            return None;
        }
        let index = Index::new(u32::try_from(arena.index_of(address)).ok()?);
        // SAFETY: the word before a position of the region, from the first one on, is in the region, too. It is a
        // header (contract), or looked at to find out.
        let tag = unsafe { arena.tag(index) };
        if !tag.is_live() || tag.granules() < BlockSize::MIN.granules() {
            return None;
        }
        let bytes = tag.size().payload();
        is_in_arena(address.checked_add(bytes - 1)?).then_some(bytes)
    }
}
