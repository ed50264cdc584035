//! The child's side: one allocator, one workload, one number of threads, in a process of its own.

use std::alloc::GlobalAlloc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::client::{Checks, Failure, Stopwatch};
use super::reading::{Answer, Reading};
use super::start_line::Finish;
use super::{ARENA, Task, Workload};
use crate::allocators::{Allocator, Visitor};
use crate::execute::Unobserved;
use crate::region::Region;
use bench_common::Latencies;
use bench_common::peak::resident_kib;

/// What a child is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Every block carries its owner's mark, which is checked when it is freed.
    Check,
    /// Two runs: one for throughput and memory, and a shorter one in which every call is timed.
    Measure,
}

/// A run that takes longer stops where it is; what it did until then counts.
const PATIENCE: Duration = Duration::from_secs(1);
/// Checked and timed runs make fewer calls, by this factor.
const SHORTER: usize = 8;

/// Runs the workload in this process.
///
/// # Errors
///
/// If the system has no memory for the arena, or the allocator cannot be put over it.
pub fn perform(allocator: Allocator, workload: Workload, threads: usize, purpose: Purpose) -> Result<Answer> {
    let mut region = Region::untouched(ARENA)?;
    let answer = allocator.visit(region.span(ARENA), Performance { workload, threads, purpose })?;
    Ok(answer.unwrap_or_else(|failure| match failure {
        Failure::Refused => Answer::Refused,
        Failure::Wrong(what) => Answer::Wrong(what.to_owned()),
    }))
}

struct Performance {
    workload: Workload,
    threads: usize,
    purpose: Purpose,
}

impl Visitor for Performance {
    type Output = Result<Answer, Failure>;

    fn visit<A: GlobalAlloc + Sync>(self, allocator: &A) -> Self::Output {
        let Self { workload, threads, purpose } = self;
        let task = |calls| Task { allocator, threads, calls, deadline: Instant::now() + PATIENCE };
        if purpose == Purpose::Check {
            let _finish: Finish<Checks> = workload.run(&task(workload.calls() / SHORTER))?;
            return Ok(Answer::Right);
        }
        let before = resident_kib().ok();
        let finish: Finish<Unobserved> = workload.run(&task(workload.calls()))?;
        let memory = resident_kib().ok().zip(before).map(|(after, before)| (after - before) << 10);
        let timed: Finish<Stopwatch> = workload.run(&task(workload.calls() / SHORTER))?;
        let mut ticks = Latencies::new();
        timed.watches.iter().for_each(|watch| ticks.add(&watch.ticks));
        Ok(Answer::Measured(Reading {
            calls: finish.calls,
            wall: finish.elapsed.wall.as_nanos() as f64,
            processor: finish.elapsed.processor.as_nanos() as f64,
            ticks: [0.99, 0.999, 1.0].map(|share| ticks.percentile(share).unwrap_or(0.0)),
            memory,
        }))
    }
}
