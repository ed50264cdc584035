//! Allocation across many small holes: most are too small for what is asked.

use fastrand::Rng;

use super::{Requests, Sizes, Workload};
use crate::operation::Operation;

/// Holes are made of blocks of these sizes.
const HOLES: Requests = Requests::plain(Sizes::Uniform { min: 16, max: 64 });
/// Requests are of these sizes: few fit into a hole.
const REQUESTS: Requests = Requests::mixed(Sizes::Uniform { min: 16, max: 512 });
/// Blocks that are replaced in turn while the holes stay.
const WORKING_SET: u32 = 100;
const REPLACEMENTS: usize = 25_000;

pub(super) fn workloads() -> impl Iterator<Item = Workload> {
    [("1,000", 1000), ("100,000", 100_000)]
        .into_iter()
        .map(|(label, holes)| Workload::new(format!("across {label} holes"), "holes", move || parts(holes)))
}

fn parts(holes: u32) -> (Vec<Operation>, Vec<Operation>) {
    let mut random = Rng::with_seed(0x5EED_0003);
    let mut setup: Vec<Operation> = (0..2 * holes).map(|slot| HOLES.allocate(slot, &mut random)).collect();
    let mut every_other: Vec<u32> = (0..holes).map(|hole| 2 * hole).collect();
    random.shuffle(&mut every_other);
    setup.extend(every_other.iter().map(|&slot| Operation::Free { slot }));
    // The freed slots serve again for the working set.
    let working_set = &every_other[..WORKING_SET as usize];
    let allocate = |slot, random: &mut Rng| REQUESTS.allocate(slot, random);
    setup.extend(working_set.iter().map(|&slot| allocate(slot, &mut random)));
    let mut timed = Vec::with_capacity(2 * REPLACEMENTS);
    for _ in 0..REPLACEMENTS {
        let slot = working_set[random.usize(..working_set.len())];
        timed.push(Operation::Free { slot });
        timed.push(allocate(slot, &mut random));
    }
    (setup, timed)
}
