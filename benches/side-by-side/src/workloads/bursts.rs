//! Bursts: 1,000 blocks are allocated, then freed newest first or oldest first.

use fastrand::Rng;

use super::{Requests, Sizes, Workload};
use crate::operation::Operation;

const BLOCKS: u32 = 1000;
const REPEATS: usize = 50;

pub(super) fn workloads() -> impl Iterator<Item = Workload> {
    let mixes = [
        ("24 B", Requests::plain(Sizes::Uniform { min: 24, max: 24 })),
        ("128 B", Requests::plain(Sizes::Uniform { min: 128, max: 128 })),
        ("skewed", Requests::mixed(Sizes::Skewed { max: 4096 })),
    ];
    ["LIFO", "FIFO"].into_iter().flat_map(move |order| {
        mixes.into_iter().map(move |(mix, requests)| {
            Workload::new(format!("burst of {mix}, {order}"), "bursts", move || {
                (Vec::new(), burst(requests, order == "LIFO").repeat(REPEATS))
            })
        })
    })
}

fn burst(requests: Requests, newest_first: bool) -> Vec<Operation> {
    let mut random = Rng::with_seed(0x5EED_000D);
    let mut operations: Vec<Operation> =
        (0..BLOCKS).map(|slot| requests.allocate(slot, &mut random)).collect();
    operations.extend(
        (0..BLOCKS)
            .map(|index| Operation::Free { slot: if newest_first { BLOCKS - 1 - index } else { index } }),
    );
    operations
}
