//! How much caches may keep: a share of what is free, and nothing where memory is short.
//!
//! Before a request is refused, all that is in caches goes back to the heap, and the caches fall *asleep*:
//! they take nothing, so that the next request need not look at them again. A cache wakes when nobody has run short of
//! memory for a while, and it would have served its thread; see [`trial`](super::trial).

use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// All caches together keep at most this share of what is free, one of them at most half of that, and at most so
/// many bytes: 1/64, and 1 MiB. What is in caches lies between blocks in use, and keeps what is free there from
/// becoming one.
const SHARE_LOG2: u32 = 6;
const LARGEST_BUDGET: usize = 1 << 20;

/// Whether memory is short, and how much caches may keep. Touched by whoever has the heap's lock.
#[derive(Debug)]
pub(super) struct Pressure {
    /// Counts how often a request found no memory at first.
    shortages: AtomicU32,
    /// A cache that is awake may have something, or something may be on its way between caches.
    may_have_blocks: AtomicBool,
    /// How many caches there are.
    caches: AtomicU32,
}

impl Pressure {
    /// None; all zero bytes.
    pub(super) const fn new() -> Self {
        Self {
            shortages: AtomicU32::new(0),
            may_have_blocks: AtomicBool::new(false),
            caches: AtomicU32::new(0),
        }
    }

    /// There is one cache more.
    pub(super) fn note_cache(&self) {
        self.caches.fetch_add(1, Ordering::Relaxed);
    }

    /// There is one cache less.
    pub(super) fn note_cache_gone(&self) {
        self.caches.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many bytes one cache may keep, where `free` tells how many are free for the sake of so many caches.
    pub(super) fn budget(&self, free: impl FnOnce(usize) -> usize) -> usize {
        let shares = self.caches.load(Ordering::Relaxed).max(2) as usize;
        ((free(shares) >> SHARE_LOG2) / shares).min(LARGEST_BUDGET)
    }

    /// A request found no memory.
    #[inline]
    pub(super) fn note_shortage(&self) {
        // Whoever writes has the lock: this need not be one operation, which would take longer than all the rest.
        self.shortages.store(self.shortages().wrapping_add(1), Ordering::Relaxed);
    }

    /// How often that was: the same number as before if it was not since.
    #[inline]
    pub(super) fn shortages(&self) -> u32 {
        self.shortages.load(Ordering::Relaxed)
    }

    /// A cache is awake.
    pub(super) fn note_awake(&self) {
        self.may_have_blocks.store(true, Ordering::Relaxed);
    }

    /// All caches are empty and asleep, and nothing is on its way between them.
    pub(super) fn note_all_asleep(&self) {
        self.may_have_blocks.store(false, Ordering::Relaxed);
    }

    /// Whether a cache may have something, or something may be on its way between caches.
    #[inline]
    pub(super) fn may_have_blocks(&self) -> bool {
        self.may_have_blocks.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_caches_share_what_they_may_keep() {
        let pressure = Pressure::new();
        let budgets = [(); 9].map(|()| {
            let budget = pressure.budget(|_| 1 << 20);
            pressure.note_cache();
            budget
        });
        assert_eq!(budgets[..3], [8192; 3]);
        assert_eq!((budgets[8], pressure.budget(|_| usize::MAX)), (2048, LARGEST_BUDGET));
        pressure.note_cache_gone();
        assert_eq!(pressure.budget(|_| 1 << 20), 2048);
    }

    #[test]
    fn caches_are_looked_into_only_if_one_has_been_awake_since() {
        let pressure = Pressure::new();
        assert!(!pressure.may_have_blocks());
        pressure.note_awake();
        assert!(pressure.may_have_blocks());
        pressure.note_all_asleep();
        assert!(!pressure.may_have_blocks());
    }
}
