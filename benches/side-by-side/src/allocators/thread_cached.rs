//! This project's allocator with a cache for each thread.

use std::sync::LazyLock;

use mem_alloc_rust::{Growing, ThreadCached};

use crate::region::{Region, Span};

/// As large as an arena may be: what is not used of it takes no memory.
const ARENA: usize = 1 << 30;

/// A static, because no other one gets caches; and one for all measurements, because only the first
/// one of a process gets them.
static ALLOCATOR: ThreadCached<mem_alloc_rust::Region> = ThreadCached::new();

/// The allocator over as much memory from the system as it needs. In a process that uses the other one, it has no
/// caches.
pub(super) static GROWING: ThreadCached<Growing> = ThreadCached::new();

/// Bytes of the value itself, all caches' included.
pub const SIZE: usize = size_of::<ThreadCached<mem_alloc_rust::Region>>();

/// The allocator over an arena that no workload fills.
///
/// # Panics
///
/// If it is over a span already, or there is no memory.
pub(super) fn over_a_large_arena() -> &'static ThreadCached<mem_alloc_rust::Region> {
    static IS_READY: LazyLock<bool> = LazyLock::new(|| {
        let region = Region::untouched(ARENA).expect("there are as many addresses");
        over(Box::leak(Box::new(region)).span(ARENA)).is_some()
    });
    assert!(*IS_READY, "a process uses the allocator in one way");
    &ALLOCATOR
}

/// The allocator over a span; none if the span is too small, or is the second one.
pub fn over(span: Span<'static>) -> Option<&'static ThreadCached<mem_alloc_rust::Region>> {
    // SAFETY: the span is exclusively borrowed for ever. A second call fails.
    unsafe { ALLOCATOR.init(span.start.as_ptr(), span.len) }.is_ok().then_some(&ALLOCATOR)
}
