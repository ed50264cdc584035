//! What can be asked without the lock, and without a drain.

use super::ThreadCached;
use crate::source::Source;

impl<S: Source> ThreadCached<S> {
    /// Bytes of the blocks in use and of those in caches, in constant time, without the lock and without a drain.
    ///
    /// What caches have counts as in use: the blocks on their lists, those on their way from one thread to another, and
    /// all slots of the runs that threads own. So it is as much as [`stats`](Self::stats) says, or more, because that
    /// [drains](Self::drain) first; [`caches`](Self::caches) tells by how much. Other threads may allocate and release
    /// meanwhile; the figure is one that was true a moment ago.
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
    ///     // What the thread's cache has is taken back for these.
    ///     drop((0..1000).map(|n| Box::new(n)).collect::<Vec<_>>());
    ///     let undrained = A.live_bytes();
    ///     assert!(A.stats().live_bytes < undrained);
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
