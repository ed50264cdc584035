//! Waiting for something that another thread does within nanoseconds, unless it lost the processor meanwhile.

use crate::sync::{hint, thread};
use core::time::Duration;

/// How often a waiter looks before it lets another thread run.
const SPINS: u32 = 100;

/// How often it lets another thread run before it sleeps.
///
/// Yielding lets no thread of a lower priority run: a waiter that only yields can keep the other one from
/// ever going on.
const YIELDS: u32 = 100;

/// How long it sleeps then.
const NAP: Duration = Duration::from_micros(50);

/// Waits a little longer each time, and lets other threads run.
pub(crate) struct Backoff {
    round: u32,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { round: 0 }
    }

    /// Spins, then yields, then sleeps.
    pub(crate) fn pause(&mut self) {
        self.round = self.round.saturating_add(1);
        if self.round <= SPINS {
            hint::spin_loop();
        } else if self.round <= SPINS + YIELDS {
            thread::yield_now();
        } else {
            nap();
        }
    }
}

/// Sleeps. Not by the C library's function, where a thread can be cancelled: this one may have the heap's
/// lock.
#[cfg(all(target_os = "linux", not(mem_alloc_rust_shuttle)))]
fn nap() {
    let time = super::duration::KernelDuration::new(NAP);
    super::errno::preserving_errno(|| {
        let nowhere = core::ptr::null_mut::<super::duration::KernelDuration>();
        // SAFETY: the time is there, and nobody asks for what is left of it.
        unsafe { libc::syscall(libc::SYS_nanosleep, &raw const time, nowhere) };
    });
}

#[cfg(not(all(target_os = "linux", not(mem_alloc_rust_shuttle))))]
fn nap() {
    thread::sleep(NAP);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn who_has_waited_for_some_time_sleeps_between_looks() {
        const NAPS: u32 = 20;
        let mut backoff = Backoff::new();
        (0..SPINS + YIELDS).for_each(|_| backoff.pause());
        let start = Instant::now();
        (0..NAPS).for_each(|_| backoff.pause());
        assert!(start.elapsed() >= NAPS * NAP);
    }
}
