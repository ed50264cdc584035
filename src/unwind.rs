//! Who called whom, by the unwinder that std panics with, and is linked for that.

use core::ffi::{c_int, c_void};

unsafe extern "C" {
    fn _Unwind_Backtrace(tell: extern "C" fn(*mut c_void, *mut c_void) -> c_int, data: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    fn _Unwind_FindEnclosingFunction(address: *mut c_void) -> *mut c_void;
}

/// What passes on return addresses, whoever asked for them.
pub(crate) const WALK: *const () = _Unwind_Backtrace as *const ();

/// Passes on the return addresses of whoever called, the innermost first, until it is told that they are
/// enough. Asks Rust's allocator for nothing.
pub(crate) fn each_caller(mut pass_on: &mut dyn FnMut(usize) -> bool) {
    // SAFETY: the callback is called with the data, before this returns.
    unsafe { _Unwind_Backtrace(note, (&raw mut pass_on).cast()) };
}

extern "C" fn note(context: *mut c_void, data: *mut c_void) -> c_int {
    const GO_ON: c_int = 0;
    const ENOUGH: c_int = 5;
    // SAFETY: the data is what `each_caller` passed, and the context the unwinder's.
    let (pass_on, address) =
        unsafe { (&mut *data.cast::<&mut dyn FnMut(usize) -> bool>(), _Unwind_GetIP(context)) };
    if pass_on(address) { GO_ON } else { ENOUGH }
}

/// Where the function begins that a return address leads into; null if nobody knows.
pub(crate) fn function_of(address: usize) -> *const () {
    // The address of a call that never returns may be that of the next function.
    let within = core::ptr::without_provenance_mut(address.wrapping_sub(1));
    // SAFETY: the address is compared with those in tables only.
    unsafe { _Unwind_FindEnclosingFunction(within) }.cast_const().cast()
}
