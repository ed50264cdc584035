//! A function of the program's that is told of something.

use core::marker::PhantomData;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

/// A function that is told of values of one type, or none yet.
pub(crate) struct Hook<T> {
    /// The function as a pointer, or null.
    function: AtomicPtr<()>,
    told: PhantomData<fn(&T)>,
}

impl<T> Hook<T> {
    pub(crate) const fn new() -> Self {
        Self { function: AtomicPtr::new(null_mut()), told: PhantomData }
    }

    pub(crate) fn set(&self, function: fn(&T)) {
        self.function.store(function as *mut (), Ordering::Release);
    }

    pub(crate) fn get(&self) -> Option<fn(&T)> {
        let function = self.function.load(Ordering::Acquire);
        if function.is_null() {
            return None;
        }
        // SAFETY: only `set` writes it, and what it writes is a function of exactly this type.
        Some(unsafe { core::mem::transmute::<*mut (), fn(&T)>(function) })
    }
}
