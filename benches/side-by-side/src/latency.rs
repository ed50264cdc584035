//! How long single calls take: percentiles instead of means.

use std::alloc::GlobalAlloc;

use anyhow::Result;
use indicatif::ProgressBar;

use crate::allocators::{Allocator, Visitor};
use crate::clock::Clock;
use crate::execute::{Blocks, Observer};
use crate::operation::{Operation, Sequence};
use crate::region::Region;
use crate::workloads::{Sizes, random_actions};
use bench_common::statistics::{percentile, undisturbed_mean};

/// Which calls a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `alloc` and `alloc_zeroed`.
    Alloc,
    /// `dealloc`.
    Dealloc,
    /// `realloc`.
    Realloc,
}

impl Kind {
    /// All kinds, in the order of the tables.
    pub const ALL: [Self; 3] = [Self::Alloc, Self::Dealloc, Self::Realloc];

    /// The name of the method.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alloc => "alloc",
            Self::Dealloc => "dealloc",
            Self::Realloc => "realloc",
        }
    }

    /// The kind of an operation.
    #[must_use]
    pub const fn of(operation: Operation) -> Self {
        match operation {
            Operation::Allocate { .. } => Self::Alloc,
            Operation::Free { .. } => Self::Dealloc,
            Operation::Reallocate { .. } => Self::Realloc,
        }
    }
}

/// Percentiles of one allocator for one kind of call, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Line {
    /// Who was measured.
    pub allocator: Allocator,
    /// Which calls.
    pub kind: Kind,
    /// The values at [`SHARES`]; the last is the maximum.
    pub nanoseconds: [f64; SHARES.len()],
    /// The longest call in any round, interrupts included.
    pub raw_max: f64,
}

/// The percentiles that are reported, with their names.
pub const SHARES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// Timed operations per round.
pub const ACTIONS: usize = 200_000;

/// What the measurement found, and how fine its clock is.
#[derive(Clone, Debug)]
pub struct Latency {
    /// Allocator by allocator, kind by kind.
    pub lines: Vec<Line>,
    /// Steps in which the clock moves, in nanoseconds.
    pub clock_step: f64,
}

/// Measures every allocator on random actions up to 1,000 bytes with realloc.
///
/// The operations are the same in every round, so each is given the mean of the faster half of its rounds: what an
/// interrupt cost it in one round is not the allocator's.
///
/// # Errors
///
/// If the system has no memory for the arena.
pub fn run(allocators: &[Allocator], rounds: usize, progress: &ProgressBar) -> Result<Latency> {
    let (setup, timed) = random_actions(Sizes::up_to(1000), true, ACTIONS);
    let sequence = Sequence::new("latency", setup, timed)?;
    let mut region = Region::new(sequence.generous_arena())?;
    let clock = Clock::calibrate();
    progress.set_length((allocators.len() * (rounds + 1)) as u64);
    let mut ticks: Vec<Vec<Vec<u32>>> = vec![Vec::new(); allocators.len()];
    // Round 0 is a warm-up.
    for round in 0..=rounds {
        for (index, allocator) in allocators.iter().enumerate() {
            progress.inc(1);
            progress.set_message(allocator.name());
            let free_afterwards = !allocator.is_arena() && allocator.keeps_contents();
            let span = region.span(sequence.generous_arena());
            let of_round = allocator.visit(span, Round { sequence: &sequence, free_afterwards })?;
            if round > 0 {
                ticks[index].push(of_round);
            }
        }
    }
    let mut lines = Vec::new();
    for (&allocator, rounds) in std::iter::zip(allocators, &ticks) {
        lines.extend(Kind::ALL.map(|kind| summarise(allocator, kind, &sequence.timed, rounds, clock)));
    }
    Ok(Latency { lines, clock_step: clock.step_nanoseconds() })
}

/// Percentiles over the calls of one kind.
fn summarise(
    allocator: Allocator,
    kind: Kind,
    timed: &[Operation],
    rounds: &[Vec<u32>],
    clock: Clock,
) -> Line {
    let mut means = Vec::new();
    let mut slowest = 0;
    for (position, _) in timed.iter().enumerate().filter(|&(_, &operation)| Kind::of(operation) == kind) {
        let mut ticks: Vec<u32> = rounds.iter().filter_map(|round| round.get(position).copied()).collect();
        if let Some(&most) = ticks.iter().max() {
            slowest = slowest.max(most);
            means.push(undisturbed_mean(&mut ticks));
        }
    }
    means.sort_by(f64::total_cmp);
    Line {
        allocator,
        kind,
        nanoseconds: SHARES.map(|(_, share)| clock.nanoseconds(percentile(&means, share).unwrap_or(0.0))),
        raw_max: clock.nanoseconds(f64::from(slowest)),
    }
}

/// One round of one allocator; returns the ticks of every timed operation that was performed.
struct Round<'a> {
    sequence: &'a Sequence,
    free_afterwards: bool,
}

impl Visitor for Round<'_> {
    type Output = Vec<u32>;

    fn visit<A: GlobalAlloc + Sync>(self, allocator: &A) -> Vec<u32> {
        let mut blocks = Blocks::new(self.sequence.extent.slots);
        let mut stopwatch = Stopwatch { last: 0 };
        let mut ticks = Vec::with_capacity(self.sequence.timed.len());
        let complete = self.sequence.setup.iter().all(|&operation| {
            // SAFETY: the sequence is consistent, and performed in order on one allocator.
            unsafe { blocks.perform(allocator, operation) }.is_ok()
        });
        if complete {
            for &operation in &self.sequence.timed {
                // SAFETY: as above.
                let performed = unsafe { blocks.perform_observed(allocator, operation, &mut stopwatch) };
                if performed.is_err() {
                    break;
                }
                ticks.push(stopwatch.last);
            }
        }
        if self.free_afterwards {
            // SAFETY: all live blocks came from this allocator.
            unsafe { blocks.free_all(allocator) };
        }
        ticks
    }
}

/// Times the calls it observes.
struct Stopwatch {
    last: u32,
}

impl Observer for Stopwatch {
    #[inline(always)]
    fn around<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let (result, ticks) = Clock::time(call);
        self.last = ticks;
        result
    }
}
