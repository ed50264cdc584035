//! The lock of a program with an operating system: no atomic read-modify-write as long as the process has one
//! thread, waiters that keep away from it, and a holder that is known, so that a thread which waits for itself is told
//! instead of waiting forever.

use super::backoff::Backoff;
use super::single_thread::SingleThread;
use crate::fault::{self, Fault};
use crate::sync::atomic::{AtomicUsize, Ordering, compiler_fence};
use crate::sync::thread_local;
use lock_api::{GuardNoSend, RawMutex};

/// What `holder` is before the lock was ever taken, while nobody has it, and while the only thread of the
/// process has it. Anything else is the number of a thread.
mod holder {
    pub(super) const NEVER_USED: usize = 0;
    pub(super) const NOBODY: usize = 1;
    pub(super) const ONLY_THREAD: usize = 2;
}
use holder::{NEVER_USED, NOBODY, ONLY_THREAD};

thread_local! {
    /// Its address tells threads apart. Initialised by a constant and without a destructor: taking the address calls
    /// nothing.
    static HERE: u8 = const { 0 };
}

/// A number that no other thread has as long as this one runs, and none of those above.
#[inline(always)]
fn this_thread() -> usize {
    HERE.with(|here| core::ptr::from_ref(here).addr())
}

/// A lock that knows its holder, and a pointer to a byte of the C library's.
///
/// While the process has one thread, the holder is tested and set by two plain instructions instead of one
/// atomic one. That is sound because another holder could only appear between the two: the process gets its
/// second thread by a call of this very thread, which is in neither an allocation nor a release then. The
/// holder is written all the same, so that a thread that is created later, whenever that may be, finds the
/// lock in its true state. (A signal handler that interrupts the thread between the two instructions may take
/// and release the lock; it may not create a thread, and POSIX does not let it.)
pub(super) struct Lock {
    holder: AtomicUsize,
    single_thread: SingleThread,
}

// SAFETY: `holder` leaves `NOBODY` in `lock` and `try_lock` only, in one atomic step or while there is one
// thread, and whoever did that is the holder until `unlock`.
unsafe impl RawMutex for Lock {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
    const INIT: Self = Self { holder: AtomicUsize::new(NEVER_USED), single_thread: SingleThread::new() };

    type GuardMarker = GuardNoSend;

    #[inline(always)]
    fn lock(&self) {
        if !self.try_lock() {
            self.wait();
        }
    }

    #[inline(always)]
    fn try_lock(&self) -> bool {
        // The very first attempt fails, so that `wait`, which is out of line, asks the C library.
        if self.holder.load(Ordering::Acquire) != NOBODY {
            return false;
        }
        // SAFETY: the lock was used before, and this thread has seen that.
        if unsafe { self.single_thread.is_certain() } {
            self.holder.store(ONLY_THREAD, Ordering::Relaxed);
            // For the sake of signal handlers, the compiler keeps the critical section behind the lock.
            compiler_fence(Ordering::SeqCst);
            return true;
        }
        self.holder.compare_exchange(NOBODY, this_thread(), Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline(always)]
    unsafe fn unlock(&self) {
        self.holder.store(NOBODY, Ordering::Release);
    }

    fn is_locked(&self) -> bool {
        !matches!(self.holder.load(Ordering::Relaxed), NOBODY | NEVER_USED)
    }
}

impl Lock {
    /// Waits for the lock and takes it.
    #[cold]
    #[inline(never)]
    fn wait(&self) {
        if self.holder.load(Ordering::Acquire) == NEVER_USED {
            self.single_thread.look_up();
            // Whoever comes second finds it done.
            let _ = self.holder.compare_exchange(NEVER_USED, NOBODY, Ordering::Release, Ordering::Relaxed);
        }
        match self.holder.load(Ordering::Acquire) {
            NOBODY => {}
            // SAFETY: the lock was used before.
            ONLY_THREAD if unsafe { self.single_thread.is_certain() } => fault::raise(Fault::Reentry),
            holder if holder == this_thread() => fault::raise(Fault::Reentry),
            _ => {}
        }
        let mut backoff = Backoff::new();
        while !self.try_lock() {
            backoff.pause();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lock_asks_the_c_library() {
        let lock = Lock::INIT;
        assert!(!lock.is_locked() && !lock.try_lock());
        lock.lock();
        assert!(lock.is_locked());
        assert!(!lock.try_lock());
        // SAFETY: the lock is held by this thread.
        unsafe { lock.unlock() };
        assert!(lock.try_lock());
    }

    #[test]
    fn threads_exclude_each_other_and_none_waits_forever() {
        struct Shared(Lock, core::cell::UnsafeCell<u64>);
        // SAFETY: the number is touched by whoever has the lock.
        unsafe impl Sync for Shared {}
        const ROUNDS: u64 = 20_000;
        const THREADS: u64 = 8;
        let shared = Shared(Lock::INIT, core::cell::UnsafeCell::new(0));
        let work = |shared: &Shared| {
            for _ in 0..ROUNDS {
                shared.0.lock();
                // SAFETY: this thread has the lock.
                unsafe {
                    *shared.1.get() += 1;
                    shared.0.unlock();
                }
            }
        };
        std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(|| work(&shared)))));
        assert_eq!(shared.1.into_inner(), ROUNDS * THREADS);
    }
}
