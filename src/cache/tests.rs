//! What an allocator with caches keeps for itself.

mod medium;

use super::*;
use crate::FreeList;
use crate::sync::atomic::Ordering;
use membership::LEFT;
use std::sync::{Barrier, Mutex, PoisonError};
use std::vec::Vec;

/// The one allocator of this process that has caches.
static A: ThreadCached<FreeList<{ 64 << 20 }>> = ThreadCached::new();

/// Runs a test that has it to itself, in a thread that has a cache, and has ended before the next test begins: what it
/// leaves is that one's then.
fn alone(test: impl FnOnce() + Send) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let run = || {
        // Who comes while the first thread sets things up goes without a cache.
        allocate_and_free();
        allocate_and_free();
        test();
    };
    if let Err(panic) = std::thread::scope(|scope| scope.spawn(run).join()) {
        std::panic::resume_unwind(panic);
    }
}

fn allocate_and_free() {
    // SAFETY: the layout is of eight bytes, and the block is given back once.
    unsafe { A.dealloc(A.alloc(Layout::new::<u64>()), Layout::new::<u64>()) }
}

const STRAY: Layout = Layout::new::<[u8; 100]>();

/// So many of them that lists and the depot do not hold all.
const COUNT: usize = 30_000;

/// The addresses of so many blocks.
fn allocate(count: usize) -> Vec<usize> {
    // SAFETY: the layout is of more than no bytes.
    (0..count).map(|_| unsafe { A.alloc(STRAY) }.expose_provenance()).collect()
}

/// Gives back what was allocated.
fn free(blocks: Vec<usize>) {
    for block in blocks {
        // SAFETY: the block is in use, and is given back once.
        unsafe { A.dealloc(core::ptr::with_exposed_provenance_mut(block), STRAY) };
    }
}

/// Bytes of strays, and how many a thread may keep.
fn strays() -> (usize, usize) {
    let heap = A.heap();
    // SAFETY: this thread has the lock.
    (unsafe { A.strays.bytes() }, A.budget(&heap))
}

#[test]
fn slots_are_occupied_left_taken_over_and_waited_for() {
    alone(|| {
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
        // A thread that has more than it may leave gives all of it back. How much that is depends on when its cache was
        // looked over last.
        let left = || A.occupied().filter(|slot| slot.is_left()).count();
        let left_by_others_if_it_has_much = || {
            let (slot, heap) = (A.own_slot().unwrap(), A.heap());
            // SAFETY: this thread is the owner, and has the lock.
            let has_much = unsafe { slot.with_lock(|lists| lists.bytes()) > A.budget(&heap) / 2 };
            has_much.then(left)
        };
        let ends_with_much = || {
            std::thread::scope(|scope| {
                let work = || {
                    let sizes = (10_000..30_000).step_by(2_000).flat_map(|bytes| [bytes; 2]);
                    let layouts: Vec<_> = sizes.flat_map(|bytes| Layout::from_size_align(bytes, 8)).collect();
                    for _ in 0..40 {
                        // SAFETY: the layouts are of more than no bytes, and each block is given back once.
                        unsafe {
                            let blocks: Vec<_> =
                                layouts.iter().map(|&layout| (A.alloc(layout), layout)).collect();
                            blocks.into_iter().for_each(|(block, layout)| A.dealloc(block, layout));
                        }
                    }
                    left_by_others_if_it_has_much()
                };
                scope.spawn(work).join().unwrap()
            })
        };
        let left_by_others = (0..50).find_map(|_| ends_with_much());
        let heap = A.heap();
        assert_eq!(Some(left()), left_by_others);
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
    });
}

/// A thread allocates much, and another one frees all of it.
#[test]
fn strays_wait_for_their_owner_and_not_too_many_of_them() {
    alone(|| {
        A.drain();
        let blocks = allocate(COUNT);
        // The other one stays until the strays have been looked at.
        let (is_freed, go_on) = (&Barrier::new(2), &Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                free(blocks);
                is_freed.wait();
                go_on.wait();
            });
            is_freed.wait();
            let ((bytes, budget), stats) = (strays(), A.stats());
            let (audit, peak) = (A.audit(), A.peak_bytes());
            // The owner takes them as soon as it comes to the lock.
            let blocks = allocate(COUNT);
            let (rest, peak_after) = (strays().0, A.peak_bytes());
            go_on.wait();
            free(blocks);
            audit.unwrap();
            // One list at most comes at a time.
            let most = budget.min((strays::MOST_WAITING + lists::MOST_BLOCKS) * (STRAY.size() + 4));
            assert!(bytes <= most, "{bytes} of {most} bytes wait");
            assert!(stats.live_bytes < STRAY.size() && stats.cached_bytes >= bytes, "{stats:?}");
            assert_eq!(rest, 0);
            assert!(peak_after < peak + COUNT * STRAY.size() / 10, "{peak_after} after {peak}");
        });
        A.audit().unwrap();
    });
}

