//! Every sequence of operations, up to a length, over arenas that hold a handful of blocks.
//!
//! A bug in an allocator is seldom a matter of size: it is a block between two free ones, a remainder that is
//! one granule too small, a gap in front that lies behind another gap. In a large arena random operations
//! hardly ever put those side by side. In an arena of a hundred bytes nothing else is possible: the blocks of
//! 16 to 48 bytes that are asked for here meet the arena's end, each other, and a refusal in every
//! combination within a few steps, and none is left to chance.
//!
//! The sequences form a tree that is walked depth first. A node is the state after its operations: the heap's
//! own bytes, the region's bytes, and what the shadow knows. All of it is copied before a step and copied
//! back after everything that begins with the step was tried, so that a step is carried out once for all the
//! sequences that share it. The shadow checks each one in full. It is asserted that there were enough of
//! them, so that the test cannot shrink to nothing unnoticed.
//!
//! Each operation more costs twelve times as much as all sequences without it together. The last one or two are left
//! out by default; with the environment variable `MEM_ALLOC_RUST_EXHAUSTIVE=full`, as in CI, they are not. Each
//! test prints how far it went (`cargo test --test heap exhaustive -- --nocapture`).

use crate::extent::is_full;
use crate::support::live_block::LiveBlock;
use crate::support::memory::RegionShape;
use crate::support::operation::Operation;
use crate::support::shadow::{Failure, Shadow};
use mem_alloc_rust::Heap;
use std::mem::MaybeUninit;

/// What is asked for at every node.
struct Menu {
    allocations: &'static [Operation],
    /// Sizes to which each live block is resized.
    sizes: &'static [usize],
}

const fn alloc(size: usize, align: usize) -> Operation {
    Operation::Alloc { size, align }
}

const fn alloc_zeroed(size: usize, align: usize) -> Operation {
    Operation::AllocZeroed { size, align }
}

/// A state to which the walk comes back: everything that a step can change.
struct Checkpoint {
    heap: MaybeUninit<Heap>,
    region: Vec<MaybeUninit<u8>>,
    live: Vec<LiveBlock>,
    steps: usize,
    peak: usize,
}

impl Checkpoint {
    /// Room for the state of a shadow over that region.
    fn new(shape: RegionShape) -> Self {
        Self {
            heap: MaybeUninit::uninit(),
            region: vec![MaybeUninit::uninit(); shape.len],
            live: Vec::new(),
            steps: 0,
            peak: 0,
        }
    }

    fn save(&mut self, shadow: &Shadow) {
        // SAFETY: source and destination are distinct and have room for a heap and a region. The copy of the
        // heap is never used as one: it waits to be copied back.
        unsafe {
            (&raw const shadow.heap).copy_to_nonoverlapping(self.heap.as_mut_ptr(), 1);
            let region = shadow.memory.start().cast::<MaybeUninit<u8>>();
            region.copy_to_nonoverlapping(self.region.as_mut_ptr(), self.region.len());
        }
        self.live.clone_from(&shadow.live);
        self.steps = shadow.history.len();
        self.peak = shadow.peak;
    }

    fn restore(&self, shadow: &mut Shadow) {
        // SAFETY: both were saved from the same places, a heap has nothing to drop, and it comes back
        // together with the region that it describes.
        unsafe {
            (&raw mut shadow.heap).copy_from_nonoverlapping(self.heap.as_ptr(), 1);
            let region = shadow.memory.start().cast::<MaybeUninit<u8>>();
            region.copy_from_nonoverlapping(self.region.as_ptr(), self.region.len());
        }
        shadow.live.clone_from(&self.live);
        shadow.history.truncate(self.steps);
        shadow.peak = self.peak;
    }
}

/// The walk over all sequences that begin with what the shadow has done.
struct Walk<'a> {
    shadow: Shadow,
    menu: &'a Menu,
    sequences: u64,
}

