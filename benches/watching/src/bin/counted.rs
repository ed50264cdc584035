//! The program with its calls counted.

use mem_alloc_rust::{Counted, FreeList, ThreadCached};
use programs::ARENA;

programs::main!(Counted<ThreadCached<FreeList<ARENA>>> = Counted::new(ThreadCached::new()));
