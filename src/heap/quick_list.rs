//! Quick lists: freed small blocks that are held back from coalescing, because one of the same size is likely to be
//! asked for soon.
//!
//! A held block is marked as such in its header and looks to its neighbours like one in use, so that holding and
//! taking back touch no other block. What is held back cannot be merged, and what is not merged makes the heap crumble. So
//! little is held (see `Heap::may_hold`), nothing once the arena is tight, and all of it is merged before a request
//! is refused.
//!
//! (The idea is that of the quick lists in Weinstock and Wulf, *Quick Fit: an efficient algorithm for heap storage
//! allocation*, 1988, and of the fast bins in Doug Lea's allocator.)

use crate::block::{Arena, Tag};
use crate::size::{BlockSize, Index};

/// Blocks of fewer granules than this can be held: those of 504 bytes and less.
const SIZES: u32 = 64;

/// One list for each small size, linked through the blocks' first words; all zero bytes when empty.
#[derive(Debug)]
pub(super) struct QuickLists {
    /// One bit for each list that is not empty.
    map: u64,
    /// Granules of all held blocks.
    held: u32,
    heads: [Index; SIZES as usize],
}

impl QuickLists {
    /// The most bytes that a block which can be held has for its user.
    pub(super) const LARGEST_PAYLOAD: usize = BlockSize::from_granules(SIZES - 1).payload();

    pub(super) const fn new() -> Self {
        Self { map: 0, held: 0, heads: [Index::NONE; SIZES as usize] }
    }

    /// Whether blocks of this size can be held.
    #[inline(always)]
    pub(super) fn can_hold(size: BlockSize) -> bool {
        size.granules() < SIZES
    }

    /// Granules of all held blocks.
    #[inline(always)]
    pub(super) fn held(&self) -> u32 {
        self.held
    }

    #[inline(always)]
    fn slot(size: BlockSize) -> usize {
        (size.granules() & (SIZES - 1)) as usize
    }

    /// Holds a block that was in use.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use in the arena with header `tag`, of a size that can be held, and nobody uses its bytes any
    ///   more.
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, arena: Arena, index: Index, tag: Tag) {
        let size = tag.size();
        let head = &mut self.heads[Self::slot(size)];
        // SAFETY: the block is the heap's own again (contract).
        unsafe {
            arena.set_tag(index, tag.held());
            arena.set_next(index, *head);
        }
        *head = index;
        self.map |= 1 << (size.granules() & (SIZES - 1));
        self.held += size.granules();
    }

    /// Takes back a held block of exactly this size, which can be held, and marks it as used.
    ///
    /// # Safety
    ///
    /// - The lists' blocks are held blocks of the arena.
    #[inline(always)]
    pub(super) unsafe fn pop(&mut self, arena: Arena, size: BlockSize) -> Option<Index> {
        let head = &mut self.heads[Self::slot(size)];
        let index = *head;
        if index.is_none() {
            return None;
        }
        // SAFETY: a held block's first word links to the next one (contract).
        let (next, tag) = unsafe { (arena.next(index), arena.tag(index)) };
        *head = next;
        if next.is_none() {
            self.map &= !(1 << (size.granules() & (SIZES - 1)));
        }
        self.held -= size.granules();
        // SAFETY: the header is the heap's own.
        unsafe { arena.set_tag(index, tag.taken_back()) };
        Some(index)
    }

    /// Takes back a held block of the largest size there is.
    ///
    /// # Safety
    ///
    /// - As for [`pop`](Self::pop).
    pub(super) unsafe fn pop_largest(&mut self, arena: Arena) -> Option<Index> {
        let granules = self.map.checked_ilog2()?;
        // SAFETY: the caller's contract.
        unsafe { self.pop(arena, BlockSize::from_granules(granules)) }
    }

    /// The held blocks, each with the size of its list.
    pub(super) fn iter(&self, arena: Arena) -> impl Iterator<Item = (Index, BlockSize)> {
        (BlockSize::MIN.granules()..SIZES).map(BlockSize::from_granules).flat_map(move |size| {
            let mut index = self.heads[Self::slot(size)];
            core::iter::from_fn(move || {
                if index.is_none() {
                    return None;
                }
                let found = index;
                // SAFETY: the lists hold blocks of the arena, linked through their first words.
                index = unsafe { arena.next(found) };
                Some((found, size))
            })
        })
    }
}
