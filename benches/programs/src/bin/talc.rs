//! The program with talc over an arena.

use std::mem::MaybeUninit;

use programs::ARENA;
use talc::TalcLock;
use talc::source::Claim;

/// Uninitialised like `mem_alloc_rust`'s, so that it lies in `.bss`, too.
static mut MEMORY: [MaybeUninit<u8>; ARENA] = [MaybeUninit::uninit(); ARENA];

// SAFETY: the memory is static and writable, and nobody else uses it.
programs::main!(TalcLock<spin::Mutex<()>, Claim> = TalcLock::new(unsafe { Claim::array(&raw mut MEMORY) }));
