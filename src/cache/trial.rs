//! When a cache that is asleep wakes: when it would have served its thread.
//!
//! A cache sleeps where memory is short, and where it does not help: if little is free and sizes are many, what a
//! thread asks for is seldom of a size that it has just released, and the way through the cache only comes on top of
//! the way to the lock. While it sleeps, every call comes to the lock. After some of them the next ones are tried on
//! lists that exist as numbers only.
//!
//! (Ghost lists: Megiddo and Modha, *ARC: a self-tuning, low overhead replacement cache*, 2003.)

use super::class::{ByClass, Class};
use super::lists::{LARGEST_SHARE_LOG2, LISTS, MOST_BLOCKS};
use super::pressure::Pressure;
use crate::sync::unless_explored;

/// A trial begins with so many calls that only fill the lists; then as many follow that count.
const CALLS: u8 = unless_explored(64, 2) as u8;

/// A trial is passed if so many of these would have come to the lock at most.
const MISSED_AT_MOST: u8 = unless_explored(8, 2) as u8;

/// How many calls a cache that is asleep lets pass before a trial: so many that neither trials nor the time that it
/// takes to fall asleep again count.
pub(super) const REST: u16 = unless_explored(16 << 10, 1) as u16;

/// What a thread comes to the heap's lock for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Alloc,
    Free,
}

/// How a trial goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    GoesOn,
    /// It has ended. The cache goes on sleeping.
    Failed,
    /// It has ended, and the cache is to wake.
    Passed,
}

/// What a cache would have served since the trial began.
#[derive(Debug)]
pub(super) struct Trial {
    /// How many blocks of each class would be on lists.
    kept: ByClass<u8>,
    /// How many bytes the cache would keep together, and how many of them are left.
    budget: usize,
    left: usize,
    /// The [shortages](Pressure::shortages) before it began.
    shortages: u32,
    calls: u8,
    served: u8,
}

impl Trial {
    /// One that has yet to begin; all zero bytes.
    pub(super) const fn new() -> Self {
        Self { kept: ByClass::new(0), budget: 0, left: 0, shortages: 0, calls: 0, served: 0 }
    }

    /// The owner of a cache that is asleep has come to the heap's lock for the sake of a block, of a class unless that
    /// is too large for caches. The cache is to wake if nobody has run short of memory since the trial began, and seven
    /// calls of eight would not have come to the lock: more than what it goes on with. `budget` is how many bytes it
    /// could keep now.
    pub(super) fn has_come(
        &mut self,
        call: Call,
        class: Option<Class>,
        pressure: &Pressure,
        budget: impl FnOnce() -> usize,
    ) -> Progress {
        let shortages = pressure.shortages();
        if self.calls == 0 {
            let budget = budget();
            *self = Self { budget, left: budget, shortages, ..Self::new() };
        }
        if self.shortages != shortages {
            self.calls = 0;
            return Progress::Failed;
        }
        let is_served = class.is_some_and(|class| match call {
            Call::Alloc => self.takes(class),
            Call::Free => self.gives(class),
        });
        self.calls += 1;
        self.served += u8::from(is_served && self.calls > CALLS);
        if self.calls < 2 * CALLS {
            return Progress::GoesOn;
        }
        self.calls = 0;
        if CALLS - self.served <= MISSED_AT_MOST { Progress::Passed } else { Progress::Failed }
    }

    /// Whether the lists have a block of a class. If not, they are filled from the heap, as far as small blocks are.
    fn takes(&mut self, class: Class) -> bool {
        if let Some(class) = class.and_larger().find(|&class| self.kept.get(class) > 0) {
            self.left += class.payload();
            *self.kept.get_mut(class) -= 1;
            return true;
        }
        let payload = class.payload();
        let list = if class.is_small() { self.share() / (LISTS * payload) } else { 0 };
        let more = list.min(MOST_BLOCKS).saturating_sub(1);
        if more * payload <= self.left {
            self.left -= more * payload;
            *self.kept.get_mut(class) = more as u8;
        }
        false
    }

