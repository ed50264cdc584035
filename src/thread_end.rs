//! What a thread leaves when it ends: a value of each kind, which is passed to a function then.
//!
//! By the C library's keys, because a thread-local of Rust's that has a destructor may allocate when it is first used.

use crate::static_memory;
use core::ffi::c_void;
use core::sync::atomic::{AtomicUsize, Ordering};

/// A kind of value that threads leave, and what is called with it. To be kept in a static.
pub(crate) struct AtThreadEnd {
    /// A `pthread_key_t`, which is of another width on each system and of no more than a pointer's on any, and one;
    /// zero if there is none yet.
    key: AtomicUsize,
    /// Called by the thread that ends. Never unwinds.
    function: unsafe extern "C" fn(*mut c_void),
}

impl AtThreadEnd {
    /// Values that a function takes; the C library does not know of it yet.
    pub(crate) const fn new(function: unsafe extern "C" fn(*mut c_void)) -> Self {
        Self { key: AtomicUsize::new(0), function }
    }

    /// Makes the C library call the function, from now on and as long as the program runs. The library that it is in
    /// stays loaded. False if the C library has no key left.
    pub(crate) fn prepare(&'static self) -> bool {
        if self.key().is_some() {
            return true;
        }
        static_memory::keep_loaded(self);
        let mut key: libc::pthread_key_t = 0;
        // SAFETY: the key has room, and the function never unwinds.
        if unsafe { libc::pthread_key_create(&raw mut key, Some(self.function)) } != 0 {
            return false;
        }
        let made = key as usize + 1;
        if self.key.compare_exchange(0, made, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: this thread made the key, and nobody else has it.
            unsafe { libc::pthread_key_delete(key) };
        }
        true
    }

    /// What the function is called with when the calling thread ends; for null it is not called. False if the C library
    /// has no memory to note that, or was not [prepared](Self::prepare).
    pub(crate) fn set(&self, value: *const c_void) -> bool {
        // SAFETY: the key was made, and is never deleted.
        self.key().is_some_and(|key| unsafe { libc::pthread_setspecific(key, value) } == 0)
    }

    fn key(&self) -> Option<libc::pthread_key_t> {
        self.key.load(Ordering::Acquire).checked_sub(1).map(|key| key as libc::pthread_key_t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_gets_what_was_set_last_by_a_thread_that_ends() {
        static SUM: AtomicUsize = AtomicUsize::new(0);
        static LEFT: AtThreadEnd = AtThreadEnd::new(add);
        unsafe extern "C" fn add(value: *mut c_void) {
            SUM.fetch_add(value.addr(), Ordering::Relaxed);
        }
        assert!(!LEFT.set(core::ptr::without_provenance(1)), "it is not prepared yet");
        assert!(LEFT.prepare() && LEFT.prepare());
        for value in [10, 0] {
            let leave = move || {
                assert!(LEFT.set(core::ptr::without_provenance(5)));
                assert!(LEFT.set(core::ptr::without_provenance(value)));
            };
            std::thread::spawn(leave).join().unwrap();
        }
        assert_eq!(SUM.load(Ordering::Relaxed), 10);
    }
}
