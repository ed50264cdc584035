//! The heap's own account of its blocks, slots and bytes, compared with the blocks that are live.

use super::live_block::{LiveBlock, block_bytes};
use super::{GRANULE, HEADER, MIN_BLOCK};
use mem_alloc_rust::{BlockHeader, Heap, SizeClasses, Stats};
use std::collections::BTreeMap;

/// The addresses of all payloads, with a copy of each block's header.
pub(super) fn blocks(heap: &Heap) -> impl Iterator<Item = (usize, BlockHeader)> + '_ {
    let origin = heap.bounds().0.wrapping_sub(HEADER);
    heap.blocks().map(move |(offset, header)| (origin + offset, header))
}

/// Counts the heap's blocks and slots in use, and compares those in use with `live`, which is in the order
/// of addresses. What it returns is what the heap should report, except for the peak, which depends on the
/// past, and for what is told by size.
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

/// The bytes of all classes.
pub(super) fn bytes(classes: &SizeClasses) -> usize {
    classes.iter().map(|class| class.bytes).sum()
}

/// Compares what is told by size with the blocks and slots: the power of two that each holds at least.
pub(super) fn check_sizes(heap: &Heap, stats: &Stats) -> Result<(), String> {
    type Counts = BTreeMap<usize, (usize, usize)>;
    fn count(counts: &mut Counts, holds: usize, bytes: usize) {
        let class = counts.entry(1 << holds.ilog2()).or_default();
        *class = (class.0 + 1, class.1 + bytes);
    }
    fn told(classes: &SizeClasses) -> Counts {
        let some = classes.iter().filter(|class| class.blocks > 0);
        some.map(|class| (class.smallest_bytes, (class.blocks, class.bytes))).collect()
    }
    let (mut live, mut free) = (Counts::new(), Counts::new());
    let mut behind = heap.bounds().0;
    for (offset, header) in heap.blocks() {
        behind += header.size();
        if header.is_free() {
            count(&mut free, header.size() - HEADER, header.size());
        } else if header.is_run() {
            heap.slots(offset).for_each(|(_, size)| count(&mut live, size, size));
        } else {
            count(&mut live, header.size() - HEADER, header.size());
        }
    }
    let top = heap.bounds().1 - behind;
    if top >= MIN_BLOCK {
        count(&mut free, top - HEADER, top);
    }
    let found = (told(&stats.live_by_size), told(&stats.free_by_size));
    if found == (live.clone(), free.clone()) {
        Ok(())
    } else {
        Err(format!("{found:?}, but {live:?} and {free:?}"))
    }
}

/// A used block is the next of the live ones, and at most one granule larger than it has to be, or than the slot that
/// it was before its run was broken up. At a multiple of more than a granule it may have one more, and where it is
/// longer than slots, up to a sixteenth more.
fn check_live(address: usize, header: BlockHeader, expected: Option<&LiveBlock>) -> Result<(), String> {
    let Some(block) = expected.filter(|block| block.start() == address) else {
        return Err(format!("a used block at {address:#x} that nobody has"));
    };
    let tight = block_bytes(block.size()).unwrap_or(usize::MAX);
    let was_slot = [1, 2].iter().any(|more| is_slot_size(header.size().wrapping_sub(more * GRANULE)));
    let is_long = tight > LARGEST_SLOT + GRANULE;
    let more = match block.layout.align() {
        ..=GRANULE => GRANULE,
        _ if is_long => GRANULE + GRANULE.max(tight / 16),
        _ => 2 * GRANULE,
    };
    if header.size() < tight || header.size() - tight > more && !was_slot {
        let (number, size) = (block.number, header.size());
        return Err(format!("#{number} has {size} bytes, and needs {tight}"));
    }
    Ok(())
}

const LARGEST_SLOT: usize = 768;

/// Whether slots have so many bytes: each multiple of 8 up to 256, of 32 up to 512, of 64 up to 768.
fn is_slot_size(bytes: usize) -> bool {
    match bytes {
        8..=256 => bytes % 8 == 0,
        257..=512 => bytes % 32 == 0,
        513..=768 => bytes % 64 == 0,
        _ => false,
    }
}

/// A slot in use is the next of the live blocks, which fits.
fn check_slot(address: usize, size: usize, expected: Option<&LiveBlock>) -> Result<(), String> {
    match expected.filter(|block| block.start() == address) {
        Some(block) if block.size() <= size => Ok(()),
        Some(block) => Err(format!("#{} has a slot of {size} bytes", block.number)),
        None => Err(format!("a slot at {address:#x} that nobody has")),
    }
}
