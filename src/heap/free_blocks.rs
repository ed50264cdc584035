//! The free blocks, in bins: a list for each small size, a trie for each bin of large ones.

use super::trie;
use crate::bins::{BINS, Bin, BinMap};
use crate::block::Arena;
use crate::size::{BlockSize, Index};

/// The head of each bin's list, or the root of its trie, and the map of those that are not empty; all zero
/// bytes when empty.
#[derive(Debug)]
pub(super) struct FreeBlocks {
    map: BinMap,
    heads: [Index; BINS],
}

impl FreeBlocks {
    pub(super) const fn new() -> Self {
        Self { map: BinMap::new(), heads: [Index::NONE; BINS] }
    }

    /// Forgets all blocks.
    pub(super) fn forget_all(&mut self) {
        *self = Self::new();
    }

    /// The first block of a bin's list or the root of its trie, or [`Index::NONE`].
    #[inline(always)]
    pub(super) fn head(&self, bin: Bin) -> Index {
        self.heads[bin.number()]
    }

    /// The bins that the map says have a block.
    pub(super) fn bins(&self) -> impl Iterator<Item = Bin> + '_ {
        self.map.iter()
    }

    /// Puts a free block into its bin.
    ///
    /// # Safety
    ///
    /// - `index` is a free block of `size` in the arena and in no bin.
    /// - All blocks in the bins are free blocks in the arena.
    #[inline(always)]
    pub(super) unsafe fn insert(&mut self, arena: Arena, index: Index, size: BlockSize) {
        if size >= Bin::MIXED {
            // SAFETY: the caller's contract.
            return unsafe { self.insert_large(arena, index, size) };
        }
        let bin = Bin::exact(size);
        let first = self.heads[bin.number()];
        // SAFETY: the block and those of the list are free blocks in the arena (contract).
        unsafe { arena.link_first(first, index) };
        if first.is_none() {
            self.map.set(bin);
        }
        self.heads[bin.number()] = index;
    }

    /// # Safety
    ///
    /// - As for [`insert`](Self::insert); the block's bin mixes sizes.
    #[inline(never)]
    unsafe fn insert_large(&mut self, arena: Arena, index: Index, size: BlockSize) {
        let bin = Bin::mixed(size);
        let root = self.heads[bin.number()];
        // SAFETY: the caller's contract.
        unsafe {
            if root.is_none() {
                trie::make_node(arena, index, Index::NONE);
                self.heads[bin.number()] = index;
                self.map.set(bin);
            } else {
                trie::insert(arena, bin, root, index, size);
            }
        }
    }

    /// Takes a free block out of its bin.
    ///
    /// # Safety
    ///
    /// - `index` is a free block of `size` in the arena, and in that size's bin.
    #[inline(always)]
    pub(super) unsafe fn remove(&mut self, arena: Arena, index: Index, size: BlockSize) {
        if size >= Bin::MIXED {
            // SAFETY: the caller's contract.
            return unsafe { self.remove_large(arena, index, size) };
        }
        let bin = Bin::exact(size);
        // SAFETY: LISTED, the block is on that list (contract).
        let first = unsafe { arena.unlink(self.heads[bin.number()], index) };
        self.set_head(bin, first);
    }

    /// Notes the first block of a bin's list, or the root of its trie; [`Index::NONE`] if it is empty.
    #[inline(always)]
    fn set_head(&mut self, bin: Bin, head: Index) {
        self.heads[bin.number()] = head;
        if head.is_none() {
            self.map.clear(bin);
        }
    }

    /// # Safety
    ///
    /// - As for [`remove`](Self::remove); the block's bin mixes sizes.
    #[inline(never)]
    unsafe fn remove_large(&mut self, arena: Arena, index: Index, size: BlockSize) {
        let bin = Bin::mixed(size);
        let root = self.heads[bin.number()];
        // SAFETY: the caller's contract.
        let root = unsafe {
            if index == root && trie::is_alone(arena, root) {
                Index::NONE
            } else {
                trie::remove(arena, bin, root, index, size)
            }
        };
        self.set_head(bin, root);
    }

    /// Takes a block of exactly that size, less than [`Bin::MIXED`], out of its bin, if there is one.
    #[inline(always)]
    pub(super) fn pop_exact(&mut self, arena: Arena, size: BlockSize) -> Option<Index> {
        let bin = Bin::exact(size);
        let index = self.heads[bin.number()];
        if index.is_none() {
            return None;
        }
        // SAFETY: LISTED, it is the first one of its list.
        let next = unsafe { arena.unlink(index, index) };
        self.set_head(bin, next);
        Some(index)
    }

    /// A free block of at least `size`: of exactly that size or one of the smallest that are larger, if it is
    /// small, and else one that is larger than need be by a thirty-second at most, if there is one. It stays
    /// in its bin.
    #[inline(always)]
    pub(super) fn good_fit(&self, arena: Arena, size: BlockSize) -> Option<(Index, BlockSize)> {
        let mut bin = Bin::of(size);
        if !bin.is_exact() {
            let root = self.head(bin);
            if !root.is_none() {
                // SAFETY: LISTED, the bin's trie is made of free blocks of the arena.
                let found = unsafe { arena.tag(root).size() };
                if found >= size {
                    return Some((self.one_of_node(arena, root), found));
                }
                // SAFETY: as above.
                if let Some((node, found)) = unsafe { trie::best_fit(arena, bin, root, size) } {
                    return Some((self.one_of_node(arena, node), found));
                }
            }
            bin = bin.next();
        }
        let bin = self.map.first_from(bin)?;
        let head = self.head(bin);
        if bin.is_exact() {
            // The bin's number is the size of its blocks.
            return Some((head, BlockSize::from_granules(bin.number() as u32)));
        }
        // SAFETY: LISTED, as above.
        let found = unsafe { arena.tag(head).size() };
        Some((self.one_of_node(arena, head), found))
    }

    /// The first free block of exactly that size, unless it is large and its bin's trie begins with another size. It
    /// stays in its bin.
    #[inline(always)]
    pub(super) fn first_of(&self, arena: Arena, size: BlockSize) -> Option<Index> {
        let bin = Bin::of(size);
        let head = self.head(bin);
        if head.is_none() {
            return None;
        }
        // SAFETY: LISTED, the root of a bin's trie is a free block of the arena.
        let is_of_size = bin.is_exact() || unsafe { arena.tag(head).size() } == size;
        is_of_size.then(|| if bin.is_exact() { head } else { self.one_of_node(arena, head) })
    }

    /// Of several blocks of one size, the second, because that is no node of the trie and is taken out in a
    /// few steps.
    #[inline(always)]
    fn one_of_node(&self, arena: Arena, node: Index) -> Index {
        // SAFETY: LISTED, a node is a free block of the arena, and its link leads to another one, or nowhere.
        let second = unsafe { arena.next(node) };
        if second.is_none() { node } else { second }
    }

    /// The first block of the first bin from this one on that has one.
    pub(super) fn first_block_from(&self, bin: Bin) -> Option<Index> {
        self.map.first_from(bin).map(|bin| self.head(bin))
    }

    /// The first block of the size that follows when the bins are gone through, each in no particular order.
    ///
    /// # Safety
    ///
    /// - `first` is the first free block of `size` in its bin.
    #[inline(never)]
    pub(super) unsafe fn next_first_block(
        &self,
        arena: Arena,
        first: Index,
        size: BlockSize,
    ) -> Option<Index> {
        let bin = Bin::of(size);
        if !bin.is_exact() {
            // SAFETY: LISTED, it is a node of the bin's trie.
            let node = unsafe { trie::next_node(arena, self.head(bin), first) };
            if node.is_some() {
                return node;
            }
        }
        self.first_block_from(bin.next())
    }

    /// The next node of the trie that one is of, in no particular order.
    ///
    /// # Safety
    ///
    /// - It is a node of the trie of its bin.
    #[cfg(all(feature = "std", unix))]
    pub(super) unsafe fn next_node(&self, arena: Arena, node: Index) -> Option<Index> {
        // SAFETY: the caller's contract.
        unsafe { trie::next_node(arena, self.head(Bin::of(arena.tag(node).size())), node) }
    }

    /// Makes a free block the first one of its size, so that the next search begins with it. Those that were
    /// in front of it come last.
    ///
    /// # Safety
    ///
    /// - `index` is a free block of `size` in a bin.
    #[inline(never)]
    pub(super) unsafe fn begin_with(&mut self, arena: Arena, index: Index, size: BlockSize) {
        let bin = Bin::of(size);
        let head = self.head(bin);
        // SAFETY: LISTED.
        unsafe {
            if arena.is_first(index) {
                return;
            }
            if bin.is_exact() {
                arena.rotate(head, index);
                self.heads[bin.number()] = index;
            } else {
                self.heads[bin.number()] = trie::rotate(arena, bin, head, index, size);
            }
        }
    }
}
