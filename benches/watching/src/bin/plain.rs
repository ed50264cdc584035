//! The program as it is.

use mem_alloc_rust::{FreeList, ThreadCached};
use programs::ARENA;

programs::main!(ThreadCached<FreeList<ARENA>> = ThreadCached::new());
