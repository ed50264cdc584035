//! The lock that [`Locked`](crate::Locked) uses unless told otherwise.

use lock_api::{GuardNoSend, RawMutex};

/// How often a waiter looks at the lock before it lets another thread run.
///
/// The critical sections are some tens of nanoseconds long: a holder that runs is done by then, and one that does not run
/// needs the processor more than the waiter.
#[cfg(feature = "std")]
const SPINS: u32 = 100;

/// A spin lock whose waiters spin briefly and then yield to the scheduler.
///
/// A thread that loses the processor while it holds the lock must not cost every waiter a time slice. Without the
/// feature `std` there is nobody to yield to, and waiters spin. It is not safe to take from an interrupt or signal
/// handler that may have interrupted its holder; where that can happen, give [`Locked`](crate::Locked) a lock that masks
/// interrupts.
pub struct SpinThenYield(spin::Mutex<()>);

// SAFETY: every method is that of spin's mutex, which excludes all but one holder.
unsafe impl RawMutex for SpinThenYield {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
    const INIT: Self = Self(spin::Mutex::new(()));

    type GuardMarker = GuardNoSend;

    #[inline(always)]
    fn lock(&self) {
        if !self.try_lock() {
            self.wait();
        }
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
        self.0.is_locked()
    }
}

impl SpinThenYield {
    /// Waits for the lock and takes it.
    #[cold]
    #[inline(never)]
    fn wait(&self) {
        #[cfg(feature = "std")]
        for round in 0u32.. {
            if !self.0.is_locked() && self.try_lock() {
                return;
            }
            if round < SPINS { core::hint::spin_loop() } else { std::thread::yield_now() }
        }
        #[cfg(not(feature = "std"))]
        RawMutex::lock(&self.0);
    }
}

impl core::fmt::Debug for SpinThenYield {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SpinThenYield").field("locked", &self.is_locked()).finish()
    }
}
