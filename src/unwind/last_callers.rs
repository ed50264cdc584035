//! Callers that are the same as the last time, which is found out without the unwinder.
//!
//! A function's part of the stack is as long as its code says, so that where one return address lies and what it is
//! tells where the next one lies. Who finds the same addresses in the same places, from the innermost one on, has the
//! same callers. That takes a few instructions for each, where the unwinder takes a hundred nanoseconds. (A function
//! of C's may take a part that varies. Then all of the old addresses would have to be left over where they were.)
//!
//! Where return addresses lie is known where a call pushes them, on x86-64. Elsewhere the unwinder is always asked.

use super::{Caller, each_caller};
use core::cell::Cell;
use core::ptr::with_exposed_provenance;
use core::sync::atomic::{Ordering, compiler_fence};

/// So many callers are remembered, or none.
const MOST: usize = 64;

/// The callers of one thread, as they were when somebody was looked for among all of them and was not there.
pub(crate) struct LastCallers {
    /// They are being looked at. A signal handler that comes then has none.
    is_busy: Cell<bool>,
    /// How many there are.
    count: Cell<usize>,
    /// The word on the stack from which they were looked for.
    from: Cell<usize>,
    /// How many words each return address lies from the one before, the first one from there, and what it is.
    distances: [Cell<u16>; MOST],
    addresses: [Cell<usize>; MOST],
}

impl LastCallers {
    /// None.
    pub(crate) const fn new() -> Self {
        Self {
            is_busy: Cell::new(false),
            count: Cell::new(0),
            from: Cell::new(0),
            distances: [const { Cell::new(0) }; MOST],
            addresses: [const { Cell::new(0) }; MOST],
        }
    }

    /// Whether somebody is among those who have called. Nobody is looked at if nobody was the last time and they are
    /// the same. No more of them are looked at than that, the innermost first.
    #[inline(never)]
    pub(crate) fn include(&self, most: u32, is_it: &mut dyn FnMut(&Caller) -> bool) -> bool {
        let here = 0usize;
        let from = (&raw const here).addr();
        if self.is_busy.replace(true) {
            let mut left = most;
            return look(&mut left, is_it, &mut |_| {});
        }
        compiler_fence(Ordering::SeqCst);
        // SAFETY: it is a variable of this function, which does not return meanwhile.
        let is_found = !unsafe { self.are_same(from) } && {
            self.count.set(0);
            self.from.set(from);
            let mut last = Some((0, from));
            let mut left = most;
            let is_found =
                look(&mut left, is_it, &mut |caller| last = last.and_then(|last| self.note(last, caller)));
            if let (false, 1.., Some((count, _))) = (is_found, left, last) {
                self.count.set(count);
            }
            is_found
        };
        compiler_fence(Ordering::SeqCst);
        self.is_busy.set(false);
        is_found
    }

    /// Whether the callers are the same as when they were noted.
    ///
    /// # Safety
    ///
    /// - `from` is the address of the variable of [`include`](Self::include) from which they are looked for.
    unsafe fn are_same(&self, from: usize) -> bool {
        if self.count.get() == 0 || self.from.get() != from {
            return false;
        }
        let mut place = from;
        let mut noted = self.distances.iter().zip(&self.addresses).take(self.count.get());
        noted.all(|(distance, address)| {
            place += usize::from(distance.get()) * size_of::<usize>();
            // SAFETY: this far, the return addresses are the same. So the next one lies where it did, in the part of
            // this thread's stack that a caller has, and nobody writes it meanwhile.
            unsafe { with_exposed_provenance::<usize>(place).read_volatile() == address.get() }
        })
    }

    /// Notes the next caller, when so many have been noted, the last one's return address at that place. Those who were
    /// called since are passed over. `None` if there are too many, or it is not known where one's return address lies.
    fn note(&self, (count, last): (usize, usize), caller: &Caller) -> Option<(usize, usize)> {
        if caller.address() == 0 {
            // Nobody has called the outermost one.
            return Some((count, last));
        }
        let place = caller.place()?;
        if count == 0 && place < last {
            return Some((count, last));
        }
        let words = place.checked_sub(last)? / size_of::<usize>();
        self.distances.get(count)?.set(u16::try_from(words).ok()?);
        self.addresses.get(count)?.set(caller.address());
        Some((count + 1, place))
    }
}

/// Whether somebody is among so many callers, of which those that are left were not looked at. All that were are passed
/// on.
fn look(left: &mut u32, is_it: &mut dyn FnMut(&Caller) -> bool, pass_on: &mut dyn FnMut(&Caller)) -> bool {
    let mut is_found = false;
    each_caller(&mut |caller| {
        is_found = is_it(caller);
        pass_on(caller);
        *left = left.saturating_sub(1);
        !is_found && *left > 0
    });
    is_found
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hint::black_box;
    use std::vec::Vec;

    const ALL: u32 = 1000;

    /// Whether the unwinder is asked who has called.
    #[inline(never)]
    fn are_new(callers: &LastCallers) -> bool {
        let mut are_new = false;
        let nobody = &mut |_: &Caller| {
            are_new = true;
            false
        };
        assert!(!callers.include(ALL, nobody));
        black_box(are_new)
    }

    #[inline(never)]
    fn at_depth(callers: &LastCallers, depth: usize) -> bool {
        if depth == 0 { are_new(callers) } else { black_box(at_depth(callers, depth - 1)) }
    }

    #[test]
    fn the_same_callers_are_asked_for_once() {
        let callers = &LastCallers::new();
        let mut from_one_place = Vec::new();
        // A loop that is not unrolled.
        while from_one_place.len() < black_box(3) {
            from_one_place.push(at_depth(callers, 5));
        }
        let is_known = cfg!(target_arch = "x86_64");
        assert_eq!(from_one_place, [true, !is_known, !is_known]);
        // Nothing but one return address differs.
        let in_turn =
            [at_depth(callers, 5), at_depth(callers, 5), at_depth(callers, 6), at_depth(callers, 5)];
        assert_eq!(in_turn, [true; 4]);
        for _ in 0..2 {
            assert!(at_depth(callers, MOST), "more than are remembered");
        }
    }

    #[test]
    fn who_was_there_is_looked_for_again() {
        let callers = LastCallers::new();
        for most in [1, ALL] {
            let mut count = 0;
            for _ in 0..3 {
                assert!(callers.include(most, &mut |_| {
                    count += 1;
                    true
                }));
            }
            assert_eq!(count, 3);
        }
    }

    #[test]
    fn those_behind_the_last_one_looked_at_are_not_remembered() {
        let callers = LastCallers::new();
        let mut count = 0;
        for _ in 0..3 {
            assert!(!callers.include(2, &mut |_| {
                count += 1;
                false
            }));
        }
        assert_eq!(count, 6);
    }

    #[test]
    fn who_comes_meanwhile_has_none() {
        let callers = LastCallers::new();
        let mut are_found = Vec::new();
        callers.include(ALL, &mut |_| {
            are_found.push(callers.include(1, &mut |_| true));
            false
        });
        assert!(are_found.len() > 1 && are_found.iter().all(|&is_found| is_found));
        assert!(!callers.is_busy.get());
    }
}
