//! What the lock and the caches share memory and wait by: the language's and the system's own means.
//!
//! `tests/shuttle` compiles the files of this crate with `cfg(mem_alloc_rust_shuttle)`, and then has the scheduler
//! shuttle decide which thread goes on at each of these operations. All that is swapped for that is named here, and the
//! stand-ins lie there: nothing of them is a part of this crate.

#[cfg(mem_alloc_rust_shuttle)]
pub(crate) use mem_alloc_rust_stand_ins::{
    Exclusive, at_fork, atomic, hint, in_place, membarrier, process_wide, thread, thread_local,
    unless_explored,
};
#[cfg(not(mem_alloc_rust_shuttle))]
pub(crate) use usual::*;

#[cfg(not(mem_alloc_rust_shuttle))]
mod usual {
    #[cfg(feature = "std")]
    pub(crate) use core::hint;
    /// Atomics of a static, or of what lies in one.
    #[cfg(feature = "std")]
    pub(crate) use core::sync::atomic;
    /// Atomics over words of an arena, which are other things at other times.
    pub(crate) use core::sync::atomic as in_place;
    #[cfg(all(feature = "std", not(target_os = "linux")))]
    pub(crate) use std::thread;
    #[cfg(feature = "std")]
    pub(crate) use std::thread_local;

    /// How often something is done, of which a few times show as much when interleavings are explored.
    #[cfg(feature = "std")]
    pub(crate) const fn unless_explored(usual: usize, _: usize) -> usize {
        usual
    }

    /// A value that one thread at a time may be at.
    #[cfg(all(feature = "std", unix))]
    #[derive(Debug)]
    pub(crate) struct Exclusive<T>(core::cell::UnsafeCell<T>);

    #[cfg(all(feature = "std", unix))]
    impl<T> Exclusive<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }

        /// Runs an operation on the value.
        ///
        /// # Safety
        ///
        /// - Until it returns, nobody else is at the value, the operation itself included.
        #[inline(always)]
        pub(crate) unsafe fn with<R>(&self, operation: impl FnOnce(&mut T) -> R) -> R {
            // SAFETY: the caller's contract.
            operation(unsafe { &mut *self.0.get() })
        }
    }

    /// A static of which a process has one; when interleavings are explored, each of them.
    #[cfg(all(feature = "std", unix))]
    macro_rules! process_wide {
        ($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;) => {
            $(#[$attribute])*
            static $name: $type = $value;
        };
    }
    #[cfg(all(feature = "std", unix))]
    pub(crate) use process_wide;

    /// Has functions called around each fork: in front of it, and behind it in the parent and in the child. False if
    /// the C library has no memory to note that.
    ///
    /// # Safety
    ///
    /// - They never unwind.
    #[cfg(all(feature = "std", unix))]
    pub(crate) unsafe fn at_fork(
        before: unsafe extern "C" fn(),
        in_parent: unsafe extern "C" fn(),
        in_child: unsafe extern "C" fn(),
    ) -> bool {
        // SAFETY: the caller's contract.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) == 0 }
    }

    /// A barrier that reaches all threads of the process.
    #[cfg(all(feature = "std", unix))]
    pub(crate) mod membarrier {
        #[cfg(all(target_os = "linux", not(miri)))]
        fn membarrier(command: libc::c_int) -> libc::c_long {
            // SAFETY: the call takes two numbers and touches no memory of the caller's.
            unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
        }

        /// Registers the process with the kernel. False if it has none.
        #[cfg(all(target_os = "linux", not(miri)))]
        pub(crate) fn register() -> bool {
            membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0
        }

        /// The barrier. False if the kernel refuses it.
        #[cfg(all(target_os = "linux", not(miri)))]
        pub(crate) fn expedited() -> bool {
            membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0
        }

        #[cfg(not(all(target_os = "linux", not(miri))))]
        pub(crate) fn register() -> bool {
            false
        }

        #[cfg(not(all(target_os = "linux", not(miri))))]
        pub(crate) fn expedited() -> bool {
            false
        }
    }
}
