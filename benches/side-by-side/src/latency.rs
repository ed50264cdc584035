//! How long single calls take: percentiles instead of means.

use std::alloc::GlobalAlloc;
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;

use crate::allocators::{Allocator, Visitor};
use crate::clock::Clock;
use crate::execute::{Blocks, Observer};
use crate::operation::{Operation, Sequence};
use crate::own_process::Partner;
use crate::region::Region;
use crate::workloads::{Requests, Sizes, random_actions};
use bench_common::Latencies;
use bench_common::statistics::undisturbed_mean;

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

/// Measures every allocator on random actions with realloc, in a process of its own that keeps its
/// heap from round to round.
///
/// The operations are the same in every round, so each is given the mean of the faster half of its
/// rounds: what an interrupt cost it in one round is not the allocator's.
///
/// `child` is the command that makes this program call [`serve`].
///
/// # Errors
///
/// If a child cannot be started, or breaks down.
pub fn run(
    allocators: &[Allocator],
    rounds: usize,
    child: impl Fn(Allocator) -> Vec<OsString>,
    progress: &ProgressBar,
) -> Result<Latency> {
    progress.set_length((allocators.len() * (rounds + 1)) as u64);
    let partners = allocators.iter().map(|&allocator| Partner::start(&child(allocator), LIMIT));
    let mut partners: Vec<Partner> = partners.collect::<Result<_>>()?;
    for round in 0..=rounds {
        for (allocator, partner) in std::iter::zip(allocators, &mut partners) {
            progress.inc(1);
            progress.set_message(allocator.name());
            partner.ask(if round == 0 { WARM_UP } else { ROUND })?;
        }
    }
    let (mut lines, mut clock_step) = (Vec::new(), 0.0);
    for (&allocator, mut partner) in std::iter::zip(allocators, partners) {
        let answer = partner.ask(SUMMARY)?;
        let end = partner.end()?;
        let why = || end.map_or_else(|failure| failure.to_string(), |()| "strange answer".to_owned());
        let numbers: Vec<f64> = answer
            .and_then(|line| line.split_whitespace().map(|number| number.parse().ok()).collect())
            .filter(|numbers: &Vec<f64>| numbers.len() == 1 + Kind::ALL.len() * (SHARES.len() + 1))
            .with_context(|| format!("{}: {}", allocator.name(), why()))?;
        clock_step = numbers[0];
        for (kind, numbers) in std::iter::zip(Kind::ALL, numbers[1..].chunks(SHARES.len() + 1)) {
            let mut nanoseconds = [0.0; SHARES.len()];
            nanoseconds.copy_from_slice(&numbers[..SHARES.len()]);
            lines.push(Line { allocator, kind, nanoseconds, raw_max: numbers[SHARES.len()] });
        }
    }
    Ok(Latency { lines, clock_step })
}

/// Requests to a child: a round that does not count, one that does, and what came out.
const WARM_UP: &str = "warm-up";
const ROUND: &str = "round";
const SUMMARY: &str = "summary";

/// The child's side: performs a round for each line of the input, then says what came out.
///
/// # Errors
///
/// If the system has no memory for the arena, or the parent is gone.
pub fn serve(allocator: Allocator, requests: impl BufRead, answers: impl Write) -> Result<()> {
    let (setup, timed) = random_actions(Requests::mixed(Sizes::SKEWED), true, ACTIONS);
    let sequence = Sequence::new("latency", setup, timed)?;
    let mut region = Region::untouched(sequence.generous_arena())?;
    let span = region.span(sequence.generous_arena());
    allocator.visit(span, Service { allocator, sequence: &sequence, requests, answers })?
}

/// A child that takes longer for a round hangs.
const LIMIT: Duration = Duration::from_secs(600);

struct Service<'a, R, W> {
    allocator: Allocator,
    sequence: &'a Sequence,
    requests: R,
    answers: W,
}

impl<R: BufRead, W: Write> Visitor for Service<'_, R, W> {
    type Output = Result<()>;

    fn visit<A: GlobalAlloc + Sync>(mut self, allocator: &A) -> Result<()> {
        let clock = Clock::calibrate();
        let mut rounds = Vec::new();
        for request in self.requests.lines() {
            let request = request?;
            if request == SUMMARY {
                write!(self.answers, "{}", clock.step_nanoseconds())?;
                for kind in Kind::ALL {
                    let line = summarise(self.allocator, kind, &self.sequence.timed, &rounds, clock);
                    for number in line.nanoseconds.into_iter().chain([line.raw_max]) {
                        write!(self.answers, " {number}")?;
                    }
                }
            } else {
                let ticks = round(allocator, self.sequence);
                rounds.extend((request == ROUND).then_some(ticks));
            }
            writeln!(self.answers)?;
            self.answers.flush()?;
        }
        Ok(())
    }
}

/// Means of ticks are counted in these parts of one: they are finer than the clock.
const PARTS: f64 = 16.0;

/// Percentiles over the calls of one kind.
fn summarise(
    allocator: Allocator,
    kind: Kind,
    timed: &[Operation],
    rounds: &[Vec<u32>],
    clock: Clock,
) -> Line {
    let mut means = Latencies::new();
    let mut slowest = 0;
    for (position, _) in timed.iter().enumerate().filter(|&(_, &operation)| Kind::of(operation) == kind) {
        let mut ticks: Vec<u32> = rounds.iter().filter_map(|round| round.get(position).copied()).collect();
        if let Some(&most) = ticks.iter().max() {
            slowest = slowest.max(most);
            means.record((undisturbed_mean(&mut ticks) * PARTS).round() as u32);
        }
    }
    Line {
        allocator,
        kind,
        nanoseconds: SHARES
            .map(|(_, share)| clock.nanoseconds(means.percentile(share).unwrap_or(0.0) / PARTS)),
        raw_max: clock.nanoseconds(f64::from(slowest)),
    }
}

/// One round; returns the ticks of every timed operation that was performed.
fn round<A: GlobalAlloc>(allocator: &A, sequence: &Sequence) -> Vec<u32> {
    let mut blocks = Blocks::new(sequence.extent.slots);
    let mut stopwatch = Stopwatch { last: 0 };
    let mut ticks = Vec::with_capacity(sequence.timed.len());
    let complete = sequence.setup.iter().all(|&operation| {
        // SAFETY: the sequence is consistent, and performed in order on one allocator.
        unsafe { blocks.perform(allocator, operation) }.is_ok()
    });
    if complete {
        for &operation in &sequence.timed {
            // SAFETY: as above.
            let performed = unsafe { blocks.perform_observed(allocator, operation, &mut stopwatch) };
            if performed.is_err() {
                break;
            }
            ticks.push(stopwatch.last);
        }
    }
    let deadline = Instant::now() + LIMIT;
    // SAFETY: all live blocks came from this allocator.
    unsafe { blocks.free_all(allocator, deadline) };
    ticks
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
