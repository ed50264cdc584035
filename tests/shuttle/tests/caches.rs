//! Threads that allocate, release, drain, look, end and fork, over one allocator, in very many orders.

use mem_alloc_rust::{FreeList, ThreadCached};
use mem_alloc_rust_stand_ins::explore::{Exploration, Fresh};
use mem_alloc_rust_stand_ins::thread::{self, JoinHandle};
use mem_alloc_rust_stand_ins::{Stores, fork};
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// So much that threads may own runs, which have 1 KiB here.
const ARENA: usize = 256 << 10;

type Allocator = ThreadCached<FreeList<ARENA>>;

/// A slot, a larger one, and a block with a header.
const SLOT: Layout = Layout::new::<[u64; 3]>();
const LARGE_SLOT: Layout = Layout::new::<[u64; 40]>();
const BLOCK: Layout = Layout::new::<[u64; 200]>();

/// A block in use, with contents that no other one has.
struct Block {
    start: *mut u8,
    layout: Layout,
    mark: u8,
}

// SAFETY: a block belongs to whoever has it.
unsafe impl Send for Block {}

impl Block {
    fn try_new(allocator: &Allocator, layout: Layout) -> Option<Self> {
        std::thread_local! {
            static LAST: Cell<u8> = const { Cell::new(0) };
        }
        // SAFETY: the layouts are of more than no bytes.
        let start = unsafe { allocator.alloc(layout) };
        if start.is_null() {
            return None;
        }
        let mark = LAST.get().wrapping_add(1);
        LAST.set(mark);
        // SAFETY: the block is as long as that, and this thread's.
        unsafe { start.write_bytes(mark, layout.size()) };
        Some(Self { start, layout, mark })
    }

    fn new(allocator: &Allocator, layout: Layout) -> Self {
        Self::try_new(allocator, layout).expect("there is memory")
    }

    /// The block, as long as that says; its first contents are what they were.
    fn resized(self, allocator: &Allocator, layout: Layout) -> Self {
        // SAFETY: it is in use, as long as that, and the new size is not zero.
        unsafe {
            let start = allocator.realloc(self.start, self.layout, layout.size());
            assert!(!start.is_null());
            let kept = std::slice::from_raw_parts(start, layout.size().min(self.layout.size()));
            assert!(kept.iter().all(|&byte| byte == self.mark), "contents are lost");
            start.write_bytes(self.mark, layout.size());
            Self { start, layout, ..self }
        }
    }

    /// Gives the block back, if nobody else has written to it.
    fn free(self, allocator: &Allocator) {
        // SAFETY: it is in use, as long as that, and given back once.
        unsafe {
            let bytes = std::slice::from_raw_parts(self.start, self.layout.size());
            assert!(bytes.iter().all(|&byte| byte == self.mark), "a block is in two places");
            allocator.dealloc(self.start, self.layout);
        }
    }
}

/// The heap is as it was in the beginning, once caches are emptied.
fn assert_all_is_back(allocator: &Allocator) {
    allocator.audit().unwrap();
    allocator.drain();
    allocator.audit().unwrap();
    let stats = allocator.stats();
    assert_eq!((stats.live_blocks, stats.cached_bytes, stats.held_bytes), (0, 0, 0), "{stats}");
    assert_eq!(stats.free_blocks, 1, "{stats}");
}

fn join_all<const N: usize>(threads: [JoinHandle<()>; N]) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Allocates some blocks and releases them, from the middle on.
fn turn_over(allocator: &Allocator, layout: Layout, count: usize) {
    let mut blocks: Vec<Block> = (0..count).map(|_| Block::new(allocator, layout)).collect();
    while !blocks.is_empty() {
        blocks.swap_remove(blocks.len() / 2).free(allocator);
    }
}

macro_rules! explore {
    ($scenario:ident, $stores:expr, $has_membarrier:expr, $times:expr) => {
        static A: Fresh<Allocator> = Fresh::new(Allocator::new(), Allocator::new());
        Exploration { stores: $stores, has_membarrier: $has_membarrier, times: $times }
            .explore(&A, $scenario);
    };
}

