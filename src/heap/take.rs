//! Taking a block: which one, and cutting it to size.

use super::Heap;
use crate::bins::Bin;
use crate::block::{Tag, prefetch};
use crate::size::{BlockSize, GRANULE, Index, Remainder};

/// Blocks of at least this share of the arena are broad beside it: 1/16.
const BROAD_SHARE_LOG2: u32 = 4;

/// How many bytes behind the top the processor is asked to fetch when a block is taken from it. A program
/// that grows writes there next, and would wait for each cache line: by this, a JSON document is built in 0.6
/// to 0.9 of the time where caches are cold.
const FETCHED_AHEAD: usize = 256;

/// From which end of the top a block is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The one where it can grow.
    Near,
    /// The other one, if the block is so large that it would stand in the way, wherever else it stood.
    FarIfBroad,
}

impl Heap {
    /// Takes a block of `size` whose payload is a multiple of `align`, and marks it as used. It is not
    /// counted yet.
    #[inline(always)]
    pub(super) fn take(&mut self, size: BlockSize, align: usize, end: End) -> Option<Index> {
        if align > GRANULE {
            return self.take_aligned(size, align, end);
        }
        if size < Bin::MIXED {
            if let Some(index) = self.free.pop_exact(self.arena, size) {
                self.use_whole(index, size);
                return Some(index);
            }
        }
        let found = if size < Bin::MIXED { self.find_small(size) } else { self.find_large(size) };
        match found {
            Some((index, whole)) => Some(self.carve(index, whole, size)),
            None => self.take_top(size, end),
        }
    }

    /// The free block that a small block is cut from, if there is none of exactly its size: the victim, or
    /// the smallest one that holds it, which is the victim from now on, if what is left of it is larger
    /// than that.
    #[inline(always)]
    fn find_small(&mut self, size: BlockSize) -> Option<(Index, BlockSize)> {
        if let Some(victim) = self.victim_holding(size) {
            return Some((self.victim, victim));
        }
        let (index, whole) = self.free.good_fit(self.arena, size)?;
        match whole.remainder(size) {
            Remainder::Block(rest) if self.victim_holding(rest).is_none() => {
                // SAFETY: LISTED.
                unsafe { self.make_victim(index, whole) };
            }
            _ => {}
        }
        Some((index, whole))
    }

    /// The free block that a large block is cut from: the smallest one that holds it, or nearly.
    #[inline(always)]
    pub(super) fn find_large(&self, size: BlockSize) -> Option<(Index, BlockSize)> {
        let best = self.free.good_fit(self.arena, size);
        match self.victim_holding(size) {
            Some(victim) if best.is_none_or(|(_, whole)| whole > victim) => Some((self.victim, victim)),
            _ => best,
        }
    }

    /// Takes a block from the top, if that has room.
    #[inline(always)]
    fn take_top(&mut self, size: BlockSize, end: End) -> Option<Index> {
        if !self.fits_top(size) {
            return self.take_top_beyond(size);
        }
        Some(match self.gap_to_far_end(size, GRANULE, end) {
            Some(gap) => self.take_from_top_behind(gap, size),
            None => self.take_from_top(size),
        })
    }

    /// Takes a block from the top, which has no room for it as far as it is committed.
    #[cold]
    #[inline(never)]
    fn take_top_beyond(&mut self, size: BlockSize) -> Option<Index> {
        self.commit(self.top, size.granules()).then(|| self.take_from_top(size))
    }

    /// The size of the victim, if there is one and it is at least `size`.
    #[inline(always)]
    pub(super) fn victim_holding(&self, size: BlockSize) -> Option<BlockSize> {
        if self.victim.is_none() {
            return None;
        }
        // SAFETY: the victim is a free block of the arena.
        let victim = unsafe { self.arena.tag(self.victim).size() };
        (victim >= size).then_some(victim)
    }

    /// Takes a free block out of its bin and makes it the victim. What was that before goes into a bin.
    ///
    /// # Safety
    ///
    /// - `index` is a free block of `size` in a bin.
    #[inline(never)]
    unsafe fn make_victim(&mut self, index: Index, size: BlockSize) {
        let before = self.victim;
        self.victim = index;
        // SAFETY: the caller's contract; the victim is a free block of the arena that is in no bin.
        unsafe {
            self.free.remove(self.arena, index, size);
            if !before.is_none() {
                self.free.insert(self.arena, before, self.arena.tag(before).size());
            }
        }
    }

    /// Whether the top has room for a block of `size`.
    #[inline(always)]
    pub(super) fn fits_top(&self, size: BlockSize) -> bool {
        self.committed.granules_since(self.top) >= size.granules()
    }

    /// Marks a free block, which was just taken off its list, as used.
    #[inline(always)]
    fn use_whole(&mut self, index: Index, whole: BlockSize) {
        let arena = self.arena;
        // SAFETY: CHAIN; COALESCED, so that a block and not the top lies behind a free block.
        unsafe {
            arena.set_tag(index, Tag::used(whole));
            arena.set_left_free(index + whole, false);
        }
    }

    /// Takes the free block of `whole` at `index` out of its bin, unless it is the victim, and cuts a used
    /// block of `size` from its front. What is left over is a free block, and the victim if the whole
    /// was.
    #[inline(always)]
    pub(super) fn carve(&mut self, index: Index, whole: BlockSize, size: BlockSize) -> Index {
        // SAFETY: LISTED, the caller found `index` in a bin, or it is the victim.
        let is_victim = unsafe { self.take_out(index, whole) };
        match whole.remainder(size) {
            Remainder::Slack => self.use_whole(index, whole),
            // SAFETY: both parts lie in the free block, which nobody uses (CHAIN). The flag behind stays true.
            Remainder::Block(rest) => unsafe {
                self.arena.set_tag(index, Tag::used(size));
                self.make_free(index + size, rest, is_victim);
            },
        }
        index
    }

    /// How many granules of the top to leave in front of a block so that it lies at the far end, if it is to
    /// lie there: if it is broad, at most half of the arena is left in front of it, and the far end may be used.
    ///
    /// The top has room for the block.
    ///
    /// A table or a buffer that outlives its neighbours would otherwise cut what is free in two, just where
    /// the arena is not much larger than what the program needs. What is left in front becomes a free
    /// block.
    #[inline(always)]
    pub(super) fn gap_to_far_end(&self, size: BlockSize, align: usize, end: End) -> Option<BlockSize> {
        let arena = self.end.get();
        if end == End::Near || size.granules() < arena >> BROAD_SHARE_LOG2 || self.committed != self.end {
            return None;
        }
        let highest = Index::new(arena - size.granules());
        let misalignment = (self.arena.address(highest) & (align - 1)) / GRANULE;
        let gap =
            highest.get().checked_sub(self.top.get())?.checked_sub(u32::try_from(misalignment).ok()?)?;
        (gap >= BlockSize::MIN.granules() && gap <= arena / 2).then(|| BlockSize::from_granules(gap))
    }

    /// Takes `size` from the top, which the caller knows to be large enough.
    #[inline(always)]
    pub(super) fn take_from_top(&mut self, size: BlockSize) -> Index {
        let (arena, index) = (self.arena, self.top);
        // SAFETY: the span from `top` to `committed` is the heap's own (COMMITTED), and its first header belongs to the
        // block that starts there. COALESCED: the block to its left is in use.
        unsafe { arena.set_tag(index, Tag::used(size)) };
        self.top = index + size;
        prefetch(core::ptr::without_provenance(arena.address(self.top) + FETCHED_AHEAD));
        self.used_up_to = self.used_up_to.max(self.top);
        index
    }
}
