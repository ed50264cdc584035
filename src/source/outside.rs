//! How much is in use elsewhere than in the first heap, and how much there is, as it is read without the lock.

use crate::heap::Heap;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Bytes in use elsewhere, the most in use in all that was noted, and bytes that there are elsewhere. Written under the
/// heap's lock; all zero bytes in the beginning.
pub struct Outside {
    live: AtomicUsize,
    peak: AtomicUsize,
    arena: AtomicUsize,
}

impl Outside {
    #[allow(clippy::declare_interior_mutable_const, reason = "the initial value of statics")]
    pub(super) const NEW: Self =
        Self { live: AtomicUsize::new(0), peak: AtomicUsize::new(0), arena: AtomicUsize::new(0) };

    /// Bytes in use elsewhere.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// The most that was in use in all, where the first heap's peak is that: as if that had been when as much was in
    /// use elsewhere as now, unless more was noted.
    pub(crate) fn peak_with(&self, first: usize) -> usize {
        self.peak.load(Ordering::Relaxed).max(first + self.live())
    }

    /// Notes the peak. To be called before there is less in use elsewhere.
    pub(super) fn note_peak(&self, first: &Heap) {
        self.peak.store(self.peak_with(first.peak_bytes()), Ordering::Relaxed);
    }

    /// Does something with one of the heaps elsewhere, and notes how much more or less is in use in it then.
    pub(super) fn following<T>(&self, heap: &mut Heap, act: impl FnOnce(&mut Heap) -> T) -> T {
        let before = heap.live_bytes();
        let outcome = act(heap);
        let others = self.live().saturating_sub(before);
        self.set_live(others + heap.live_bytes());
        outcome
    }

    /// Notes how many bytes are in use elsewhere.
    pub(super) fn set_live(&self, bytes: usize) {
        self.live.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that blocks elsewhere can be made of, where they are those of heaps.
    pub(super) fn arena(&self) -> usize {
        self.arena.load(Ordering::Relaxed)
    }

    /// Notes how many bytes blocks elsewhere can be made of.
    pub(super) fn set_arena(&self, bytes: usize) {
        self.arena.store(bytes, Ordering::Relaxed);
    }

    /// Forgets the peak that was noted.
    pub(crate) fn forget_peak(&self) {
        self.peak.store(0, Ordering::Relaxed);
    }
}
