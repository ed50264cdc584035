//! Variables of the environment, read without an allocation.

use core::ffi::CStr;

/// The value of a variable, if it is set.
#[cfg(unix)]
pub(crate) fn variable(name: &CStr) -> Option<&'static [u8]> {
    // SAFETY: the name is a C string. As everywhere, whoever sets variables while others read them is at fault.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: a variable's value is a C string, and stays as long as nobody sets the variable.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) }.to_bytes())
}

/// Looks at the value of a variable, if it is set.
pub(crate) fn look_at<T>(name: &CStr, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
    #[cfg(unix)]
    return variable(name).map(look);
    // Elsewhere std gives it away as a copy, for which the system gives memory.
    #[cfg(not(unix))]
    {
        let mut found = None;
        crate::attention::while_telling(|| {
            let value = name.to_str().ok().and_then(std::env::var_os);
            found = value.map(|value| look(value.as_encoded_bytes()));
        });
        found
    }
}

/// Whether the program has rights that whoever started it has not (set-user-ID, or capabilities of its file): then the
/// environment must not name files, and must not make it fail where it never did.
#[cfg(unix)]
pub(crate) fn has_more_rights() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: asking for it has no conditions.
    let is_secure = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let is_secure = false;
    // SAFETY: asking for them has no conditions.
    is_secure || unsafe { libc::getuid() != libc::geteuid() || libc::getgid() != libc::getegid() }
}
