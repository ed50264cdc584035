//! What a heap serves before the rounds of *after a history*: programs do not begin on fresh heaps.

use std::alloc::GlobalAlloc;
use std::cmp::Reverse;
use std::time::Instant;

use anyhow::Result;
use fastrand::Rng;

use crate::execute::{Blocks, End};
use crate::operation::{Operation, Sequence};
use crate::workloads::{Requests, Sizes};

/// Blocks of the churn, all in all.
pub const BLOCKS: usize = 1_000_000;
/// Blocks of the churn that are live at a time.
pub const LIVE: u32 = 250_000;
/// Traces that are replayed afterwards: the longest ones.
pub const TRACES: usize = 3;

const REQUESTS: Requests = Requests::mixed(Sizes::Skewed { max: 512 });

/// The parts of the history: the churn, then traces.
pub(super) fn parts(mut traces: Vec<Sequence>) -> Result<Vec<Sequence>> {
    traces.sort_by_key(|trace| Reverse(trace.timed.len()));
    traces.truncate(TRACES);
    traces.insert(0, Sequence::new("churn", Vec::new(), churn())?);
    Ok(traces)
}

/// Blocks are replaced at random, then freed in random order.
fn churn() -> Vec<Operation> {
    let mut random = Rng::with_seed(0x5EED_000C);
    let mut operations: Vec<Operation> = (0..LIVE).map(|slot| REQUESTS.allocate(slot, &mut random)).collect();
    for _ in LIVE as usize..BLOCKS {
        let slot = random.u32(..LIVE);
        operations.extend([Operation::Free { slot }, REQUESTS.allocate(slot, &mut random)]);
    }
    let mut slots: Vec<u32> = (0..LIVE).collect();
    random.shuffle(&mut slots);
    operations.extend(slots.into_iter().map(|slot| Operation::Free { slot }));
    operations
}

/// Performs the parts, and frees what each of them leaves.
pub(super) fn perform<A: GlobalAlloc>(allocator: &A, parts: &[Sequence], deadline: Instant) -> End {
    for part in parts {
        let mut blocks = Blocks::new(part.extent.slots);
        // SAFETY: the sequence is consistent, and performed in order on one allocator; what it
        // leaves is the allocator's.
        let end = unsafe {
            match blocks.run(allocator, &part.timed, deadline).end {
                End::Completed => blocks.free_all(allocator, deadline),
                end => end,
            }
        };
        if end != End::Completed {
            return end;
        }
    }
    End::Completed
}

#[cfg(test)]
mod tests {
    use std::alloc::System;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_history_leaves_nothing() {
        let trace = |name, blocks| {
            let timed = (0..blocks).map(|slot| Operation::allocate(slot, 8)).collect();
            Sequence::new(name, Vec::new(), timed).unwrap()
        };
        let parts = parts(vec![trace("a", 1), trace("b", 4), trace("c", 3), trace("d", 2)]).unwrap();
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["churn", "b", "c", "d"]);
        assert_eq!(parts[0].timed.len(), 2 * BLOCKS);
        let deadline = Instant::now() + Duration::from_secs(60);
        assert_eq!(perform(&System, &parts, deadline), End::Completed);
    }
}
