//! Regions that are added while threads are in their caches. A process of its own with one test, because one allocator
//! of a process has caches.

#![cfg(all(feature = "std", unix))]

mod at_end;

use at_end::SetAtEnd;
use mem_alloc_rust::{RegionError, Regions, ThreadCached, set_refusal_hook};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

static A: ThreadCached<Regions<3>> = ThreadCached::new();

/// Bytes of the pieces that memory is added in, and how many there are.
const PIECE: usize = 1 << 20;
const PIECES: usize = 40;

/// A block, and the byte that it is full of.
struct Block {
    address: usize,
    layout: Layout,
    byte: u8,
}

impl Block {
    fn new(layout: Layout, byte: u8) -> Option<Self> {
        // SAFETY: the layout is not of zero bytes, and the block has as many.
        unsafe {
            let block = A.alloc(layout);
            if block.is_null() {
                return None;
            }
            block.write_bytes(byte, layout.size());
            Some(Self { address: block.expose_provenance(), layout, byte })
        }
    }

    /// Checks the contents, and gives it back or changes its size.
    fn end(self, new_size: Option<usize>) -> Option<Self> {
        let block = std::ptr::with_exposed_provenance_mut::<u8>(self.address);
        // SAFETY: the block is in use, full of that byte, and comes back with its layout.
        unsafe {
            let bytes = std::slice::from_raw_parts(block, self.layout.size());
            assert!(bytes.iter().all(|&byte| byte == self.byte), "{} bytes have changed", self.layout.size());
            let Some(new_size) = new_size else {
                A.dealloc(block, self.layout);
                return None;
            };
            let moved = A.realloc(block, self.layout, new_size);
            if moved.is_null() {
                return Some(self);
            }
            let kept = std::slice::from_raw_parts(moved, new_size.min(self.layout.size()));
            assert!(kept.iter().all(|&byte| byte == self.byte), "{new_size} bytes were not kept");
            moved.write_bytes(self.byte, new_size);
            let layout = Layout::from_size_align(new_size, self.layout.align()).unwrap();
            Some(Self { address: moved.expose_provenance(), layout, ..self })
        }
    }
}

/// Allocates, resizes and releases, and hands some blocks to another thread, until told to stop.
fn work(
    seed: u64,
    stop: &AtomicBool,
    calls: &AtomicUsize,
    to: mpsc::SyncSender<Block>,
    from: mpsc::Receiver<Block>,
) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut live = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..64 {
            let size = [24, 40, 100, rng.usize(1..800), rng.usize(1..20_000)][rng.usize(..21) / 5];
            let layout = Layout::from_size_align(size, 1 << rng.u32(..6)).unwrap();
            match rng.u32(..8) {
                0..4 if live.len() < 400 => live.extend(Block::new(layout, rng.u8(..))),
                4 if !live.is_empty() => {
                    let block: Block = live.swap_remove(rng.usize(..live.len()));
                    live.extend(block.end(Some(size)));
                }
                5 if !live.is_empty() => {
                    let block = live.swap_remove(rng.usize(..live.len()));
                    if let Err(mpsc::TrySendError::Full(block) | mpsc::TrySendError::Disconnected(block)) =
                        to.try_send(block)
                    {
                        live.push(block);
                    }
                }
                _ if !live.is_empty() => _ = live.swap_remove(rng.usize(..live.len())).end(None),
                _ => {}
            }
            from.try_iter().for_each(|block| _ = block.end(None));
        }
        calls.fetch_add(1, Ordering::Relaxed);
    }
    drop(to);
    // Until the other thread has stopped, too.
    live.into_iter().chain(from).for_each(|block| _ = block.end(None));
}

#[test]
fn regions_are_added_while_threads_are_in_their_caches() {
    set_refusal_hook(|_| {});
    let memory = Box::leak(vec![u64::MAX; PIECES * PIECE / 8].into_boxed_slice());
    let start: *mut u8 = memory.as_mut_ptr().cast();
    let add = |piece: usize| {
        // SAFETY: the memory is leaked, one allocation, and used by nothing else.
        unsafe { A.add_region(start.wrapping_add(piece * PIECE), PIECE) }
    };
    add(PIECES / 2).unwrap();
    assert!(Block::new(Layout::new::<[u8; PIECE + 1]>(), 0).is_none());
    let (stop, calls) = (&AtomicBool::new(false), &AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _end = SetAtEnd(stop);
        let ((to_first, from_second), (to_second, from_first)) =
            (mpsc::sync_channel(50), mpsc::sync_channel(50));
        let workers = [
            scope.spawn(move || work(1, stop, calls, to_second, from_second)),
            scope.spawn(move || work(2, stop, calls, to_first, from_first)),
        ];
        // Elsewhere, then behind the first region and in front of it in turn, until they are one.
        let elsewhere = [0, PIECES - 1];
        let around = (1..PIECES / 2).flat_map(|distance| [PIECES / 2 + distance, PIECES / 2 - distance]);
        for piece in elsewhere.into_iter().chain(around.filter(|piece| !elsewhere.contains(piece))) {
            let seen = calls.load(Ordering::Relaxed);
            while calls.load(Ordering::Relaxed) < seen + 20 {
                assert!(workers.iter().any(|worker| !worker.is_finished()));
                std::thread::yield_now();
            }
            add(piece).unwrap();
            assert_eq!(add(piece), Err(RegionError::Overlaps));
            A.audit().unwrap();
        }
        assert!(A.caches().are_available && A.caches().threads >= 2, "{:?}", A.caches());
    });
    assert_eq!(A.stats().live_blocks, 0, "{:?}", A.stats());
    A.drain();
    let stats = A.stats();
    assert_eq!((stats.live_blocks, stats.free_blocks), (0, 1), "{stats:?}");
    assert!(stats.arena_bytes > PIECES * PIECE - 20_000, "{stats:?}");
}
