//! What an allocator with caches keeps for itself.

use super::*;
use crate::FreeList;
use membership::LEFT;
use std::sync::Barrier;
use std::vec::Vec;

#[test]
fn slots_are_occupied_left_taken_over_and_waited_for() {
    static A: ThreadCached<FreeList<{ 64 << 20 }>> = ThreadCached::new();
    const THREADS: usize = 3 * LEFT;
    let together = &Barrier::new(THREADS);
    let one_thread = |number: usize, together: &Barrier| {
        // A third of the threads leave much.
        let sizes = if number % 3 == 0 { 8..500 } else { 8..100 };
        let layouts = sizes.flat_map(|bytes| Layout::from_size_align(bytes, 8));
        // SAFETY: the layouts are of more than no bytes, and each block is given back once.
        unsafe {
            let blocks: Vec<_> = layouts.map(|layout| (A.alloc(layout), layout)).collect();
            together.wait();
            blocks.into_iter().for_each(|(block, layout)| A.dealloc(block, layout));
        }
    };
    // SAFETY: the layout is of eight bytes, and the block is given back once.
    let allocate_and_free = || unsafe { A.dealloc(A.alloc(Layout::new::<u64>()), Layout::new::<u64>()) };
    // Who comes while the first thread sets things up goes without a cache.
    allocate_and_free();
    // A thread that has more than it may leave gives all of it back: what it uses often has got room.
    std::thread::scope(|scope| {
        let work = || {
            let sizes = (10_000..30_000).step_by(2_000).flat_map(|bytes| [bytes; 2]);
            let layouts: Vec<_> = sizes.flat_map(|bytes| Layout::from_size_align(bytes, 8)).collect();
            for _ in 0..40 {
                // SAFETY: the layouts are of more than no bytes, and each block is given back once.
                unsafe {
                    let blocks: Vec<_> = layouts.iter().map(|&layout| (A.alloc(layout), layout)).collect();
                    blocks.into_iter().for_each(|(block, layout)| A.dealloc(block, layout));
                }
            }
        };
        scope.spawn(work).join().unwrap();
    });
    let heap = A.heap();
    assert!(A.occupied().all(|slot| !slot.is_left()));
    drop(heap);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|number| scope.spawn(move || one_thread(number, together))).collect();
        // The end of the scope would not wait for the threads' last destructors.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let heap = A.heap();
    let budget = A.budget(&heap);
    // SAFETY: the threads have ended, and this one has the lock.
    let bytes = |slot: &Slot| unsafe { slot.with_closed_gate(|lists| lists.bytes()) };
    let left: Vec<_> = A.occupied().filter(|slot| slot.is_left()).map(bytes).collect();
    assert_eq!(left.len(), LEFT);
    assert!(left.iter().all(|&bytes| bytes <= budget / 4), "{left:?} of {budget}");
    drop(heap);
    assert_eq!(A.stats().live_bytes, 0);

    // One after another, threads take over what the last one left.
    for number in 0..2 * SLOTS {
        std::thread::scope(|scope| scope.spawn(|| one_thread(number, &Barrier::new(1))).join().unwrap());
    }
    assert!(A.occupied().count() <= LEFT + 1);

    // A thread that finds all slots occupied gets one after others have ended.
    let (occupied, go_on) = (&Barrier::new(SLOTS), &Barrier::new(SLOTS));
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..SLOTS)
            .map(|_| {
                scope.spawn(move || {
                    allocate_and_free();
                    occupied.wait();
                    go_on.wait();
                })
            })
            .collect();
        occupied.wait();
        let latecomer = scope.spawn(|| {
            let has_cache = || A.own_slot().is_some();
            allocate_and_free();
            assert!(!has_cache());
            go_on.wait();
            others.into_iter().for_each(|thread| thread.join().unwrap());
            // Each of the two calls asks.
            let pauses =
                (0..usize::from(home::PAUSE)).take_while(|_| !has_cache()).map(|_| allocate_and_free());
            assert_eq!(pauses.count(), usize::from(home::PAUSE).div_ceil(2));
        });
        latecomer.join().unwrap();
    });
}
