//! The smallest arena that completes a trace: what a user of a bounded heap pays.

use std::alloc::GlobalAlloc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use indicatif::ProgressBar;

use super::search::Search;
use crate::allocators::{Allocator, Visitor};
use crate::execute::{Blocks, End};
use crate::operation::Sequence;
use crate::region::Region;

/// To the smallest difference that an allocator could notice.
const SEARCH: Search = Search { step: 64, near: 24, far: 16 };
/// The search gives up at this multiple of the peak.
const LARGEST_FACTOR: usize = 12;

/// What one trace costs.
#[derive(Clone, Debug)]
pub struct SmallestRow {
    /// Name of the trace.
    pub trace: String,
    /// Most bytes that the trace has live at one time.
    pub peak: usize,
    /// Bytes of the smallest arena plus the bookkeeping outside it, in the order in which the allocators were given;
    /// `None` if no arena that was tried completes the trace in time.
    pub bytes: Vec<Option<usize>>,
}

impl SmallestRow {
    /// Bytes paid per byte live at the peak.
    #[must_use]
    pub fn ratio(&self, index: usize) -> Option<f64> {
        self.bytes[index].map(|bytes| bytes as f64 / self.peak as f64)
    }
}

/// Searches for every allocator and every trace; one replay may take as long as `patience`.
///
/// # Errors
///
/// If there are no traces, or the system has no memory for the arena.
pub fn run(
    traces: &[Sequence],
    allocators: &[Allocator],
    patience: Duration,
    progress: &ProgressBar,
) -> Result<Vec<SmallestRow>> {
    ensure!(!traces.is_empty(), "there are no traces to replay");
    progress.set_length((traces.len() * allocators.len()) as u64);
    let mut rows = Vec::new();
    for trace in traces {
        progress.set_message(trace.name.clone());
        let peak = trace.extent.peak_bytes;
        let mut region = Region::new(peak * LARGEST_FACTOR)?;
        let mut bytes = Vec::new();
        for &allocator in allocators {
            progress.inc(1);
            let smallest = SEARCH
                .smallest(peak, region.len(), |len| completes(trace, allocator, &mut region, len, patience));
            let outside = allocator.bookkeeping().unwrap_or(0);
            bytes.push(smallest.map(|len| len + outside));
        }
        rows.push(SmallestRow { trace: trace.name.clone(), peak, bytes });
    }
    Ok(rows)
}

/// Whether an arena of that length completes the trace; `None` if the replay takes too long.
fn completes(
    trace: &Sequence,
    allocator: Allocator,
    region: &mut Region,
    len: usize,
    patience: Duration,
) -> Option<bool> {
    let replay = Replay { trace, deadline: Instant::now() + patience };
    match allocator.visit(region.span(len), replay) {
        Ok(End::Completed) => Some(true),
        Ok(End::Refused) | Err(_) => Some(false),
        Ok(End::OutOfTime) => None,
    }
}

struct Replay<'a> {
    trace: &'a Sequence,
    deadline: Instant,
}

impl Visitor for Replay<'_> {
    type Output = End;

    fn visit<A: GlobalAlloc + Sync>(self, allocator: &A) -> End {
        let mut blocks = Blocks::new(self.trace.extent.slots);
        // SAFETY: a trace is consistent, and performed in order on one allocator.
        unsafe { blocks.run(allocator, &self.trace.timed, self.deadline) }.end
    }
}
