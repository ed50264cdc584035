//! What the environment asks for, read without an allocation.

use crate::environment::{has_more_rights, variable};
use crate::stderr::write_line;
use crate::trace::CallSites;

/// Which file is to be written, and how.
pub(super) struct Wish {
    /// The path, `%p` included.
    pub(super) path: &'static [u8],
    /// How call sites are found.
    pub(super) call_sites: CallSites,
}

/// What the environment asks for; `None` if it asks for nothing, or has nothing to say.
pub(super) fn read() -> Option<Wish> {
    if has_more_rights() {
        return None;
    }
    let path = variable(c"MEM_ALLOC_RUST_TRACE").filter(|path| !path.is_empty())?;
    let call_sites = match variable(c"MEM_ALLOC_RUST_TRACE_CALL_SITES") {
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
