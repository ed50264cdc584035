//! What `Counted` counts: calls, bytes, peaks and refusals, on threads that come, go, fork and release what is not
//! theirs.

#![cfg(all(feature = "std", unix))]

#[expect(dead_code, reason = "other tests use more of it")]
#[path = "caches/forked.rs"]
mod forked;
#[expect(dead_code, reason = "other tests use more of it")]
mod roles;

use forked::{WELL, fate_of_a_child};
use mem_alloc_rust::watch::{Counted, Counts, measure};
use mem_alloc_rust::{FreeList, ThreadCached};
use roles::alone;
use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};

#[global_allocator]
static A: Counted<ThreadCached<FreeList<{ 64 << 20 }>>> = Counted::new(ThreadCached::new());

/// How far what the process knows may be from what a thread has.
const MARGIN: isize = 16 << 10;

fn bytes(len: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(len))
}

/// Calls, without the figures of bytes.
fn calls(counts: &Counts) -> [usize; 5] {
    let Counts { alloc_calls, alloc_zeroed_calls, realloc_calls, dealloc_calls, refusals, .. } = *counts;
    [alloc_calls, alloc_zeroed_calls, realloc_calls, dealloc_calls, refusals]
}

#[test]
fn each_kind_of_call_is_counted_as_what_it_is() {
    let layout = Layout::from_size_align(100, 8).unwrap();
    // SAFETY: the layout is not of zero bytes. The block is resized and released with the size that it has then.
    let block = |call: fn(&dyn GlobalAlloc, Layout) -> *mut u8| measure(|| black_box(call(&A, layout)));
    // SAFETY: the layout is not of zero bytes.
    let (first, counts) = block(|allocator, layout| unsafe { allocator.alloc(layout) });
    assert_eq!(calls(&counts), [1, 0, 0, 0, 0]);
    // SAFETY: as above.
    let (second, counts) = block(|allocator, layout| unsafe { allocator.alloc_zeroed(layout) });
    assert_eq!(calls(&counts), [0, 1, 0, 0, 0]);
    assert_eq!((counts.requested_bytes, counts.live_blocks, counts.live_bytes), (100, 1, 100));
    // SAFETY: the block is live with this layout, and resized to another size than zero.
    let (first, counts) = measure(|| unsafe { A.realloc(first, layout, 250) });
    assert_eq!(calls(&counts), [0, 0, 1, 0, 0]);
    assert_eq!((counts.requested_bytes, counts.live_blocks, counts.live_bytes), (150, 0, 150));
    let layout_of_first = Layout::from_size_align(250, 8).unwrap();
    // SAFETY: as above.
    let (first, counts) = measure(|| unsafe { A.realloc(first, layout_of_first, 100) });
    assert_eq!(calls(&counts), [0, 0, 1, 0, 0]);
    assert_eq!((counts.requested_bytes, counts.live_bytes, counts.peak_bytes), (0, -150, 0));
    // SAFETY: both are live with this layout.
    let ((), counts) = measure(|| unsafe {
        A.dealloc(first, layout);
        A.dealloc(second, layout);
    });
    assert_eq!(calls(&counts), [0, 0, 0, 2, 0]);
    assert_eq!((counts.live_blocks, counts.live_bytes), (-2, -200));
}

#[test]
fn a_peak_is_over_what_was_live_before() {
    let before = bytes(5000);
    let (kept, counts) = measure(|| {
        drop(bytes(700));
        let kept = bytes(300);
        drop(bytes(600));
        drop(bytes(200));
        kept
    });
    assert_eq!((counts.peak_bytes, counts.live_bytes), (900, 300));
    // What was there before goes first, so that the peak is never above the beginning.
    let (_, counts) = measure(|| {
        drop(before);
        bytes(4000)
    });
    assert_eq!((counts.peak_bytes, counts.live_bytes), (0, -1000));
    // It is reached and nothing is released since.
    let (_, counts) = measure(|| (bytes(10), bytes(20)));
    assert_eq!(counts.peak_bytes, 30);
    drop(kept);
}

#[test]
fn measurements_lie_inside_of_each_other() {
    let ((inner, _), outer) = measure(|| {
        drop(bytes(1000));
        let _kept = bytes(100);
        let inner = measure(|| drop(bytes(2000))).1;
        // A panic ends a measurement, too.
        let unwound = std::panic::catch_unwind(|| measure(|| std::panic::resume_unwind(Box::new(0))));
        assert!(unwound.is_err());
        let second = measure(|| drop(bytes(50))).1;
        (inner, second)
    });
    assert_eq!(inner.peak_bytes, 2000);
    assert_eq!(outer.peak_bytes, 2100);
    assert!(outer.alloc_calls >= 5);
}

