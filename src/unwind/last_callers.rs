//! Callers that are the same as the last time, which is found out without the unwinder.
//!
//! A function's part of the stack is as long as its code says, so that where one return address lies and what it is
//! tells where the next one lies. Who finds the same addresses in the same places, from the innermost one on, has the
//! same callers. That takes a few instructions for each, where the unwinder takes a hundred nanoseconds. (It is not so
//! for functions that take a part that varies, as C's with arrays of variable length, or that go on on another stack.
//! Then all of the old addresses would have to be left over where they were; and who goes on elsewhere does so farther
//! away than is [remembered](FARTHEST).)
//!
//! Only where a call pushes return addresses, on x86-64, it is known where they lie.

use super::{Caller, is_caller};
use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::ptr::with_exposed_provenance;
use core::sync::atomic::{Ordering, compiler_fence};

unsafe extern "C" {
    fn _Unwind_GetIPInfo(context: *mut c_void, is_before_instruction: *mut c_int) -> usize;
    fn _Unwind_GetCFA(context: *mut c_void) -> usize;
}

/// So many callers are remembered, or none.
const MOST: usize = 64;

/// So many words one return address lies from the one before, or none are remembered: 32 KiB. Stacks have guard pages
/// between them, and the other one is in use as far as here.
const FARTHEST: u16 = 4096;

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
            return is_caller(most, is_it);
        }
        compiler_fence(Ordering::SeqCst);
        // SAFETY: it is a variable of this function, which does not return meanwhile.
        let is_found = !unsafe { self.are_same(from) } && {
            self.count.set(0);
            self.from.set(from);
            let (mut last, mut looked_at) = (Some((0, from)), 0);
            let is_found = is_caller(most, &mut |caller| {
                last = last.and_then(|last| self.note(last, caller));
                looked_at += 1;
                is_it(caller)
            });
            if let (false, true, Some((count, _))) = (is_found, looked_at < most, last) {
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
            unsafe { return_address_at(place) == address.get() }
        })
    }

    /// Notes the next caller, when so many have been noted, the last one's return address at that place. Those who were
    /// called since are passed over. `None` if there are too many, or it is not known where one's return address lies.
    fn note(&self, (count, last): (usize, usize), caller: &Caller) -> Option<(usize, usize)> {
        let address = caller.address();
        if address == 0 {
            // Nobody has called the outermost one.
            return Some((count, last));
        }
        let place = place_of_call(caller)?;
        let Some(bytes) = place.checked_sub(last) else { return (count == 0).then_some((count, last)) };
        let words = u16::try_from(bytes / size_of::<usize>()).ok().filter(|&words| words <= FARTHEST)?;
        if bytes % size_of::<usize>() != 0 {
            return None;
        }
        // SAFETY: a word of this thread's stack, between the last return address and the caller's part of the stack.
        if unsafe { return_address_at(place) } != address {
            return None;
        }
        self.distances.get(count)?.set(words);
        self.addresses.get(count)?.set(address);
        Some((count + 1, place))
    }
}

/// Reads a word where a return address may lie.
///
/// # Safety
///
/// - It is a word of this thread's stack that is in use.
#[inline(always)]
unsafe fn return_address_at(place: usize) -> usize {
    // SAFETY: the caller's contract.
    unsafe { with_exposed_provenance::<usize>(place).read_volatile() }
}

/// Where on the stack a call has put the return address that leads into a caller; `None` if there was no call, but a
/// signal.
fn place_of_call(caller: &Caller) -> Option<usize> {
    let mut is_interrupted = 0;
    // SAFETY: the unwinder's context, which is there as long as it calls back.
    let end = unsafe {
        _Unwind_GetIPInfo(caller.0, &raw mut is_interrupted);
        _Unwind_GetCFA(caller.0)
    };
    // A call pushes it, and then the callee's part of the stack begins.
    if is_interrupted == 0 { end.checked_sub(size_of::<usize>()) } else { None }
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
        assert_eq!(from_one_place, [true, false, false]);
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

    /// Where a signal came is no place of a call: nobody has put the interrupted address there.
    #[test]
    fn what_a_signal_interrupts_is_not_remembered() {
        use core::sync::atomic::AtomicUsize;

        static NEW: AtomicUsize = AtomicUsize::new(0);
        std::thread_local! {
            static LAST: LastCallers = const { LastCallers::new() };
        }

        extern "C" fn handle(_: c_int) {
            NEW.fetch_add(LAST.with(are_new).into(), Ordering::Relaxed);
        }

        let handler = handle as extern "C" fn(c_int);
        // SAFETY: the handler does nothing that a handler must not, and no other test uses that signal.
        unsafe { libc::signal(libc::SIGURG, handler as libc::sighandler_t) };
        for count in 1..=black_box(3) {
            // SAFETY: there is a handler for it.
            unsafe { libc::raise(libc::SIGURG) };
            assert_eq!(NEW.load(Ordering::Relaxed), count);
        }
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
