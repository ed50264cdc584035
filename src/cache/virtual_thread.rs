//! Several threads' caches for one thread, by turns.

use super::home::{self, Seat};
use core::fmt;
use core::marker::PhantomData;

/// A thread as the allocator sees it: one that a thread of the system plays for a while.
///
/// What is allocated and released meanwhile goes through a cache of the virtual thread's own. That is how the recorded
/// calls of many threads are performed again in the order in which they came, without a switch from thread to thread
/// for each turn. When it is dropped, the cache goes where that of a thread goes that ends.
///
/// Hidden in the documentation, and no part of what versions promise: it is there for the tool `insight`.
pub struct VirtualThread {
    seat: Seat,
    /// It stays on its thread: the caches of a thread are used by nobody else.
    stays: PhantomData<*const ()>,
}

impl VirtualThread {
    /// One that has no cache yet.
    ///
    /// # Safety
    ///
    /// - A child process that is forked while there is a virtual thread neither plays it nor drops it: its cache is
    ///   gone there.
    /// - No signal handler that interrupts the beginning or the end of a turn calls the allocator.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self { seat: Seat::new(), stays: PhantomData }
    }

    /// Calls a function as this thread. Inside, the function may play others.
    pub fn play<R>(&mut self, function: impl FnOnce() -> R) -> R {
        /// Ends the turn, also if the function panics.
        struct Turn<'a>(&'a Seat);

        impl Drop for Turn<'_> {
            fn drop(&mut self) {
                home::exchange(self.0);
            }
        }

        home::exchange(&self.seat);
        let _turn = Turn(&self.seat);
        function()
    }
}

impl Drop for VirtualThread {
    fn drop(&mut self) {
        home::leave(&self.seat);
    }
}

impl fmt::Debug for VirtualThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualThread").finish_non_exhaustive()
    }
}
