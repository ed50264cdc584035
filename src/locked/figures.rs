//! What can be asked without the lock: how much is in use, what lies in the arena, how long a block is.

use super::Locked;
#[cfg(feature = "std")]
use crate::fault::Fault;
use crate::fault::{self, Action};
use crate::heap::Heap;
use crate::source::{Outside, Source};
use lock_api::RawMutex;

impl<S: Source, R: RawMutex> Locked<S, R> {
    /// Bytes of the blocks in use: [`Stats::live_bytes`](crate::Stats::live_bytes) in constant time, and without the
    /// lock.
    ///
    /// Other threads may allocate and release meanwhile; the figure is one that was true a moment ago.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, Locked};
    ///
    /// #[global_allocator]
    /// static A: Locked<FreeList> = Locked::new();
    ///
    /// fn main() {
    ///     let before = A.live_bytes();
    ///     let numbers = vec![1u8; 100_000];
    ///     assert!(A.live_bytes() >= before + numbers.len());
    /// }
    /// ```
    pub fn live_bytes(&self) -> usize {
        // SAFETY: the heap is there as long as its allocator is borrowed.
        let here = unsafe { Heap::figures(self.heap.data_ptr()) }.live_bytes();
        here + self.source.outside().map_or(0, Outside::live)
    }

    /// The most that [`live_bytes`](Self::live_bytes) was since the beginning, or since the last
    /// [`reset_peak`](Self::reset_peak): [`Stats::peak_bytes`](crate::Stats::peak_bytes) in constant time, and without
    /// the lock.
    pub fn peak_bytes(&self) -> usize {
        // SAFETY: as above.
        let here = unsafe { Heap::figures(self.heap.data_ptr()) }.peak_bytes();
        self.source.outside().map_or(here, |outside| outside.peak_with(here))
    }

    /// Bytes that blocks can be made of: [`Stats::arena_bytes`](crate::Stats::arena_bytes) in constant time, and
    /// without the lock. Those of all regions that were added; of a `Growing` the cap, or what is in use, if the cap
    /// was made less than that; none, as long as nothing was asked for.
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{FreeList, Locked};
    ///
    /// static A: Locked<FreeList<{ 64 << 10 }>> = Locked::new();
    /// assert_eq!(A.arena_bytes(), 0);
    /// // SAFETY: the layout is of more than no bytes.
    /// unsafe { A.alloc(Layout::new::<[u8; 1000]>()) };
    /// assert!(A.arena_bytes() > 63 << 10 && A.arena_bytes() == A.stats().arena_bytes);
    /// ```
    pub fn arena_bytes(&self) -> usize {
        // SAFETY: as above.
        let here = unsafe { Heap::figures(self.heap.data_ptr()) }.arena_bytes();
        self.source.arena_bytes(here).max(self.live_bytes())
    }

    /// Bytes that are not in use: [`arena_bytes`](Self::arena_bytes) less [`live_bytes`](Self::live_bytes), in constant
    /// time, and without the lock. What runs of slots need for themselves is among them; what there is for blocks
    /// [`Stats::free_bytes`](crate::Stats::free_bytes) tells.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, Locked};
    ///
    /// #[global_allocator]
    /// static A: Locked<FreeList> = Locked::new();
    ///
    /// fn main() {
    ///     let numbers = vec![1u8; 100_000];
    ///     assert!(A.arena_bytes() > 1_000_000 && A.arena_bytes() <= 1 << 20);
    ///     assert!(A.free_bytes() <= A.arena_bytes() - numbers.len());
    ///     let stats = A.stats();
    ///     assert_eq!(A.arena_bytes(), stats.arena_bytes);
    ///     assert_eq!(A.free_bytes(), stats.free_bytes + stats.overhead_bytes);
    /// }
    /// ```
    pub fn free_bytes(&self) -> usize {
        self.arena_bytes().saturating_sub(self.live_bytes())
    }

    /// The peak begins anew, from what is in use now: to measure one phase of a program. Holds the lock for a constant
    /// time.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, Locked};
    ///
    /// #[global_allocator]
    /// static A: Locked<FreeList> = Locked::new();
    ///
    /// fn main() {
    ///     drop(std::hint::black_box(vec![1u8; 100_000]));
    ///     assert!(A.peak_bytes() >= 100_000);
    ///     // What does the next phase need?
    ///     A.reset_peak();
    ///     drop(std::hint::black_box(vec![1u8; 50_000]));
    ///     assert!((50_000..100_000).contains(&A.peak_bytes()));
    /// }
    /// ```
    pub fn reset_peak(&self) {
        self.reset_peak_of(&mut self.heap_out_of_line());
    }

