//! Who called whom, by the unwinder that std panics with, and is linked for that.

#[cfg(all(target_arch = "x86_64", any(target_os = "linux", target_os = "freebsd", target_vendor = "apple")))]
pub(crate) mod last_callers;

use core::ffi::{c_int, c_void};

unsafe extern "C" {
    fn _Unwind_Backtrace(tell: extern "C" fn(*mut c_void, *mut c_void) -> c_int, data: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    fn _Unwind_FindEnclosingFunction(address: *mut c_void) -> *mut c_void;
}

/// What passes on return addresses, whoever asked for them.
pub(crate) const WALK: *const () = _Unwind_Backtrace as *const ();

/// One of those who have called, as the unwinder sees it.
pub(crate) struct Caller(*mut c_void);

impl Caller {
    /// The return address that leads into it.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        // SAFETY: the unwinder's context, which is there as long as it calls back.
        unsafe { _Unwind_GetIP(self.0) }
    }
}

/// Passes on those who have called, the innermost first, until it is told that they are enough. Asks Rust's allocator
/// for nothing.
pub(crate) fn each_caller(mut pass_on: &mut dyn FnMut(&Caller) -> bool) {
    // SAFETY: the callback is called with the data, before this returns.
    unsafe { _Unwind_Backtrace(note, (&raw mut pass_on).cast()) };
}

extern "C" fn note(context: *mut c_void, data: *mut c_void) -> c_int {
    const GO_ON: c_int = 0;
    const ENOUGH: c_int = 5;
    // SAFETY: the data is what `each_caller` passed.
    let pass_on = unsafe { &mut *data.cast::<&mut dyn FnMut(&Caller) -> bool>() };
    if pass_on(&Caller(context)) { GO_ON } else { ENOUGH }
}

/// Whether somebody is among so many of those who have called, the innermost first.
pub(crate) fn is_caller(most: u32, is_it: &mut dyn FnMut(&Caller) -> bool) -> bool {
    let (mut is_found, mut left) = (false, most);
    each_caller(&mut |caller| {
        is_found = is_it(caller);
        left = left.saturating_sub(1);
        !is_found && left > 0
    });
    is_found
}

/// Where the function begins that a return address leads into; null if nobody knows.
pub(crate) fn function_of(address: usize) -> *const () {
    // The address of a call that never returns may be that of the next function.
    let within = core::ptr::without_provenance_mut(address.wrapping_sub(1));
    // SAFETY: the address is compared with those in tables only.
    unsafe { _Unwind_FindEnclosingFunction(within) }.cast_const().cast()
}
