//! Models of how the threads' caches of `ThreadCached` work together, at the granularity of their atomics, searched by loom.
//!
//! They are models and not the code itself: loom knows no `membarrier`, and no plain accesses that an asymmetric barrier orders. What is
//! kept is each step of `src/cache/slot.rs` and `src/cache.rs` that another thread can see, in their order. The barrier everywhere is
//! modelled by what it does: every other thread executes a full barrier at some moment between its begin and its end. In the model, the
//! owner's compiler fence is the place where that can happen, so a full fence stands there; [`Barrier::None`] takes it away and has to be
//! caught.
//!
//! A cache is a set of blocks, by number; a block in two places at once, or in none, is what the models look for.

#![cfg(test)]

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// What stands between the owner's store and its load, and between the drainer's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Barrier {
    /// One that reaches both.
    Full,
    /// None: the broken variant.
    None,
}

impl Barrier {
    fn execute(self) {
        if self == Self::Full {
            fence(Ordering::SeqCst);
        }
    }
}

/// One thread's cache, as in `Slot`: the owner's gate and a list. Loom finds every access to the list that is not ordered.
struct Slot {
    busy: AtomicBool,
    closed: AtomicBool,
    list: UnsafeCell<Vec<u32>>,
    barrier: Barrier,
}

impl Slot {
    fn new(blocks: Vec<u32>, barrier: Barrier) -> Self {
        Self {
            busy: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            list: UnsafeCell::new(blocks),
            barrier,
        }
    }

    /// `Slot::inside`.
    fn inside<T>(&self, operation: impl FnOnce(&mut Vec<u32>) -> T) -> Option<T> {
        self.busy.store(true, Ordering::Relaxed);
        self.barrier.execute();
        let is_open = !self.closed.load(Ordering::Acquire);
        // SAFETY: what the model checks.
        let result = is_open.then(|| self.list.with_mut(|list| unsafe { operation(&mut *list) }));
        self.busy.store(false, Ordering::Release);
        result
    }

    fn take(&self) -> Option<u32> {
        self.inside(Vec::pop).flatten()
    }

    fn give(&self, block: u32) -> bool {
        self.inside(|list| list.push(block)).is_some()
    }

    /// `Slot::close`, the barrier, and `Slot::wait`.
    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.barrier.execute();
        while self.busy.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }

    fn open(&self) {
        self.closed.store(false, Ordering::Release);
    }

    /// `Slot::unstock`, for all blocks: under the heap's lock, by the owner or with the gate closed.
    fn empty(&self) -> Vec<u32> {
        // SAFETY: what the model checks.
        self.list.with_mut(|list| unsafe { std::mem::take(&mut *list) })
    }
}

/// The heap behind its lock: the blocks that are in no cache and not in use.
type Heap = Mutex<Vec<u32>>;

/// `ThreadCached::drain`.
fn drain(heap: &Heap, slot: &Slot) {
    let mut heap = heap.lock().unwrap();
    slot.close();
    heap.extend(slot.empty());
    slot.open();
}

/// An allocation: from the cache, or else from the heap.
fn alloc(heap: &Heap, slot: &Slot) -> Option<u32> {
    slot.take().or_else(|| heap.lock().unwrap().pop())
}

/// A release: into the cache, or else to the heap.
fn dealloc(heap: &Heap, slot: &Slot, block: u32) {
    if !slot.give(block) {
        heap.lock().unwrap().push(block);
    }
}

fn assert_each_block_once(mut found: Vec<u32>, count: u32) {
    found.sort_unstable();
    assert_eq!(found, (0..count).collect::<Vec<_>>());
}

