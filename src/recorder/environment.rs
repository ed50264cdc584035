//! What the environment asks for, read without an allocation.

use crate::stderr::write_line;
use crate::trace::CallSites;
use core::ffi::CStr;

/// Which file is to be written, and how.
pub(super) struct Wish {
    /// The path, `%p` included.
    pub(super) path: &'static CStr,
    /// How call sites are found.
    pub(super) call_sites: CallSites,
}

/// What the environment asks for; `None` if it asks for nothing, or has nothing to say.
pub(super) fn read() -> Option<Wish> {
    if has_more_rights() {
        return None;
    }
    let path = variable(c"MEM_ALLOC_RUST_TRACE").filter(|path| !path.is_empty())?;
    let call_sites = match variable(c"MEM_ALLOC_RUST_TRACE_CALL_SITES").map(CStr::to_bytes) {
        None | Some(b"" | b"none") => CallSites::None,
        Some(b"frame-pointers") => CallSites::FramePointers,
        Some(b"unwind") => CallSites::Unwound,
        Some(_) => {
            write_line(
                "mem_alloc_rust: MEM_ALLOC_RUST_TRACE_CALL_SITES is none of none, frame-pointers and unwind: the trace \
                     has no call sites",
            );
            CallSites::None
        }
    };
    Some(Wish { path, call_sites })
}

/// Whether the program has rights that whoever started it has not (set-user-ID, or capabilities of its file): then the environment
/// must not name files, and must not make it fail where it never did.
pub(crate) fn has_more_rights() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: asking for it has no conditions.
    let is_secure = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let is_secure = false;
    // SAFETY: asking for them has no conditions.
    is_secure || unsafe { libc::getuid() != libc::geteuid() || libc::getgid() != libc::getegid() }
}

/// The value of a variable.
fn variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: the name is a C string. Nobody sets variables before the program's first allocation has returned.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: a variable's value is a C string; it is used before the first allocation has returned.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}
