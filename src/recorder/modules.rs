//! Whose code the process has: the program itself and its libraries.

#![allow(clippy::unnecessary_cast, reason = "the linker's numbers are of another width on other systems")]

use super::file::MAX_PATH;
use crate::trace::Module;

/// Tells of each of them. The dynamic linker is asked, which has a lock of its own. The place is for a path: a signal
/// handler's stack has no room for one.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn for_each<F: FnMut(Module<'_>)>(path: &mut [u8; MAX_PATH], tell: F) {
    let mut data = (path, tell);
    // SAFETY: the callback is called with the data, before this returns.
    unsafe { libc::dl_iterate_phdr(Some(tell_one::<F>), (&raw mut data).cast()) };
}

/// Elsewhere nobody is to be asked.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(super) fn for_each<F: FnMut(Module<'_>)>(_: &mut [u8; MAX_PATH], _: F) {}

/// How many libraries were ever loaded: who has counted before knows whether there are new ones.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn loaded() -> u64 {
    unsafe extern "C" fn count(
        info: *mut libc::dl_phdr_info,
        _: libc::size_t,
        data: *mut libc::c_void,
    ) -> i32 {
        // SAFETY: the linker's information is there during the call, and the data is the number below.
        unsafe { *data.cast::<u64>() = (*info).dlpi_adds as u64 };
        1
    }
    let mut loaded = 0u64;
    // SAFETY: as above.
    unsafe { libc::dl_iterate_phdr(Some(count), (&raw mut loaded).cast()) };
    loaded
}

/// Elsewhere there never are any.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(super) fn loaded() -> u64 {
    0
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
unsafe extern "C" fn tell_one<F: FnMut(Module<'_>)>(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    data: *mut libc::c_void,
) -> i32 {
    // SAFETY: the linker's information is there during the call, and the data is that of `for_each`.
    let (info, (path, tell)) = unsafe { (&*info, &mut *data.cast::<(&mut [u8; MAX_PATH], F)>()) };
    // SAFETY: so many program headers lie there.
    let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let bias = info.dlpi_addr as u64;
    let (mut start, mut end) = (u64::MAX, 0);
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
        let first = bias.wrapping_add(header.p_vaddr as u64);
        start = start.min(first);
        end = end.max(first + header.p_memsz as u64);
    }
    let name = if info.dlpi_name.is_null() {
        c""
    } else {
        // SAFETY: the linker's name is a C string.
        unsafe { core::ffi::CStr::from_ptr(info.dlpi_name) }
    };
    let name = match name.to_bytes() {
        b"" => own_path(path),
        name => name,
    };
    if start < end && !name.is_empty() {
        tell(Module { bias, start, end, path: name });
    }
    0
}

/// The path of the program.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn own_path(path: &mut [u8; MAX_PATH]) -> &[u8] {
    // SAFETY: the path is a C string, the pointer and the length are those of a place that is written to.
    let len = unsafe { libc::readlink(c"/proc/self/exe".as_ptr(), path.as_mut_ptr().cast(), path.len()) };
    &path[..usize::try_from(len).unwrap_or(0)]
}
