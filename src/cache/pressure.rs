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

/// Where there are many, a cache keeps so many bytes at most even if all of them have more than that together, up to
/// this share of what is free, one of them at most a 32nd of that: 128 KiB, and 1/8. With too little it would be in its
/// thread's way. (64 threads with 300 blocks of up to 2 KiB each, 12 MiB in an arena of 60, take a twelfth of the time
/// that they take with 13 KiB each.) Where that would be less than the least, memory is not plenty: 16 KiB.
const OF_USE: usize = 128 << 10;
const LEAST_OF_USE: usize = 16 << 10;
const MANY_SHARE_LOG2: u32 = 3;

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
        let caches = self.caches.load(Ordering::Relaxed).max(2) as usize;
        let free = free(caches);
        let of_use = ((free >> MANY_SHARE_LOG2) / caches.max(32)).min(OF_USE);
        let of_use = if of_use >= LEAST_OF_USE { of_use } else { 0 };
        ((free >> SHARE_LOG2) / caches).max(of_use).min(LARGEST_BUDGET)
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
        let budgets = [(); 65].map(|()| {
            let budgets = [1 << 20, 32 << 20, usize::MAX].map(|free| pressure.budget(|_| free));
            pressure.note_cache();
            budgets
        });
        let (little, much) = (8 << 10, 256 << 10);
        assert_eq!(budgets[..3], [[little, much, LARGEST_BUDGET]; 3]);
        assert_eq!([8, 64].map(|caches| budgets[caches][0]), [little / 4, little / 32]);
        // Of much, each keeps what is of use, up to an eighth together.
        assert_eq!(
            [3, 8, 32, 64].map(|caches| budgets[caches][1]),
            [much * 2 / 3, OF_USE, OF_USE, OF_USE / 2]
        );
        assert_eq!(budgets[64][2], LARGEST_BUDGET);
        pressure.note_cache_gone();
        assert_eq!(pressure.budget(|_| 32 << 20), OF_USE / 2);
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
