//! A duration as Linux's system calls take it.

/// The kernel's word: of 64 bits for programs with 32-bit pointers on x86-64, else as wide as the C language's `long`.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "32"))]
type Word = i64;
#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "32")))]
type Word = core::ffi::c_long;

/// What `futex` reads. `libc::timespec` is the C library's, whose seconds may be wider: those of
/// musl have 64 bits everywhere.
#[repr(C)]
pub(crate) struct KernelDuration {
    seconds: Word,
    nanoseconds: Word,
}

impl KernelDuration {
    /// Less than a second.
    pub(crate) const fn of_nanoseconds(nanoseconds: u32) -> Self {
        Self { seconds: 0, nanoseconds: nanoseconds as Word }
    }
}
