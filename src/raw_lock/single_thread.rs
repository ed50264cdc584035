//! Whether the process certainly has one thread only.
//!
//! glibc exports that since 2.32 as the byte `__libc_single_threaded`, which it clears before the second
//! thread starts. The symbol is looked up at run time, so that a program also starts with an older one, where
//! the answer is always no.

use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

/// The answer where nobody gives one.
static NEVER_CERTAIN: AtomicU8 = AtomicU8::new(0);

/// The place of the process-wide answer: null before it was looked up. All zero bytes.
pub(crate) struct SingleThread {
    byte: AtomicPtr<AtomicU8>,
}

impl SingleThread {
    pub(crate) const fn new() -> Self {
        Self { byte: AtomicPtr::new(core::ptr::null_mut()) }
    }

    /// Whether no other thread can exist now.
    ///
    /// # Safety
    ///
    /// - [`look_up`](Self::look_up) was called before, and what it wrote is visible to this thread.
    #[inline(always)]
    pub(crate) unsafe fn is_certain(&self) -> bool {
        // SAFETY: `look_up` put the address of a static there (contract).
        unsafe { (*self.byte.load(Ordering::Relaxed)).load(Ordering::Relaxed) != 0 }
    }

    /// Asks the C library for its answer, once.
    pub(crate) fn look_up(&self) {
        if self.byte.load(Ordering::Relaxed).is_null() {
            let byte = libc_answer().unwrap_or((&raw const NEVER_CERTAIN).cast_mut());
            self.byte.store(byte, Ordering::Relaxed);
        }
    }
}

#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    not(any(target_feature = "crt-static", mem_alloc_rust_shuttle))
))]
fn libc_answer() -> Option<*mut AtomicU8> {
    // SAFETY: the name is a C string, and asking for a symbol of the running program has no other conditions.
    let byte = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
    (!byte.is_null()).then_some(byte.cast())
}

#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    not(any(target_feature = "crt-static", mem_alloc_rust_shuttle))
)))]
fn libc_answer() -> Option<*mut AtomicU8> {
    None
}
