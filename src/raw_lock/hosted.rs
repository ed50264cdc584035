//! The lock of a program with an operating system: one byte, no atomic read-modify-write as long as the process has one
//! thread, and waiters that yield.

use super::single_thread::SingleThread;
use core::sync::atomic::{AtomicBool, Ordering, compiler_fence};
use core::time::Duration;
use lock_api::{GuardNoSend, RawMutex};

/// How often a waiter looks at the lock before it lets another thread run.
///
/// The critical sections are some tens of nanoseconds long: a holder that runs is done by then, and one that does not run
/// needs the processor more than the waiter.
const SPINS: u32 = 100;

/// How often it lets another thread run before it sleeps.
///
/// Yielding lets no thread of a lower priority run: a waiter that only yields can keep the holder from ever letting go.
const YIELDS: u32 = 100;

/// How long it sleeps then.
const NAP: Duration = Duration::from_micros(50);

/// A lock that is one byte, and a pointer to one of the C library's.
///
/// While the process has one thread, the byte is tested and set by two plain instructions instead of one atomic one. That is
/// sound because another holder could only appear between the two: the process gets its second thread by a call of this very
/// thread, which is in neither an allocation nor a release then. The byte is written all the same, so that a thread that is
/// created later, whenever that may be, finds the lock in its true state. (A signal handler that interrupts the thread
/// between the two instructions may take and release the lock; it may not create a thread, and POSIX does not let it.)
pub(super) struct Lock {
    locked: AtomicBool,
    single_thread: SingleThread,
}

// SAFETY: `locked` goes from false to true in `lock` and `try_lock` only, in one atomic step or while there is one thread, and
// whoever did that is the holder until `unlock`.
unsafe impl RawMutex for Lock {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
    const INIT: Self = Self { locked: AtomicBool::new(false), single_thread: SingleThread::new() };

    type GuardMarker = GuardNoSend;

    #[inline(always)]
    fn lock(&self) {
        if !self.try_lock() {
            self.wait();
        }
    }

    #[inline(always)]
    fn try_lock(&self) -> bool {
        match self.single_thread.is_certain() {
            Some(true) => {
                let free = !self.locked.load(Ordering::Relaxed);
                if free {
                    self.locked.store(true, Ordering::Relaxed);
                }
                // For the sake of signal handlers, the compiler keeps the critical section behind the lock.
                compiler_fence(Ordering::Acquire);
                free
            }
            Some(false) => {
                self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
            }
            // The very first attempt fails, so that `wait`, which is out of line, asks the C library.
            None => false,
        }
    }

    #[inline(always)]
    unsafe fn unlock(&self) {
        self.locked.store(false, Ordering::Release);
    }

    fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Relaxed)
    }
}

impl Lock {
    /// Waits for the lock and takes it.
    #[cold]
    #[inline(never)]
    fn wait(&self) {
        self.single_thread.look_up();
        let mut backoff = Backoff::new();
        while self.is_locked() || !self.try_lock() {
            backoff.pause();
        }
    }
}

/// Waits a little longer each time, and lets other threads run: for something that another thread does within nanoseconds, unless it
/// lost the processor meanwhile.
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
            core::hint::spin_loop();
        } else if self.round <= SPINS + YIELDS {
            std::thread::yield_now();
        } else {
            std::thread::sleep(NAP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lock_asks_the_c_library() {
        let lock = Lock::INIT;
        assert_eq!(lock.single_thread.is_certain(), None);
        lock.lock();
        assert!(lock.single_thread.is_certain().is_some());
        assert!(!lock.try_lock());
        // SAFETY: the lock is held by this thread.
        unsafe { lock.unlock() };
        assert!(lock.try_lock());
    }
}