/// What waits for a thread that ends, or sleeps while all caches are drained, is the heap's then.
#[test]
fn strays_of_a_thread_that_ends_or_sleeps_come_back() {
    alone(|| {
        for is_drained in [false, true] {
            let (are_allocated, is_freed) = (&Barrier::new(2), &Barrier::new(2));
            std::thread::scope(|scope| {
                let (sender, receiver) = std::sync::mpsc::channel();
                let owner = scope.spawn(move || {
                    sender.send(allocate(COUNT)).unwrap();
                    are_allocated.wait();
                    is_freed.wait();
                });
                are_allocated.wait();
                let mut blocks = receiver.recv().unwrap();
                while strays().0 == 0 && !blocks.is_empty() {
                    free(blocks.split_off(blocks.len() - 1));
                }
                let waiting = strays().0;
                let drained = is_drained.then(|| {
                    A.drain();
                    strays().0
                });
                is_freed.wait();
                owner.join().unwrap();
                assert!(waiting > 0);
                assert_eq!(drained.unwrap_or_default(), 0);
                assert_eq!(strays().0, 0);
                free(blocks);
            });
            A.drain();
            assert_eq!(A.stats().live_bytes, 0);
            A.audit().unwrap();
        }
    });
}

/// Somebody who keeps the owner out for a moment sends it to the lock, where it finds what its lists have.
#[test]
fn a_refill_looks_at_the_lists_again() {
    alone(|| {
        const BLOCK: Layout = Layout::new::<[u8; 900]>();
        // SAFETY: the layout is of more than no bytes, and each block is given back once.
        unsafe {
            let mut last = core::ptr::null_mut();
            // The class gets room by being asked for.
            for _ in 0..8 {
                let blocks = [(); 4].map(|()| A.alloc(BLOCK));
                blocks.iter().for_each(|&block| A.dealloc(block, BLOCK));
                last = blocks[3];
            }
            let slot = A.own_slot().unwrap();
            slot.close();
            let block = A.alloc(BLOCK);
            slot.open();
            assert_eq!(block, last);
            A.dealloc(block, BLOCK);
        }
        A.drain();
        A.audit().unwrap();
    });
}

/// What another thread has freed comes back as whole lists first, and only then one by one.
#[test]
fn lists_come_back_before_strays() {
    alone(|| {
        A.drain();
        let mut blocks = allocate(COUNT);
        let depot = || A.depot.bytes();
        let free_some = || {
            while (depot() == 0 || strays().0 == 0) && !blocks.is_empty() {
                free(blocks.split_off(blocks.len() - 1));
            }
        };
        std::thread::scope(|scope| scope.spawn(free_some).join().unwrap());
        let (in_depot, waiting) = (depot(), strays().0);
        assert!(in_depot > 0 && waiting > 0);
        let mut again = Vec::new();
        while (depot(), strays().0) == (in_depot, waiting) && again.len() < COUNT {
            again.extend(allocate(1));
        }
        assert!(depot() < in_depot && strays().0 == waiting);
        free(again);
        free(blocks);
        A.drain();
        A.audit().unwrap();
    });
}

/// What threads free and allocate of each other's passes from one to the other without the heap's lock.
#[test]
fn lists_are_passed_on_without_the_lock() {
    const PASSED: usize = 500;
    alone(|| {
        A.drain();
        let blocks = allocate(PASSED);
        let pass_on = || {
            free(blocks);
            allocate(PASSED / 2)
        };
        free(while_the_lock_is_held(pass_on).expect("nobody waited"));
        A.drain();
        A.audit().unwrap();
    });
}

/// What another thread, which has a cache, comes to while this one has the heap's lock; nothing if it has to wait for
/// that.
fn while_the_lock_is_held<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    let (barrier, is_done) = (&Barrier::new(2), &AtomicBool::new(false));
    let work = move || {
        // For a cache.
        free(allocate(1));
        // For what the depot may have, and so that it is not time to look the cache over, which is found to be of use.
        let list = FullList::new(core::ptr::NonNull::dangling(), lists::MOST_BLOCKS as u8);
        let (slot, class) = (A.own_slot().unwrap(), class_serving(STRAY).unwrap());
        let mut heap = A.heap();
        // SAFETY: this thread is the owner, outside of its gate, and has the lock.
        unsafe {
            slot.with_lock(|lists| {
                while lists.count_visit(class) {
                    lists.note_leaving(list);
                }
                A.visit(slot, lists, class, &mut heap).unwrap();
            });
        }
        drop(heap);
        barrier.wait();
        // The lock is held from here on.
        barrier.wait();
        let result = work();
        is_done.swap(true, Ordering::AcqRel);
        result
    };
    std::thread::scope(|scope| {
        let worker = scope.spawn(work);
        barrier.wait();
        let heap = A.heap();
        barrier.wait();
        let start = std::time::Instant::now();
        while !is_done.load(Ordering::Acquire) && start.elapsed().as_secs() < 20 {
            std::thread::yield_now();
        }
        let is_done_meanwhile = is_done.load(Ordering::Acquire);
        drop(heap);
        worker.join().ok().filter(|_| is_done_meanwhile)
    })
}
