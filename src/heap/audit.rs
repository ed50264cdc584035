//! The audit: walks every block and every list, and checks every invariant of the heap.

use super::Heap;
use crate::bins::Bin;
use crate::block::Tag;
use crate::size::{BlockSize, Index};
use core::fmt;

/// The first violation of an invariant that an audit found: the heap's bookkeeping was overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditError {
    /// The block at which it was found, as the distance of its payload from the arena's origin in bytes.
    pub offset: usize,
    /// What is wrong there.
    pub violation: &'static str,
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block at offset {}: {}", self.offset, self.violation)
    }
}

impl core::error::Error for AuditError {}

/// What the walk over all blocks adds up.
#[derive(Default)]
struct Totals {
    live: u32,
    free: u32,
    free_blocks: u32,
    held: u32,
    held_blocks: u32,
}

impl Heap {
    /// Checks the invariants of the heap's bookkeeping; takes time in proportion to the number of blocks.
    ///
    /// # Errors
    ///
    /// The first violation that is found. It means that bytes outside of a live block were written: the heap can no longer
    /// be trusted.
    pub fn audit(&self) -> Result<(), AuditError> {
        if !self.is_initialized() {
            return Ok(());
        }
        if self.top < Index::FIRST
            || self.top > self.end
            || self.used_up_to < self.top
            || self.used_up_to > self.end
        {
            return violation(self.top, "the top lies outside of the arena");
        }
        let totals = self.audit_chain()?;
        self.audit_lists(&totals)?;
        self.audit_quick_lists(&totals)?;
        let top = self.end.granules_since(self.top);
        if totals.live != self.live || totals.live > self.peak {
            return violation(self.top, "the count of live bytes is not what the blocks add up to");
        }
        if totals.live + totals.free + totals.held + top != self.end.granules_since(Index::FIRST) {
            return violation(self.top, "live, free, held and top bytes do not add up to the arena");
        }
        Ok(())
    }

    /// CHAIN, COALESCED and FLAGS.
    fn audit_chain(&self) -> Result<Totals, AuditError> {
        let mut totals = Totals::default();
        let mut index = Index::FIRST;
        let mut left: Option<Tag> = None;
        while index < self.top {
            // SAFETY: CHAIN as checked up to here: a header starts at `index`, before the top.
            let tag = unsafe { self.arena.tag(index) };
            if tag.granules() < BlockSize::MIN.granules() || tag.granules() > self.top.granules_since(index) {
                return violation(index, "its size does not lead to another block or to the top");
            }
            let left_is_free = left.is_some_and(Tag::is_free);
            if tag.is_free() && left_is_free {
                return violation(index, "it is free, and so is the block to its left");
            }
            if tag.is_left_free() != left_is_free {
                return violation(index, "its flag about the block to its left is wrong");
            }
            // SAFETY: a block lies to the left.
            if left_is_free && Some(unsafe { self.arena.left_footer(index) }) != left.map(Tag::granules) {
                return violation(index, "the footer to its left does not repeat that block's size");
            }
            if tag.is_free() {
                totals.free += tag.granules();
                totals.free_blocks += 1;
            } else if tag.is_held() {
                totals.held += tag.granules();
                totals.held_blocks += 1;
            } else {
                totals.live += tag.granules();
            }
            left = Some(tag);
            index = index + tag.size();
        }
        if left.is_some_and(Tag::is_free) {
            return violation(self.top, "the block in front of the top is free and not part of it");
        }
        Ok(totals)
    }

    /// LISTED: what the lists hold is as much as the walk found, and each block is in the right place.
    fn audit_lists(&self, totals: &Totals) -> Result<(), AuditError> {
        let mut listed = 0;
        for bin in self.lists.bins() {
            if self.lists.head(bin).is_none() {
                return violation(Index::NONE, "the bitmap has a bin that is empty");
            }
            let mut prev = Index::NONE;
            let mut index = self.lists.head(bin);
            while !index.is_none() {
                if !self.can_be_listed(index) {
                    return violation(prev, "its link leads out of the arena");
                }
                // SAFETY: between the first block and the top every word can be read, and both links lie there.
                let (tag, links) = unsafe { (self.arena.tag(index), self.arena.links(index)) };
                if !tag.is_free() || tag.granules() < BlockSize::MIN.granules() || Bin::of(tag.size()) != bin
                {
                    return violation(index, "it is on a free list where it does not belong");
                }
                if links.1 != prev {
                    return violation(index, "its back link does not lead back");
                }
                listed += 1;
                if listed > totals.free_blocks {
                    return violation(index, "the lists hold more blocks than are free");
                }
                prev = index;
                index = links.0;
            }
        }
        if listed != totals.free_blocks {
            return violation(Index::NONE, "a free block is on no list");
        }
        Ok(())
    }

    /// HELD: what the quick lists hold is as much as the walk found, and each block is on the list of its bin.
    fn audit_quick_lists(&self, totals: &Totals) -> Result<(), AuditError> {
        let mut listed = 0;
        for (bin, head) in self.quick.lists() {
            let mut index = head;
            while !index.is_none() {
                if !self.can_be_listed(index) {
                    return violation(index, "a quick list leads out of the arena");
                }
                // SAFETY: between the first block and the top every word can be read.
                let (tag, next) = unsafe { (self.arena.tag(index), self.arena.next(index)) };
                if !tag.is_held() || tag.granules() < BlockSize::MIN.granules() || Bin::of(tag.size()) != bin
                {
                    return violation(index, "it is on a quick list where it does not belong");
                }
                listed += 1;
                if listed > totals.held_blocks {
                    return violation(index, "the quick lists hold more blocks than are marked as held");
                }
                index = next;
            }
        }
        if listed != totals.held_blocks || self.held() != totals.held {
            return violation(Index::NONE, "a held block is on no quick list");
        }
        Ok(())
    }

    /// Whether the links of a block at `index` would lie between the first block and the top.
    fn can_be_listed(&self, index: Index) -> bool {
        let end = u64::from(index.get()) + u64::from(BlockSize::MIN.granules());
        index >= Index::FIRST && end <= u64::from(self.top.get())
    }
}

fn violation<T>(index: Index, violation: &'static str) -> Result<T, AuditError> {
    Err(AuditError { offset: index.byte_offset(), violation })
}
