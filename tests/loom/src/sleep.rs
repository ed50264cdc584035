//! Caches that are asleep: `cache/pressure`, `Slot::wake_in_time`, `ThreadCached::drained_for`.
//!
//! What has to hold: a request is refused without a look into the caches only while they have nothing. A broken
//! variant has to be caught: [`Wake::Unnoted`] wakes a cache and does not say so.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering, fence};
use loom::sync::{Arc, Mutex, MutexGuard};
use loom::thread;

/// Whether who wakes a cache notes that it may have blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    Noted,
    Unnoted,
}

/// The token, as in `Slot`.
mod token {
    pub(super) const INSIDE: u8 = 0;
    pub(super) const OUTSIDE: u8 = 1;
    pub(super) const ASLEEP: u8 = 2;
}

#[derive(Default)]
struct Lists {
    /// Without one, nothing is kept.
    has_budget: bool,
    blocks: Vec<u32>,
}

struct Slot {
    token: AtomicU8,
    closed: AtomicBool,
    awake: AtomicBool,
    lists: UnsafeCell<Lists>,
    /// How many blocks the lists have: for the check, which must not enter.
    cached: AtomicUsize,
}

/// What is behind the lock.
struct Heap {
    free: Vec<u32>,
    may_have_blocks: bool,
}

impl Slot {
    fn awake() -> Self {
        Self {
            token: AtomicU8::new(token::OUTSIDE),
            closed: AtomicBool::new(false),
            awake: AtomicBool::new(true),
            lists: UnsafeCell::new(Lists { has_budget: true, blocks: Vec::new() }),
            cached: AtomicUsize::new(0),
        }
    }

    fn push(&self, lists: &mut Lists, block: u32) -> bool {
        if lists.has_budget {
            lists.blocks.push(block);
            self.cached.fetch_add(1, Ordering::SeqCst);
        }
        lists.has_budget
    }

    /// `Slot::give`: false if the cache does not take the block.
    fn give(&self, block: u32) -> bool {
        if self.token.load(Ordering::Relaxed) != token::OUTSIDE {
            return false;
        }
        self.token.store(token::INSIDE, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let is_open = !self.closed.load(Ordering::Acquire);
        // SAFETY: what the model checks.
        let is_given = is_open && self.lists.with_mut(|lists| unsafe { self.push(&mut *lists, block) });
        self.token.store(token::OUTSIDE, Ordering::Release);
        is_given
    }

    /// `Slot::wake_in_time`, by the owner under the lock; that it is time is up to the caller.
    fn wake_in_time(&self, heap: &mut Heap, is_time: bool, wake: Wake) -> bool {
        if self.awake.load(Ordering::Relaxed) {
            return true;
        }
        self.token.store(token::ASLEEP, Ordering::Release);
        if is_time {
            // SAFETY: what the model checks.
            self.lists.with_mut(|lists| unsafe { (*lists).has_budget = true });
            self.awake.store(true, Ordering::Relaxed);
            self.token.store(token::OUTSIDE, Ordering::Release);
            heap.may_have_blocks |= wake == Wake::Noted;
        }
        is_time
    }

    /// The part of `drain_into` and `fall_asleep` that is one cache's: under the lock, by somebody else.
    fn drain_to_sleep(&self, heap: &mut Heap) {
        self.closed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        while self.token.load(Ordering::Acquire) == token::INSIDE {
            thread::yield_now();
        }
        // SAFETY: what the model checks.
        let blocks = self.lists.with_mut(|lists| unsafe { std::mem::take(&mut *lists) }.blocks);
        self.cached.fetch_sub(blocks.len(), Ordering::SeqCst);
        heap.free.extend(blocks);
        self.awake.store(false, Ordering::Relaxed);
        self.closed.store(false, Ordering::Release);
        heap.may_have_blocks = false;
    }
}

/// A release by the owner, `ThreadCached::dealloc_slow` included.
fn dealloc(heap: &Mutex<Heap>, slot: &Slot, block: u32, is_time: bool, wake: Wake) {
    if slot.give(block) {
        return;
    }
    let mut heap = heap.lock().unwrap();
    let is_awake = slot.wake_in_time(&mut heap, is_time, wake);
    // SAFETY: what the model checks.
    if !is_awake || !slot.lists.with_mut(|lists| unsafe { slot.push(&mut *lists, block) }) {
        heap.free.push(block);
    }
}

/// A request by somebody else, `ThreadCached::drained_for` included.
fn alloc(heap: &Mutex<Heap>, slot: &Slot) -> Option<u32> {
    let mut heap: MutexGuard<'_, Heap> = heap.lock().unwrap();
    if heap.free.is_empty() && heap.may_have_blocks {
        slot.drain_to_sleep(&mut heap);
    }
    let block = heap.free.pop();
    if block.is_none() {
        assert_eq!(slot.cached.load(Ordering::SeqCst), 0, "refused, though a cache has a block");
    }
    block
}

/// The owner gives two blocks back, and its cache wakes as soon as it can, while another thread asks for blocks.
fn owner_against_requests(wake: Wake) {
    let slot = Arc::new(Slot::awake());
    let heap = Arc::new(Mutex::new(Heap { free: Vec::new(), may_have_blocks: true }));
    let other = {
        let (slot, heap) = (slot.clone(), heap.clone());
        thread::spawn(move || [(); 2].map(|()| alloc(&heap, &slot)))
    };
    for block in 0..2 {
        dealloc(&heap, &slot, block, true, wake);
    }
    let got = other.join().unwrap();
    let mut found: Vec<_> = got.into_iter().flatten().collect();
    while let Some(block) = alloc(&heap, &slot) {
        found.push(block);
    }
    found.sort_unstable();
    assert_eq!(found, [0, 1], "each block is in one place");
}

#[test]
fn a_request_is_refused_only_while_caches_have_nothing() {
    loom::model(|| owner_against_requests(Wake::Noted));
}

#[test]
#[should_panic(expected = "refused, though a cache has a block")]
fn a_cache_that_wakes_and_does_not_say_so_is_found() {
    loom::model(|| owner_against_requests(Wake::Unnoted));
}