    /// Whether the lists have room for a block of a class. If not, half of what they have goes to other threads, or
    /// half of all medium blocks to the heap.
    fn gives(&mut self, class: Class) -> bool {
        let (kept, payload) = (self.kept.get(class), class.payload());
        // One block of a medium class may be more than the share of a class.
        let is_first = kept == 0 && !class.is_small() && payload <= self.budget / 2;
        let has_room = usize::from(kept) < LISTS * MOST_BLOCKS
            && (is_first || payload * (usize::from(kept) + 1) <= self.share())
            && payload <= self.left;
        if has_room {
            self.left -= payload;
            *self.kept.get_mut(class) += 1;
        } else if class.is_small() {
            self.give_half(class);
        } else {
            Class::all_medium().for_each(|class| self.give_half(class));
        }
        has_room
    }

    fn give_half(&mut self, class: Class) {
        let half = self.kept.get(class).div_ceil(2);
        self.left += class.payload() * usize::from(half);
        *self.kept.get_mut(class) -= half;
    }

    /// Bytes that one class may have.
    fn share(&self) -> usize {
        self.budget >> LARGEST_SHARE_LOG2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: usize = 16 << 10;

    fn class(bytes: usize) -> Option<Class> {
        Class::serving(bytes, 1)
    }

    /// After how many calls the trial ends, and how.
    fn trial(
        calls: impl Iterator<Item = (Call, usize)>,
        pressure: &Pressure,
        budget: usize,
    ) -> (usize, Progress) {
        let mut trial = Trial::new();
        let come = |(call, bytes)| trial.has_come(call, class(bytes), pressure, || budget);
        calls
            .map(come)
            .zip(1..)
            .find(|&(progress, _)| progress != Progress::GoesOn)
            .map(|(how, after)| (after, how))
            .unwrap()
    }

    fn pairs(bytes: usize) -> impl Iterator<Item = (Call, usize)> {
        [(Call::Alloc, bytes), (Call::Free, bytes)].into_iter().cycle()
    }

    const PASSED: (usize, Progress) = (2 * CALLS as usize, Progress::Passed);
    const FAILED: (usize, Progress) = (2 * CALLS as usize, Progress::Failed);

    #[test]
    fn a_cache_wakes_for_pairs_and_rows_of_what_it_may_keep() {
        let pressure = Pressure::new();
        for bytes in [8, 100, 1000] {
            assert_eq!(trial(pairs(bytes), &pressure, BUDGET), PASSED, "{bytes}");
        }
        assert_eq!(trial(core::iter::repeat((Call::Alloc, 100)), &pressure, BUDGET), PASSED);
        assert_eq!(trial(core::iter::repeat((Call::Free, 100)), &pressure, BUDGET), PASSED);
    }

    #[test]
    fn a_cache_does_not_wake_for_what_it_could_not_keep() {
        let pressure = Pressure::new();
        assert_eq!(trial(pairs(100_000), &pressure, BUDGET), FAILED, "it is too large for caches");
        assert_eq!(trial(pairs(9000), &pressure, BUDGET), FAILED, "it is more than half of what it may keep");
        assert_eq!(trial(pairs(4000), &pressure, BUDGET), PASSED);
        assert_eq!(trial(pairs(100), &pressure, 0), FAILED);
        let many_sizes = (0..).map(|step| {
            let bytes = 16 + step * 4999 % 8000;
            (if step % 2 == 0 { Call::Alloc } else { Call::Free }, bytes)
        });
        assert_eq!(trial(many_sizes, &pressure, BUDGET), FAILED);
    }

    #[test]
    fn a_trial_ends_when_memory_is_short() {
        let (pressure, mut trial) = (Pressure::new(), Trial::new());
        let mut comes = |_| trial.has_come(Call::Free, class(100), &pressure, || BUDGET);
        assert!((0..2 * CALLS - 1).all(|call| comes(call) == Progress::GoesOn));
        pressure.note_shortage();
        assert_eq!(comes(0), Progress::Failed);
        assert!((0..2 * CALLS - 1).all(|call| comes(call) == Progress::GoesOn));
        assert_eq!(comes(0), Progress::Passed);
    }
}
