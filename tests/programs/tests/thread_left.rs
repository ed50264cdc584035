//! What threads that ended have left in their caches. A process of its own: nobody else ends in between.

#![cfg(all(feature = "std", unix))]

#[path = "caches/forked.rs"]
mod forked;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "caches/marked.rs"]
mod marked;

use forked::{ABORTED, WELL, fate_of_a_child};
use marked::{A, Marked, assert_all_is_back};
use std::alloc::GlobalAlloc;
use std::thread;

/// Runs something in a thread, and waits until that has ended with all its destructors.
fn in_a_thread<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(what).join().unwrap()
}

/// The address of a block that a thread has allocated, freed, and left in its cache.
fn address_of_a_block_that_is_left() -> usize {
    in_a_thread(|| Marked::new(100, 1).block as usize)
}

#[test]
fn what_is_left_is_taken_over_forked_drained_and_not_freed_again() {
    // This thread has a cache already.
    drop(Marked::new(100, 1));
    A.drain();

    let first = address_of_a_block_that_is_left();
    // Had the cache gone to the heap, this would be the block.
    let other = Marked::new(100, 2);
    assert_ne!(other.block as usize, first);
    assert_eq!(address_of_a_block_that_is_left(), first);

    let layout = other.layout;
    let (end, text) = fate_of_a_child(|| {
        // SAFETY: no block in use; the allocator has to find that out.
        unsafe { A.dealloc(std::ptr::with_exposed_provenance_mut(first), layout) }
    });
    assert_eq!(end, ABORTED);
    assert!(text.contains("was already free"), "{text}");

    let fate = fate_of_a_child(|| {
        A.audit().unwrap();
        assert_eq!(A.stats().live_blocks, 1);
        drop(Marked::new(100, 3));
    });
    assert_eq!(fate, WELL);

    drop(other);
    assert_all_is_back();
    in_a_thread(|| drop(Marked::new(100, 4)));
    assert_all_is_back();
}
