//! The barrier that reaches all threads.

use crate::{buffer, execution, point};

/// Whether this execution has it.
pub fn register() -> bool {
    execution::with(|execution| execution.has_membarrier)
}

/// What all threads have stored arrives. Where there is no such barrier nothing does, and nobody may ask.
pub fn expedited() -> bool {
    point();
    buffer::flush_all();
    execution::with(|execution| execution.has_membarrier)
}
