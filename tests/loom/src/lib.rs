//! Models of how the threads' caches of `ThreadCached` work together, at the granularity of their atomics, searched by
//! loom.
//!
//! They are models and not the code itself, which `tests/shuttle` explores: loom's atomics cannot stand in a static, and
//! loom knows no `membarrier`, and no plain accesses that an asymmetric barrier orders. What is kept is each step of the gate, of refill, hand-over, drain and a thread's end that another
//! thread can see, in their order. The barrier everywhere is modelled by what it does: every other thread executes a
//! full barrier at some moment between its begin and its end. In the model, the owner's compiler fence is the place
//! where that can happen, so a full fence stands there. Three broken variants have to be caught: [`Barrier::None`]
//! takes the fence away, [`Refill::Blind`] trusts in what the owner saw before it had the lock, and
//! [`TakeOver::Unlocked`] moves into a cache that was left without it.
//!
//! [`sleep`] models caches that keep nothing while memory is short.
//!
//! Left out are forks, signal handlers, the sleep of those who wait for the lock, and the order in which a gate without
//! `membarrier` is fenced: there, owners execute the very fence that stands in the model.
//!
//! A cache is a set of blocks, by number; a block in two places at once, or in none, is what the models look for.

#![cfg(test)]

mod sleep;

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

/// One thread's cache, as in `Slot`: the owner's gate and a list. Loom finds every access to the list that is not
/// ordered.
struct Slot {
    /// The token is there: the owner is outside.
    token: AtomicBool,
    closed: AtomicBool,
    list: UnsafeCell<Vec<u32>>,
    barrier: Barrier,
}

impl Slot {
    fn new(blocks: Vec<u32>, barrier: Barrier) -> Self {
        Self {
            token: AtomicBool::new(true),
            closed: AtomicBool::new(false),
            list: UnsafeCell::new(blocks),
            barrier,
        }
    }

    /// `Slot::inside`.
    fn inside<T>(&self, operation: impl FnOnce(&mut Vec<u32>) -> T) -> Option<T> {
        assert!(self.token.load(Ordering::Relaxed), "no signal handlers in here");
        self.token.store(false, Ordering::Relaxed);
        self.barrier.execute();
        let is_open = !self.closed.load(Ordering::Acquire);
        // SAFETY: what the model checks.
        let result = is_open.then(|| self.list.with_mut(|list| unsafe { operation(&mut *list) }));
        self.token.store(true, Ordering::Release);
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
        while !self.token.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }

    fn open(&self) {
        self.closed.store(false, Ordering::Release);
    }

    /// `Slot::with_lock` and `Slot::with_closed_gate`: under the heap's lock, by the owner or with the gate closed.
    fn with_lock<T>(&self, operation: impl FnOnce(&mut Vec<u32>) -> T) -> T {
        // SAFETY: what the model checks.
        self.list.with_mut(|list| unsafe { operation(&mut *list) })
    }

    /// `empty`.
    fn empty(&self) -> Vec<u32> {
        self.with_lock(std::mem::take)
    }
}

/// The heap and the depot behind the lock: the blocks that are in no cache and not in use.
#[derive(Default)]
struct Heap {
    free: Vec<u32>,
    depot: Vec<Vec<u32>>,
}

fn locked(free: Vec<u32>, depot: Vec<Vec<u32>>) -> Arc<Mutex<Heap>> {
    Arc::new(Mutex::new(Heap { free, depot }))
}

/// `ThreadCached::drain`.
fn drain(heap: &Mutex<Heap>, slot: &Slot) {
    let mut heap = heap.lock().unwrap();
    slot.close();
    heap.free.extend(slot.empty());
    slot.open();
    let depot = std::mem::take(&mut heap.depot);
    heap.free.extend(depot.into_iter().flatten());
}

/// What a refill does about the owner's own list, once it has the lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refill {
    /// It looks again: the list need not be empty, the gate may have been closed.
    LooksAgain,
    /// It takes the list for empty: the broken variant.
    Blind,
}

