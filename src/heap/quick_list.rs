//! Quick lists: freed blocks that are held back from coalescing, because one of their size is likely to be asked for soon.
//!
//! There is one list for each bin up to 32 KiB. A held block is marked as such in its header and looks to its neighbours like one
//! in use, so that holding and taking back touch no other block. What is held cannot be merged, and what is not merged makes the
//! heap crumble. So the sum of what is live and what is held is bounded (see `Heap::refresh_hold_limit`), nothing is held once
//! the arena is tight, and all of it is merged before a request is refused.
//!
//! (The idea is that of the quick lists in Weinstock and Wulf, *Quick Fit: an efficient algorithm for heap storage
//! allocation*, 1988, and of the fast bins in Doug Lea's allocator.)

use crate::bins::Bin;
use crate::block::{Arena, Tag};
use crate::size::{BlockSize, GRANULE, Index};

/// One list for each of the first bins: those of blocks of less than 32 KiB.
const LISTS: usize = 144;
const WORDS: usize = LISTS.div_ceil(64).next_power_of_two();

/// The heads of the lists, which are linked through the blocks' first words; all zero bytes when empty.
#[derive(Debug)]
pub(super) struct QuickLists {
    /// One bit for each list that may have a block: a list that has become empty keeps its bit until `pop_next` comes by.
    map: [u64; WORDS],
    /// Where `pop_next` goes on.
    cursor: u32,
    heads: [Index; LISTS],
}

impl QuickLists {
    /// Blocks below this size are held and taken back on the fast paths.
    pub(super) const LARGE: BlockSize = Bin::LOOKED_UP;

    /// Blocks from this size on are not held.
    pub(super) const TOO_LARGE: BlockSize = BlockSize::from_granules(4096);

    /// The least payload that needs a block of [`LARGE`](Self::LARGE).
    pub(super) const LARGE_PAYLOAD: usize = Self::LARGE.payload() - GRANULE + 1;

    pub(super) const fn new() -> Self {
        Self { map: [0; WORDS], cursor: 0, heads: [Index::NONE; LISTS] }
    }

    /// Holds a block that was in use, smaller than [`LARGE`](Self::LARGE).
    ///
    /// # Safety
    ///
    /// - As for [`push`](Self::push).
    #[inline(always)]
    pub(super) unsafe fn push_small(&mut self, arena: Arena, index: Index, tag: Tag) {
        // SAFETY: the caller's contract.
        unsafe { self.push(arena, Bin::of_small(tag.size()), index, tag) }
    }

    /// Holds a block of a bin that was in use, smaller than [`TOO_LARGE`](Self::TOO_LARGE).
    ///
    /// # Safety
    ///
    /// - `index` is a block in use in the arena with header `tag`, whose size is of that bin, and nobody uses its bytes any
    ///   more.
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, arena: Arena, bin: Bin, index: Index, tag: Tag) {
        let list = bin.number();
        invariant!(list < LISTS && bin == Bin::of(tag.size()));
        // SAFETY: the block is the heap's own again (contract); its size has a list.
        unsafe {
            let head = self.heads.get_unchecked_mut(list);
            arena.set_tag(index, tag.held());
            arena.set_next(index, *head);
            *head = index;
            *self.map.get_unchecked_mut(list / 64) |= 1 << (list % 64);
        }
    }

    /// Takes back a block of about this size, which is less than [`LARGE`](Self::LARGE): see [`pop`](Self::pop).
    ///
    /// # Safety
    ///
    /// - As for [`pop`](Self::pop).
    #[inline(always)]
    pub(super) unsafe fn pop_small(&mut self, arena: Arena, size: BlockSize) -> Option<(Index, Tag)> {
        // SAFETY: the caller's contract.
        unsafe { self.pop(arena, Bin::of_small(size), size) }
    }

    /// Takes back the first block of a bin's list if it is at least of this size, and marks it as used.
    ///
    /// # Safety
    ///
    /// - The lists' blocks are held blocks of the arena.
    #[inline(always)]
    pub(super) unsafe fn pop(&mut self, arena: Arena, bin: Bin, size: BlockSize) -> Option<(Index, Tag)> {
        let head = self.heads.get_mut(bin.number())?;
        let index = *head;
        if index.is_none() {
            return None;
        }
        // SAFETY: a held block's first word links to the next one (contract); its header is the heap's own.
        unsafe {
            let tag = arena.tag(index).taken_back();
            if tag.size() < size {
                return None;
            }
            *head = arena.next(index);
            arena.set_tag(index, tag);
            Some((index, tag))
        }
    }

    /// As [`pop`](Self::pop), if the block's payload is a multiple of `align`.
    ///
    /// # Safety
    ///
    /// - As for [`pop`](Self::pop).
    #[inline(never)]
    pub(super) unsafe fn pop_aligned(
        &mut self,
        arena: Arena,
        bin: Bin,
        size: BlockSize,
        align: usize,
    ) -> Option<(Index, Tag)> {
        let head = *self.heads.get(bin.number())?;
        if !arena.address(head).is_multiple_of(align) {
            return None;
        }
        // SAFETY: the caller's contract.
        unsafe { self.pop(arena, bin, size) }
    }

    /// Takes back a block of whichever list is next in turn; `None` if that one has become empty or nothing is held.
    ///
    /// # Safety
    ///
    /// - As for [`pop`](Self::pop).
    pub(super) unsafe fn pop_next(&mut self, arena: Arena) -> Option<(Index, Tag)> {
        let mut word = self.cursor as usize / 64 % WORDS;
        let mut bits = self.map[word] & (!0 << (self.cursor % 64));
        for _ in 0..WORDS {
            if bits != 0 {
                break;
            }
            word = (word + 1) % WORDS;
            bits = self.map[word];
        }
        if bits == 0 {
            return None;
        }
        let bin = Bin::numbered(word as u32 * 64 + bits.trailing_zeros());
        self.cursor = bin.number() as u32 + 1;
        // SAFETY: the caller's contract.
        let found = unsafe { self.pop(arena, bin, BlockSize::MIN) };
        if self.heads.get(bin.number()).is_none_or(|head| head.is_none()) {
            self.map[word] &= !(1 << (bin.number() % 64));
        }
        found
    }

    /// Whether certainly nothing is held: a list that has become empty counts until `pop_next` came by.
    pub(super) fn is_empty(&self) -> bool {
        self.map.iter().all(|&word| word == 0)
    }

    /// The first block of each list, or [`Index::NONE`], with the list's bin.
    pub(super) fn lists(&self) -> impl Iterator<Item = (Bin, Index)> {
        (0..).map(Bin::numbered).zip(self.heads.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_that_is_held_has_a_list_and_larger_ones_have_none() {
        let largest = BlockSize::from_granules(QuickLists::TOO_LARGE.granules() - 1);
        assert_eq!(Bin::of(largest).number(), LISTS - 1);
        assert_eq!(Bin::of(QuickLists::TOO_LARGE).number(), LISTS);
    }

    #[test]
    fn the_least_large_payload_needs_a_large_block() {
        let last = BlockSize::from_granules(QuickLists::LARGE.granules() - 1);
        assert_eq!(BlockSize::for_payload(QuickLists::LARGE_PAYLOAD - 1), Some(last));
        assert_eq!(BlockSize::for_payload(QuickLists::LARGE_PAYLOAD), Some(QuickLists::LARGE));
    }
}
