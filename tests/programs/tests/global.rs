//! `Locked<FreeList>` as the global allocator of a std program, and under more threads than there are
//! processors.

use fastrand::Rng;
use mem_alloc_rust::{FreeList, Locked};
use serial_test::serial;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

#[global_allocator]
static A: Locked<FreeList<{ 16 << 20 }>> = Locked::new();

/// More than twice as many as there are processors on a small machine, so that a holder of the lock loses its
/// processor.
const THREADS: usize = 8;

#[test]
#[serial]
fn collections_keep_what_is_put_into_them() {
    let numbers: Vec<String> = (0..10_000).map(|n: u32| n.to_string()).collect();
    let by_hash: HashMap<&str, usize> =
        numbers.iter().enumerate().map(|(n, text)| (text.as_str(), n)).collect();
    let by_order: BTreeMap<&str, usize> =
        numbers.iter().enumerate().map(|(n, text)| (text.as_str(), n)).collect();
    for (n, text) in numbers.iter().enumerate() {
        assert_eq!(by_hash[text.as_str()], n);
        assert_eq!(by_order[text.as_str()], n);
    }
    A.audit().unwrap();
}

#[test]
#[serial]
fn the_allocator_can_be_printed_though_that_allocates() {
    let text = format!("{A:?}");
    assert!(text.starts_with("Locked { stats: Stats { arena_bytes: "), "{text}");
}

#[test]
#[serial]
fn threads_hand_blocks_to_each_other() {
    let live = A.stats().live_blocks;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (sender, receiver) = mpsc::channel::<Vec<usize>>();
            scope.spawn(move || {
                for length in 1..500 {
                    sender.send(vec![thread * length; length]).unwrap();
                }
            });
            scope.spawn(move || {
                for (index, block) in receiver.into_iter().enumerate() {
                    assert_eq!(block, vec![thread * (index + 1); index + 1]);
                }
            });
        }
    });
    A.audit().unwrap();
    // The first use of threads and channels leaves a few things of std's behind, once.
    assert!(A.stats().live_blocks <= live + 40, "{live} blocks were live, now {:?}", A.stats());
}

#[test]
#[serial]
fn destructors_of_thread_locals_may_allocate_and_free() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);

    struct Noisy(Vec<u8>);
    impl Drop for Noisy {
        fn drop(&mut self) {
            let copy: Vec<u8> = self.0.iter().rev().copied().collect();
            DROPPED.fetch_add(copy.len(), Ordering::Relaxed);
        }
    }
    thread_local!(static NOISY: RefCell<Option<Noisy>> = const { RefCell::new(None) });

    for _ in 0..100 {
        std::thread::spawn(|| NOISY.with(|noisy| *noisy.borrow_mut() = Some(Noisy(vec![1; 1000]))))
            .join()
            .unwrap();
    }
    assert_eq!(DROPPED.load(Ordering::Relaxed), 100 * 1000);
    A.audit().unwrap();
}

#[test]
#[serial]
fn threads_hammering_one_allocator_leave_one_free_block() {
    static B: Locked<FreeList> = Locked::new();

    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || hammer(&B, thread as u8 + 1));
        }
    });
    B.audit().unwrap();
    let stats = B.stats();
    assert_eq!((stats.live_blocks, stats.live_bytes, stats.free_blocks), (0, 0, 1));
    assert!(stats.peak_bytes > 0);
}

#[test]
#[serial]
fn the_lock_can_be_another_one() {
    static C: Locked<FreeList, spin::mutex::SpinMutex<()>> = Locked::new();

    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || hammer(&C, thread as u8 + 1));
        }
    });
    C.audit().unwrap();
    assert_eq!(C.stats().live_blocks, 0);
}

/// Allocates, resizes and frees blocks of all sizes, each filled with the thread's own mark, which must never
/// change.
fn hammer(allocator: &impl GlobalAlloc, mark: u8) {
    let mut random = Rng::with_seed(mark.into());
    let mut slots: [(*mut u8, usize); 32] = [(std::ptr::null_mut(), 0); 32];
    let layout = |size| Layout::from_size_align(size, 8).unwrap();
    for round in 0..40_000 {
        let (block, size) = &mut slots[random.usize(..32)];
        // SAFETY: a slot's block is this thread's own, of `size` bytes, and is given back or resized once
        // with that size.
        unsafe {
            if block.is_null() {
                *size = random.usize(1..=if round % 8 == 0 { 4000 } else { 200 });
                *block = allocator.alloc(layout(*size));
                if !block.is_null() {
                    block.write_bytes(mark, *size);
                }
                continue;
            }
            let contents = std::slice::from_raw_parts(*block, *size);
            assert!(contents.iter().all(|&byte| byte == mark), "a block of thread {mark} was overwritten");
            if random.u32(..4) == 0 {
                let new_size = random.usize(1..=3000);
                let moved = allocator.realloc(*block, layout(*size), new_size);
                if !moved.is_null() {
                    moved.write_bytes(mark, new_size);
                    (*block, *size) = (moved, new_size);
                }
            } else {
                allocator.dealloc(*block, layout(*size));
                *block = std::ptr::null_mut();
            }
        }
    }
    for (block, size) in slots.into_iter().filter(|(block, _)| !block.is_null()) {
        // SAFETY: as above.
        unsafe { allocator.dealloc(block, layout(size)) };
    }
}
