//! Giving a block back: held for the next request of its size, or merged with its free neighbours.

use super::quick_list::QuickLists;
use super::{Heap, LiveBlock};
use crate::block::Tag;
use crate::size::Index;

/// What is held back from coalescing is at most this share of what is live: 1/64.
const HELD_SHARE_LOG2: u32 = 8;

/// How many held blocks one release merges at most when they have become too many, unless nothing is live any more.
const FLUSH_BATCH: u32 = 8;

impl Heap {
    /// The part of [`dealloc`](Self::dealloc) that is worth a place in the caller: a block in front of the top melts into it,
    /// and a small one is held back. False if nothing was done.
    ///
    /// # Safety
    ///
    /// - `live` was found by [`live_block`](Self::live_block), and nobody uses its bytes any more.
    #[inline(always)]
    pub(crate) unsafe fn release_fast(&mut self, live: LiveBlock) -> bool {
        let LiveBlock { index, tag } = live;
        if index + tag.size() == self.top && !tag.is_left_free() {
            self.live = self.live.wrapping_sub(tag.granules());
            self.top = index;
            // SAFETY: CHAIN. The header stays behind as that of a freed block.
            unsafe { self.arena.set_tag(index, tag.freed()) };
            return true;
        }
        if self.may_hold(tag) {
            self.live = self.live.wrapping_sub(tag.granules());
            // SAFETY: the block is live (contract, checked as far as possible by `live_block`).
            unsafe { self.quick.push(self.arena, index, tag) };
            return true;
        }
        false
    }

    /// The rest of [`dealloc`](Self::dealloc), for when [`release_fast`](Self::release_fast) did nothing. False, and nothing is
    /// done, if the neighbours show that this cannot be a block in use.
    ///
    /// # Safety
    ///
    /// - As for [`release_fast`](Self::release_fast).
    #[inline(always)]
    pub(crate) unsafe fn release_slow(&mut self, live: LiveBlock) -> bool {
        let agrees = self.agrees_with_neighbours(live);
        if agrees {
            // SAFETY: the block is live (contract, checked as far as possible).
            unsafe { self.release(live) };
        }
        agrees
    }

    /// Whether a live block may be held back from coalescing when it is freed: if it is small, and all that is held would be
    /// at most a small share of what was live. A heap with little in it holds nothing.
    #[inline(always)]
    fn may_hold(&self, tag: Tag) -> bool {
        QuickLists::can_hold(tag.size()) && self.quick.held() + tag.granules() <= self.live >> HELD_SHARE_LOG2
    }

    /// Merges a block that was live, then some of the held blocks, if they have become too many. A heap with nothing in it
    /// holds nothing and is one free block.
    ///
    /// # Safety
    ///
    /// - The block is live, and nobody uses its bytes any more.
    #[inline]
    pub(super) unsafe fn release(&mut self, LiveBlock { index, tag }: LiveBlock) {
        self.live = self.live.wrapping_sub(tag.granules());
        // SAFETY: the caller's contract.
        unsafe { self.coalesce(index, tag) };
        if self.quick.held() > self.live >> HELD_SHARE_LOG2 {
            self.release_some_held();
        }
    }

    /// Merges held blocks until their share is right again, but no more than a batch, unless nothing is live any more.
    #[inline(never)]
    fn release_some_held(&mut self) {
        let mut batch = if self.live == 0 { u32::MAX } else { FLUSH_BATCH };
        while self.quick.held() > self.live >> HELD_SHARE_LOG2 && batch > 0 {
            batch -= 1;
            self.release_largest_held();
        }
    }

    /// Merges a held block of the largest size there is; false if none is held.
    fn release_largest_held(&mut self) -> bool {
        // SAFETY: HELD; a block that was held is in nobody's use, and its header is as it was when it was in use.
        unsafe {
            let Some(index) = self.quick.pop_largest(self.arena) else { return false };
            self.coalesce(index, self.arena.tag(index));
        }
        true
    }

    /// Merges all held blocks; false if none was held.
    #[cold]
    pub(super) fn release_held(&mut self) -> bool {
        let mut any = false;
        while self.release_largest_held() {
            any = true;
        }
        any
    }

    /// Merges a block with its free neighbours and puts the result on its list, or into the top.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use, `tag` its header, and nobody uses its bytes any more.
    /// - It is not counted as live.
    #[inline]
    unsafe fn coalesce(&mut self, index: Index, tag: Tag) {
        let behind = index + tag.size();
        let mut start = index;
        let mut size = tag.size();
        let mut left = None;
        if tag.is_left_free() {
            // SAFETY: FLAGS, the left neighbour is free and its footer tells its size. The header that ends up inside of
            // the merged block stays behind as that of a freed block.
            let left_size = unsafe {
                self.arena.set_tag(index, tag.freed());
                self.arena.left_size(index)
            };
            start = index - left_size;
            size = size + left_size;
            left = Some(left_size);
        }
        if behind == self.top {
            if let Some(left) = left {
                // SAFETY: LISTED.
                unsafe { self.lists.remove(self.arena, start, left) };
            }
            // SAFETY: the block is the heap's own again.
            unsafe { self.arena.set_tag(start, Tag::free(size)) };
            self.top = start;
            return;
        }
        // SAFETY: CHAIN, a block lies behind, since it is not the top.
        let right = unsafe { self.arena.tag(behind) };
        // SAFETY: LISTED for the neighbours that are free; the merged block is the heap's own.
        unsafe {
            if right.is_free() {
                self.lists.remove(self.arena, behind, right.size());
                size = size + right.size();
            } else {
                self.arena.set_tag(behind, right.with_left_free(true));
            }
            self.arena.set_free(start, size);
            match left {
                Some(left) => self.lists.resize(self.arena, start, left, size),
                None => self.lists.insert(self.arena, start, size),
            }
        }
    }
}
