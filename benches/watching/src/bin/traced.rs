//! The program with every call written to a file, if its environment names one.

use mem_alloc_rust::{FreeList, ThreadCached, Traced};
use programs::ARENA;

programs::main!(Traced<ThreadCached<FreeList<ARENA>>> = Traced::new(ThreadCached::new()));
