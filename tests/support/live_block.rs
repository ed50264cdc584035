//! A block in use, and the bytes that have to be in it.

use super::{GRANULE, HEADER, MIN_BLOCK};
use std::alloc::Layout;
use std::ops::Range;

/// How many bytes at either end of a block are looked at after every step.
const EDGE: usize = 8;

/// The bytes of the smallest block that holds `size` bytes, or `None` if there are no numbers for it.
pub(super) fn block_bytes(size: usize) -> Option<usize> {
    let bytes = size.checked_add(HEADER)?.checked_next_multiple_of(GRANULE)?;
    Some(bytes.max(MIN_BLOCK))
}

/// A block that was handed out and not given back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveBlock {
    /// The block's number, which decides what it contains, and which it keeps when it moves.
    pub(super) number: usize,
    pub(super) pointer: *mut u8,
    pub(crate) layout: Layout,
}

impl LiveBlock {
    pub(crate) fn start(self) -> usize {
        self.pointer.addr()
    }

    pub(crate) fn size(self) -> usize {
        self.layout.size()
    }

    /// Behind the last byte that belongs to the caller.
    pub(super) fn end(self) -> usize {
        self.start() + self.size()
    }

    /// The byte that has to be at `offset`.
    fn expected(self, offset: usize) -> u8 {
        let mixed = self.number.wrapping_mul(41) ^ offset.wrapping_mul(29) ^ (offset >> 8);
        mixed as u8
    }

    /// Writes the block's contents from `offset` on.
    pub(super) fn fill_from(self, offset: usize) {
        for offset in offset..self.size() {
            // SAFETY: the byte is one of the block's, which is in use.
            unsafe { self.pointer.add(offset).write(self.expected(offset)) };
        }
    }

    /// Whether all bytes of the block are zero.
    pub(super) fn is_zero(self) -> bool {
        // SAFETY: the bytes are the block's, which is in use.
        (0..self.size()).all(|offset| unsafe { self.pointer.add(offset).read() } == 0)
    }

    /// Whether those bytes of the block are what was written there.
    pub(super) fn is_intact_in(self, mut offsets: Range<usize>) -> bool {
        // SAFETY: the bytes are the block's, which is in use and was filled.
        offsets.all(|offset| unsafe { self.pointer.add(offset).read() } == self.expected(offset))
    }

    pub(super) fn is_intact(self) -> bool {
        self.is_intact_in(0..self.size())
    }

    /// Whether the block's first and last bytes are intact, where a neighbour's bookkeeping would hit it.
    pub(super) fn edges_are_intact(self) -> bool {
        self.is_intact_in(0..self.size().min(EDGE))
            && self.is_intact_in(self.size().saturating_sub(EDGE)..self.size())
    }
}
