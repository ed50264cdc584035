//! What is kept of the execution that runs on this thread of the system.

use crate::buffer::Buffered;
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;

/// When others see what a thread stores in an atomic of a static.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stores {
    /// At once.
    #[default]
    InOrder,
    /// Perhaps after the thread's next loads.
    Late,
}

/// A place that values are kept for: a static, by its address, and the number of a thread if each has its own.
pub(crate) type Place = (usize, Option<usize>);

#[derive(Default)]
pub(crate) struct Execution {
    pub(crate) stores: Stores,
    /// Whether there is a `membarrier`.
    pub(crate) has_membarrier: bool,
    /// What each thread has stored last and nobody else sees yet.
    pub(crate) buffered: Vec<Buffered>,
    /// How often somebody came to an [`Exclusive`](crate::Exclusive) value, and how many are at one.
    pub(crate) entries: u64,
    pub(crate) present: u32,
    pub(crate) at_fork: Vec<[unsafe extern "C" fn(); 3]>,
    values: HashMap<Place, Box<dyn Any>>,
}

std::thread_local! {
    static EXECUTION: RefCell<Execution> = RefCell::default();
}

/// Looks at the execution, at none of whose points another thread goes on meanwhile.
pub(crate) fn with<R>(look: impl FnOnce(&mut Execution) -> R) -> R {
    EXECUTION.with(|execution| look(&mut execution.borrow_mut()))
}

/// A new execution begins: nothing is left of the last one.
pub(crate) fn begin(stores: Stores, has_membarrier: bool) {
    let new = Execution { stores, has_membarrier, ..Execution::default() };
    let last = with(|execution| std::mem::replace(execution, new));
    drop(last);
}

/// The value at a place, made now if there is none.
pub(crate) fn value<T: 'static>(place: Place, make: fn() -> T) -> *const T {
    with(|execution| {
        let value = execution.values.entry(place).or_insert_with(|| Box::new(make()));
        let value: Option<&T> = value.downcast_ref();
        std::ptr::from_ref(value.expect("a static has one type"))
    })
}

/// The number of the thread that runs.
pub(crate) fn this_thread() -> usize {
    shuttle::current::me().into()
}
