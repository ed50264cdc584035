//! For tests whose threads go on until they are told to stop.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets the flag when it is dropped, so that a failed assertion does so as well: the scope that it leaves waits for its
/// threads, and a test that failed would wait for ever.
pub struct SetAtEnd<'a>(pub &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
