//! This project's allocator with a cache for each thread.

use mem_alloc_rust::{FreeList, ThreadCached};

/// As large as an arena may be: what is not used of it takes no memory.
const ARENA: usize = 1 << 30;

/// A static, because no other one gets caches; and one for all measurements, because only the first one of a process gets them.
pub(super) static ALLOCATOR: ThreadCached<FreeList<ARENA>> = ThreadCached::new();
