//! Keeping the C library's error number.

/// Runs something with system calls that the program did not ask for: a release between the program's own
/// call and its look at the error must not change that.
#[cfg(target_os = "linux")]
pub(crate) fn preserving_errno(call: impl FnOnce()) {
    // SAFETY: the C library gives each thread a place for its error number.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    call();
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Elsewhere the number's place has another name, and is left alone.
#[cfg(not(target_os = "linux"))]
pub(crate) fn preserving_errno(call: impl FnOnce()) {
    call();
}
