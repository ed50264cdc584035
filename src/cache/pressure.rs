//! How much caches may keep: a share of what is free, and nothing where memory is short.
//!
//! Before a request is refused, all that is in caches goes back to the heap, and the caches fall *asleep*:
//! they take nothing, so that the next request need not look at them again. A cache wakes when nobody has run short of
//! memory for a while, and it would have served its thread; see [`trial`](super::trial).

use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A few caches together keep at most this share of what is free, one of them at most half of that, and at most so
/// many bytes: 1/64, and 1 MiB. What is in caches lies between blocks in use, and keeps what is free there from
/// becoming one.
const SHARE_LOG2: u32 = 6;
const LARGEST_BUDGET: usize = 1 << 20;

/// Of many, each may keep this share of what is free, as long as all of them together keep no more than that one, but
/// for the first so many bytes, and up to so many: 1/256, 1/8, 16 KiB and 128 KiB. With too little it would be in its
/// thread's way. (64 threads with 300 blocks of up to 2 KiB each, 12 MiB in an arena of 60, take a twelfth of the time
/// that they take with 13 KiB each.) Where little is free, what is kept is missed more than it is of use.
const ONE_SHARE_LOG2: u32 = 8;
const MANY_SHARE_LOG2: u32 = 3;
const OF_NO_USE: usize = 16 << 10;
const OF_USE: usize = 128 << 10;

/// A cache is of use if it serves as many calls as its thread comes to the lock. A thread that releases as much as it
/// allocates comes to the lock with every third call then. One that does so more often is better off without a cache,
/// even if others wait for the lock. Where there are no others, a way to the lock through the cache costs as much as
/// six calls gain that the cache serves.
const SERVED_PER_VISIT: u32 = 1;
const SERVED_PER_VISIT_ALONE: u32 = 6;

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

    /// How many calls a cache has to serve for each time that its thread comes, to be of use.
    pub(super) fn served_per_visit(&self) -> u32 {
        let is_alone = self.caches.load(Ordering::Relaxed) <= 1;
        if is_alone { SERVED_PER_VISIT_ALONE } else { SERVED_PER_VISIT }
    }

    /// How many bytes one cache may keep, where `free` tells how many are free for the sake of so many caches.
    pub(super) fn budget(&self, free: impl FnOnce(usize) -> usize) -> usize {
        let caches = self.caches.load(Ordering::Relaxed).max(2) as usize;
        let free = free(caches);
        let one = (free >> ONE_SHARE_LOG2).min((free >> MANY_SHARE_LOG2) / caches);
        let of_use = one.saturating_sub(OF_NO_USE).min(OF_USE);
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
        let of_use = [OF_USE - OF_NO_USE, OF_USE / 2 - OF_NO_USE];
        assert_eq!([3, 32, 64].map(|caches| budgets[caches][1]), [much * 2 / 3, of_use[0], of_use[1]]);
        assert_eq!(budgets[32][2], LARGEST_BUDGET);
        pressure.note_cache_gone();
        assert_eq!(pressure.budget(|_| 32 << 20), of_use[1]);
        assert_eq!(pressure.budget(|_| 60 << 20), (60 << 20) / 8 / 64 - OF_NO_USE);
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
