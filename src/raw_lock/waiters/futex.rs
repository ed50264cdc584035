//! Waiters that sleep on a futex.

use crate::raw_lock::duration::KernelDuration;
use crate::raw_lock::errno::preserving_errno;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;

/// How often a waiter looks at the lock before it lets other threads run.
///
/// The critical sections are some tens of nanoseconds long: a holder that runs is done by then, and one that
/// does not run needs the processor more than the waiter.
const SPINS: u32 = 100;

/// The longest sleep.
static NAP: KernelDuration = KernelDuration::new(Duration::from_micros(500));

/// The waiters of one lock.
pub(in super::super) struct Waiters {
    /// How many sleep, or are about to.
    sleepers: AtomicU32,
    /// What they sleep on: counts how often somebody was woken.
    wakes: AtomicU32,
    /// Somebody was woken and has not run yet. To wake another one at each release would cost a system call
    /// each.
    waking: AtomicBool,
}

impl Waiters {
    /// Nobody waits; all zero bytes.
    pub(in super::super) const fn none() -> Self {
        Self { sleepers: AtomicU32::new(0), wakes: AtomicU32::new(0), waking: AtomicBool::new(false) }
    }

    /// Wakes a sleeper, if there is one. To be called when the lock was given back.
    #[inline(always)]
    pub(in super::super) fn wake_one(&self) {
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            self.wake();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        if !self.waking.swap(true, Ordering::Relaxed) {
            self.wakes.fetch_add(1, Ordering::Release);
            preserving_errno(|| {
                let command = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
                // SAFETY: the word is there; nothing else is touched.
                let woken = unsafe { libc::syscall(libc::SYS_futex, self.wakes.as_ptr(), command, 1) };
                if woken == 0 {
                    // The sleeper woke by itself meanwhile.
                    self.waking.store(false, Ordering::Relaxed);
                }
            });
        }
    }

    /// Forgets all sleepers, because they are threads of another process.
    pub(in super::super) fn forget(&self) {
        self.sleepers.store(0, Ordering::Relaxed);
        self.waking.store(false, Ordering::Relaxed);
    }

    /// Looks, and sleeps between looks, until `done` is true.
    pub(in super::super) fn wait_until(&self, mut done: impl FnMut() -> bool) {
        loop {
            for _ in 0..SPINS {
                if done() {
                    return;
                }
                core::hint::spin_loop();
            }
            let wakes = self.wakes.load(Ordering::Acquire);
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            let is_done = done();
            if !is_done {
                self.sleep(wakes);
            }
            self.sleepers.fetch_sub(1, Ordering::Relaxed);
            self.waking.store(false, Ordering::Relaxed);
            if is_done {
                return;
            }
        }
    }

    /// Sleeps until somebody is woken, unless that happened since `wakes` was read.
    fn sleep(&self, wakes: u32) {
        preserving_errno(|| {
            // SAFETY: the word and the time are there; nothing else is touched.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.wakes.as_ptr(),
                    libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                    wakes,
                    &raw const NAP,
                );
            }
        });
    }
}
