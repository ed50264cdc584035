//! Random replacement: a fixed number of live small blocks, of which a random one is freed and
//! allocated anew.

use fastrand::Rng;

use super::{Requests, Sizes, Workload};
use crate::operation::Operation;

/// A million blocks with a longer tail would be hundreds of megabytes for every allocator.
const REQUESTS: Requests = Requests::mixed(Sizes::Skewed { max: 512 });

pub(super) fn workloads() -> impl Iterator<Item = Workload> {
    [("10,000", 10_000, 50_000), ("1,000,000", 1_000_000, 250_000)].into_iter().map(
        |(label, live, replacements)| {
            Workload::new(format!("replacement among {label} live"), "replacement", move || {
                parts(live, replacements)
            })
        },
    )
}

fn parts(live: u32, replacements: usize) -> (Vec<Operation>, Vec<Operation>) {
    let mut random = Rng::with_seed(0x5EED_0002);
    let mut setup: Vec<Operation> = (0..live).map(|slot| REQUESTS.allocate(slot, &mut random)).collect();
    let mut replace = |operations: &mut Vec<Operation>| {
        let slot = random.u32(0..live);
        operations.push(Operation::Free { slot });
        operations.push(REQUESTS.allocate(slot, &mut random));
    };
    // The heap is aged first: fresh blocks lie side by side, which lasts for no program.
    for _ in 0..replacements {
        replace(&mut setup);
    }
    let mut timed = Vec::with_capacity(2 * replacements);
    for _ in 0..replacements {
        replace(&mut timed);
    }
    (setup, timed)
}
