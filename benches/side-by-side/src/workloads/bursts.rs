//! Bursts: 1,000 blocks of one size are allocated, then freed newest first or oldest first.

use super::Workload;
use crate::operation::Operation;

const BLOCKS: u32 = 1000;
const REPEATS: usize = 50;

pub(super) fn workloads() -> impl Iterator<Item = Workload> {
    ["LIFO", "FIFO"].into_iter().flat_map(|order| {
        [24, 48, 64, 128].into_iter().map(move |size| {
            Workload::new(format!("burst of {size} B, {order}"), "bursts", move || {
                (Vec::new(), burst(size, order == "LIFO").repeat(REPEATS))
            })
        })
    })
}

fn burst(size: u32, newest_first: bool) -> Vec<Operation> {
    let mut operations: Vec<Operation> = (0..BLOCKS).map(|slot| Operation::allocate(slot, size)).collect();
    operations.extend(
        (0..BLOCKS)
            .map(|index| Operation::Free { slot: if newest_first { BLOCKS - 1 - index } else { index } }),
    );
    operations
}
