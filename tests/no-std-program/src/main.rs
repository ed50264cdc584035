//! Allocates through `alloc` from a static arena, watches that, and allocates by hand from a region that is found at
//! run time. Its exit code is 0 if all went well, 1 if an answer was wrong, 2 if a fault was told, and 3 after a panic.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use mem_alloc_rust::watch::{
    Consequence, Counted, Forbidden, Policy, Refusing, for_each_refusal, forbid, limit, measure,
};
use mem_alloc_rust::{FreeList, Locked, Region};

type Arena = Locked<FreeList<{ 256 << 10 }>>;

#[global_allocator]
static A: Counted<Refusing<Arena>> = Counted::new(Refusing::new(Locked::new()));

fn arena() -> &'static Arena {
    A.inner().inner()
}

// The C library is here for the start of the program and its exit only.
#[link(name = "c")]
unsafe extern "C" {
    safe fn exit(code: i32) -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(3)
}

/// The precompiled `alloc` crate of a hosted target was built to unwind and asks for this symbol. Nothing here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Memory as a kernel would find it: bytes at an odd address.
struct Found(UnsafeCell<[u8; 4096]>);

// SAFETY: only the one region over it uses the bytes.
unsafe impl Sync for Found {}

static FOUND: Found = Found(UnsafeCell::new([0xFF; 4096]));

fn collections() -> bool {
    let numbers: Vec<u32> = (0..1000).collect();
    let by_text: BTreeMap<String, u32> = numbers.iter().map(|number| (number.to_string(), *number)).collect();
    numbers.iter().all(|number| by_text[&number.to_string()] == *number)
}

fn region() -> bool {
    let allocator: Locked<Region> = Locked::new();
    let layout = Layout::new::<[u64; 8]>();
    // SAFETY: the bytes are used by this region only; the block is given back once.
    unsafe {
        if allocator.init(FOUND.0.get().cast::<u8>().add(3), 4000).is_err() {
            return false;
        }
        let block = allocator.alloc_zeroed(layout);
        let good = !block.is_null() && block.cast::<[u64; 8]>().read() == [0; 8];
        allocator.dealloc(block, layout);
        good && allocator.audit().is_ok() && allocator.stats().free_blocks == 1
    }
}

fn can_reserve(bytes: usize) -> bool {
    core::hint::black_box(Vec::<u8>::new()).try_reserve_exact(bytes).is_ok()
}

/// Without std, the process is one thread.
fn watched() -> bool {
    let (kept, counts) = measure(|| {
        can_reserve(500);
        core::hint::black_box(Vec::<u8>::with_capacity(100))
    });
    let counted = (counts.allocations(), counts.peak_bytes, counts.live_bytes) == (2, 500, 100);
    drop(kept);
    let limited = limit(1000, || can_reserve(1000) && !can_reserve(1001)) && can_reserve(1001);
    let guard = forbid(Forbidden::Allocations, Consequence::Count);
    let forbidden = can_reserve(1) && guard.violations() == 1;
    drop(guard);
    A.inner().refuse(Policy::nth(2));
    let refused = can_reserve(1) && !can_reserve(1) && can_reserve(1) && A.inner().refused() == 1;
    A.inner().serve();
    let each = for_each_refusal(|| _ = can_reserve(1) && can_reserve(1)) == 2;
    let all = A.counts();
    counted && limited && forbidden && refused && each && all.live_bytes == 0 && all.peak_bytes > 1000
}

#[unsafe(no_mangle)]
extern "C" fn main(arguments: i32) -> i32 {
    mem_alloc_rust::set_fault_hook(|_| exit(2));
    let is_empty = || arena().stats().live_blocks == 0 && arena().audit().is_ok();
    let good = collections() && region() && watched() && is_empty();
    if arguments > 1 {
        // With any argument, the misuse that the hook has to be told of.
        let layout = Layout::new::<u64>();
        // SAFETY: none. The program has to be stopped before it does damage.
        unsafe {
            let block = A.alloc(layout);
            A.dealloc(block, layout);
            A.dealloc(block, layout);
        }
    }
    if good { 0 } else { 1 }
}