macro_rules! scenarios {
    ($($(#[$attribute:meta])* fn $name:ident($allocator:ident, $times:expr) $body:block)+) => {
        $($(#[$attribute])*
        mod $name {
            use super::*;

            fn scenario($allocator: &'static Allocator) $body

            #[test]
            fn in_order() {
                explore!(scenario, Stores::InOrder, true, $times);
            }

            #[test]
            fn late_stores() {
                explore!(scenario, Stores::Late, true, $times);
            }

            #[test]
            fn without_membarrier() {
                explore!(scenario, Stores::Late, false, $times);
            }
        })+
    };
}

scenarios! {
    /// An owner in its cache, and somebody who empties it.
    fn owner_and_drain(allocator, 20_000) {
        let owner = thread::spawn(|| {
            turn_over(allocator, SLOT, 3);
            turn_over(allocator, BLOCK, 2);
        });
        allocator.drain();
        allocator.drain();
        owner.join().unwrap();
        assert_all_is_back(allocator);
    }

    /// Two threads that allocate and release beside each other, and look at all caches.
    fn owners_and_looks(allocator, 1000) {
        let threads = [(SLOT, 12), (LARGE_SLOT, 4)].map(|(layout, count)| {
            thread::spawn(move || {
                turn_over(allocator, layout, count);
                allocator.audit().unwrap();
                turn_over(allocator, layout, count);
            })
        });
        let stats = allocator.stats();
        assert!(stats.free_bytes + stats.live_bytes + stats.cached_bytes + stats.held_bytes <= ARENA);
        assert!(allocator.caches().threads <= 3);
        join_all(threads);
        assert_all_is_back(allocator);
    }

    /// What one thread allocates another one releases.
    fn producer_and_consumer(allocator, 500) {
        let (to, from): (Sender<Block>, Receiver<Block>) = channel();
        let producer = thread::spawn(move || {
            for number in 0..24 {
                let layout = if number % 8 == 7 { BLOCK } else { SLOT };
                to.send(Block::new(allocator, layout)).unwrap();
            }
        });
        let consumer = thread::spawn(move || {
            let mut left = 24;
            while left > 0 {
                match from.try_recv() {
                    Ok(block) => {
                        block.free(allocator);
                        left -= 1;
                    }
                    Err(_) => thread::yield_now(),
                }
            }
            allocator.flush_thread();
        });
        allocator.drain();
        join_all([producer, consumer]);
        assert_all_is_back(allocator);
    }

    /// Threads end while others begin, one drains, and what ended leaves its cache to the next.
    fn ends_and_beginnings(allocator, 500) {
        let life = || {
            turn_over(allocator, SLOT, 5);
            let kept = Block::new(allocator, LARGE_SLOT);
            turn_over(allocator, SLOT, 2);
            kept.free(allocator);
        };
        let first = [thread::spawn(life), thread::spawn(life)];
        allocator.drain();
        let second = [thread::spawn(life), thread::spawn(life)];
        allocator.drain();
        join_all(first);
        life();
        join_all(second);
        assert!(allocator.caches().threads <= 1, "the others have ended");
        assert_all_is_back(allocator);
    }

    /// There are more threads than caches.
    fn more_threads_than_caches(allocator, 200) {
        let threads = [(); 6].map(|()| {
            thread::spawn(|| {
                turn_over(allocator, SLOT, 4);
                thread::yield_now();
                turn_over(allocator, LARGE_SLOT, 2);
            })
        });
        allocator.drain();
        join_all(threads);
        assert_all_is_back(allocator);
    }

    /// Several threads' first allocations are the first ones of the process.
    fn first_allocations(allocator, 1000) {
        let threads = [(); 2].map(|()| thread::spawn(|| turn_over(allocator, SLOT, 2)));
        turn_over(allocator, SLOT, 1);
        join_all(threads);
        assert_all_is_back(allocator);
    }

    /// Owners release slots of each other's runs, which are strays then, and change sizes.
    fn strays(allocator, 300) {
        let (to_right, from_left): (Sender<Block>, Receiver<Block>) = channel();
        let (to_left, from_right): (Sender<Block>, Receiver<Block>) = channel();
        let threads = [(to_right, from_right), (to_left, from_left)].map(|(to, from)| {
            thread::spawn(move || {
                // So many that the class has earned runs, and each of the two has one.
                let mut own: Vec<_> = (0..100).map(|_| Block::new(allocator, SLOT)).collect();
                own.drain(10..).for_each(|block| to.send(block).unwrap());
                for block in own {
                    block.resized(allocator, Layout::new::<[u64; 6]>()).free(allocator);
                }
                drop(to);
                turn_over(allocator, SLOT, 10);
                from.try_iter().for_each(|block| block.free(allocator));
                let rest = Vec::from_iter(from.try_iter());
                turn_over(allocator, SLOT, 10);
                rest.into_iter().for_each(|block| block.free(allocator));
                while let Err(TryRecvError::Empty) = from.try_recv().map(|block| block.free(allocator)) {
                    thread::yield_now();
                }
                from.try_iter().for_each(|block| block.free(allocator));
            })
        });
        allocator.drain();
        assert!(allocator.stats().live_blocks <= 250);
        join_all(threads);
        assert_all_is_back(allocator);
    }

    /// A thread forks, in the parent, while others are in their caches: nobody is while the process is copied.
    fn forks(allocator, 500) {
        // Until the process's first allocation has returned, forks are not prepared for.
        turn_over(allocator, SLOT, 1);
        let threads = [SLOT, LARGE_SLOT].map(|layout| thread::spawn(move || turn_over(allocator, layout, 6)));
        fork(|| (0..3).for_each(|_| thread::yield_now()));
        turn_over(allocator, SLOT, 1);
        join_all(threads);
        assert_all_is_back(allocator);
    }

    /// Memory becomes short, plentiful and short again while another thread has a cache, which sleeps and wakes. A
    /// request is refused only if it would be with every cache empty.
    fn shortage(allocator, 200) {
        /// What the other thread has in use at most, and what its runs may keep from becoming one with what is free.
        const OTHERS: usize = 6 + 6;
        let is_over = Arc::new(AtomicBool::new(false));
        let goes_on = is_over.clone();
        let owner = thread::spawn(move || {
            while !goes_on.load(SeqCst) {
                turn_over_if_possible(allocator, 6);
                thread::yield_now();
            }
        });
        let mut counts = [0; 2];
        for count in &mut counts {
            // The other one's cache fills.
            (0..30).for_each(|_| thread::yield_now());
            *count = fill(allocator);
        }
        is_over.store(true, SeqCst);
        owner.join().unwrap();
        allocator.drain();
        let most = fill(allocator);
        assert!(counts.iter().all(|count| count + OTHERS >= most), "{counts:?} of {most}");
        assert_all_is_back(allocator);
    }
}

/// Fills nearly the whole arena with one block, and the rest with slots, and returns how many these are; then all are
/// released.
fn fill(allocator: &Allocator) -> usize {
    const LARGE: Layout = Layout::new::<[u8; ARENA - (4 << 10)]>();
    let large = Block::try_new(allocator, LARGE);
    let filling: Vec<_> = std::iter::from_fn(|| Block::try_new(allocator, SLOT)).collect();
    let count = filling.len();
    filling.into_iter().for_each(|block| block.free(allocator));
    large.into_iter().for_each(|block| block.free(allocator));
    count
}

/// As [`turn_over`], with as many blocks as there are.
fn turn_over_if_possible(allocator: &Allocator, count: usize) {
    let blocks: Vec<_> = (0..count).map_while(|_| Block::try_new(allocator, SLOT)).collect();
    blocks.into_iter().for_each(|block| block.free(allocator));
}
