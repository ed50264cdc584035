//! The program with `mem_alloc_rust`, per-thread caches, and as much memory from the system as it needs.

use mem_alloc_rust::{Growing, ThreadCached};

programs::main!(ThreadCached<Growing> = ThreadCached::new());
