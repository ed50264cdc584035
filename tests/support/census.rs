//! The heap's own account of its blocks and bytes, compared with the blocks that are live.

use super::live_block::{LiveBlock, block_bytes};
use super::{GRANULE, HEADER, MIN_BLOCK};
use mem_alloc_rust::{BlockHeader, Heap, Stats};

/// The addresses of all payloads, with a copy of each block's header.
pub(super) fn blocks(heap: &Heap) -> impl Iterator<Item = (usize, BlockHeader)> + '_ {
    let origin = heap.bounds().0.wrapping_sub(HEADER);
    heap.blocks().map(move |(offset, header)| (origin + offset, header))
}

/// What the heap's blocks add up to.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// The figures that the heap should report, except for the peak, which depends on the past.
    pub(super) figures: Stats,
    /// Bytes of free blocks that lie beside another one or at the top, at least: they are held back from coalescing.
    pub(super) unmerged_bytes: usize,
}

/// Counts the heap's blocks, and compares those in use with `live`, which is in the order of addresses.
pub(super) fn count(heap: &Heap, live: &[LiveBlock]) -> Result<Count, String> {
    let (start, end) = heap.bounds();
    let mut count = Count::default();
    let figures = &mut count.figures;
    let mut expected = live.iter();
    let mut position = start + HEADER;
    let mut free_to_the_left = 0;
    for (address, header) in blocks(heap) {
        if address != position {
            return Err(format!("a block at {address:#x} instead of {position:#x}"));
        }
        position += header.size();
        if header.is_free() {
            figures.free_blocks += 1;
            figures.largest_free_bytes = figures.largest_free_bytes.max(header.size());
            let held = header.size().min(free_to_the_left);
            count.unmerged_bytes += held;
            // A block is one of one pair only.
            free_to_the_left = if held == 0 { header.size() } else { 0 };
        } else {
            figures.live_blocks += 1;
            figures.live_bytes += header.size();
            free_to_the_left = 0;
            check_live(address, header, expected.next())?;
        }
    }
    count.unmerged_bytes += free_to_the_left;
    if let Some(lost) = expected.next() {
        return Err(format!("#{} is not among the blocks", lost.number));
    }
    let top = (end + HEADER) - position;
    if heap.is_initialized() && top >= MIN_BLOCK {
        figures.free_blocks += 1;
        figures.largest_free_bytes = figures.largest_free_bytes.max(top);
    }
    figures.arena_bytes = end - start;
    figures.free_bytes = figures.arena_bytes - figures.live_bytes;
    Ok(count)
}

/// A used block is the next of the live ones, and at most one granule larger than it has to be, or an eighth if it is of 256 bytes
/// or more.
fn check_live(address: usize, header: BlockHeader, expected: Option<&LiveBlock>) -> Result<(), String> {
    let Some(block) = expected.filter(|block| block.start() == address) else {
        return Err(format!("a used block at {address:#x} that nobody has"));
    };
    let tight = block_bytes(block.size()).unwrap_or(usize::MAX);
    let slack = if tight < 256 { GRANULE } else { tight / 8 };
    if header.size() < tight || header.size() - tight > slack {
        let (number, size) = (block.number, header.size());
        return Err(format!("#{number} has {size} bytes, and needs {tight}"));
    }
    Ok(())
}
