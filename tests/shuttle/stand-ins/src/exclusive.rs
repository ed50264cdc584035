//! A value that one thread at a time may be at: two that are there together are found.

use crate::{execution, point};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

#[derive(Debug)]
pub struct Exclusive<T> {
    value: UnsafeCell<T>,
    somebody_is_there: AtomicBool,
}

impl<T> Exclusive<T> {
    pub const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(value), somebody_is_there: AtomicBool::new(false) }
    }

    /// Runs an operation on the value. Other threads may go on before and after it.
    ///
    /// # Safety
    ///
    /// - The caller says that nobody else is at the value until it returns, and is told if that is not so.
    pub unsafe fn with<R>(&self, operation: impl FnOnce(&mut T) -> R) -> R {
        assert!(!self.somebody_is_there.swap(true, SeqCst), "two threads are at the same value");
        execution::with(|execution| {
            execution.entries += 1;
            execution.present += 1;
        });
        point();
        // SAFETY: nobody else is there.
        let result = operation(unsafe { &mut *self.value.get() });
        point();
        execution::with(|execution| execution.present -= 1);
        self.somebody_is_there.store(false, SeqCst);
        result
    }
}
