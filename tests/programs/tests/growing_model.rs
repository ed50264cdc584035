//! Random operations on growing memory, against a shadow that knows every byte in use: sizes on both sides of what gets
//! pages of its own, all alignments to 64 KiB, a cap that moves, and memory that is given back in between.

#![cfg(all(feature = "std", unix))]

use fastrand::Rng;
use mem_alloc_rust::{Growing, Locked, OrSystem, set_refusal_hook};
use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;
const CAP: usize = 48 * MIB;

type Allocator = Locked<Growing<CAP>>;

/// A block in use.
#[derive(Clone, Copy)]
struct Block {
    pointer: *mut u8,
    layout: Layout,
    seed: u8,
}

impl Block {
    fn expected(self, at: usize) -> u8 {
        self.seed ^ (at >> 9) as u8
    }

    /// The bytes that are written and looked at: all of a small block, those at the ends, and some of each page.
    fn places(size: usize) -> impl Iterator<Item = usize> {
        let step = if size <= 2 * PAGE { 1 } else { 1021 };
        (0..size).step_by(step).chain(size.saturating_sub(64)..size)
    }

    fn fill(self) {
        // SAFETY: the block is in use, and holds as many bytes.
        Self::places(self.layout.size())
            .for_each(|at| unsafe { self.pointer.add(at).write(self.expected(at)) });
    }

    /// Whether what was written is there, in the first bytes and, if the block has not become smaller, the last ones.
    fn is_intact(self, old: usize) -> bool {
        let size = self.layout.size();
        // SAFETY: as above.
        Self::places(old)
            .filter(|&at| at < size)
            .all(|at| unsafe { self.pointer.add(at).read() } == self.expected(at))
    }

    fn is_zero(self) -> bool {
        // SAFETY: as above; it was asked for as zeroes.
        Self::places(self.layout.size()).all(|at| unsafe { self.pointer.add(at).read() } == 0)
    }
}

struct Shadow<'a> {
    allocator: &'a Allocator,
    /// By where they begin.
    blocks: BTreeMap<usize, Block>,
    rng: Rng,
    cap: usize,
}

impl Shadow<'_> {
    /// A size, most often a small one, and often one where something changes.
    fn size(&mut self) -> usize {
        match self.rng.u8(..10) {
            0..4 => self.rng.usize(1..1000),
            4..6 => self.rng.usize(1..70_000),
            6 => self.rng.usize(MIB - 50..MIB + 50),
            7 => self.rng.usize(1..40) * PAGE + self.rng.usize(..3) - 1,
            8 => self.rng.usize(500_000..3 * MIB),
            _ => self.rng.usize(MIB..8 * MIB),
        }
    }

    fn layout(&mut self) -> Layout {
        let align = if self.rng.u8(..3) > 0 { 8 } else { 1 << self.rng.u8(..=16) };
        Layout::from_size_align(self.size(), align).unwrap()
    }

    fn live_bytes(&self) -> usize {
        self.blocks.values().map(|block| block.layout.size()).sum()
    }

    /// A block that was just served is where it may be.
    fn admit(&mut self, block: Block) {
        let (start, end) = (block.pointer.addr(), block.pointer.addr() + block.layout.size());
        assert_eq!(start % block.layout.align(), 0, "{:?}", block.layout);
        if let Some((_, before)) = self.blocks.range(..start).next_back() {
            assert!(before.pointer.addr() + before.layout.size() <= start, "it overlaps");
        }
        assert!(self.blocks.range(start..).next().is_none_or(|(&next, _)| end <= next), "it overlaps");
        block.fill();
        self.blocks.insert(start, block);
        // What is had beyond a cap that was lowered is not had now.
        assert!(self.live_bytes() <= self.cap, "{} bytes in use of {}", self.live_bytes(), self.cap);
    }

    fn take(&mut self) -> Option<Block> {
        let number = self.rng.usize(..self.blocks.len().max(1));
        let start = *self.blocks.keys().nth(number)?;
        self.blocks.remove(&start)
    }

    fn alloc(&mut self) {
        let layout = self.layout();
        let is_zeroed = self.rng.bool();
        // SAFETY: the layout is of more than no bytes.
        let pointer = unsafe {
            if is_zeroed { self.allocator.alloc_zeroed(layout) } else { self.allocator.alloc(layout) }
        };
        if pointer.is_null() {
            // Where there is room for twice as much, alignment included, it must not be.
            let wanted = 2 * (layout.size() + layout.align()) + MIB;
            let (arena, stats) = (self.allocator.arena_bytes(), self.allocator.stats());
            let (is_free, in_use) = (stats.largest_free_bytes, stats.live_bytes);
            // Where the cap was made less than what there is, what runs need for themselves is not known.
            assert!(
                arena == stats.arena_bytes || arena == self.allocator.live_bytes() && stats.free_bytes == 0
            );
            assert!(
                is_free < wanted || in_use + layout.size() > self.cap,
                "{layout:?} is refused, {is_free} are free"
            );
            return;
        }
        let block = Block { pointer, layout, seed: self.rng.u8(..) };
        assert!(!is_zeroed || block.is_zero(), "{layout:?}");
        self.admit(block);
    }

    fn realloc(&mut self) {
        let Some(old) = self.take() else { return };
        let size = self.size();
        // SAFETY: the block is in use.
        let pointer = unsafe { self.allocator.realloc(old.pointer, old.layout, size) };
        if pointer.is_null() {
            assert!(size > old.layout.size(), "a block can always shrink");
            assert!(old.is_intact(old.layout.size()));
            self.blocks.insert(old.pointer.addr(), old);
            return;
        }
        let layout = Layout::from_size_align(size, old.layout.align()).unwrap();
        let block = Block { pointer, layout, ..old };
        assert!(block.is_intact(old.layout.size()), "{:?} has become {size}", old.layout);
        if size > old.layout.size() {
            self.admit(block);
        } else {
            block.fill();
            self.blocks.insert(pointer.addr(), block);
        }
    }

    fn dealloc(&mut self) {
        let Some(block) = self.take() else { return };
        assert!(block.is_intact(block.layout.size()), "somebody else wrote into the block");
        // SAFETY: the block is in use, and given back once.
        unsafe { self.allocator.dealloc(block.pointer, block.layout) };
    }

    fn set_cap(&mut self) {
        self.cap = match self.rng.u8(..4) {
            0 => self.rng.usize(..CAP),
            1 => self.live_bytes() + self.rng.usize(..MIB),
            2 => 2 * CAP,
            _ => CAP,
        };
        self.allocator.set_cap(self.cap);
    }

    /// What has to be true after each step.
    fn check(&self, is_had: usize) {
        self.allocator.audit().unwrap();
        let (stats, committed) = (self.allocator.stats(), self.allocator.committed_bytes());
        assert!(stats.live_bytes >= self.live_bytes() && stats.peak_bytes >= stats.live_bytes, "{stats:?}");
        assert_eq!(stats.live_blocks, self.blocks.len());
        assert_eq!(stats.live_bytes + stats.free_bytes + stats.overhead_bytes, stats.arena_bytes);
        assert!(committed <= self.cap.max(is_had), "{committed} are had, with a cap of {}", self.cap);
        assert!(committed >= self.live_bytes());
    }
}

