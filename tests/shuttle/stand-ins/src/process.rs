//! What a process has one of: each execution is a process.

use crate::execution;
use std::ops::Deref;

/// A static that each execution has one of.
pub struct PerExecution<T: 'static>(fn() -> T);

impl<T: 'static> PerExecution<T> {
    pub const fn new(make: fn() -> T) -> Self {
        Self(make)
    }
}

impl<T: 'static> Deref for PerExecution<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value is there until the execution is over, and nobody who asks belongs to another one.
        unsafe { &*execution::value((std::ptr::from_ref(self).addr(), None), self.0) }
    }
}

#[macro_export]
macro_rules! process_wide {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;) => {
        $(#[$attribute])*
        static $name: $crate::PerExecution<$type> = $crate::PerExecution::new(|| $value);
    };
}

/// Notes functions to be called around each [`fork`].
///
/// # Safety
///
/// - They never unwind.
pub unsafe fn at_fork(
    before: unsafe extern "C" fn(),
    in_parent: unsafe extern "C" fn(),
    in_child: unsafe extern "C" fn(),
) -> bool {
    execution::with(|execution| execution.at_fork.push([before, in_parent, in_child]));
    true
}

/// What a thread does that forks, in the parent. `meanwhile` is the system's part of it: no other thread may be at an
/// [`Exclusive`](crate::Exclusive) value then, because the copy would have it half changed.
pub fn fork(meanwhile: impl FnOnce()) {
    let handlers = execution::with(|execution| execution.at_fork.clone());
    for [before, _, _] in handlers.iter().rev() {
        // SAFETY: whoever noted it says that it may be called around a fork.
        unsafe { before() };
    }
    let at_values = || execution::with(|execution| (execution.present, execution.entries));
    let (present, before) = at_values();
    meanwhile();
    assert!(present == 0 && at_values() == (0, before), "a cache is used while the process is copied");
    for [_, in_parent, _] in &handlers {
        // SAFETY: as above.
        unsafe { in_parent() };
    }
}
