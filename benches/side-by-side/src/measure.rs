//! Time per operation: rounds interleaved over all allocators in one process.

use std::alloc::GlobalAlloc;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::ProgressBar;

use crate::allocators::{Allocator, Visitor, start_afresh};
use crate::execute::{Blocks, End, Progress};
use crate::operation::Sequence;
use crate::region::Region;
use crate::verify::{Verdict, Verify};
use crate::workloads::Workload;
use bench_common::statistics::Spread;

/// How much effort is spent.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Measured rounds per workload and allocator, after one that is not counted.
    pub rounds: usize,
    /// An allocator that needs longer than this for one round of a workload is cut off and not asked again.
    pub patience: Duration,
}

/// What came out for one allocator on one workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nanoseconds per operation over the rounds.
    Time(Spread),
    /// Cut off; nanoseconds per operation so far, if the timed part was reached.
    TooSlow(Option<f64>),
    /// A request was refused in spite of a generous arena.
    Refused,
    /// The verification found a wrong answer.
    Wrong(String),
}

impl Outcome {
    /// The median, if the workload was completed.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        match self {
            Self::Time(spread) => Some(spread.median),
            _ => None,
        }
    }
}

/// A row of the table: one workload, one outcome per allocator.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name of the workload.
    pub workload: String,
    /// Family of the workload.
    pub family: &'static str,
    /// Number of timed operations.
    pub operations: usize,
    /// In the order in which the allocators were given.
    pub outcomes: Vec<Outcome>,
}

/// Measures every workload on every allocator.
///
/// # Errors
///
/// If a workload cannot be generated or the system has no memory for the arena.
pub fn run(
    workloads: &[Workload],
    allocators: &[Allocator],
    effort: Effort,
    progress: &ProgressBar,
) -> Result<Vec<Row>> {
    /// The region grows with the workloads from here.
    const SMALLEST_REGION: usize = 16 << 20;
    let mut region = Region::new(SMALLEST_REGION)?;
    let mut rows = Vec::new();
    progress.set_length((workloads.len() * allocators.len() * (effort.rounds + 2)) as u64);
    for workload in workloads {
        progress.set_message(workload.name.clone());
        let sequence = workload.generate()?;
        let wanted = sequence.generous_arena();
        if region.len() < wanted {
            region = Region::new(wanted)?;
        }
        start_afresh();
        let outcomes = race(&sequence, allocators, effort, &mut region, progress);
        rows.push(Row {
            workload: workload.name.clone(),
            family: workload.family,
            operations: sequence.timed.len(),
            outcomes,
        });
    }
    Ok(rows)
}

/// One allocator's state during the rounds of one workload.
struct Lane {
    allocator: Allocator,
    nanoseconds: Vec<f64>,
    dropped_out: Option<Outcome>,
}

fn race(
    sequence: &Sequence,
    allocators: &[Allocator],
    effort: Effort,
    region: &mut Region,
    progress: &ProgressBar,
) -> Vec<Outcome> {
    let mut lanes: Vec<Lane> = allocators
        .iter()
        .map(|&allocator| {
            progress.inc(1);
            Lane {
                allocator,
                nanoseconds: Vec::with_capacity(effort.rounds),
                dropped_out: verify(sequence, allocator, effort.patience / 2, region),
            }
        })
        .collect();
    // Round 0 warms caches and the general class's own stock of memory. The order rotates, so that nobody always
    // runs behind the same neighbour.
    for round in 0..=effort.rounds {
        let count = lanes.len();
        for index in 0..count {
            progress.inc(1);
            let lane = &mut lanes[(index + round) % count];
            if lane.dropped_out.is_none() {
                lane.run_round(sequence, effort.patience, region, round > 0);
            }
        }
    }
    lanes.into_iter().map(Lane::finish).collect()
}

fn verify(
    sequence: &Sequence,
    allocator: Allocator,
    patience: Duration,
    region: &mut Region,
) -> Option<Outcome> {
    if !allocator.keeps_contents() {
        return None;
    }
    let span = region.span(sequence.generous_arena());
    let start = span.start.as_ptr() as usize;
    let verdict = allocator.visit(
        span,
        Verify {
            sequence,
            bounds: allocator.is_arena().then_some(start..start + sequence.generous_arena()),
            deadline: Instant::now() + patience,
        },
    );
    match verdict {
        Ok(Verdict::Right | Verdict::RightSoFar) => None,
        Ok(Verdict::Refused) | Err(_) => Some(Outcome::Refused),
        Ok(Verdict::Wrong(misbehaviour)) => Some(Outcome::Wrong(misbehaviour.to_string())),
    }
}

impl Lane {
    fn run_round(&mut self, sequence: &Sequence, patience: Duration, region: &mut Region, counts: bool) {
        let span = region.span(sequence.generous_arena());
        let round = Round {
            sequence,
            free_afterwards: !self.allocator.is_arena() && self.allocator.keeps_contents(),
            deadline: Instant::now() + patience,
        };
        let Ok((setup, timed)) = self.allocator.visit(span, round) else {
            self.dropped_out = Some(Outcome::Refused);
            return;
        };
        let per_operation = |progress: Progress| progress.elapsed.as_nanos() as f64 / progress.done as f64;
        match (setup.end, timed.map(|timed| (timed, timed.end))) {
            (End::Completed, Some((timed, End::Completed))) => {
                if counts {
                    self.nanoseconds.push(per_operation(timed));
                }
            }
            (End::Completed, Some((timed, End::OutOfTime))) => {
                self.dropped_out = Some(Outcome::TooSlow(Some(per_operation(timed))));
            }
            (End::OutOfTime, _) => self.dropped_out = Some(Outcome::TooSlow(None)),
            _ => self.dropped_out = Some(Outcome::Refused),
        }
    }

    fn finish(self) -> Outcome {
        // A lane that completed some rounds and was then cut off was disturbed, not too slow.
        Spread::of(self.nanoseconds).map(Outcome::Time).or(self.dropped_out).unwrap_or(Outcome::TooSlow(None))
    }
}

/// One round of one allocator: the setup, then the timed part.
struct Round<'a> {
    sequence: &'a Sequence,
    free_afterwards: bool,
    deadline: Instant,
}

impl Visitor for Round<'_> {
    /// How the setup went, and, if it was completed, the timed part.
    type Output = (Progress, Option<Progress>);

    fn visit<A: GlobalAlloc + Sync>(self, allocator: &A) -> Self::Output {
        let mut blocks = Blocks::new(self.sequence.extent.slots);
        // SAFETY: the sequence is consistent, and its two parts are performed in order on one allocator.
        let setup = unsafe { blocks.run(allocator, &self.sequence.setup, self.deadline) };
        let timed = (setup.end == End::Completed).then(|| {
            // SAFETY: as above.
            unsafe { blocks.run(allocator, &self.sequence.timed, self.deadline) }
        });
        if self.free_afterwards {
            // SAFETY: all live blocks came from this allocator.
            unsafe { blocks.free_all(allocator) };
        }
        (setup, timed)
    }
}
