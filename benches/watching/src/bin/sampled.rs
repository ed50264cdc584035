//! The program with a sample kept.

use mem_alloc_rust::watch::Sampled;
use mem_alloc_rust::{FreeList, ThreadCached};
use programs::ARENA;

programs::main!(Sampled<ThreadCached<FreeList<ARENA>>> = Sampled::new(ThreadCached::new()));
