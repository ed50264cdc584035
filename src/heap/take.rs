//! Taking a block: which one, and cutting it to size.

use super::Heap;
use super::quick_list::QuickLists;
use crate::bins::Bin;
use crate::block::{Tag, prefetch};
use crate::size::{BlockSize, GRANULE, Index, Remainder};

/// How many blocks of a bin that mixes sizes are looked at before a larger block is cut, once the arena is tight.
pub(super) const PROBES: usize = 4;

/// Blocks of at least this share of the arena are large beside it: 1/16.
const BROAD_SHARE_LOG2: u32 = 4;

/// How many bytes behind the top the processor is asked to fetch when a block is taken from it. A program that grows writes there
/// next, and would wait for each cache line: by this, a JSON document is built in 0.6 to 0.9 of the time where caches are cold.
const FETCHED_AHEAD: usize = 256;

/// From which end of the top a block is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The one where it can grow.
    Near,
    /// The other one, if the block is so large that it would stand in the way, wherever else it stood.
    FarIfBroad,
}

/// Blocks of at least 8 KiB are made of whole cache lines while the arena is roomy, so that blocks of the same size lie at
/// distances of whole lines from each other. Where they do not, copying from one to the next is slow (see `resize::copy`).
const WHOLE_LINES: BlockSize = BlockSize::from_granules(1024);

impl Heap {
    /// Takes a block of `size` whose payload is a multiple of `align`, and marks it as used.
    #[inline(never)]
    pub(super) fn take(&mut self, size: BlockSize, align: usize, end: End) -> Option<Index> {
        if align > GRANULE {
            return self.take_aligned(size, align, end);
        }
        if size < QuickLists::LARGE
            && let Some(index) = self.take_small_held(size)
        {
            return Some(index);
        }
        self.take_slow(size, end)
    }

    /// Takes back the block that was held last of those that are about of this size, if it is large enough. The size is less
    /// than [`QuickLists::LARGE`].
    #[inline(always)]
    pub(super) fn take_small_held(&mut self, size: BlockSize) -> Option<Index> {
        // SAFETY: HELD.
        let (index, tag) = unsafe { self.quick.pop_small(self.arena, size) }?;
        self.count_live(tag.size());
        Some(index)
    }

    /// Takes a block of `size` that is held, or else from the smallest bin that has one, or from the top. A small one is not held
    /// (see [`take_small_held`](Self::take_small_held)).
    #[inline(never)]
    pub(super) fn take_slow(&mut self, size: BlockSize, end: End) -> Option<Index> {
        let exact = size;
        let mut size = size;
        let mut fitting = Bin::exact(size);
        if size >= Bin::MIXED {
            if size >= WHOLE_LINES && !self.is_tight() {
                size = size.whole_lines();
            }
            fitting = Bin::fitting(size);
            if let Some(index) = self.take_held(size, fitting) {
                return Some(index);
            }
        }
        self.evict_excess();
        if size >= Bin::MIXED
            && let Some(index) = self.tight_fit(size)
        {
            return Some(self.carve(index, size));
        }
        if let Some(bin) = self.lists.first_from(fitting) {
            // SAFETY: LISTED, and the map says that the bin has a block.
            let index = unsafe { self.lists.pop(self.arena, bin) };
            return Some(self.cut(index, size));
        }
        if !self.fits_top(size) {
            size = exact;
        }
        if self.fits_top(size) {
            return Some(match self.gap_to_far_end(size, GRANULE, end) {
                Some(gap) => self.take_from_top_behind(gap, size),
                None => self.take_from_top(size),
            });
        }
        self.last_search(size, end)
    }

    /// Takes a free block of exactly this size, if its bin keeps one size only.
    #[cfg(all(feature = "std", unix))]
    pub(super) fn take_exact(&mut self, size: BlockSize) -> Option<Index> {
        let bin = Bin::exact(size);
        if size >= Bin::MIXED || self.lists.head(bin).is_none() {
            return None;
        }
        // SAFETY: LISTED, and the list has a block.
        let index = unsafe { self.lists.pop(self.arena, bin) };
        Some(self.cut(index, size))
    }

    /// Takes up to `count` blocks of `size` that lie end to end, and returns the first one and how many there are: all of them from one free
    /// block, or a quarter of them from one, or all from the top. None, and nothing is done, if there is no such span, or the
    /// arena is tight: then memory is to be found block by block.
    #[cfg(all(feature = "std", unix))]
    pub(super) fn take_run(&mut self, size: BlockSize, count: u32) -> Option<(Index, u32)> {
        self.evict_excess();
        if count == 0 || self.is_tight() {
            return None;
        }
        let total = |count: u32| BlockSize::from_granules(size.granules() * count);
        let hole = |count: u32| Some((self.lists.first_from(Bin::fitting(total(count)))?, count));
        let (first, count) = if let Some((bin, count)) = hole(count).or_else(|| hole(count.div_ceil(4))) {
            // SAFETY: LISTED, and the map says that the bin has a block.
            let index = unsafe { self.lists.pop(self.arena, bin) };
            (self.cut(index, total(count)), count)
        } else if self.fits_top(total(count)) {
            (self.take_from_top(total(count)), count)
        } else {
            return None;
        };
        // SAFETY: CHAIN, a block of at least that size was just taken, and is cut into blocks that fill it. Each one's left neighbour is in
        // use: COALESCED for the first one.
        unsafe {
            let whole = self.arena.tag(first).size();
            let mut index = first;
            for _ in 1..count {
                self.arena.set_tag(index, Tag::used(size));
                index = index + size;
            }
            let rest = whole.granules() - size.granules() * (count - 1);
            self.arena.set_tag(index, Tag::used(BlockSize::from_granules(rest)));
        }
        Some((first, count))
    }

