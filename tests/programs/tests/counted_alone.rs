//! A program that nobody else does anything in, as a test's harness may: all that is counted is exact, and as long as
//! there is one thread, the peak of the process, too. The allocator that is counted is the system's.

use mem_alloc_rust::watch::{Counted, measure};
use std::alloc::System;
use std::hint::black_box;

#[global_allocator]
static A: Counted<System> = Counted::new(System);

fn bytes(len: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(len))
}

fn main() {
    one_thread();
    threads_that_have_ended();
    #[cfg(unix)]
    destructors_of_thread_locals_and_of_keys();
    println!("everything was counted to the byte");
}

/// Has to come first.
fn one_thread() {
    let start = A.counts();
    assert_eq!(start, A.counts(), "looking changes nothing");
    assert_eq!(
        (start.live_bytes, start.alloc_calls),
        (A.thread_counts().live_bytes, A.thread_counts().alloc_calls)
    );
    let live = start.live_bytes as usize;
    // Far more than was ever live before, and by less than what a thread keeps to itself.
    for len in [1 << 20, (1 << 20) + 1, (1 << 20) + 16_000] {
        drop(bytes(len));
        assert_eq!(A.counts().peak_bytes, live + len);
    }
    // Small blocks, with a measurement in between.
    let mut kept = Vec::with_capacity(100_000);
    let mut expected = live + 100_000 * size_of::<Box<[u8; 24]>>();
    for number in 0..100_000 {
        kept.push(Box::new([0u8; 24]));
        expected += 24;
        if number % 1000 == 0 {
            let ((), counts) = measure(|| drop(black_box(Box::new(1u8))));
            assert_eq!(counts.peak_bytes, 1);
        }
    }
    assert_eq!(A.counts().live_bytes as usize, expected);
    assert_eq!(A.counts().peak_bytes, expected);
    drop(kept);
    let end = A.counts();
    assert_eq!(
        (end.live_bytes, end.live_blocks, end.peak_bytes),
        (start.live_bytes, start.live_blocks, expected)
    );
    // The vectors, the boxes, what was measured, and what the first measurement found out with whether anything is
    // counted.
    let calls = 3 + 1 + 100_000 + 100 + 1;
    assert_eq!(
        (end.alloc_calls - start.alloc_calls, end.dealloc_calls - start.dealloc_calls),
        (calls, calls)
    );
}

/// What something adds to the process's figures: allocations, releases, bytes asked for, and live bytes.
fn added(run: impl FnOnce()) -> (usize, usize, usize, isize) {
    let before = A.counts();
    run();
    let after = A.counts();
    (
        after.allocations() - before.allocations(),
        after.dealloc_calls - before.dealloc_calls,
        after.requested_bytes - before.requested_bytes,
        after.live_bytes - before.live_bytes,
    )
}

/// What they counted stays, and is not counted again by those that have their counters next.
fn threads_that_have_ended() {
    // A block that a thread leaves to another.
    let left = || drop(std::thread::spawn(|| bytes(1000)).join().unwrap());
    // What std does once.
    left();
    let (allocations, releases, requested, live) = added(left);
    assert_eq!((releases, live), (allocations, 0));
    assert!(requested > 1000);
    let of_500 = added(|| (0..500).for_each(|_| left()));
    assert_eq!(of_500, (500 * allocations, 500 * releases, 500 * requested, 0));
}

#[cfg(unix)]
fn destructors_of_thread_locals_and_of_keys() {
    struct Allocates(usize);

    impl Drop for Allocates {
        fn drop(&mut self) {
            drop(bytes(self.0));
        }
    }

    std::thread_local! {
        static LAST: Allocates = const { Allocates(1 << 20) };
    }

    extern "C" fn key_ends(value: *mut libc::c_void) {
        // The thread's own counters are gone.
        assert_eq!(A.thread_counts(), Default::default());
        drop(bytes(value.addr()));
    }

    // Made later than the allocator's, so that it comes later when a thread ends.
    let mut key = 0;
    // SAFETY: the key has room, and the destructor allocates only.
    assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(key_ends)) }, 0);
    let thread =
        |run: fn(libc::pthread_key_t)| added(|| std::thread::spawn(move || run(key)).join().unwrap());
    let nothing = thread(|_| ());
    assert_eq!(thread(|_| ()), nothing);
    let with = |len| (nothing.0 + 1, nothing.1 + 1, nothing.2 + len, 0);
    assert_eq!(thread(|_| LAST.with(|_| ())), with(1 << 20));
    let with_key = |key| {
        // SAFETY: the key was made; its value is no more than a number.
        assert_eq!(unsafe { libc::pthread_setspecific(key, std::ptr::without_provenance(3 << 20)) }, 0);
    };
    assert_eq!(thread(with_key), with(3 << 20));
    assert_eq!(thread(|_| ()), nothing);
}
