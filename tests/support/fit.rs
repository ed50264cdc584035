//! The oracle for refusals: whether any free span could have held the block.

use super::census;
use super::live_block::{LiveBlock, block_bytes};
use super::{GRANULE, HEADER};
use mem_alloc_rust::Heap;
use std::alloc::Layout;

/// How many free blocks an aligned request looks at before it is refused: the heap looks at four, one of which may
/// become one with another afterwards, when the idle run between them is given up.
const PROBES: usize = 3;

/// A stretch of free memory: the address that a payload at its beginning would have, and its bytes, headers
/// included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    payload: usize,
    bytes: usize,
}

impl Span {
    /// Whether a block for `layout` can be cut from the span. What is skipped for the sake of alignment has
    /// to be a block of its own, so one granule cannot be skipped.
    fn holds(self, layout: Layout) -> bool {
        let align = layout.align().max(GRANULE);
        let skip = match self.payload.wrapping_neg() & (align - 1) {
            GRANULE => align.checked_add(GRANULE),
            other => Some(other),
        };
        let needed = skip.zip(block_bytes(layout.size()));
        needed.and_then(|(skip, block)| skip.checked_add(block)).is_some_and(|needed| needed <= self.bytes)
    }

    fn end(self) -> usize {
        self.payload + self.bytes
    }
}

/// A free span in which the heap has to find room for `layout`, if there is one.
pub(super) fn span_for(heap: &Heap, layout: Layout) -> Option<Span> {
    let spans = free_spans(heap, None);
    // What an aligned request has to find among many is a span that has room wherever it begins.
    let large_enough = |span: &&Span| block_bytes(layout.size()).is_some_and(|block| block <= span.bytes);
    let must_look_everywhere = spans.iter().filter(large_enough).count() <= PROBES;
    spans.into_iter().find(|span| {
        // Where the most has to be skipped.
        let anywhere = Span { payload: layout.align().wrapping_sub(GRANULE), ..*span };
        span.holds(layout) && (layout.align() <= GRANULE || must_look_everywhere || anywhere.holds(layout))
    })
}

/// A span that holds the live block `block` at its new layout, where it may be moved to: any that is free, or
/// the one that consists of the block and its free neighbours.
pub(super) fn span_for_resized(heap: &Heap, block: LiveBlock, new_layout: Layout) -> Option<Span> {
    let elsewhere = span_for(heap, new_layout);
    let here =
        |span: &Span| span.payload <= block.start() && block.start() < span.end() && span.holds(new_layout);
    elsewhere.or_else(|| free_spans(heap, Some(block)).into_iter().find(here))
}

/// The stretches of free memory in the order of their addresses, whatever blocks they are divided into;
/// `also_free` counts as free.
fn free_spans(heap: &Heap, also_free: Option<LiveBlock>) -> Vec<Span> {
    let (start, end) = heap.bounds();
    let mut spans: Vec<Span> = Vec::new();
    let mut top = start + HEADER;
    let mut add = |payload, bytes| match spans.last_mut() {
        Some(last) if last.end() == payload => last.bytes += bytes,
        _ => spans.push(Span { payload, bytes }),
    };
    for (address, header) in census::blocks(heap) {
        if header.is_free() || also_free.is_some_and(|block| block.start() == address) {
            add(address, header.size());
        }
        top = address + header.size();
    }
    add(top, end + HEADER - top);
    spans
}
