//! Keeping the C library's error number.

/// Runs something with system calls that the program did not ask for: a release between the program's own
/// call and its look at the error must not change that.
#[cfg(any(target_os = "linux", target_os = "freebsd", target_vendor = "apple"))]
pub(crate) fn preserving_errno(call: impl FnOnce()) {
    #[cfg(target_os = "linux")]
    use libc::__errno_location as errno_place;
    #[cfg(not(target_os = "linux"))]
    use libc::__error as errno_place;
    // SAFETY: the C library gives each thread a place for its error number.
    let errno = unsafe { errno_place() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    call();
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Elsewhere the number's place has another name, and is left alone.
#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_vendor = "apple")))]
pub(crate) fn preserving_errno(call: impl FnOnce()) {
    call();
}
