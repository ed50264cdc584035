//! Waiting for something that another thread does within nanoseconds, unless it lost the processor meanwhile.
//!
//! A waiter looks more and more seldom. Each look takes the cache line that it looks at from whoever is waited for, and
//! with a lock goes all that is behind it: two threads that get the heap in turn, call for call, take more time than
//! one that makes the calls of both. So who does not get a lock at once leaves it to the others for some dozens of
//! calls.
//!
//! Nobody is woken. That would be a system call for the thread that could go on, and one of those that waited would
//! have the heap at once, and no longer than until its first call is done.
//!
//! (Looking more seldom each time: Anderson, *The performance of spin lock alternatives for shared-memory
//! multiprocessors*, 1990. Threads that keep a lock to themselves for some time, so that what is behind it stays
//! where it is: Dice, Marathe and Shavit, *Lock cohorting*, 2012.)

use crate::sync::{hint, unless_explored};

/// How often a waiter tells the processor that it waits, before it looks for the first time; four times as often before
/// each look that follows, of which there are so many. (Less than a microsecond, and some ten in all.)
const FIRST: u32 = unless_explored(16, 1) as u32;
const LOOKS: u32 = unless_explored(3, 1) as u32;

/// How many nanoseconds it sleeps then, to begin anew; twice as long each time, up to so many. (Where dozens of threads
/// wait, those that look keep the one that has the lock from its processor.)
const NAP: u32 = 100_000;
const LONGEST_NAP: u32 = 16 * NAP;

/// Waits a little longer each time, and lets other threads run.
pub(crate) struct Backoff {
    looks: u32,
    /// How many nanoseconds the next nap is, and the longest one.
    nap: u32,
    longest_nap: u32,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { looks: 0, nap: NAP, longest_nap: LONGEST_NAP }
    }

    /// Of a thread that is the only one to wait, for one that is soon done: its naps stay short.
    #[cfg(unix)]
    pub(crate) const fn of_one_waiter() -> Self {
        Self { looks: 0, nap: NAP, longest_nap: NAP }
    }

    /// Spins, the fourth time sleeps.
    pub(crate) fn pause(&mut self) {
        if self.looks == LOOKS {
            self.looks = 0;
            nap(self.nap);
            self.nap = (2 * self.nap).min(self.longest_nap);
            return;
        }
        for _ in 0..FIRST << (2 * self.looks) {
            hint::spin_loop();
        }
        self.looks += 1;
    }
}

/// Sleeps. Not by the C library's function, where a thread can be cancelled: this one may have the heap's
/// lock. It waits for a word that nobody knows of: each sandbox in which there are threads allows that, but not each
/// allows `nanosleep`.
#[cfg(all(target_os = "linux", not(mem_alloc_rust_shuttle)))]
fn nap(nanoseconds: u32) {
    let time = super::duration::KernelDuration::of_nanoseconds(nanoseconds);
    let word = 0u32;
    let command = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    super::errno::preserving_errno(|| {
        // SAFETY: the word and the time are there; nothing else is touched.
        unsafe { libc::syscall(libc::SYS_futex, &raw const word, command, word, &raw const time) };
    });
}

#[cfg(not(all(target_os = "linux", not(mem_alloc_rust_shuttle))))]
fn nap(nanoseconds: u32) {
    crate::sync::thread::sleep(core::time::Duration::from_nanos(nanoseconds.into()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn who_has_waited_for_some_time_sleeps_between_looks() {
        const NAPS: [u32; 8] =
            [NAP, 2 * NAP, 4 * NAP, 8 * NAP, LONGEST_NAP, LONGEST_NAP, LONGEST_NAP, LONGEST_NAP];
        let mut backoff = Backoff::new();
        for nap in NAPS {
            let start = Instant::now();
            (0..=LOOKS).for_each(|_| backoff.pause());
            assert!(start.elapsed() >= Duration::from_nanos(nap.into()));
        }
    }
}
