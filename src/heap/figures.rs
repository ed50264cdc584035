//! How much of a heap is in use, the most that ever was, and how much there is: the part of a heap that is also read
//! without the lock.
//!
//! A reader has a `&Figures` while another thread has a `&mut Heap`. Two things make that sound, and neither costs an
//! instruction of the paths that `.ci/instructions` counts:
//!
//! - The figures are atomics. Who has the heap to itself is the only writer of what is counted, so that a relaxed store
//!   does, and what it reads itself it reads plainly: a compiler folds that into the addition, as it would not fold an
//!   atomic load.
//! - [`PhantomPinned`] makes the figures, and by that the heap, not [`Unpin`]. A `&mut` to such a type does not claim
//!   to be the only way to it, as one to any other type does; so a future may point into itself, and a waiter into the
//!   list that it waits on. (A wrapper that says just that, `UnsafePinned`, is not stable yet: RFC 3467.)
//!
//! What that takes from the compiler is that what it read of a heap is still true after a write to the arena. So the
//! heap's methods copy [`Arena`](crate::block::Arena) once, instead of reading it from the heap each time.
//!
//! (A pointer to figures that lie elsewhere takes one more load in each call, and handing that pointer on, too.)

use super::Heap;
use crate::size::GRANULE;
use core::marker::PhantomPinned;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Granules of the blocks and slots in use, the most there ever were since the peak began, and all that there are.
#[derive(Debug)]
pub(crate) struct Figures {
    live: AtomicU32,
    peak: AtomicU32,
    arena: AtomicU32,
    /// How many threads read a run's header without the lock, and whether one may cease to be a run meanwhile.
    readers: AtomicU32,
    breaks_up: AtomicBool,
    _pinned: PhantomPinned,
}

impl Figures {
    /// Nothing is in use; all zero bytes.
    pub(super) const fn new() -> Self {
        let [live, peak, arena, readers] = [const { AtomicU32::new(0) }; 4];
        Self { live, peak, arena, readers, breaks_up: AtomicBool::new(false), _pinned: PhantomPinned }
    }

    /// Granules that are in use.
    #[inline(always)]
    pub(super) fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    /// The most granules that were in use since the peak began.
    #[inline(always)]
    pub(super) fn peak(&self) -> u32 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Bytes that are in use.
    #[inline]
    pub(crate) fn live_bytes(&self) -> usize {
        self.live() as usize * GRANULE
    }

    /// The most bytes that were in use since the peak began. Not less than what is in use, though the two are written
    /// one after the other, and other threads may see that the other way round.
    #[inline]
    pub(crate) fn peak_bytes(&self) -> usize {
        self.live().max(self.peak()) as usize * GRANULE
    }

    /// Granules that blocks can be made of.
    pub(super) fn arena(&self) -> u32 {
        self.arena.load(Ordering::Relaxed)
    }

    /// Bytes that blocks can be made of.
    pub(crate) fn arena_bytes(&self) -> usize {
        self.arena() as usize * GRANULE
    }

    /// Notes how many granules blocks can be made of.
    pub(super) fn set_arena(&mut self, granules: u32) {
        self.arena.store(granules, Ordering::Relaxed);
    }

    /// Reads what runs' headers say, without the lock, unless one with slots in use may cease to be a run just now.
    #[cfg(target_has_atomic = "32")]
    pub(super) fn while_runs_stay<T>(&self, read: impl FnOnce() -> T) -> Option<T> {
        // Either who breaks up a run sees this reader, or the reader sees that one is broken up: the order of all four
        // accesses is one that both agree on.
        self.readers.fetch_add(1, Ordering::SeqCst);
        let result = (!self.breaks_up.load(Ordering::SeqCst)).then(read);
        self.readers.fetch_sub(1, Ordering::Release);
        result
    }

    /// As above; where several readers cannot be counted, none reads.
    #[cfg(not(target_has_atomic = "32"))]
    pub(super) fn while_runs_stay<T>(&self, _: impl FnOnce() -> T) -> Option<T> {
        None
    }

