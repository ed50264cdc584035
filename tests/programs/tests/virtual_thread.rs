//! One thread that plays several: each of them has a cache of its own, as if it were one.

#![cfg(all(feature = "std", unix))]

use mem_alloc_rust::{FreeList, ThreadCached, VirtualThread};
use std::alloc::{GlobalAlloc, Layout};
use std::panic::{AssertUnwindSafe, catch_unwind};

static A: ThreadCached<FreeList<{ 16 << 20 }>> = ThreadCached::new();

const LAYOUT: Layout = Layout::new::<[u64; 3]>();

/// Allocates so many blocks and releases all of them but the first.
fn use_cache(blocks: usize) -> *mut u8 {
    // SAFETY: the layout is of more than no bytes, and what is released was allocated with it and is released once.
    unsafe {
        let all: Vec<*mut u8> = (0..blocks).map(|_| A.alloc(LAYOUT)).collect();
        assert!(all.iter().all(|block| !block.is_null()));
        all[1..].iter().for_each(|&block| A.dealloc(block, LAYOUT));
        all[0]
    }
}

fn release(block: *mut u8) {
    // SAFETY: what `use_cache` returns is in use, and each is released once.
    unsafe { A.dealloc(block, LAYOUT) };
}

// All in one test: one allocator of a process has caches.
#[test]
fn a_thread_has_as_many_caches_as_threads_that_it_plays() {
    let own = use_cache(10);
    assert_eq!(A.caches().threads, 1);

    // SAFETY: nothing forks, and no signal handler allocates.
    let mut played: Vec<VirtualThread> = (0..3).map(|_| unsafe { VirtualThread::new() }).collect();
    let blocks: Vec<_> = played.iter_mut().map(|thread| thread.play(|| use_cache(10))).collect();
    assert_eq!(A.caches().threads, 4);
    // A cache stays with its thread from turn to turn.
    let more: Vec<_> = played.iter_mut().map(|thread| thread.play(|| use_cache(10))).collect();
    assert_eq!(A.caches().threads, 4);
    // What one thread has freed, itself gets again, and no other.
    let again = played[0].play(|| {
        release(blocks[0]);
        use_cache(1)
    });
    assert_eq!(again, blocks[0]);

    // A turn ends with a panic, too: afterwards the thread has its own cache.
    let panicked = catch_unwind(AssertUnwindSafe(|| played[1].play(|| panic!("in a turn"))));
    assert!(panicked.is_err());
    let before = use_cache(1);
    release(before);
    assert_eq!(use_cache(1), before);
    release(before);

    // One inside of another's turn.
    let [first, second, _] = &mut played[..] else { unreachable!() };
    let (outer, inner) = first.play(|| (use_cache(2), second.play(|| use_cache(2))));
    first.play(|| release(inner));
    second.play(|| release(outer));

    // The end of a thread is that of any: its cache goes to the next one, or back.
    drop(played);
    let threads = A.caches().threads;
    std::thread::spawn(|| release(use_cache(10))).join().unwrap();
    assert!(A.caches().threads <= threads, "a thread that begins takes over what was left");
    for block in [again, own].into_iter().chain(blocks[1..].iter().copied()).chain(more) {
        release(block);
    }
    A.drain();
    A.audit().unwrap();
    assert_eq!(A.stats().live_bytes, 0);
}
