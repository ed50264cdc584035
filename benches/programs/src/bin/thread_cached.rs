//! The program with `mem_alloc_rust` and its per-thread caches.

use mem_alloc_rust::{FreeList, ThreadCached};
use programs::ARENA;

programs::main!(ThreadCached<FreeList<ARENA>> = ThreadCached::new());
