//! The program with `mem_alloc_rust` behind its lock.

use mem_alloc_rust::{FreeList, Locked};
use programs::ARENA;

programs::main!(Locked<FreeList<ARENA>> = Locked::new());