/// `ThreadCached::alloc_slow` behind the cache: `take_or_refill`, then the heap.
fn alloc(heap: &Mutex<Heap>, slot: &Slot, refill: Refill) -> Option<u32> {
    slot.take().or_else(|| {
        let mut heap = heap.lock().unwrap();
        let own = (refill == Refill::LooksAgain).then(|| slot.with_lock(Vec::pop)).flatten();
        own.or_else(|| {
            let Some(full) = heap.depot.pop() else { return heap.free.pop() };
            slot.with_lock(|list| {
                *list = full;
                list.pop()
            })
        })
    })
}

/// A release: into the cache, or else to the heap.
fn dealloc(heap: &Mutex<Heap>, slot: &Slot, block: u32) {
    if !slot.give(block) {
        heap.lock().unwrap().free.push(block);
    }
}

/// `ThreadCached::dealloc_slow` where the cache is full: its list goes to the depot as a whole.
fn hand_over(heap: &Mutex<Heap>, slot: &Slot) {
    let mut heap = heap.lock().unwrap();
    let full = slot.empty();
    if !full.is_empty() {
        heap.depot.push(full);
    }
}

/// Every block is in one place.
fn assert_nothing_is_lost(heap: &Mutex<Heap>, slot: &Slot, in_use: Vec<u32>, count: u32) {
    drain(heap, slot);
    let mut found = in_use;
    found.append(&mut heap.lock().unwrap().free);
    assert_each_block_once(found, count);
}

fn assert_each_block_once(mut found: Vec<u32>, count: u32) {
    found.sort_unstable();
    assert_eq!(found, (0..count).collect::<Vec<_>>());
}

