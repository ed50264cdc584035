//! The heap's own account of its blocks, slots and bytes, compared with the blocks that are live.

use super::live_block::{LiveBlock, block_bytes};
use super::{GRANULE, HEADER, MIN_BLOCK};
use mem_alloc_rust::{BlockHeader, Heap, Stats};

/// The addresses of all payloads, with a copy of each block's header.
pub(super) fn blocks(heap: &Heap) -> impl Iterator<Item = (usize, BlockHeader)> + '_ {
    let origin = heap.bounds().0.wrapping_sub(HEADER);
    heap.blocks().map(move |(offset, header)| (origin + offset, header))
}

/// Counts the heap's blocks and slots in use, and compares those in use with `live`, which is in the order
/// of addresses. What it returns is what the heap should report, except for the peak, which depends on the
/// past.
pub(super) fn count(heap: &Heap, live: &[LiveBlock]) -> Result<Stats, String> {
    let (start, end) = heap.bounds();
    let mut figures = Stats::default();
    let mut expected = live.iter();
    let mut position = start + HEADER;
    let mut left_is_free = false;
    for (address, header) in blocks(heap) {
        if address != position {
            return Err(format!("a block at {address:#x} instead of {position:#x}"));
        }
        position += header.size();
        if header.is_free() && left_is_free {
            return Err(format!("the free block at {address:#x} lies beside another one"));
        }
        left_is_free = header.is_free();
        if header.is_free() {
            figures.free_blocks += 1;
            figures.largest_free_bytes = figures.largest_free_bytes.max(header.size());
        } else if header.is_run() {
            let origin = start - HEADER;
            for (offset, size) in heap.slots(address - origin) {
                figures.live_blocks += 1;
                figures.live_bytes += size;
                check_slot(origin + offset, size, expected.next())?;
            }
        } else {
            figures.live_blocks += 1;
            figures.live_bytes += header.size();
            check_live(address, header, expected.next())?;
        }
    }
    if left_is_free {
        return Err("a free block lies at the top".into());
    }
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
    Ok(figures)
}

/// A used block is the next of the live ones, and at most one granule larger than it has to be.
fn check_live(address: usize, header: BlockHeader, expected: Option<&LiveBlock>) -> Result<(), String> {
    let Some(block) = expected.filter(|block| block.start() == address) else {
        return Err(format!("a used block at {address:#x} that nobody has"));
    };
    let tight = block_bytes(block.size()).unwrap_or(usize::MAX);
    if header.size() < tight || header.size() - tight > GRANULE {
        let (number, size) = (block.number, header.size());
        return Err(format!("#{number} has {size} bytes, and needs {tight}"));
    }
    Ok(())
}

/// A slot in use is the next of the live blocks, which fits.
fn check_slot(address: usize, size: usize, expected: Option<&LiveBlock>) -> Result<(), String> {
    match expected.filter(|block| block.start() == address) {
        Some(block) if block.size() <= size => Ok(()),
        Some(block) => Err(format!("#{} has a slot of {size} bytes", block.number)),
        None => Err(format!("a slot at {address:#x} that nobody has")),
    }
}
