//! A signal handler that allocates: it is served, or told that it interrupted the allocator. It never waits
//! forever, and nothing breaks.

#![cfg(all(feature = "std", unix))]

#[expect(dead_code, reason = "other tests use more of it")]
#[path = "caches/forked.rs"]
mod forked;

use forked::{ABORTED, fate_of_a_child};
use mem_alloc_rust::{FreeList, Locked, ThreadCached};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::alarm;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

static LOCKED: Locked<FreeList> = Locked::new();
static CACHED: ThreadCached<FreeList> = ThreadCached::new();

/// What the handler calls: it cannot be given anything.
static CALLED: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
static SIGNALS: AtomicU32 = AtomicU32::new(0);

/// Allocates and releases a few blocks of several sizes.
fn exercise(allocator: &dyn GlobalAlloc) {
    for bytes in [20, 200, 2000] {
        let layout = Layout::from_size_align(bytes, 8).unwrap();
        // SAFETY: the layouts are not of zero bytes, and each block is given back once.
        unsafe {
            let blocks = [(); 3].map(|()| allocator.alloc(layout));
            for block in blocks {
                block.write_bytes(1, bytes);
                allocator.dealloc(block, layout);
            }
        }
    }
}

extern "C" fn allocate(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: what is stored is a function of this type.
    let exercise = unsafe { std::mem::transmute::<*mut (), fn()>(CALLED.load(Ordering::Relaxed)) };
    exercise();
}

/// Goes on for long while a handler interrupts it that does the same.
fn interrupted(exercise: fn()) {
    /// Processor time between two signals.
    const MICROSECONDS: libc::suseconds_t = 200;
    CALLED.store(exercise as *mut (), Ordering::Relaxed);
    // A hang is a failure: nobody handles this signal.
    alarm::set(30);
    let action = SigAction::new(SigHandler::Handler(allocate), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler touches what the test is about, and atomics.
    unsafe { sigaction(Signal::SIGVTALRM, &action) }.unwrap();
    let interval = libc::timeval { tv_sec: 0, tv_usec: MICROSECONDS };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: the timer is initialised, and nobody asks for the one before.
    let result = unsafe { libc::setitimer(libc::ITIMER_VIRTUAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(result, 0);
    while SIGNALS.load(Ordering::Relaxed) < 20_000 {
        exercise();
    }
}

fn assert_told(exercise: fn()) {
    let (end, text) = fate_of_a_child(|| interrupted(exercise));
    assert_eq!(end, ABORTED, "{text:?}");
    assert!(text.starts_with("re-entry: a thread that is inside the allocator called it again"), "{text:?}");
}

#[test]
fn a_handler_that_interrupts_the_lock_s_holder_is_told() {
    assert_told(|| exercise(&LOCKED));
}

#[test]
fn a_handler_that_interrupts_a_cache_s_owner_is_told() {
    assert_told(|| exercise(&CACHED));
}

#[test]
fn a_hook_may_allocate() {
    fn hook(_: &mem_alloc_rust::Fault) {
        exercise(&LOCKED);
        exercise(&CACHED);
    }
    let layout = Layout::from_size_align(2000, 8).unwrap();
    for allocator in [&LOCKED as &(dyn GlobalAlloc + Sync), &CACHED] {
        let (end, text) = fate_of_a_child(|| {
            mem_alloc_rust::set_fault_hook(hook);
            // SAFETY: the second release is the misuse that ends the child.
            unsafe {
                let block = allocator.alloc(layout);
                allocator.dealloc(block, layout);
                allocator.dealloc(block, layout);
            }
        });
        assert_eq!(end, ABORTED);
        assert!(text.contains("double free"), "{text:?}");
    }
    // Even where its thread is inside the allocator.
    let (end, text) = fate_of_a_child(|| {
        mem_alloc_rust::set_fault_hook(hook);
        interrupted(|| exercise(&LOCKED));
    });
    assert_eq!(end, ABORTED);
    assert!(text.starts_with("re-entry"), "{text:?}");
}