    /// As [`reset_peak`](Self::reset_peak), for the heap, which is locked.
    pub(crate) fn reset_peak_of(&self, heap: &mut Heap) {
        heap.reset_peak();
        if let Some(outside) = self.source.outside() {
            outside.forget_peak();
        }
    }

    /// Whether a pointer, which may be any, leads into the arena: the memory that the allocator manages, in use or not.
    /// Every block of the allocator's does, but those that the system served. Takes constant time and not the lock, but
    /// for `Regions`; for `Growing` the lock if it does not lead into the first 4 GiB, and then it is to be that of a
    /// block.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, Locked};
    ///
    /// #[global_allocator]
    /// static A: Locked<FreeList> = Locked::new();
    ///
    /// fn main() {
    ///     let (boxed, local) = (Box::new(1u8), 1u8);
    ///     assert!(A.is_in_arena(&*boxed) && !A.is_in_arena(&local));
    /// }
    /// ```
    pub fn is_in_arena(&self, ptr: *const u8) -> bool {
        self.source.has(ptr.addr())
            || (S::HAS_ELSEWHERE && self.source.has_elsewhere(&self.heap_out_of_line(), ptr.cast_mut()))
    }

    /// How many bytes of a block in use may be used: those that were asked for, and what rounding added. `None` if the
    /// operating system has served the block: what rounding added there, is not ours to give. Takes constant time and
    /// not the lock, but for `Regions`, and for blocks of `Growing` with pages of their own.
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{FreeList, Locked};
    ///
    /// static A: Locked<FreeList> = Locked::new();
    /// let layout = Layout::new::<[u8; 101]>();
    /// // SAFETY: the layout is of more than no bytes. The block is in use, and as long as it says.
    /// unsafe {
    ///     let block = A.alloc(layout);
    ///     let usable = A.usable_size(block).unwrap_or(layout.size());
    ///     assert_eq!(usable, 108, "with the header of 4 bytes a multiple of 8");
    ///     block.write_bytes(1, usable);
    ///     A.dealloc(block, layout);
    /// }
    /// ```
    ///
    /// The block is still to be given back with the layout that it was asked for, or one of so many bytes. A `realloc`
    /// keeps only what its layout says.
    ///
    /// A pointer that cannot be that of a block in use ends the program; see [`Fault`](crate::Fault). As long as blocks
    /// of the system's are in use, a pointer outside of the arena is taken for one of those.
    ///
    /// # Safety
    ///
    /// - `block` came from this allocator and was not given back since. Nobody gives it back or changes its size
    ///   meanwhile.
    pub unsafe fn usable_size(&self, block: *mut u8) -> Option<usize> {
        // SAFETY: the heap is there, and its blocks lie where the source says; the caller's contract.
        let usable =
            unsafe { Heap::usable_size_at(self.heap.data_ptr(), block, |address| self.source.has(address)) };
        // SAFETY: the caller's contract.
        usable.or_else(|| unsafe { self.usable_size_rejected(block) })
    }

    /// The way of a pointer that is to be looked at with the lock, or is none of a block in use of the heap's: a block
    /// elsewhere or of the system's, or a misuse.
    ///
    /// # Safety
    ///
    /// - As for [`usable_size`](Self::usable_size).
    #[cold]
    #[inline(never)]
    unsafe fn usable_size_rejected(&self, block: *mut u8) -> Option<usize> {
        let heap = self.heap_out_of_line();
        // SAFETY: the caller's contract.
        if let Ok(usable) = unsafe { heap.usable_size(block) } {
            return Some(usable);
        }
        if S::HAS_ELSEWHERE {
            // SAFETY: the caller's contract.
            if let Some(usable) = unsafe { self.source.usable_size_elsewhere(&heap, block) } {
                return Some(usable);
            }
        }
        let fault = self.fault_of(&heap, block, Action::UsableSize);
        drop(heap);
        #[cfg(feature = "std")]
        if matches!(fault, Fault::OutsideArena { .. }) && self.overflow.has_blocks() {
            return None;
        }
        fault::raise(fault)
    }
}
