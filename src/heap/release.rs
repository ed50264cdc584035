//! Giving a block back: held for the next request of its size, or merged with its free neighbours.

use super::quick_list::QuickLists;
use super::{Heap, LiveBlock};
use crate::bins::Bin;
use crate::block::Tag;
use crate::size::{BlockSize, GRANULE, Index};

/// What is live and what is held may together be more than the most that ever was live by this share of it: 1/32.
const HEADROOM_LOG2: u32 = 5;

/// Even if that is less than this share of the arena, 1/128, or this many bytes, 128 KiB: a program that needs little of a large arena
/// does not have to touch more of it.
const LEAST_HEADROOM_LOG2: u32 = 7;
const LEAST_HEADROOM: u32 = (128 << 10) / GRANULE as u32;

/// Nothing more is held as soon as no free span is as large as this share of the arena: 1/8. Memory is worth more than time then.
const TIGHT_SHARE_LOG2: u32 = 3;

/// How many quick lists are visited, and one held block of each merged, where there is too much held.
const EVICTIONS: u32 = 2;

/// By how many granules more may be occupied than ever were live, in an arena that ends there, if 1/32 is less.
pub(super) fn least_headroom(end: Index) -> u32 {
    (end.get() >> LEAST_HEADROOM_LOG2).min(LEAST_HEADROOM)
}

impl Heap {
    /// The part of [`dealloc`](Self::dealloc) that is worth a place in the caller: a small block is held back. False if nothing
    /// was done.
    ///
    /// # Safety
    ///
    /// - `live` was found by [`live_block`](Self::live_block), and nobody uses its bytes any more.
    #[inline(always)]
    pub(crate) unsafe fn release_fast(&mut self, LiveBlock { index, tag }: LiveBlock) -> bool {
        let may_hold = tag.size() < QuickLists::LARGE && self.may_hold();
        if may_hold {
            // SAFETY: the caller's contract.
            unsafe { self.hold_small(index, tag) };
        }
        may_hold
    }

    /// Notes how much may be occupied, that is live or held, if one more block is to be held: 1/32 more than the most that
    /// ever was live, or 1/128 of the arena if that is more, up to 128 KiB. Nothing is held once the arena is tight.
    ///
    /// What was held before counts on when more becomes live: the next calls merge two held blocks each until both together are
    /// within the limit again.
    #[inline(never)]
    pub(super) fn refresh_hold_limit(&mut self) {
        let end = self.end.get();
        let roomy_span = BlockSize::from_granules((end >> TIGHT_SHARE_LOG2).max(BlockSize::MIN.granules()));
        let is_roomy = end - self.top.get() >= roomy_span.granules()
            || self.lists.first_from(Bin::fitting(roomy_span)).is_some();
        self.hold_limit = if is_roomy { self.roomy_hold_limit() } else { 0 };
    }

    /// How much may be occupied while the arena is roomy.
    #[inline(always)]
    pub(super) fn roomy_hold_limit(&self) -> u32 {
        self.peak + (self.peak >> HEADROOM_LOG2).max(self.least_headroom)
    }

    /// To be called where a free block of `size` was taken or made: the arena may have become tight or roomy.
    #[inline(always)]
    pub(super) fn note_large_span(&mut self, size: BlockSize) {
        if size.granules() >= self.end.get() >> TIGHT_SHARE_LOG2 {
            self.refresh_hold_limit();
        }
    }

    /// To be called where something was taken from the top: the arena may have become tight.
    #[inline(always)]
    pub(super) fn note_smaller_top(&mut self) {
        if self.end.granules_since(self.top) < self.end.get() >> TIGHT_SHARE_LOG2 {
            self.refresh_hold_limit();
        }
    }

    /// Whether what is free lies in holes that are small beside the arena.
    #[inline(always)]
    pub(super) fn is_tight(&self) -> bool {
        self.hold_limit == 0
    }

    /// Whether another block may be held.
    #[inline(always)]
    pub(super) fn may_hold(&self) -> bool {
        self.occupied <= self.hold_limit
    }

    /// Granules of all held blocks.
    #[inline(always)]
    pub(super) fn held(&self) -> u32 {
        self.occupied.wrapping_sub(self.live)
    }

    /// Holds a block of less than [`QuickLists::LARGE`].
    ///
    /// # Safety
    ///
    /// - `index` is a block in use with header `tag`, and nobody uses its bytes any more.
    #[inline(always)]
    pub(super) unsafe fn hold_small(&mut self, index: Index, tag: Tag) {
        self.live = self.live.wrapping_sub(tag.granules());
        // SAFETY: the caller's contract.
        unsafe { self.quick.push_small(self.arena, index, tag) };
    }