#[test]
fn what_is_refused_is_counted_as_that_and_nothing_else() {
    mem_alloc_rust::set_refusal_hook(|_| {});
    let ((), counts) = measure(|| {
        let mut some = bytes(10);
        assert!(Vec::<u8>::new().try_reserve_exact(100 << 20).is_err());
        assert!(some.try_reserve_exact(100 << 20).is_err());
        // SAFETY: the layout is not of zero bytes.
        assert!(unsafe { A.alloc_zeroed(Layout::from_size_align(100 << 20, 8).unwrap()) }.is_null());
    });
    assert_eq!(calls(&counts), [1, 0, 0, 1, 3]);
    assert_eq!((counts.requested_bytes, counts.peak_bytes, counts.live_blocks), (10, 10, 0));
    // Below the bound up to which a thread counts without a further look, and with a small arena beside.
    static SMALL: Counted<mem_alloc_rust::Locked<FreeList<1000>>> =
        Counted::new(mem_alloc_rust::Locked::new());
    let layout = Layout::from_size_align(2000, 8).unwrap();
    // SAFETY: the layout is not of zero bytes.
    let (block, counts) = measure(|| unsafe { SMALL.alloc(layout) });
    assert!(block.is_null());
    assert_eq!(calls(&counts), [0, 0, 0, 0, 1]);
    assert_eq!((counts.requested_bytes, counts.peak_bytes, counts.live_bytes), (0, 0, 0));
}

#[test]
fn a_block_counts_for_who_makes_the_call() {
    alone("a_block_counts_for_who_makes_the_call", || {
        let before = A.counts();
        let (kept, counts) = measure(|| [(); 10].map(|()| bytes(100_000)));
        assert_eq!(counts.live_bytes, 1_000_000);
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            measure(|| drop(kept)).1.live_bytes + receiver.recv().map_or(0, |_: ()| 0)
        });
        // While that thread goes on, the process has them no more.
        while A.counts().live_bytes >= before.live_bytes + 500_000 {
            std::thread::yield_now();
        }
        sender.send(()).unwrap();
        assert_eq!(thread.join().unwrap(), -1_000_000);
        assert!((A.counts().live_bytes - before.live_bytes).abs() < 2000);
        assert!(A.counts().peak_bytes as isize >= before.live_bytes + 1_000_000 - 2 * MARGIN);
    });
}

/// How many threads are there at one time in the tests below: more than there is static room for.
const MANY: usize = 200;

#[test]
fn many_threads_at_a_time_have_counters_of_their_own() {
    alone("many_threads_at_a_time_have_counters_of_their_own", || {
        let barrier = Barrier::new(MANY);
        let sum = AtomicUsize::new(0);
        let before = A.counts();
        std::thread::scope(|scope| {
            for number in 0..MANY {
                let (barrier, sum) = (&barrier, &sum);
                scope.spawn(move || {
                    barrier.wait();
                    let ((), counts) = measure(|| (0..number).for_each(|_| drop(bytes(number))));
                    assert_eq!((counts.alloc_calls, counts.dealloc_calls), (number, number));
                    assert_eq!(counts.requested_bytes, number * number);
                    assert!(counts.peak_bytes == number || number == 0);
                    assert!(A.thread_counts().alloc_calls >= number);
                    assert!(A.thread_counts().alloc_calls < number + 100, "what others counted there before");
                    sum.fetch_add(number, Ordering::Relaxed);
                    barrier.wait();
                });
            }
        });
        let after = A.counts();
        assert!(after.alloc_calls - before.alloc_calls >= sum.load(Ordering::Relaxed));
        assert!(after.alloc_calls - before.alloc_calls < sum.load(Ordering::Relaxed) + 100 * MANY);
    });
}

#[test]
fn a_forked_child_goes_on_counting() {
    let kept = bytes(3000);
    let fate = fate_of_a_child(|| {
        let (before, of_thread) = (A.counts(), A.thread_counts());
        let (kept, counts) = measure(|| {
            drop(bytes(200));
            bytes(100)
        });
        assert_eq!((counts.alloc_calls, counts.live_bytes, counts.peak_bytes), (2, 100, 200));
        assert_eq!(A.thread_counts().alloc_calls - of_thread.alloc_calls, 2);
        assert_eq!(A.counts().alloc_calls - before.alloc_calls, 2);
        assert_eq!(A.counts().live_bytes - before.live_bytes, 100);
        std::mem::forget(kept);
    });
    assert_eq!(fate, WELL);
    drop(kept);
}

#[test]
fn the_peak_of_several_threads_is_known_within_a_margin() {
    alone("the_peak_of_several_threads_is_known_within_a_margin", || {
        const THREADS: usize = 4;
        const BLOCKS: usize = 1000;
        let before = A.counts();
        let barrier = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let blocks: Vec<_> = (0..BLOCKS).map(|_| bytes(1000)).collect();
                    barrier.wait();
                    drop(blocks);
                });
            }
        });
        let real = (THREADS * BLOCKS * (1000 + size_of::<Vec<u8>>())) as isize;
        let peak = A.counts().peak_bytes as isize - before.live_bytes;
        let margin = (THREADS as isize + 2) * MARGIN;
        assert!((peak - real).abs() < margin, "{peak} is not {real} within {margin}");
        // Far from nothing, and far from what was asked for in all.
        drop(bytes(100));
        assert_eq!(A.counts().peak_bytes as isize - before.live_bytes, peak);
    });
}
