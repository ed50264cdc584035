//! The allocators that are named here rather than in the program.
//!
//! The compiler holds the initial value of the arena in memory while it compiles the crate that the
//! arena belongs to. This is that crate, so that the many programs are not.

use std::alloc::{GlobalAlloc, Layout};

/// Bytes of the arena: the most that there can be, and more than any of the works needs. It lies in `.bss`, where pages
/// that are never used take no memory.
#[cfg(any(feature = "locked", feature = "thread_cached", feature = "talc"))]
const ARENA: usize = 512 << 20;

/// Bytes of an arena whose size is what is examined.
#[cfg(any(feature = "sized_locked", feature = "sized_thread_cached"))]
const SIZED: usize = {
    let digits = env!("MEM_ALLOC_RUST_BENCH_ARENA").as_bytes();
    let (mut size, mut at) = (0, 0);
    while at < digits.len() {
        size = 10 * size + (digits[at] - b'0') as usize;
        at += 1;
    }
    size
};

#[cfg(feature = "locked")]
static CHOSEN: mem_alloc_rust::Locked<mem_alloc_rust::FreeList<ARENA>> = mem_alloc_rust::Locked::new();

#[cfg(feature = "thread_cached")]
static CHOSEN: mem_alloc_rust::ThreadCached<mem_alloc_rust::FreeList<ARENA>> =
    mem_alloc_rust::ThreadCached::new();

/// As much as there is.
#[cfg(feature = "growing")]
static CHOSEN: mem_alloc_rust::ThreadCached<mem_alloc_rust::Growing> = mem_alloc_rust::ThreadCached::new();

/// What the program asks for does not depend on who serves it.
#[cfg(feature = "traced")]
static CHOSEN: mem_alloc_rust::watch::Traced<std::alloc::System> =
    mem_alloc_rust::watch::Traced::new(std::alloc::System);

#[cfg(feature = "sized_locked")]
static CHOSEN: mem_alloc_rust::Locked<mem_alloc_rust::FreeList<SIZED>> = mem_alloc_rust::Locked::new();

#[cfg(feature = "sized_thread_cached")]
static CHOSEN: mem_alloc_rust::ThreadCached<mem_alloc_rust::FreeList<SIZED>> =
    mem_alloc_rust::ThreadCached::new();

#[cfg(feature = "talc")]
static CHOSEN: talc::TalcLock<spin::Mutex<()>, talc::source::Claim> = {
    use std::mem::MaybeUninit;

    /// Uninitialised like `mem_alloc_rust`'s, so that it lies in `.bss`, too.
    static mut MEMORY: [MaybeUninit<u8>; ARENA] = [MaybeUninit::uninit(); ARENA];

    // SAFETY: the memory is static and writable, and nobody else uses it.
    talc::TalcLock::new(unsafe { talc::source::Claim::array(&raw mut MEMORY) })
};

/// What a program names: the allocator above, inlined.
pub struct Allocator;

// SAFETY: every call is passed on as it came to an allocator that keeps the contract.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { CHOSEN.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { CHOSEN.dealloc(address, layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { CHOSEN.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { CHOSEN.realloc(address, layout, size) }
    }
}