impl Walk<'_> {
    /// Tries every operation, then every sequence behind it; `checkpoints` has a place for each step that is
    /// left.
    fn descend(&mut self, checkpoints: &mut [Checkpoint]) -> Result<(), Failure> {
        let Some((here, below)) = checkpoints.split_first_mut() else {
            return self.shadow.check_figures();
        };
        here.save(&self.shadow);
        let live = self.shadow.live.len();
        let menu = self.menu;
        let allocations = menu.allocations.iter().copied();
        let frees = (0..live).map(|which| Operation::Free { which });
        let resizes = (0..live).flat_map(|which| {
            let sizes = menu.sizes.iter();
            sizes.map(move |&new_size| Operation::Realloc { which, new_size })
        });
        for operation in allocations.chain(frees).chain(resizes) {
            self.shadow.apply(operation)?;
            self.sequences += 1;
            self.descend(below)?;
            here.restore(&mut self.shadow);
        }
        Ok(())
    }
}

/// How far a search goes, and what makes sure that it went there.
///
/// How many sequences there are depends on which requests are refused, and so a little on what the heap holds
/// back. Fewer than `at_least` would mean that it refuses nearly everything.
struct Extent {
    /// Operations of the longest sequences.
    length: usize,
    at_least: u64,
}

/// Runs every sequence of operations in a region of that shape, up to the length that is asked for.
fn run_all(shape: RegionShape, menu: &Menu, default: Extent, full: Extent) {
    let (Extent { length, at_least }, which) =
        if is_full() { (full, "the whole search") } else { (default, "the search without its last steps") };
    let run = || {
        let mut walk = Walk { shadow: Shadow::new(shape)?, menu, sequences: 0 };
        let mut checkpoints: Vec<_> = (0..length).map(|_| Checkpoint::new(shape)).collect();
        walk.descend(&mut checkpoints)?;
        let sequences = walk.sequences;
        walk.shadow.finish()?;
        Ok(sequences)
    };
    let sequences = run().unwrap_or_else(|failure: Failure| panic!("{failure}"));
    println!("{which}: {sequences} sequences of up to {length} operations in {shape:?}");
    assert!(sequences > at_least, "{sequences} sequences are not {at_least}");
}

/// Blocks of 16, 24 and 48 bytes, and one of 16 at a multiple of 32, in a misaligned region: full after two
/// to seven.
#[test]
fn every_sequence_in_an_arena_of_112_bytes() {
    const MENU: Menu = Menu {
        allocations: &[alloc(12, 1), alloc(20, 8), alloc_zeroed(44, 4), alloc(12, 32)],
        sizes: &[4, 28, 60],
    };
    let shape = RegionShape { len: 112 + 7, misalignment: 5, zeroed: false };
    let (default, full) =
        (Extent { length: 6, at_least: 600_000 }, Extent { length: 8, at_least: 130_000_000 });
    run_all(shape, &MENU, default, full);
}

/// Blocks of 16, 40 and 80 bytes, and one of 24 at a multiple of 64, with room for a gap on either side of
/// it; the memory is zero in the beginning.
#[test]
fn every_sequence_in_an_arena_of_160_bytes() {
    const MENU: Menu = Menu {
        allocations: &[alloc(12, 1), alloc_zeroed(36, 8), alloc_zeroed(20, 64), alloc(76, 1)],
        sizes: &[4, 36, 76],
    };
    let shape = RegionShape { len: 160 + 4, misalignment: 0, zeroed: true };
    let (default, full) =
        (Extent { length: 6, at_least: 600_000 }, Extent { length: 8, at_least: 130_000_000 });
    run_all(shape, &MENU, default, full);
}

/// Blocks of 64 bytes, which get runs of two slots and lose them again, some of them at a multiple of 64, and
/// one that takes most of what is left, in a region of eight short pages.
#[test]
fn every_sequence_with_runs_of_two_slots() {
    const MENU: Menu =
        Menu { allocations: &[alloc(64, 8), alloc(57, 64), alloc_zeroed(400, 8)], sizes: &[20, 64, 200] };
    let shape = RegionShape { len: 2048, misalignment: 3, zeroed: false };
    let (default, full) =
        (Extent { length: 6, at_least: 200_000 }, Extent { length: 7, at_least: 1_000_000 });
    run_all(shape, &MENU, default, full);
}
