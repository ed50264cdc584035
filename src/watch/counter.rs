//! A number of a [`Slot`](super::slot::Slot)'s, which all threads may read.

use core::sync::atomic::{AtomicIsize, Ordering};

/// Whether a slot has one writer. Where threads cannot be told apart, all of them write to one slot.
const IS_OWNED: bool = cfg!(all(feature = "std", unix));

/// A number that its owner changes and that others read: without an atomic read-modify-write, where it has an owner.
pub(super) struct Counter(AtomicIsize);

impl Counter {
    pub(super) const fn new(value: isize) -> Self {
        Self(AtomicIsize::new(value))
    }

    #[inline(always)]
    pub(super) fn get(&self) -> isize {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(super) fn set(&self, value: isize) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds as the owner, and returns what it was. Wraps around.
    #[inline(always)]
    pub(super) fn add(&self, by: isize) -> isize {
        if !IS_OWNED {
            return self.add_shared(by);
        }
        let before = self.get();
        self.set(before.wrapping_add(by));
        before
    }

    /// As [`add`](Self::add), where the owner has just seen what it was.
    #[inline(always)]
    pub(super) fn add_to(&self, seen: isize, by: isize) -> isize {
        if !IS_OWNED {
            return self.add_shared(by);
        }
        self.set(seen.wrapping_add(by));
        seen
    }

    /// Adds, whoever else does, and returns what it was. Wraps around.
    #[inline]
    pub(super) fn add_shared(&self, by: isize) -> isize {
        self.0.fetch_add(by, Ordering::Relaxed)
    }

    /// Makes it that number, if it is less.
    #[inline(always)]
    pub(super) fn raise(&self, to: isize) {
        if to > self.get() {
            if IS_OWNED {
                self.set(to);
            } else {
                self.raise_shared(to);
            }
        }
    }

    /// The same, whoever else does.
    #[inline]
    pub(super) fn raise_shared(&self, to: isize) {
        self.0.fetch_max(to, Ordering::Relaxed);
    }

    /// Writes in one order with all other such writes, and with what is read so.
    pub(super) fn set_in_order(&self, value: isize) {
        // (A store alone would do for others' loads; that it is one of them, too, is what makes a processor wait for
        // it.)
        self.0.swap(value, Ordering::SeqCst);
    }
}
