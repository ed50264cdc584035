//! Quick lists: freed small blocks that are held back from coalescing, because one of the same size is likely to be asked for
//! soon.
//!
//! A held block is marked as such in its header and looks to its neighbours like one in use, so that holding and
//! taking back touch no other block. What is held back cannot be merged, and what is not merged makes the heap crumble. So
//! little is held (see `Heap::may_hold`), nothing once the arena is tight, and all of it is merged before a request
//! is refused.
//!
//! (The idea is that of the quick lists in Weinstock and Wulf, *Quick Fit: an efficient algorithm for heap storage
//! allocation*, 1988, and of the fast bins in Doug Lea's allocator.)

use crate::bins::{Bin, EXACT};
use crate::block::{Arena, Tag};
use crate::size::{BlockSize, GRANULE, Index};

/// Blocks of exact bins can be held: those of less than 1 KiB.
const LISTS: usize = EXACT as usize;

/// One list for each of these bins, linked through the blocks' first words; all zero bytes when empty.
#[derive(Debug)]
pub(super) struct QuickLists {
    /// Granules of all held blocks.
    held: u32,
    /// One bit for each list that is not empty.
    map: [u64; LISTS / 64],
    heads: [Index; LISTS],
}

impl QuickLists {
    /// Blocks of this size are too large to be held.
    pub(super) const TOO_LARGE: BlockSize = BlockSize::from_granules(EXACT);

    /// The least payload that may need a block which is too large to be held.
    pub(super) const LARGE_PAYLOAD: usize = Self::TOO_LARGE.payload() - GRANULE + 1;

    pub(super) const fn new() -> Self {
        Self { held: 0, map: [0; LISTS / 64], heads: [Index::NONE; LISTS] }
    }

    /// Granules of all held blocks.
    #[inline(always)]
    pub(super) fn held(&self) -> u32 {
        self.held
    }

    #[inline(always)]
    fn slot(bin: Bin) -> usize {
        bin.number() & (LISTS - 1)
    }

    /// Holds a block that was in use.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use in the arena with header `tag`, smaller than [`TOO_LARGE`](Self::TOO_LARGE), and nobody
    ///   uses its bytes any more.
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, arena: Arena, index: Index, tag: Tag) {
        let slot = tag.granules() as usize & (LISTS - 1);
        let head = &mut self.heads[slot];
        // SAFETY: the block is the heap's own again (contract).
        unsafe {
            arena.set_tag(index, tag.held());
            arena.set_next(index, *head);
        }
        *head = index;
        self.map[slot / 64] |= 1 << (slot % 64);
        self.held += tag.granules();
    }

    /// Takes back a held block of a bin, and marks it as used. The bin is one of blocks smaller than
    /// [`TOO_LARGE`](Self::TOO_LARGE).
    ///
    /// # Safety
    ///
    /// - The lists' blocks are held blocks of the arena.
    #[inline(always)]
    pub(super) unsafe fn pop(&mut self, arena: Arena, bin: Bin) -> Option<(Index, BlockSize)> {
        let slot = Self::slot(bin);
        let head = &mut self.heads[slot];
        let index = *head;
        if index.is_none() {
            return None;
        }
        // SAFETY: a held block's first word links to the next one (contract).
        let (next, tag) = unsafe { (arena.next(index), arena.tag(index)) };
        *head = next;
        if next.is_none() {
            self.map[slot / 64] &= !(1 << (slot % 64));
        }
        self.held -= tag.granules();
        // SAFETY: the header is the heap's own.
        unsafe { arena.set_tag(index, tag.taken_back()) };
        Some((index, tag.size()))
    }

    /// Takes back a held block of the bin of the largest sizes that has one.
    ///
    /// # Safety
    ///
    /// - As for [`pop`](Self::pop).
    pub(super) unsafe fn pop_largest(&mut self, arena: Arena) -> Option<Index> {
        let word = self.map.iter().rposition(|&word| word != 0)?;
        let bin = Bin::numbered(word as u32 * 64 + self.map[word].checked_ilog2()?);
        // SAFETY: the caller's contract.
        Some(unsafe { self.pop(arena, bin) }?.0)
    }

    /// The held blocks, each with the bin of its list.
    pub(super) fn iter(&self, arena: Arena) -> impl Iterator<Item = (Index, Bin)> {
        (0..LISTS as u32).map(Bin::numbered).flat_map(move |bin| {
            let mut index = self.heads[Self::slot(bin)];
            core::iter::from_fn(move || {
                if index.is_none() {
                    return None;
                }
                let found = index;
                // SAFETY: the lists hold blocks of the arena, linked through their first words.
                index = unsafe { arena.next(found) };
                Some((found, bin))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_blocks_of_a_list_have_the_same_size() {
        let last = BlockSize::from_granules(EXACT - 1);
        assert!(Bin::of(last).is_exact() && !Bin::of(QuickLists::TOO_LARGE).is_exact());
        assert_eq!(BlockSize::for_payload(QuickLists::LARGE_PAYLOAD - 1), Some(last));
        assert_eq!(BlockSize::for_payload(QuickLists::LARGE_PAYLOAD), Some(QuickLists::TOO_LARGE));
    }
}
