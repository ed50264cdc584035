//! Eight vectors that grow side by side by doubling, from 16 bytes to 1 MiB.

use super::Workload;
use crate::operation::Operation;

const VECTORS: u32 = 8;
const SMALLEST: u32 = 16;
const LARGEST: u32 = 1 << 20;
const REPEATS: usize = 10;

pub(super) fn workloads() -> impl Iterator<Item = Workload> {
    std::iter::once(Workload::new("eight growing vectors", "vectors", || {
        (Vec::new(), growth().repeat(REPEATS))
    }))
}

fn growth() -> Vec<Operation> {
    let mut operations: Vec<Operation> =
        (0..VECTORS).map(|slot| Operation::allocate(slot, SMALLEST)).collect();
    let mut size = 2 * SMALLEST;
    while size <= LARGEST {
        operations.extend((0..VECTORS).map(|slot| Operation::Reallocate { slot, size }));
        size *= 2;
    }
    operations.extend((0..VECTORS).map(|slot| Operation::Free { slot }));
    operations
}
