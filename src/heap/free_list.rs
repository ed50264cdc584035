//! The free lists: one for each bin, doubly linked through the free blocks themselves.

use crate::bins::{BINS, Bin, BinMap};
use crate::block::Arena;
use crate::size::{BlockSize, Index};

/// The heads of all lists, and the map of those that are not empty; all zero bytes when empty.
#[derive(Debug)]
pub(super) struct FreeLists {
    map: BinMap,
    heads: [Index; BINS],
}

impl FreeLists {
    pub(super) const fn new() -> Self {
        Self { map: BinMap::new(), heads: [Index::NONE; BINS] }
    }

    /// The first block of a bin, or [`Index::NONE`].
    #[inline(always)]
    pub(super) fn head(&self, bin: Bin) -> Index {
        self.heads[bin.number()]
    }

    /// The first bin at or above `bin` that has a block.
    #[inline(always)]
    pub(super) fn first_from(&self, bin: Bin) -> Option<Bin> {
        self.map.first_from(bin)
    }

    /// The first bin strictly above `bin` that has a block.
    pub(super) fn first_above(&self, bin: Bin) -> Option<Bin> {
        self.map.first_above(bin)
    }

    /// The bins that the map says have a block.
    pub(super) fn bins(&self) -> impl Iterator<Item = Bin> + '_ {
        self.map.iter()
    }

    /// Puts a free block at the head of its list.
    ///
    /// # Safety
    ///
    /// - `index` is a free block of `size` in the arena and on no list.
    /// - All blocks on the lists are free blocks in the arena.
    #[inline(always)]
    pub(super) unsafe fn insert(&mut self, arena: Arena, index: Index, size: BlockSize) {
        let bin = Bin::of(size);
        let head = self.heads[bin.number()];
        // SAFETY: the block and the head of its list are free blocks in the arena (contract).
        unsafe {
            arena.set_next(index, head);
            arena.set_prev(index, Index::NONE);
            if head.is_none() {
                self.map.set(bin);
            } else {
                arena.set_prev(head, index);
            }
        }
        self.heads[bin.number()] = index;
    }

    /// Takes a free block off its list.
    ///
    /// # Safety
    ///
    /// - `index` is a free block of `size` in the arena, and on the list of that size's bin.
    #[inline(always)]
    pub(super) unsafe fn remove(&mut self, arena: Arena, index: Index, size: BlockSize) {
        // SAFETY: a listed block's links lead to blocks of the same list, or nowhere (contract).
        unsafe {
            let (next, prev) = arena.links(index);
            if !next.is_none() {
                arena.set_prev(next, prev);
            }
            if !prev.is_none() {
                arena.set_next(prev, next);
                return;
            }
            let bin = Bin::of(size);
            self.heads[bin.number()] = next;
            if next.is_none() {
                self.map.clear(bin);
            }
        }
    }

    /// Takes the first block off the list of a bin that has one.
    ///
    /// # Safety
    ///
    /// - The map says that the bin has a block.
    #[inline(always)]
    pub(super) unsafe fn pop(&mut self, arena: Arena, bin: Bin) -> Index {
        let index = self.heads[bin.number()];
        // SAFETY: a listed block's link leads to a block of the same list, or nowhere.
        unsafe {
            let next = arena.next(index);
            self.heads[bin.number()] = next;
            if next.is_none() {
                self.map.clear(bin);
            } else {
                arena.set_prev(next, Index::NONE);
            }
        }
        index
    }

    /// The blocks of a bin with their sizes, from the head.
    #[inline]
    pub(super) fn iter(&self, arena: Arena, bin: Bin) -> impl Iterator<Item = (Index, BlockSize)> {
        let mut index = self.head(bin);
        core::iter::from_fn(move || {
            if index.is_none() {
                return None;
            }
            // SAFETY: the lists hold free blocks of the arena only (contract of `insert`).
            let found = unsafe { (index, arena.tag(index).size()) };
            // SAFETY: as above.
            index = unsafe { arena.links(index).0 };
            Some(found)
        })
    }
}
