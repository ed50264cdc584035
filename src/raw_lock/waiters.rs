//! Threads that wait for a lock: they spin, then sleep until they are woken.
//!
//! Who gives the lock back looks at the number of sleepers with a plain load, so that a lock without waiters
//! costs no atomic read-modify-write. The price is that this load may come too early for a waiter that is
//! just about to sleep. It is not woken then, but sleeps for half a millisecond at the most.
//!
//! On Linux, waiters sleep on a futex. Elsewhere nobody is woken: they yield to other threads, then sleep for
//! a while.

#[cfg(target_os = "linux")]
mod futex;

#[cfg(target_os = "linux")]
pub(super) use futex::Waiters;

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::Waiters;

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use crate::raw_lock::backoff::Backoff;

    /// The waiters of one lock, who look after themselves.
    pub(in super::super) struct Waiters(());

    impl Waiters {
        pub(in super::super) const fn none() -> Self {
            Self(())
        }

        #[inline(always)]
        pub(in super::super) fn wake_one(&self) {}

        #[cfg(unix)]
        pub(in super::super) fn forget(&self) {}

        /// Looks, and waits a little longer between looks each time, until `done` is true.
        pub(in super::super) fn wait_until(&self, mut done: impl FnMut() -> bool) {
            let mut backoff = Backoff::new();
            while !done() {
                backoff.pause();
            }
        }
    }
}
