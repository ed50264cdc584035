//! The program with a sample kept.

use mem_alloc_rust::{FreeList, Sampled, ThreadCached};
use programs::ARENA;

programs::main!(Sampled<ThreadCached<FreeList<ARENA>>> = Sampled::new(ThreadCached::new()));
