//! A limit for what a thread may have.

use super::probe;
use super::slot::Slot;

/// Runs something in which this thread may have so many more live bytes than at the beginning. What would be more is
/// refused with null, so that `try_reserve` returns an error, and `Vec::push` ends the program.
///
/// What the thread releases makes room for other allocations, whoever allocated it; what other threads allocate or
/// release in the meantime does not matter. A limit inside of another one cannot be wider. A thread that panics has no
/// limit.
///
/// ```
/// use mem_alloc_rust::watch::{Counted, limit};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     /// What must not take more than it is worth.
///     fn decode(len: usize) -> Result<Vec<u8>, std::collections::TryReserveError> {
///         let mut decoded = Vec::new();
///         decoded.try_reserve(len)?;
///         Ok(decoded)
///     }
///     limit(64 << 10, || {
///         assert!(decode(1000).is_ok());
///         assert!(decode(1_000_000).is_err());
///     });
///     assert!(decode(1_000_000).is_ok());
/// }
/// ```
///
/// # Panics
///
/// If the program's global allocator is not [`Counted`](super::Counted): nothing would be refused.
#[track_caller]
pub fn limit<T>(bytes: usize, run: impl FnOnce() -> T) -> T {
    struct Restore(&'static Slot, isize);
    impl Drop for Restore {
        fn drop(&mut self) {
            self.0.set_limit(self.1);
        }
    }

    let slot = probe::counted_slot("limit");
    let bytes = isize::try_from(bytes).unwrap_or(isize::MAX);
    let before = slot.limit();
    slot.set_limit(before.min(slot.live_bytes.get().saturating_add(bytes)));
    let _restore = Restore(slot, before);
    run()
}