/// The owner takes a block and gives it back while another thread drains.
fn owner_against_drainer(barrier: Barrier) {
    let slot = Arc::new(Slot::new(vec![0, 1], barrier));
    let heap = locked(Vec::new(), Vec::new());
    let drainer = {
        let (slot, heap) = (slot.clone(), heap.clone());
        thread::spawn(move || drain(&heap, &slot))
    };
    let block = alloc(&heap, &slot, Refill::LooksAgain).expect("a block is in the cache or in the heap");
    dealloc(&heap, &slot, block);
    drainer.join().unwrap();
    assert_nothing_is_lost(&heap, &slot, Vec::new(), 2);
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

/// The owner allocates, from its list or from the depot, while another thread looks into all caches as
/// `ThreadCached::is_cached` and `before_fork` do: it closes the gate and takes nothing.
fn refill_against_a_closed_gate(refill: Refill) {
    let slot = Arc::new(Slot::new(vec![0], Barrier::Full));
    let heap = locked(Vec::new(), vec![vec![1, 2]]);
    let other = {
        let (slot, heap) = (slot.clone(), heap.clone());
        thread::spawn(move || {
            let _heap = heap.lock().unwrap();
            slot.close();
            slot.open();
        })
    };
    let block = alloc(&heap, &slot, refill).expect("three blocks are free");
    other.join().unwrap();
    assert_nothing_is_lost(&heap, &slot, vec![block], 3);
}

#[test]
fn a_refill_loses_nothing_when_the_gate_was_closed() {
    loom::model(|| refill_against_a_closed_gate(Refill::LooksAgain));
}

#[test]
#[should_panic]
fn a_blind_refill_does() {
    loom::model(|| refill_against_a_closed_gate(Refill::Blind));
}

/// A thread hands its full list over, and allocates from the depot again, while another one drains cache and depot.
#[test]
fn what_is_on_its_way_through_the_depot_is_drained_once() {
    loom::model(|| {
        let slot = Arc::new(Slot::new(vec![0, 1], Barrier::Full));
        let heap = locked(vec![2], Vec::new());
        let drainer = {
            let (slot, heap) = (slot.clone(), heap.clone());
            thread::spawn(move || drain(&heap, &slot))
        };
        hand_over(&heap, &slot);
        let block = alloc(&heap, &slot, Refill::LooksAgain).expect("three blocks are free");
        drainer.join().unwrap();
        assert_nothing_is_lost(&heap, &slot, vec![block], 3);
    });
}

/// Two threads drain while the owner is at it: one has the lock, the gate is opened once for each time it was closed.
#[test]
fn two_drainers_take_turns() {
    with_few_preemptions(|| {
        let slot = Arc::new(Slot::new(vec![0], Barrier::Full));
        let heap = locked(vec![1], Vec::new());
        let drainers: Vec<_> = (0..2)
            .map(|_| {
                let (slot, heap) = (slot.clone(), heap.clone());
                thread::spawn(move || drain(&heap, &slot))
            })
            .collect();
        let block = alloc(&heap, &slot, Refill::LooksAgain).expect("two blocks are free");
        dealloc(&heap, &slot, block);
        for drainer in drainers {
            drainer.join().unwrap();
        }
        assert_nothing_is_lost(&heap, &slot, Vec::new(), 2);
    });
}

/// A thread ends, and gives its cache up under the lock, while another thread drains: the blocks come back once, and
/// the slot can be another thread's at once.
#[test]
fn a_thread_that_ends_and_a_drain_give_each_block_back_once() {
    loom::model(|| {
        let slot = Arc::new(Slot::new(vec![0], Barrier::Full));
        let vacant = Arc::new(AtomicBool::new(false));
        let heap = locked(Vec::new(), Vec::new());
        let owner = {
            let (slot, heap, vacant) = (slot.clone(), heap.clone(), vacant.clone());
            thread::spawn(move || {
                dealloc(&heap, &slot, 1);
                let mut heap = heap.lock().unwrap();
                heap.free.extend(slot.empty());
                vacant.store(true, Ordering::Release);
            })
        };
        {
            let mut heap = heap.lock().unwrap();
            if !vacant.load(Ordering::Relaxed) {
                slot.close();
                heap.free.extend(slot.empty());
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
                heap.lock().unwrap().free.push(2);
            }
        }
        owner.join().unwrap();
        assert_nothing_is_lost(&heap, &slot, Vec::new(), 3);
    });
}

/// How a thread takes over the cache of one that ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TakeOver {
    /// Under the lock.
    Locked,
    /// Without: the broken variant.
    Unlocked,
}

/// A thread ends and leaves its cache as it is, and another one takes it over, while a third one drains.
fn a_cache_that_is_left(take_over: TakeOver) {
    let slot = Arc::new(Slot::new(vec![0], Barrier::Full));
    let left = Arc::new(AtomicBool::new(false));
    let heap = locked(Vec::new(), Vec::new());
    let owner = {
        let (slot, heap, left) = (slot.clone(), heap.clone(), left.clone());
        thread::spawn(move || {
            dealloc(&heap, &slot, 1);
            let _heap = heap.lock().unwrap();
            // `Lists::bytes`.
            assert!(slot.with_lock(|list| list.len()) <= 2);
            left.store(true, Ordering::Relaxed);
        })
    };
    let drainer = {
        let (slot, heap) = (slot.clone(), heap.clone());
        thread::spawn(move || drain(&heap, &slot))
    };
    let takes_over = {
        let _heap = (take_over == TakeOver::Locked).then(|| heap.lock().unwrap());
        left.load(Ordering::Relaxed)
    };
    if takes_over {
        dealloc(&heap, &slot, 2);
    } else {
        heap.lock().unwrap().free.push(2);
    }
    owner.join().unwrap();
    drainer.join().unwrap();
    assert_nothing_is_lost(&heap, &slot, Vec::new(), 3);
}

/// With three threads, all of their interleavings are too many.
fn with_few_preemptions(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn a_cache_that_is_left_is_drained_and_taken_over() {
    with_few_preemptions(|| a_cache_that_is_left(TakeOver::Locked));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn not_without_the_lock() {
    with_few_preemptions(|| a_cache_that_is_left(TakeOver::Unlocked));
}
