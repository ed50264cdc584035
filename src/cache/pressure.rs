//! Where memory is short, caches keep nothing.
//!
//! Before a request is refused, all that is in caches goes back to the heap, and the caches fall *asleep*:
//! they take nothing, so that the next request need not look at them again. A cache wakes when its thread
//! has come to the heap's lock some times in a row while nobody ran short of memory.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How often a thread comes to the heap's lock, while nobody runs short of memory, before its cache wakes.
const CALM: u8 = 64;

/// Whether memory is short. Touched by whoever has the heap's lock.
#[derive(Debug)]
pub(super) struct Pressure {
    /// Counts how often a request found no memory at first.
    shortages: AtomicU32,
    /// A cache that is awake may have something, or the depot.
    may_have_blocks: AtomicBool,
}

impl Pressure {
    /// None; all zero bytes.
    pub(super) const fn new() -> Self {
        Self { shortages: AtomicU32::new(0), may_have_blocks: AtomicBool::new(false) }
    }

    /// A request found no memory.
    pub(super) fn note_shortage(&self) {
        self.shortages.fetch_add(1, Ordering::Relaxed);
    }

    /// A cache is awake.
    pub(super) fn note_awake(&self) {
        self.may_have_blocks.store(true, Ordering::Relaxed);
    }

    /// All caches are empty and asleep, and the depot is empty.
    pub(super) fn note_all_asleep(&self) {
        self.may_have_blocks.store(false, Ordering::Relaxed);
    }

    /// Whether a cache or the depot may have something.
    pub(super) fn may_have_blocks(&self) -> bool {
        self.may_have_blocks.load(Ordering::Relaxed)
    }
}

/// How long a cache that is asleep has seen nobody run short of memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calm {
    shortages: u32,
    since: u8,
}

impl Calm {
    /// All zero bytes.
    pub(super) const fn new() -> Self {
        Self { shortages: 0, since: 0 }
    }

    /// The owner of a cache that is asleep has come to the heap's lock. Returns whether the cache is to wake.
    pub(super) fn has_come(&mut self, pressure: &Pressure) -> bool {
        let shortages = pressure.shortages.load(Ordering::Relaxed);
        let since = if self.shortages == shortages { self.since + 1 } else { 0 };
        *self = Self { shortages, since: since % CALM };
        since == CALM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_wakes_after_some_calm() {
        let (pressure, mut calm) = (Pressure::new(), Calm::new());
        let mut comes = |pressure: &Pressure| (1..).find(|_| calm.has_come(pressure));
        assert_eq!(comes(&pressure), Some(usize::from(CALM)));
        pressure.note_shortage();
        assert_eq!(comes(&pressure), Some(usize::from(CALM) + 1));
    }
}
