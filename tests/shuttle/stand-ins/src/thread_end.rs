//! What a thread leaves when it ends.

use crate::buffer;
use std::cell::RefCell;
use std::ffi::c_void;

/// A kind of value that threads leave, and what is called with it.
pub struct AtThreadEnd(unsafe extern "C" fn(*mut c_void));

/// The values that the calling thread leaves, with their kinds.
struct Left(RefCell<Vec<(&'static AtThreadEnd, *const c_void)>>);

shuttle::thread_local! {
    static LEFT: Left = Left(RefCell::default());
}

impl AtThreadEnd {
    pub const fn new(function: unsafe extern "C" fn(*mut c_void)) -> Self {
        Self(function)
    }

    pub fn prepare(&'static self) -> bool {
        true
    }

    /// What the function is called with when the calling thread ends; for null it is not called.
    pub fn set(&'static self, value: *const c_void) -> bool {
        LEFT.with(|left| {
            let mut left = left.0.borrow_mut();
            left.retain(|(kind, _)| !std::ptr::eq(*kind, self));
            left.push((self, value));
        });
        true
    }
}

/// Makes the end of the calling thread one of which the stand-ins know.
pub(crate) fn at_end() {
    LEFT.with(|_| {});
}

impl Drop for Left {
    fn drop(&mut self) {
        for (kind, value) in self.0.take().into_iter().filter(|(_, value)| !value.is_null()) {
            // SAFETY: whoever set it says that the function may be called with it, by the thread that ends.
            unsafe { (kind.0)(value.cast_mut()) };
        }
        buffer::flush_own();
    }
}