fn run(seed: u64) {
    let allocator = Allocator::new();
    let mut shadow =
        Shadow { allocator: &allocator, blocks: BTreeMap::new(), rng: Rng::with_seed(seed), cap: CAP };
    // Some begin with a first heap that is soon full.
    if seed % 3 == 0 {
        shadow.cap = MIB;
        allocator.set_cap(MIB);
    }
    for step in 0..500 {
        let is_had = allocator.committed_bytes();
        match shadow.rng.u8(..100) {
            0..45 => shadow.alloc(),
            45..60 => shadow.realloc(),
            60..97 => shadow.dealloc(),
            97 => shadow.set_cap(),
            98 => drop(allocator.trim()),
            _ => {
                // Nearly all of it.
                while shadow.blocks.len() > 3 {
                    shadow.dealloc();
                }
            }
        }
        if step % 4 == 0 {
            shadow.check(is_had);
        }
    }
    while !shadow.blocks.is_empty() {
        shadow.dealloc();
    }
    shadow.check(CAP * 2);
    allocator.trim();
    let (stats, committed) = (allocator.stats(), allocator.committed_bytes());
    assert_eq!((stats.live_bytes, stats.live_blocks), (0, 0));
    assert!(committed < 256 << 10, "{committed} bytes are left");
}

#[test]
fn every_byte_is_where_it_was_put() {
    set_refusal_hook(|_| {});
    let only = std::env::var("MEM_ALLOC_RUST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = only.map_or(0..24, |seed| seed..seed + 1);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "with MEM_ALLOC_RUST_SEED={seed}");
    }
}

#[test]
fn what_the_cap_refuses_comes_from_the_system() {
    static B: Locked<OrSystem<Growing<{ 4 * MIB }>>> = Locked::new();
    let layout = |bytes| Layout::from_size_align(bytes, 8).unwrap();
    // SAFETY: the layouts are of more than no bytes; each block is resized in use, and given back once.
    unsafe {
        let blocks: Vec<_> = (0..100).map(|_| B.alloc_zeroed(layout(100_000))).collect();
        let large: Vec<_> = (0..4).map(|_| B.alloc_zeroed(layout(3 * MIB))).collect();
        assert!(blocks.iter().chain(&large).all(|block| !block.is_null() && block.read() == 0));
        let in_arena = B.stats().live_blocks;
        assert!((20..45).contains(&in_arena), "{in_arena}");
        for block in blocks {
            let block = B.realloc(block, layout(100_000), 2 * MIB);
            let block = B.realloc(block, layout(2 * MIB), 50_000);
            assert!(!block.is_null() && block.read() == 0);
            B.dealloc(block, layout(50_000));
        }
        large.into_iter().for_each(|block| B.dealloc(block, layout(3 * MIB)));
    }
    B.audit().unwrap();
    assert_eq!(B.stats().live_bytes, 0);
}
