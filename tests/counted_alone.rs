//! In a program with one thread, all that is counted is exact, the peak of the process included; and the program has it over the
//! system's allocator.

use mem_alloc_rust::watch::{Counted, measure};
use std::alloc::System;
use std::hint::black_box;

#[global_allocator]
static A: Counted<System> = Counted::new(System);

fn main() {
    let start = A.counts();
    assert_eq!(start, A.counts(), "looking changes nothing");
    assert_eq!(
        (start.live_bytes, start.alloc_calls),
        (A.thread_counts().live_bytes, A.thread_counts().alloc_calls)
    );
    let live = start.live_bytes as usize;
    // Far more than was ever live before, and by less than what a thread keeps to itself.
    for bytes in [1 << 20, (1 << 20) + 1, (1 << 20) + 16_000] {
        drop(black_box(Vec::<u8>::with_capacity(bytes)));
        assert_eq!(A.counts().peak_bytes, live + bytes);
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
    // The vectors, the boxes, what was measured, and what the first measurement found out with whether anything is counted.
    let calls = 3 + 1 + 100_000 + 100 + 1;
    assert_eq!(
        (end.alloc_calls - start.alloc_calls, end.dealloc_calls - start.dealloc_calls),
        (calls, calls)
    );
    println!("everything was counted to the byte");
}
