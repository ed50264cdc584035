//! The lock that [`Locked`](crate::Locked) uses unless told otherwise.

use core::fmt;
use lock_api::{GuardNoSend, RawMutex};

#[cfg(feature = "std")]
mod backoff;
#[cfg(all(feature = "std", target_os = "linux"))]
mod duration;
#[cfg(all(feature = "std", unix))]
mod errno;
#[cfg(feature = "std")]
mod hosted;
#[cfg(feature = "std")]
mod single_thread;
#[cfg(feature = "std")]
mod waiters;

#[cfg(all(feature = "std", unix))]
pub(crate) use backoff::Backoff;
#[cfg(all(feature = "std", unix))]
pub(crate) use errno::preserving_errno;
#[cfg(feature = "std")]
use hosted::Lock;

/// Without an operating system there is nobody to wake a sleeper. (The name `spin::Mutex` would change with a
/// feature of spin's.)
#[cfg(not(feature = "std"))]
type Lock = spin::mutex::SpinMutex<()>;

/// A lock whose waiters spin briefly and then sleep until they are woken.
///
/// A thread that loses the processor while it holds the lock must not cost every waiter a time slice. Without
/// the feature `std` it is spin's mutex, whose waiters spin.
///
/// It is not safe to take from an interrupt or signal handler that may have interrupted its holder. With
/// `std`, a thread that waits for itself ends the program with one sentence
/// ([`Fault::Reentry`](crate::Fault::Reentry)); without, it spins forever. Where that can happen, give
/// [`Locked`](crate::Locked) a lock that masks interrupts.
pub struct SpinThenSleep(Lock);

impl SpinThenSleep {
    /// Forgets whoever waited: they are threads of the process that this one was forked from.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn forget_waiters(&self) {
        self.0.forget_waiters();
    }
}

// SAFETY: every method is that of the inner lock, which excludes all but one holder.
unsafe impl RawMutex for SpinThenSleep {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
    const INIT: Self = Self(<Lock as RawMutex>::INIT);

    type GuardMarker = GuardNoSend;

    #[inline(always)]
    fn lock(&self) {
        RawMutex::lock(&self.0);
    }

    #[inline(always)]
    fn try_lock(&self) -> bool {
        RawMutex::try_lock(&self.0)
    }

    #[inline(always)]
    unsafe fn unlock(&self) {
        // SAFETY: the caller holds the lock (contract).
        unsafe { RawMutex::unlock(&self.0) }
    }

    fn is_locked(&self) -> bool {
        RawMutex::is_locked(&self.0)
    }
}

impl fmt::Debug for SpinThenSleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpinThenSleep").field("locked", &RawMutex::is_locked(self)).finish()
    }
}
