//! A library with an allocator of its own.

#[cfg(feature = "traced")]
use mem_alloc_rust::watch::Traced;
#[cfg(not(feature = "traced"))]
use mem_alloc_rust::{FreeList, ThreadCached};
#[cfg(feature = "traced")]
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(not(feature = "traced"))]
#[global_allocator]
static A: ThreadCached<FreeList<{ 4 << 20 }>> = ThreadCached::new();

#[cfg(feature = "traced")]
#[global_allocator]
static A: Traced<std::alloc::System> = Traced::new(std::alloc::System);

/// How many threads have a cache.
#[cfg(not(feature = "traced"))]
fn threads() -> usize {
    A.caches().threads
}

/// How many threads were here, since the library was loaded.
#[cfg(feature = "traced")]
fn threads() -> usize {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

/// Allocates and frees. Returns how many threads the library knows.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_work() -> usize {
    let strings: Vec<String> = (0..100).map(|number| format!("number {number}")).collect();
    let bytes: usize = strings.iter().map(String::len).sum();
    assert_eq!(bytes, 890);
    drop(strings);
    threads()
}
