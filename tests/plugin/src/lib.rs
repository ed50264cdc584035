//! A library with an allocator of its own.

use mem_alloc_rust::{FreeList, ThreadCached};

#[global_allocator]
static A: ThreadCached<FreeList<{ 4 << 20 }>> = ThreadCached::new();

/// Allocates and frees. Returns how many threads have a cache.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_work() -> usize {
    let strings: Vec<String> = (0..100).map(|number| format!("number {number}")).collect();
    let bytes: usize = strings.iter().map(String::len).sum();
    assert_eq!(bytes, 890);
    drop(strings);
    A.caches().threads
}
