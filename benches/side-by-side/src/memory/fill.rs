//! Fill to refusal: the share of an arena that holds live user data when the allocator first says
//! no.

use std::alloc::{GlobalAlloc, Layout};
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use indicatif::ProgressBar;

use crate::allocators::{Allocator, Visitor};
use crate::region::Region;
use crate::workloads::{Requests, Sizes};

/// The size mixes, with their names.
const MIXES: [(&str, Requests); 3] = [
    ("uniform 1..=128", Requests::plain(Sizes::up_to(128))),
    ("1..=cap, cap 16..=4096", Requests::plain(Sizes::UniformCap { max: 4096 })),
    ("skewed, alignments mixed", Requests::mixed(Sizes::SKEWED)),
];

/// The arenas: name, bytes, and refusals that are averaged.
const ARENAS: [(&str, usize, usize); 2] = [("1 MiB", 1 << 20, 200), ("64 MiB", 64 << 20, 20)];

/// What one allocator reached in one arena with one mix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FillCell {
    /// Mean of live bytes over arena bytes; `None` if the time ran out before the first refusal.
    pub share: Option<f64>,
    /// Refusals that went into the mean.
    pub refusals: usize,
}

/// One arena with one mix.
#[derive(Clone, Debug)]
pub struct FillRow {
    /// Name of the mix.
    pub mix: &'static str,
    /// Name of the arena.
    pub arena: &'static str,
    /// Refusals that were asked for.
    pub refusals: usize,
    /// In the order in which the allocators were given.
    pub cells: Vec<FillCell>,
}

/// Fills both arenas with all mixes, each allocator for at most `patience` per cell.
///
/// # Errors
///
/// If the system has no memory for the arena.
pub fn run(
    allocators: &[Allocator],
    quick: bool,
    patience: Duration,
    progress: &ProgressBar,
) -> Result<Vec<FillRow>> {
    /// With `--quick`, only every n-th of the refusals.
    const QUICK_DIVISOR: usize = 10;
    let mut rows = Vec::new();
    progress.set_length((MIXES.len() * ARENAS.len() * allocators.len()) as u64);
    for (arena, len, refusals) in ARENAS {
        let refusals = if quick { refusals / QUICK_DIVISOR } else { refusals };
        let mut region = Region::new(len)?;
        for (mix, requests) in MIXES {
            progress.set_message(format!("{arena}, {mix}"));
            let mut cells = Vec::new();
            for allocator in allocators {
                progress.inc(1);
                let fill = Fill { requests, arena: len, refusals, deadline: Instant::now() + patience };
                cells.push(allocator.visit(region.span(len), fill)?);
            }
            rows.push(FillRow { mix, arena, refusals, cells });
        }
    }
    Ok(rows)
}

struct Fill {
    requests: Requests,
    arena: usize,
    refusals: usize,
    deadline: Instant,
}

impl Visitor for Fill {
    type Output = FillCell;

    /// Allocate; after each success free a random block with probability 1/10; at each refusal note
    /// the live bytes, then free a random half.
    fn visit<A: GlobalAlloc + Sync>(self, allocator: &A) -> FillCell {
        let mut random = Rng::with_seed(0x5EED_0004);
        let mut live = Live::default();
        let mut shares = Vec::new();
        let mut steps = 0_u32;
        let mut is_late = || {
            steps += 1;
            // O(n) allocators need milliseconds for a call here, the others nanoseconds.
            steps.is_multiple_of(64) && Instant::now() > self.deadline
        };
        'refusals: while shares.len() < self.refusals {
            while live.allocate(allocator, self.requests.draw(&mut random)) {
                if random.u32(0..10) == 0 {
                    live.free_one(allocator, &mut random);
                }
                if is_late() {
                    break 'refusals;
                }
            }
            shares.push(live.bytes as f64 / self.arena as f64);
            for _ in 0..live.blocks.len() / 2 {
                live.free_one(allocator, &mut random);
                if is_late() {
                    break 'refusals;
                }
            }
        }
        FillCell {
            share: (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64),
            refusals: shares.len(),
        }
    }
}

/// The blocks that are in use.
#[derive(Default)]
struct Live {
    blocks: Vec<(*mut u8, Layout)>,
    bytes: usize,
}

impl Live {
    fn allocate<A: GlobalAlloc>(&mut self, allocator: &A, (size, align_log2): (u32, u8)) -> bool {
        // SAFETY: a power of two, and a size that is far from overflowing `isize`.
        let layout = unsafe { Layout::from_size_align_unchecked(size as usize, 1 << align_log2) };
        // SAFETY: no distribution yields zero.
        let block = unsafe { allocator.alloc(layout) };
        if block.is_null() {
            return false;
        }
        self.blocks.push((block, layout));
        self.bytes += layout.size();
        true
    }

    fn free_one<A: GlobalAlloc>(&mut self, allocator: &A, random: &mut Rng) {
        let (block, layout) = self.blocks.swap_remove(random.usize(..self.blocks.len()));
        self.bytes -= layout.size();
        // SAFETY: the block came from this allocator with this layout, and is forgotten here.
        unsafe { allocator.dealloc(block, layout) };
    }
}