/// The owner takes a block and gives it back while another thread drains.
fn owner_against_drainer(barrier: Barrier) {
    let slot = Arc::new(Slot::new(vec![0, 1], barrier));
    let heap = Arc::new(Heap::new(Vec::new()));
    let drainer = {
        let (slot, heap) = (slot.clone(), heap.clone());
        thread::spawn(move || drain(&heap, &slot))
    };
    let block = alloc(&heap, &slot).expect("a block is in the cache or in the heap");
    dealloc(&heap, &slot, block);
    drainer.join().unwrap();
    let mut all = slot.empty();
    all.append(&mut heap.lock().unwrap());
    assert_each_block_once(all, 2);
}

#[test]
fn owner_and_drainer_are_never_inside_together() {
    loom::model(|| owner_against_drainer(Barrier::Full));
}

#[test]
#[should_panic]
fn without_the_barrier_they_are() {
    loom::model(|| owner_against_drainer(Barrier::None));
}

/// The owner refills under the lock, as `ThreadCached::refill` does without passing its gate, while another thread drains.
#[test]
fn a_refill_and_a_drain_exclude_each_other() {
    loom::model(|| {
        let slot = Arc::new(Slot::new(Vec::new(), Barrier::Full));
        let heap = Arc::new(Heap::new(vec![0, 1, 2]));
        let drainer = {
            let (slot, heap) = (slot.clone(), heap.clone());
            thread::spawn(move || drain(&heap, &slot))
        };
        let block = {
            let mut heap = heap.lock().unwrap();
            let block = heap.pop().unwrap();
            // SAFETY: what the model checks.
            slot.list.with_mut(|list| unsafe { (*list).extend(heap.pop()) });
            block
        };
        dealloc(&heap, &slot, block);
        drainer.join().unwrap();
        let mut all = slot.empty();
        all.append(&mut heap.lock().unwrap());
        assert_each_block_once(all, 3);
    });
}

/// Two threads drain while the owner is at it: one has the lock, the gate is opened once for each time it was closed.
#[test]
fn two_drainers_take_turns() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let slot = Arc::new(Slot::new(vec![0], Barrier::Full));
        let heap = Arc::new(Heap::new(vec![1]));
        let drainers: Vec<_> = (0..2)
            .map(|_| {
                let (slot, heap) = (slot.clone(), heap.clone());
                thread::spawn(move || drain(&heap, &slot))
            })
            .collect();
        let block = alloc(&heap, &slot).expect("two blocks are free");
        dealloc(&heap, &slot, block);
        for drainer in drainers {
            drainer.join().unwrap();
        }
        let mut all = slot.empty();
        all.append(&mut heap.lock().unwrap());
        assert_each_block_once(all, 2);
    });
}

/// A thread ends, and gives its cache up under the lock, while another thread drains: the blocks come back once, and the slot can be
/// another thread's at once.
#[test]
fn a_thread_that_ends_and_a_drain_give_each_block_back_once() {
    loom::model(|| {
        let slot = Arc::new(Slot::new(vec![0], Barrier::Full));
        let vacant = Arc::new(AtomicBool::new(false));
        let heap = Arc::new(Heap::new(Vec::new()));
        let owner = {
            let (slot, heap, vacant) = (slot.clone(), heap.clone(), vacant.clone());
            thread::spawn(move || {
                dealloc(&heap, &slot, 1);
                let mut heap = heap.lock().unwrap();
                heap.extend(slot.empty());
                vacant.store(true, Ordering::Release);
            })
        };
        {
            let mut heap = heap.lock().unwrap();
            if !vacant.load(Ordering::Relaxed) {
                slot.close();
                heap.extend(slot.empty());
                slot.open();
            }
        }
        {
            // The next owner moves in under the lock, and uses its cache.
            let guard = heap.lock().unwrap();
            let moves_in = vacant.load(Ordering::Relaxed);
            drop(guard);
            if moves_in {
                dealloc(&heap, &slot, 2);
            } else {
                heap.lock().unwrap().push(2);
            }
        }
        owner.join().unwrap();
        let mut all = slot.empty();
        all.append(&mut heap.lock().unwrap());
        assert_each_block_once(all, 3);
    });
}