    /// The rest of [`dealloc`](Self::dealloc), for when [`release_fast`](Self::release_fast) did nothing: holds a block that was live,
    /// or merges it with its free neighbours; then merges a few held blocks if there are too many.
    /// False, and nothing is done, if the neighbours show that this cannot be a block in use.
    ///
    /// A block with a free neighbour is not held here: merging is what keeps large blocks large. (Small ones are, in
    /// [`release_fast`](Self::release_fast), which looks at no neighbours.)
    ///
    /// # Safety
    ///
    /// - The block is live, and nobody uses its bytes any more.
    #[inline(never)]
    pub(crate) unsafe fn release_slow(&mut self, LiveBlock { index, tag }: LiveBlock) -> bool {
        let size = tag.size();
        let behind = index + size;
        // SAFETY: CHAIN, a block lies behind unless the top does.
        let right = if behind == self.top { None } else { Some(unsafe { self.arena.tag(behind) }) };
        if right.is_some_and(Tag::is_left_free) || tag.is_left_free() && !self.left_is_free(index) {
            return false;
        }
        let alone = !tag.is_left_free() && right.is_some_and(|right| !right.is_free());
        if !self.may_hold() {
            self.refresh_hold_limit();
        }
        self.live = self.live.wrapping_sub(tag.granules());
        // SAFETY: the caller's contract.
        unsafe {
            if alone && self.may_hold() && size < QuickLists::TOO_LARGE {
                self.quick.push(self.arena, Bin::of(size), index, tag);
            } else {
                self.coalesce(index, tag);
            }
        }
        self.evict_excess();
        true
    }

    /// Merges a few held blocks if more is occupied than may be.
    #[inline(always)]
    pub(super) fn evict_excess(&mut self) {
        if self.occupied > self.hold_limit && self.held() > 0 {
            self.evict();
        }
    }

    /// Merges the first block of each of the next few quick lists.
    #[inline(never)]
    fn evict(&mut self) {
        self.refresh_hold_limit();
        if self.may_hold() {
            return;
        }
        for _ in 0..EVICTIONS {
            self.evict_next();
        }
    }

    #[inline(never)]
    fn evict_next(&mut self) {
        // SAFETY: HELD; a block that was held is in nobody's use, and its header is as it was when it was in use.
        unsafe {
            if let Some((index, tag)) = self.quick.pop_next(self.arena) {
                self.coalesce(index, tag);
            }
        }
    }

    /// Merges all held blocks; false if none was held.
    #[cold]
    pub(super) fn release_held(&mut self) -> bool {
        let any = self.held() > 0;
        // Each round merges a block or strikes off an empty list.
        while !self.quick.is_empty() {
            self.evict_next();
        }
        any
    }

    /// Makes a free block whose neighbours are in use, and puts it on its list. The flag behind it is left to the caller.
    ///
    /// # Safety
    ///
    /// - The block of `size` at `index` is in the arena, and no byte of it is handed out.
    #[inline(never)]
    pub(super) unsafe fn make_free(&mut self, index: Index, size: BlockSize) {
        // SAFETY: the caller's contract; LISTED.
        unsafe {
            self.arena.set_free(index, size);
            self.lists.insert(self.arena, index, size);
        }
    }

    /// Takes a free block off its list, where that need not be fast.
    ///
    /// # Safety
    ///
    /// - `index` is a free block of `size`.
    #[inline(never)]
    pub(super) unsafe fn unlist(&mut self, index: Index, size: BlockSize) {
        // SAFETY: LISTED.
        unsafe { self.lists.remove(self.arena, index, size) }
    }

    /// Merges a block with its free neighbours and puts the result on its list, or into the top.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use, `tag` its header, and nobody uses its bytes any more.
    /// - It is not counted as live, but as occupied.
    #[inline(always)]
    unsafe fn coalesce(&mut self, index: Index, tag: Tag) {
        self.occupied = self.occupied.wrapping_sub(tag.granules());
        let behind = index + tag.size();
        let mut start = index;
        let mut size = tag.size();
        // SAFETY: FLAGS and LISTED, the left neighbour is free if the tag says so, and its footer tells its size; it is taken
        // off its list. The header that ends up inside of the merged block stays behind as that of a freed block.
        unsafe {
            if tag.is_left_free() {
                let left_size = self.arena.left_size(index);
                self.arena.set_tag(index, tag.freed());
                start = index - left_size;
                size = size + left_size;
                self.lists.remove(self.arena, start, left_size);
            }
        }
        if behind == self.top {
            // SAFETY: the block is the heap's own again.
            unsafe { self.arena.set_tag(start, Tag::free(size)) };
            self.top = start;
            if self.is_tight() {
                self.refresh_hold_limit();
            }
            return;
        }
        // SAFETY: CHAIN, a block lies behind, since it is not the top; LISTED, if it is free; the merged block is the heap's own.
        unsafe {
            let right = self.arena.tag(behind);
            if right.is_free() {
                self.lists.remove(self.arena, behind, right.size());
                size = size + right.size();
            } else {
                self.arena.set_tag(behind, right.with_left_free(true));
            }
            self.arena.set_free(start, size);
            self.lists.insert(self.arena, start, size);
        }
        self.note_large_span(size);
    }
}
