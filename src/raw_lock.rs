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
pub(crate) use backoff::Backoff;
#[cfg(all(feature = "std", target_os = "linux"))]
pub(crate) use duration::KernelDuration;
#[cfg(all(feature = "std", unix))]
pub(crate) use errno::preserving_errno;
#[cfg(feature = "std")]
use hosted::Lock;
#[cfg(all(feature = "std", unix))]
pub(crate) use single_thread::SingleThread;

/// Without an operating system nobody can sleep. (The name `spin::Mutex` would change with a
/// feature of spin's.)
#[cfg(not(feature = "std"))]
type Lock = spin::mutex::SpinMutex<()>;

/// A lock whose waiters spin briefly and then sleep between looks.
///
/// A thread that loses the processor while it holds the lock must not cost every waiter a time slice; and where several
/// want it all the time, it serves all of them sooner if each has it for some time. So a waiter looks after one, four
/// and sixteen times some half a microsecond (as long as it takes processors to execute so many hints), and then sleeps
/// for a tenth of a millisecond, longer each time, up to 1.6. Nobody is woken. Without the feature `std` it is spin's
/// mutex, whose waiters spin.
///
/// ```
/// use mem_alloc_rust::lock_api::RawMutex;
/// use mem_alloc_rust::{FreeList, Locked, SpinThenSleep};
///
/// // The same type as `Locked<FreeList>`.
/// static A: Locked<FreeList, SpinThenSleep> = Locked::new();
/// assert_eq!(A.stats().live_blocks, 0);
///
/// let lock = SpinThenSleep::INIT;
/// lock.lock();
/// assert!(lock.is_locked());
/// // SAFETY: this thread has locked it.
/// unsafe { lock.unlock() };
/// assert!(!lock.is_locked());
/// ```
///
/// It is not safe to take from an interrupt or signal handler that may have interrupted its holder. With
/// `std`, a thread that waits for itself ends the program with one sentence
/// ([`Fault::Reentry`](crate::Fault::Reentry)); without, it spins forever. Where that can happen, give
/// [`Locked`](crate::Locked) a lock that masks interrupts.
///
/// # Processors without compare-and-swap
///
/// A lock needs an instruction that Cortex-M0 and RISC-V without its extension A do not have. There, spin takes
/// what stands in for it from the crate `portable-atomic`, and the program says in its own `Cargo.toml` what that
/// is; only the program knows whether there are several cores. As a rule it is the critical section of the
/// chip's support crate:
///
/// ```toml
/// portable-atomic = { version = "1", default-features = false, features = ["critical-section"] }
/// ```
///
/// Without that line nothing compiles, and `portable-atomic`'s error says so.
///
/// # A lock that masks interrupts
///
/// Programs that allocate in interrupt handlers, too, make the allocator's own lock of the crate
/// `critical-section`. Its value is all zero bytes, so that the arena stays in `.bss`.
///
/// ```
/// use core::cell::Cell;
/// use critical_section::RestoreState;
/// use mem_alloc_rust::lock_api::{GuardNoSend, RawMutex};
/// use mem_alloc_rust::{FreeList, Locked};
///
/// struct CriticalSection {
///     is_locked: Cell<bool>,
///     before: Cell<RestoreState>,
/// }
///
/// // SAFETY: the cells are touched inside of a critical section only, which one core at a time is in.
/// unsafe impl Sync for CriticalSection {}
///
/// // SAFETY: `is_locked` is tested and set inside of a critical section, which lasts until the lock is given back.
/// unsafe impl RawMutex for CriticalSection {
///     const INIT: Self =
///         Self { is_locked: Cell::new(false), before: Cell::new(RestoreState::invalid()) };
///
///     type GuardMarker = GuardNoSend;
///
///     fn lock(&self) {
///         // Another core waits for the critical section. This one is in it already, if it does not get the
///         // lock: it was called inside of itself, and waits forever. (A lock must not unwind.)
///         while !self.try_lock() {}
///     }
///
///     fn try_lock(&self) -> bool {
///         // SAFETY: it is released below, or in `unlock`.
///         let before = unsafe { critical_section::acquire() };
///         if self.is_locked.replace(true) {
///             // SAFETY: acquired just now.
///             unsafe { critical_section::release(before) };
///             return false;
///         }
///         self.before.set(before);
///         true
///     }
///
///     unsafe fn unlock(&self) {
///         self.is_locked.set(false);
///         // SAFETY: the caller has the lock, so `try_lock` acquired it.
///         unsafe { critical_section::release(self.before.get()) };
///     }
/// }
///
/// static A: Locked<FreeList<{ 16 << 10 }>, CriticalSection> = Locked::new();
/// # fn main() {
/// #     use std::alloc::{GlobalAlloc, Layout};
/// #     let layout = Layout::new::<[u64; 4]>();
/// #     unsafe {
/// #         let block = A.alloc(layout);
/// #         assert!(!block.is_null());
/// #         A.dealloc(block, layout);
/// #     }
/// #     assert_eq!(A.stats().live_blocks, 0);
/// # }
/// ```
pub struct SpinThenSleep(Lock);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_tells_whether_somebody_has_it() {
        let lock = SpinThenSleep::INIT;
        let says = |lock: &SpinThenSleep| std::format!("{lock:?}");
        assert!(!lock.is_locked());
        lock.lock();
        assert!(lock.is_locked() && !lock.try_lock());
        assert_eq!(says(&lock), "SpinThenSleep { locked: true }");
        // SAFETY: the lock is held by this thread.
        unsafe { lock.unlock() };
        assert_eq!(says(&lock), "SpinThenSleep { locked: false }");
        assert!(lock.try_lock() && lock.is_locked());
    }
}
