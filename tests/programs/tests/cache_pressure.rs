//! When a `ThreadCached` has caches, and what is in them. A process of its own with one test, so that nobody
//! else comes to the heap in between.

#![cfg(all(feature = "std", unix))]

use mem_alloc_rust::{FreeList, Locked, ThreadCached};
use std::alloc::{GlobalAlloc, Layout};

#[global_allocator]
static GLOBAL: Locked<FreeList<{ 16 << 20 }>> = Locked::new();

const ARENA: usize = 4 << 20;

static CACHED: ThreadCached<FreeList<ARENA>> = ThreadCached::new();

fn layout(bytes: usize, align: usize) -> Layout {
    Layout::from_size_align(bytes, align).unwrap()
}

/// Allocates a block and gives it back.
fn pair<A: GlobalAlloc>(allocator: &A, layout: Layout) -> *mut u8 {
    // SAFETY: the layout is not of zero bytes, and the block is given back once, if there is one.
    unsafe {
        let block = allocator.alloc(layout);
        assert!(!block.is_null() && block.addr() % layout.align() == 0);
        allocator.dealloc(block, layout);
        block
    }
}

fn is_refused(layout: Layout) -> bool {
    // SAFETY: the layout is not of zero bytes, and the block is given back once, if there is one.
    unsafe {
        let block = CACHED.alloc(layout);
        if !block.is_null() {
            CACHED.dealloc(block, layout);
        }
        block.is_null()
    }
}

#[test]
fn caches_keep_what_is_needed_as_long_as_memory_is_not_short() {
    // A box lies in a static, the arena of the global allocator, and has no caches all the same.
    let boxed: Box<ThreadCached<FreeList<4096>>> = Box::new(ThreadCached::new());
    pair(&*boxed, layout(100, 8));
    pair(&*boxed, layout(100, 8));
    assert_eq!((boxed.caches().are_available, boxed.caches().threads, boxed.caches().bytes), (false, 0, 0));
    drop(boxed);
    pair(&CACHED, layout(100, 8));
    pair(&CACHED, layout(100, 8));
    let caches = CACHED.caches();
    assert!(caches.are_available && caches.threads == 1 && caches.bytes >= 100, "{caches:?}");

    // A larger block is cached, too.
    for bytes in [1100, 1500, 2000] {
        CACHED.drain();
        for _ in 0..4 {
            pair(&CACHED, layout(bytes, 8));
        }
        assert!(CACHED.caches().bytes >= bytes, "{bytes}");
    }

    // What has a large alignment comes from the cache and goes into it.
    for align in [16, 32, 64, 128] {
        for bytes in [1, 16, 40, 64, 100, 200, 256] {
            pair(&CACHED, layout(bytes, align));
            let before = CACHED.caches();
            let first = pair(&CACHED, layout(bytes, align));
            assert_eq!((pair(&CACHED, layout(bytes, align)), CACHED.caches()), (first, before));
        }
    }

    // What can never fit takes nothing from them.
    let before = CACHED.caches();
    assert!(is_refused(layout(ARENA + 1, 8)));
    assert_eq!(CACHED.caches(), before);

    // What might fit takes all of it, and then they keep nothing, until nobody ran short for a while.
    let large = layout(ARENA - 1_500_000, 8);
    assert!(!is_refused(large));
    // SAFETY: the layout is not of zero bytes, and the block is given back once.
    let block = unsafe { CACHED.alloc(large) };
    for _ in 0..1000 {
        pair(&CACHED, layout(100, 8));
        assert!(is_refused(large));
        assert_eq!(CACHED.caches().bytes, 0);
    }
    let pairs = (0..20_000).take_while(|_| {
        pair(&CACHED, layout(100, 8));
        CACHED.caches().bytes == 0
    });
    assert!((1..20_000).contains(&pairs.count()));

    // A class that is not needed any more gives back what it has.
    // SAFETY: as above.
    unsafe { CACHED.dealloc(block, large) };
    let burst = |bytes: usize, count: usize| {
        // SAFETY: the layout is not of zero bytes; each block is given back once.
        unsafe {
            let blocks: Vec<_> = (0..count).map(|_| CACHED.alloc(layout(bytes, 8))).collect();
            blocks.into_iter().for_each(|block| CACHED.dealloc(block, layout(bytes, 8)));
        }
    };
    let need_one = || (0..2000).for_each(|_| burst(24, 2000));
    need_one();
    let alone = CACHED.caches().bytes;
    let others = [100, 200, 300, 500, 700];
    others.iter().for_each(|&bytes| burst(bytes, 500));
    let before = CACHED.caches().bytes;
    assert!(before >= 1500, "{before}");
    need_one();
    let after = CACHED.caches().bytes;
    assert!(after < alone + 1500, "{after} of {before}, {alone} of one class");
    CACHED.audit().unwrap();
    assert_eq!(CACHED.stats().live_bytes, 0);
}