    /// Takes back a held block from one of two bins: the one that mixes sizes below and above `size`, if the first block is
    /// large enough, or the next one. It is larger than `size` by an eighth at most.
    #[inline(always)]
    fn take_held(&mut self, size: BlockSize, fitting: Bin) -> Option<Index> {
        // SAFETY: HELD.
        let (index, tag) = unsafe {
            let held = self.quick.pop(self.arena, Bin::of(size), size);
            held.or_else(|| self.quick.pop(self.arena, fitting, size))?
        };
        self.count_live(tag.size());
        Some(index)
    }

    /// Whether the top has room for a block of `size`.
    #[inline(always)]
    pub(super) fn fits_top(&self, size: BlockSize) -> bool {
        self.end.granules_since(self.top) >= size.granules()
    }

    /// A block of the bin that mixes sizes below and above `size`: the first one, if it fits, while the arena is roomy, and the
    /// best of the first few, once it is tight.
    #[inline(always)]
    fn tight_fit(&self, size: BlockSize) -> Option<Index> {
        let own = Bin::of(size);
        let first = self.lists.head(own);
        if first.is_none() {
            return None;
        }
        if self.is_tight() {
            return self.best_in_bin(own, size, PROBES);
        }
        // SAFETY: LISTED.
        (unsafe { self.arena.tag(first) }.size() >= size).then_some(first)
    }

    /// The last search before a refusal: what is held back is merged, then every block of the one bin that mixes sizes below
    /// and above `size` is looked at.
    ///
    /// Bounds: what may be held (see [`refresh_hold_limit`](Self::refresh_hold_limit)); and each block of that bin has at least 15/16 of `size`, so
    /// there are at most `arena / size` of them.
    #[cold]
    fn last_search(&mut self, size: BlockSize, end: End) -> Option<Index> {
        if self.release_held() {
            return self.take(size, GRANULE, end);
        }
        let index = self.best_in_bin(Bin::of(size), size, usize::MAX)?;
        Some(self.carve(index, size))
    }

    /// The smallest block that holds `size` among the first `probes` of a bin.
    #[inline(never)]
    fn best_in_bin(&self, bin: Bin, size: BlockSize, probes: usize) -> Option<Index> {
        let mut best: Option<(BlockSize, Index)> = None;
        for (index, found) in self.lists.iter(self.arena, bin).take(probes) {
            if found >= size && best.is_none_or(|(smallest, _)| found < smallest) {
                best = Some((found, index));
                if found == size {
                    break;
                }
            }
        }
        best.map(|(_, index)| index)
    }

    /// Takes the free block at `index` off its list and cuts a used block of `size` from its front.
    pub(super) fn carve(&mut self, index: Index, size: BlockSize) -> Index {
        // SAFETY: LISTED, the caller found `index` on a list.
        unsafe { self.lists.remove(self.arena, index, self.arena.tag(index).size()) };
        self.cut(index, size)
    }

    /// Cuts a used block of `size` from the front of a free block that was just taken off its list.
    #[inline(always)]
    fn cut(&mut self, index: Index, size: BlockSize) -> Index {
        // SAFETY: CHAIN, `index` is a block.
        let whole = unsafe { self.arena.tag(index).size() };
        let behind = index + whole;
        match whole.remainder(size) {
            Remainder::Slack => {
                // SAFETY: CHAIN; COALESCED, so that a block and not the top lies behind a free block.
                unsafe {
                    self.arena.set_tag(index, Tag::used(whole));
                    self.arena.set_left_free(behind, false);
                }
                self.count_taken(whole);
            }
            Remainder::Block(rest) => {
                let cut = index + size;
                // SAFETY: both parts lie in the free block, which nobody uses (CHAIN). The flag behind stays true.
                unsafe {
                    self.arena.set_tag(index, Tag::used(size));
                    self.arena.set_free(cut, rest);
                    self.lists.insert(self.arena, cut, rest);
                }
                self.count_taken(size);
            }
        }
        self.note_large_span(whole);
        index
    }

    /// How many granules of the top to leave in front of a block so that it lies at the far end, if it is to lie there: if it is
    /// broad, and at most half of the arena is left in front of it.
    ///
    /// The top has room for the block.
    ///
    /// A table or a buffer that outlives its neighbours would otherwise cut what is free in two, just where the arena is not much
    /// larger than what the program needs. What is left in front becomes a free block.
    #[inline(always)]
    pub(super) fn gap_to_far_end(&self, size: BlockSize, align: usize, end: End) -> Option<BlockSize> {
        let arena = self.end.get();
        if end == End::Near || size.granules() < arena >> BROAD_SHARE_LOG2 {
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
        let index = self.top;
        // SAFETY: the span from `top` to `end` is the heap's own, and its first header belongs to the block that starts
        // there. COALESCED: the block to its left is in use.
        unsafe { self.arena.set_tag(index, Tag::used(size)) };
        self.top = index + size;
        prefetch(core::ptr::without_provenance(self.arena.address(self.top) + FETCHED_AHEAD));
        self.used_up_to = self.used_up_to.max(self.top);
        self.count_taken(size);
        self.note_smaller_top();
        index
    }
}
