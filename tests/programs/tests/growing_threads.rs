//! Eight threads over growing memory, with sizes of all kinds, that free each other's blocks.

#![cfg(all(feature = "std", unix))]

use fastrand::Rng;
use mem_alloc_rust::{Growing, ThreadCached, set_refusal_hook};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::Mutex;
use std::thread;

const MIB: usize = 1 << 20;
const THREADS: u8 = 8;
const ROUNDS: usize = 3000;

/// The first allocator of the process, and so the one that has caches.
static A: ThreadCached<Growing<{ 96 * MIB }>> = ThreadCached::new();

/// A block with its owner's mark at both ends, and in the middle.
struct Marked {
    block: *mut u8,
    layout: Layout,
    mark: u8,
}

// SAFETY: a block may be used and freed by whichever thread has it.
unsafe impl Send for Marked {}

impl Marked {
    fn places(bytes: usize) -> [usize; 3] {
        [0, bytes / 2, bytes - 1]
    }

    fn write(&self) {
        for at in Self::places(self.layout.size()) {
            // SAFETY: the block is in use, and has that many bytes.
            unsafe { self.block.add(at).write(self.mark) };
        }
    }

    fn try_new(layout: Layout, mark: u8) -> Option<Self> {
        // SAFETY: the layout is of more than no bytes.
        let block = unsafe { A.alloc(layout) };
        assert_eq!(block.addr() % layout.align(), 0);
        if block.is_null() {
            return None;
        }
        let marked = Self { block, layout, mark };
        marked.write();
        Some(marked)
    }

    fn check(&self, at: usize) {
        // SAFETY: as above.
        assert_eq!(unsafe { self.block.add(at).read() }, self.mark, "somebody else wrote into the block");
    }

    fn resize(&mut self, bytes: usize) {
        // SAFETY: the block is in use with this layout.
        let block = unsafe { A.realloc(self.block, self.layout, bytes) };
        if block.is_null() {
            return;
        }
        self.block = block;
        let before = self.layout.size();
        self.layout = Layout::from_size_align(bytes, self.layout.align()).unwrap();
        Self::places(before).into_iter().filter(|&at| at < bytes).for_each(|at| self.check(at));
        self.write();
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        Self::places(self.layout.size()).into_iter().for_each(|at| self.check(at));
        // SAFETY: the block is in use with this layout.
        unsafe { A.dealloc(self.block, self.layout) };
    }
}

fn size(rng: &mut Rng) -> usize {
    let most = [64, 64, 700, 700, 5000, 70_000, 900_000, 5 * MIB][rng.usize(..8)];
    rng.usize(1..=most)
}

fn work(number: u8, handed_over: &Mutex<Vec<Marked>>) {
    let mut rng = Rng::with_seed(number.into());
    let mut own = Vec::new();
    for round in 0..ROUNDS {
        let align = if rng.u8(..8) == 0 { 1 << rng.u8(..=14) } else { 8 };
        let layout = Layout::from_size_align(size(&mut rng), align).unwrap();
        own.extend(Marked::try_new(layout, number));
        if own.len() > 20 || rng.u8(..3) == 0 && !own.is_empty() {
            let marked = own.swap_remove(rng.usize(..own.len()));
            let mut others = handed_over.lock().unwrap();
            others.push(marked);
            if others.len() > 30 {
                let other = rng.usize(..others.len());
                let other = others.swap_remove(other);
                drop(others);
                drop(other);
            }
        }
        if !own.is_empty() && rng.u8(..4) == 0 {
            let which = rng.usize(..own.len());
            own[which].resize(size(&mut rng));
        }
        match (number, round % 500) {
            (0, 250) => drop(A.trim()),
            (1, 100) => A.set_cap(24 * MIB),
            (1, 300) => A.set_cap(96 * MIB),
            (2, 400) => A.audit().unwrap(),
            _ => {}
        }
    }
}

#[test]
fn threads_free_each_others_blocks_of_all_sizes() {
    set_refusal_hook(|_| {});
    let handed_over = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..THREADS {
            let handed_over = &handed_over;
            scope.spawn(move || work(number, handed_over));
        }
    });
    drop(handed_over);
    A.audit().unwrap();
    let stats = A.stats();
    assert_eq!((stats.live_bytes, stats.live_blocks), (0, 0), "{stats:?}");
    A.trim();
    assert!(A.committed_bytes() < MIB, "{} bytes are left", A.committed_bytes());
}
