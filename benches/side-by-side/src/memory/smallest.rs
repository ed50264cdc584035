//! The smallest arena that completes a trace: what a user of a bounded heap pays.

use std::alloc::GlobalAlloc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use indicatif::ProgressBar;

use crate::allocators::{Allocator, Visitor};
use crate::execute::{Blocks, End};
use crate::operation::Sequence;
use crate::region::Region;

/// Arenas are sized in multiples of this.
const STEP: usize = 64;
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
            let smallest = search(peak.next_multiple_of(STEP), region.len(), |len| {
                completes(trace, allocator, &mut region, len, patience)
            });
            let outside = allocator.bookkeeping().unwrap_or(0);
            bytes.push(smallest.map(|len| len + outside));
        }
        rows.push(SmallestRow { trace: trace.name.clone(), peak, bytes });
    }
    Ok(rows)
}

/// The smallest length from `lower` on, in steps of [`STEP`], for which `completes` holds, as far as probing finds it. `None`
/// if there is none up to `upper`, or if an attempt yields none because it takes too long.
///
/// Completion is not monotonic: a larger arena may lay blocks out worse. So after bisection, lengths below the
/// result are probed, near it and across the whole range, and bisection goes on from the smallest that completes.
fn search(lower: usize, upper: usize, mut completes: impl FnMut(usize) -> Option<bool>) -> Option<usize> {
    /// Probes right below the result, one step apart.
    const NEAR: usize = 24;
    /// Probes spread evenly between the lower end and the result.
    const FAR: usize = 16;
    let largest = upper / STEP * STEP;
    let mut best = lower;
    while !completes(best)? {
        if best >= largest {
            return None;
        }
        best = (best + best / 4).next_multiple_of(STEP).min(largest);
    }
    loop {
        best = bisect(lower, best, &mut completes)?;
        let near = (1..=NEAR).map(|step| best.saturating_sub(step * STEP));
        let far = (0..FAR).map(|part| (lower + (best - lower) / FAR * part) / STEP * STEP);
        let mut smaller = None;
        for len in far.chain(near).filter(|&len| (lower..best).contains(&len)) {
            if completes(len)? {
                smaller = Some(len);
                break;
            }
        }
        match smaller {
            Some(len) => best = len,
            None => return Some(best),
        }
    }
}

/// Bisects between a length that is taken to fail and one that completes.
fn bisect(lower: usize, upper: usize, completes: &mut impl FnMut(usize) -> Option<bool>) -> Option<usize> {
    let (mut fails, mut works) = (lower / STEP, upper / STEP);
    while fails < works {
        let middle = usize::midpoint(fails, works);
        if completes(middle * STEP)? {
            works = middle;
        } else {
            fails = middle + 1;
        }
    }
    Some(works * STEP)
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

    fn visit<A: GlobalAlloc>(self, allocator: &A) -> End {
        let mut blocks = Blocks::new(self.trace.extent.slots);
        // SAFETY: a trace is consistent, and performed in order on one allocator.
        unsafe { blocks.run(allocator, &self.trace.timed, self.deadline) }.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_found_exactly() {
        for threshold in [1024, 1088, 4096, 9984] {
            assert_eq!(search(1024, 10_240, |len| Some(len >= threshold)), Some(threshold));
        }
    }

    #[test]
    fn an_island_below_the_threshold_is_found() {
        let found = search(1024, 1 << 20, |len| Some(len >= 65_536 || len == 65_536 - 640));
        assert_eq!(found, Some(65_536 - 640));
    }

    #[test]
    fn what_never_completes_is_none() {
        assert_eq!(search(1024, 10_240, |_| Some(false)), None);
        assert_eq!(search(1024, 10_240, |_| None), None);
    }
}