    /// From now on nobody reads a run's header without the lock, until [`runs_stay`](Self::runs_stay) is called. False,
    /// and nothing has changed, if somebody does just now.
    pub(super) fn runs_may_go(&self) -> bool {
        /// How often to look whether those who read have ended, who take no time unless they are interrupted.
        const LOOKS: u32 = 1000;
        self.breaks_up.store(true, Ordering::SeqCst);
        for _ in 0..LOOKS {
            if self.readers.load(Ordering::SeqCst) == 0 {
                return true;
            }
            core::hint::spin_loop();
        }
        self.runs_stay();
        false
    }

    /// In a child process that was forked: who read there is not there any more.
    #[cfg(all(feature = "std", unix))]
    pub(super) fn forget_readers(&self) {
        self.readers.store(0, Ordering::Relaxed);
    }

    /// The end of [`runs_may_go`](Self::runs_may_go).
    pub(super) fn runs_stay(&self) {
        self.breaks_up.store(false, Ordering::Release);
    }

    /// Counts granules that have come into use.
    #[inline(always)]
    pub(super) fn add(&mut self, granules: u32) {
        // SAFETY: only who has a `&mut` to the figures writes them, so that nobody does while they are read.
        let (live, peak) = unsafe { (self.live.as_ptr().read(), self.peak.as_ptr().read()) };
        let live = live.wrapping_add(granules);
        if live > peak {
            self.peak.store(live, Ordering::Relaxed);
        }
        self.live.store(live, Ordering::Relaxed);
    }

    /// Counts granules that are not in use any more.
    #[inline(always)]
    pub(super) fn subtract(&mut self, granules: u32) {
        self.live.store(self.live().wrapping_sub(granules), Ordering::Relaxed);
    }

    /// Notes what was found out about both anew.
    pub(super) fn set(&mut self, live: u32, peak: u32) {
        self.live.store(live, Ordering::Relaxed);
        self.peak.store(peak.max(live), Ordering::Relaxed);
    }

    /// The peak begins anew from what is in use now.
    pub(super) fn reset_peak(&mut self) {
        self.peak.store(self.live(), Ordering::Relaxed);
    }
}

impl Heap {
    /// Bytes of the blocks and slots in use: [`Stats::live_bytes`](crate::Stats::live_bytes), in constant time.
    #[inline]
    pub fn live_bytes(&self) -> usize {
        self.figures.live_bytes()
    }

    /// The most that [`live_bytes`](Self::live_bytes) was since the beginning, or since the last
    /// [`reset_peak`](Self::reset_peak): [`Stats::peak_bytes`](crate::Stats::peak_bytes), in constant time.
    #[inline]
    pub fn peak_bytes(&self) -> usize {
        self.figures.peak_bytes()
    }

    /// Bytes that blocks can be made of: [`Stats::arena_bytes`](crate::Stats::arena_bytes), in constant time. None, as
    /// long as there is no region.
    ///
    /// ```
    /// use mem_alloc_rust::Heap;
    ///
    /// let mut arena = [0u64; 512];
    /// let mut heap = Heap::new();
    /// assert_eq!(heap.arena_bytes(), 0);
    /// // SAFETY: only the heap uses the arena, which is all zero.
    /// unsafe { heap.init(arena.as_mut_ptr().cast(), size_of_val(&arena), true).unwrap() };
    /// assert!(heap.arena_bytes() > 3900 && heap.arena_bytes() == heap.stats().arena_bytes);
    /// ```
    #[inline]
    pub fn arena_bytes(&self) -> usize {
        self.figures.arena_bytes()
    }

    /// The peak begins anew, from what is in use now. Takes constant time.
    pub fn reset_peak(&mut self) {
        self.figures.reset_peak();
    }

    /// In a child process that was forked: only the calling thread is there.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn note_fork(&self) {
        self.figures.forget_readers();
    }

    /// The figures of a heap that another thread may have to itself.
    ///
    /// # Safety
    ///
    /// - The heap is there, and is not moved, as long as the figures are used.
    pub(crate) unsafe fn figures<'a>(heap: *const Self) -> &'a Figures {
        // SAFETY: the heap is there (contract). The figures are atomics, and no `&mut` is the only way to them.
        unsafe { &(*heap).figures }
    }
}
