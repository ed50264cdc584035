//! Threads.

use crate::thread_end::at_end;
pub use shuttle::thread::{JoinHandle, sleep, yield_now};

/// As the language's. What the thread leaves is left, and what it stored has arrived, when it is joined.
pub fn spawn<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    shuttle::thread::spawn(|| {
        at_end();
        function()
    })
}
