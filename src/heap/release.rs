//! Giving a block back: held for the next request of its size, or merged with its free neighbours.

use super::quick_list::QuickLists;
use super::{Heap, LiveBlock};
use crate::block::Tag;
use crate::size::{BlockSize, Index};

/// What is held back from coalescing is at most 1/8 of what is live or, where that is more, 1/64 of the arena.
const SHARE_OF_LIVE_LOG2: u32 = 3;
const SHARE_OF_ARENA_LOG2: u32 = 6;

/// Nothing more is held as soon as the top is less than this share of the arena: 1/8. Memory is worth more than time then.
const TIGHT_SHARE_LOG2: u32 = 3;

/// How many of the blocks that are still held one release merges then.
const TIGHT_BATCH: u32 = 4;

impl Heap {
    /// The part of [`dealloc`](Self::dealloc) that is worth a place in the caller: a small block is held back, and one in
    /// front of the top melts into it. False if nothing was done.
    ///
    /// # Safety
    ///
    /// - `live` was found by [`live_block`](Self::live_block), and nobody uses its bytes any more.
    #[inline(always)]
    pub(crate) unsafe fn release_fast(&mut self, live: LiveBlock) -> bool {
        let LiveBlock { index, tag } = live;
        let live = self.live.wrapping_sub(tag.granules());
        if tag.size() < QuickLists::TOO_LARGE && self.may_hold(tag.size(), live) {
            self.live = live;
            // SAFETY: the block is live (contract, checked as far as possible by `live_block`).
            unsafe { self.quick.push(self.arena, index, tag) };
            return true;
        }
        if index + tag.size() == self.top && !tag.is_left_free() && self.quick.held() <= self.allowance(live)
        {
            self.live = live;
            self.top = index;
            // SAFETY: CHAIN. The header stays behind as that of a freed block.
            unsafe { self.arena.set_tag(index, tag.freed()) };
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
        if !agrees {
            return false;
        }
        // SAFETY: the block is live (contract, checked as far as possible).
        unsafe { self.release(live) };
        true
    }

    /// Whether a block may be held back from coalescing that leaves `live` granules behind when it is freed: if the arena is
    /// roomy, and all that is held would be at most a small share of what is live.
    #[inline(always)]
    fn may_hold(&self, size: BlockSize, live: u32) -> bool {
        self.quick.held() + size.granules() <= self.allowance(live) && !self.is_tight()
    }

    /// Notes what `allowance` and `is_tight` compare with, for an arena that ends at `end`.
    pub(super) fn set_limits(&mut self, end: Index) {
        self.always_held = end.get() >> SHARE_OF_ARENA_LOG2;
        self.tight_from = Index::new(end.get() - (end.get() >> TIGHT_SHARE_LOG2));
    }

    /// How many granules may be held while `live` are in use.
    #[inline(always)]
    pub(super) fn allowance(&self, live: u32) -> u32 {
        (live >> SHARE_OF_LIVE_LOG2).max(self.always_held)
    }

    /// Whether the top has become small, so that what is free lies in holes.
    #[inline(always)]
    pub(super) fn is_tight(&self) -> bool {
        self.top > self.tight_from
    }

    /// Merges a block that was live, then as many held blocks as have become too many.
    ///
    /// Bound: before, no more is held than what was live allows, and so it is after; so one block is merged for each 128
    /// bytes of the block that is released, and a few more if the arena is tight.
    ///
    /// # Safety
    ///
    /// - The block is live, and nobody uses its bytes any more.
    #[inline(always)]
    pub(super) unsafe fn release(&mut self, LiveBlock { index, tag }: LiveBlock) {
        self.live = self.live.wrapping_sub(tag.granules());
        // SAFETY: the caller's contract.
        unsafe { self.coalesce(index, tag) };
        if self.holds_too_much() {
            self.release_excess();
        }
    }

    /// Whether held blocks have to be merged: they have become too many, or the arena is tight.
    #[inline(always)]
    pub(super) fn holds_too_much(&self) -> bool {
        self.quick.held() > self.allowance(self.live) || self.quick.held() > 0 && self.is_tight()
    }

    /// Merges as many held blocks as have become too many, and a few more if the arena is tight.
    #[inline(never)]
    pub(super) fn release_excess(&mut self) {
        let mut batch = if self.is_tight() { TIGHT_BATCH } else { 0 };
        while self.quick.held() > self.allowance(self.live) || batch > 0 {
            batch = batch.saturating_sub(1);
            if !self.release_largest_held() {
                return;
            }
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
    #[inline(never)]
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
