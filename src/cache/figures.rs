//! What can be asked without a drain, and most of it without the lock.

use super::ThreadCached;
use super::lists::{Counted, each_of_list};
use crate::heap::Heap;
use crate::locked::Survey;
use crate::refusal::GrowthLimit;
use crate::source::Source;
use crate::stats::Stats;
use core::convert::Infallible;
use core::ptr::NonNull;

impl<S: Source> ThreadCached<S> {
    /// Bytes of the blocks in use and of those in caches, in constant time, without the lock and without a drain.
    ///
    /// What caches have counts as in use: the blocks on their lists, those on their way from one thread to another, and
    /// all slots of the runs that threads own. So it is as much as [`Stats::live_bytes`], [`Stats::cached_bytes`] and
    /// [`Stats::held_bytes`] together. Other threads may allocate and release meanwhile; the figure is one that was true
    /// a moment ago.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    ///
    /// fn main() {
    ///     let before = A.live_bytes();
    ///     let numbers = vec![1u8; 100_000];
    ///     assert!(A.live_bytes() >= before + numbers.len());
    ///     // What the thread's cache has counts, until it is taken back.
    ///     drop((0..1000).map(|n| Box::new(n)).collect::<Vec<_>>());
    ///     let undrained = A.live_bytes();
    ///     A.drain();
    ///     assert!(A.live_bytes() < undrained);
    /// }
    /// ```
    pub fn live_bytes(&self) -> usize {
        self.locked.live_bytes()
    }

    /// The most that [`live_bytes`](Self::live_bytes) was since the beginning, or since the last
    /// [`reset_peak`](Self::reset_peak), in constant time, without the lock and without a drain. The same figure as
    /// [`Stats::peak_bytes`](crate::Stats::peak_bytes).
    pub fn peak_bytes(&self) -> usize {
        self.locked.peak_bytes()
    }

    /// As for [`Locked::arena_bytes`](crate::Locked::arena_bytes).
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    ///
    /// fn main() {
    ///     let _numbers = vec![1u8; 100_000];
    ///     assert_eq!(A.arena_bytes(), A.stats().arena_bytes);
    /// }
    /// ```
    pub fn arena_bytes(&self) -> usize {
        self.locked.arena_bytes()
    }

    /// Bytes that are neither in use nor in caches, in constant time, without the lock and without a drain: as for
    /// [`Locked::free_bytes`](crate::Locked::free_bytes).
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    ///
    /// fn main() {
    ///     let numbers = vec![1u8; 100_000];
    ///     assert_eq!(A.free_bytes(), A.arena_bytes() - A.live_bytes());
    ///     assert!(A.free_bytes() <= A.arena_bytes() - numbers.len());
    /// }
    /// ```
    pub fn free_bytes(&self) -> usize {
        self.locked.free_bytes()
    }

    /// The peak begins anew, from what is in use or in caches now: to measure one phase of a program.
    /// [Drain](Self::drain) before, if what is in caches shall not count. Holds the lock for a constant time.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
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
        self.locked.reset_peak_of(&mut self.heap());
    }

    /// As for [`Locked::set_watermark`](crate::Locked::set_watermark). What is in caches counts as in use, and a
    /// request is looked at when the calling thread's cache does not serve it at once: it comes to the heap then. So a
    /// program may have so much more in use as caches have.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    /// use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    ///
    /// static IS_HIGH: AtomicBool = AtomicBool::new(false);
    ///
    /// fn main() {
    ///     A.set_watermark(512 << 10, |_| IS_HIGH.store(true, Relaxed));
    ///     let small = (0..1000).map(|n| Box::new(n)).collect::<Vec<_>>();
    ///     assert!(!IS_HIGH.load(Relaxed));
    ///     let large = (0..1000).map(|n| Box::new([n; 200])).collect::<Vec<_>>();
    ///     assert!(IS_HIGH.load(Relaxed) && small.len() == large.len());
    /// }
    /// ```
    pub fn set_watermark(&self, bytes: usize, function: fn(usize)) {
        self.locked.set_watermark(bytes, function);
    }

    /// As for [`Locked::is_in_arena`](crate::Locked::is_in_arena).
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, OrSystem, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<OrSystem<FreeList>> = ThreadCached::new();
    ///
    /// fn main() {
    ///     let (small, large) = (Box::new(1), vec![1u8; 2 << 20]);
    ///     assert!(A.is_in_arena((&raw const *small).cast()));
    ///     assert!(!A.is_in_arena(large.as_ptr()), "the arena cannot hold that");
    /// }
    /// ```
    pub fn is_in_arena(&self, ptr: *const u8) -> bool {
        self.locked.is_in_arena(ptr)
    }

    /// As for [`Locked::usable_size`](crate::Locked::usable_size). A block that was given back and is in a cache now is
    /// taken for one in use: what is in a block is not looked at, because it is its owner's.
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    /// let layout = Layout::new::<[u8; 101]>();
    /// // SAFETY: the layout is of more than no bytes. The block is in use, and as long as it says.
    /// unsafe {
    ///     let block = A.alloc(layout);
    ///     let usable = A.usable_size(block).unwrap_or(layout.size());
    ///     assert!(usable >= layout.size());
    ///     block.write_bytes(1, usable);
    ///     A.dealloc(block, layout);
    /// }
    /// ```
    ///
    /// # Safety
    ///
    /// - As for [`Locked::usable_size`](crate::Locked::usable_size).
    pub unsafe fn usable_size(&self, block: *mut u8) -> Option<usize> {
        // SAFETY: the caller's contract is the same.
        unsafe { self.locked.usable_size(block) }
    }
}

impl<S: Source> Survey for ThreadCached<S> {
    fn survey(&self, stats: &mut Stats) -> Option<GrowthLimit> {
        self.with_closed_gates(|heap| {
            self.locked.count(heap, stats);
            // SAFETY: this thread has the lock and has closed the gates.
            unsafe { self.tell_cached_apart(heap, stats) };
            self.locked.source.growth_limit(heap)
        })
    }
}

impl<S: Source> ThreadCached<S> {
    /// Notes which of the blocks that were counted as in use are in caches, or on their way.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock and has closed the gates, and no owner is inside.
    pub(super) unsafe fn tell_cached_apart(&self, heap: &Heap, stats: &mut Stats) {
        let mut note = |block: NonNull<u8>| {
            let (payload, bytes) = heap.size_of_cached(block);
            stats.move_to_cached(payload, bytes);
        };
        for slot in self.occupied() {
            // SAFETY: the caller's contract.
            unsafe { slot.with_closed_gate(|lists| lists.for_each(&mut note)) };
        }
        let note_list = |list: Counted| {
            // SAFETY: what caches have is linked.
            unsafe { each_of_list(list.first) }.for_each(&mut note);
            Ok::<_, Infallible>(())
        };
        // SAFETY: the caller's contract.
        let Ok(()) = unsafe { self.try_for_each_list_between(note_list) };
    }
}
