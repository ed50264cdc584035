//! A signal handler that allocates: it is served, or told that it interrupted the allocator. It never waits
//! forever, and nothing breaks.

#![cfg(all(feature = "std", unix))]

#[expect(dead_code, reason = "other tests use more of it")]
#[path = "caches/forked.rs"]
mod forked;
mod interrupted;

use forked::{ABORTED, fate_of_a_child};
use interrupted::{TOLD, exercise, interrupted};
use mem_alloc_rust::{FreeList, Locked, ThreadCached};
use std::alloc::{GlobalAlloc, Layout};

static LOCKED: Locked<FreeList> = Locked::new();
static CACHED: ThreadCached<FreeList> = ThreadCached::new();

fn assert_told(exercise: fn()) {
    let (end, text) = fate_of_a_child(|| interrupted(exercise));
    assert_eq!(end, ABORTED, "{text:?}");
    assert!(text.starts_with(TOLD), "{text:?}");
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
