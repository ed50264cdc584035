//! Waiters that sleep on a futex.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How often a waiter looks at the lock before it lets other threads run.
///
/// The critical sections are some tens of nanoseconds long: a holder that runs is done by then, and one that does not run
/// needs the processor more than the waiter.
const SPINS: u32 = 100;

/// The longest sleep: half a millisecond.
static NAP: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 500_000 };

/// The waiters of one lock.
pub(in super::super) struct Waiters {
    /// How many sleep, or are about to.
    sleepers: AtomicU32,
    /// What they sleep on: counts how often somebody was woken.
    wakes: AtomicU32,
    /// Somebody was woken and has not run yet. To wake another one at each release would cost a system call each.
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
                // SAFETY: the word is there; nothing else is touched.
                unsafe {
                    libc::syscall(
                        libc::SYS_futex,
                        self.wakes.as_ptr(),
                        libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                        1,
                    );
                }
            });
        }
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

/// Runs a system call that the program did not ask for: a release between the program's own call and its look at the error must not
/// change that.
fn preserving_errno(call: impl FnOnce()) {
    // SAFETY: the C library gives each thread a place for its error number.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    call();
    // SAFETY: as above.
    unsafe { *errno = before };
}
