//! Taking a block at a certain position: at a multiple of more than 8, or a page. The gap in front of it
//! becomes a free block.

use super::Heap;
use super::take::End;
use crate::bins::Bin;
use crate::block::Tag;
use crate::size::{
    BlockSize, GRANULE, Index, MAX_REGION, Remainder, SlotSize, alignment_gap, worst_alignment_gap,
};

/// How many free blocks that may or may not hold an aligned block are looked at before one is taken that
/// certainly does.
const PROBES: Probes = Probes { of_each: 1, sizes: 1 };

/// How many are looked at before a request is refused.
///
/// So a request is refused though it would fit only if no free span has room for the block wherever it
/// begins, and as many free blocks of as many sizes as these, from the lower end of the bin of the block's size on, do
/// not hold it aligned. The next search goes on with those of the same sizes that were not looked at.
const LAST_PROBES: Probes = Probes { of_each: 4, sizes: 64 };

/// How many free blocks of each size to look at, and how many sizes to go through: to the next block of the same size
/// it takes a quarter of the steps that it takes to the next size.
#[derive(Clone, Copy)]
struct Probes {
    of_each: u32,
    sizes: u32,
}

/// Where a block may begin.
#[derive(Clone, Copy)]
enum Place {
    /// At a multiple of so many bytes.
    Multiple(usize),
    /// Where a page does.
    Page,
}

impl Heap {
    /// Takes a block whose payload is a multiple of `align`, more than [`GRANULE`], and that is [longer](BlockSize::at)
    /// than `size` if there is room for that: one that is free as a whole before all others.
    #[inline(never)]
    pub(super) fn take_aligned(&mut self, size: BlockSize, align: usize, end: End) -> Option<Index> {
        let better = size.at(align);
        match self.take_fitting(better, align) {
            Some(index) => Some(index),
            None => self.take_one_of(better, size, align, end),
        }
    }

    /// Takes the first free block of just that size, if it lies at a multiple of `align`: where many that are equal are
    /// allocated and freed, it does.
    #[inline(always)]
    fn take_fitting(&mut self, size: BlockSize, align: usize) -> Option<Index> {
        let index = self.free.first_of(self.arena, size)?;
        (alignment_gap(self.arena.address(index), align) == 0)
            .then(|| self.carve_behind(index, size, 0, size))
    }

    /// As [`take_aligned`](Self::take_aligned), of just that size.
    #[cfg(all(feature = "std", unix))]
    pub(super) fn take_aligned_exactly(&mut self, size: BlockSize, align: usize, end: End) -> Option<Index> {
        self.take_one_of(size, size, align, end)
    }

    /// Takes a block of the `better` size, or, where there is no room for that, of `size`. It is not the top's turn
    /// before both were looked for among the free blocks.
    fn take_one_of(&mut self, better: BlockSize, size: BlockSize, align: usize, end: End) -> Option<Index> {
        let place = Place::Multiple(align);
        let is_other = better != size;
        let free = if is_other { self.take_free_at(better, place, PROBES) } else { None };
        let free = free.or_else(|| self.take_free_at(size, place, PROBES));
        let found = free.or_else(|| if is_other { self.take_top_at(better, place, end) } else { None });
        found.or_else(|| self.take_top_at(size, place, end)).or_else(|| {
            let (index, whole, gap) = self.probe(size, place, LAST_PROBES)?;
            Some(self.carve_behind(index, whole, gap, size))
        })
    }

    /// Takes a block whose payload is a multiple of `align` from the free block at `index`, or from the top if
    /// that begins there.
    #[inline(never)]
    pub(super) fn take_out_of(
        &mut self,
        index: Index,
        size: BlockSize,
        align: usize,
        end: End,
    ) -> Option<Index> {
        let place = Place::Multiple(align.max(GRANULE));
        if index == self.top {
            return self.take_top_at(size, place, end);
        }
        // SAFETY: a free block begins there (the caller).
        let whole = unsafe { self.arena.tag(index).size() };
        let gap = self.gap_at(index, place);
        (gap + size.granules() as usize <= whole.granules() as usize)
            .then(|| self.carve_behind(index, whole, gap as u32, size))
    }

    /// Takes a block that is a page out of a free block.
    #[inline(never)]
    pub(super) fn take_page_of_free(&mut self) -> Option<Index> {
        self.take_free_at(self.pages.block(), Place::Page, PROBES)
    }

    /// Takes a block that is a page from the top.
    pub(super) fn take_page_of_top(&mut self) -> Option<Index> {
        self.take_top_at(self.pages.block(), Place::Page, End::Near)
    }

    /// The granules to skip from a position to the next place.
    fn gap_at(&self, index: Index, place: Place) -> usize {
        match place {
            Place::Multiple(align) => alignment_gap(self.arena.address(index), align),
            Place::Page => self.pages.gap(index) as usize,
        }
    }

    /// Takes a block of `size` at such a place: from the victim, from one of so many free blocks that may
    /// hold it, from one that certainly does.
    #[inline(never)]
    fn take_free_at(&mut self, size: BlockSize, place: Place, probes: Probes) -> Option<Index> {
        let needed = size.granules() as usize;
        if let Some(victim) = self.victim_holding(size) {
            let gap = self.gap_at(self.victim, place);
            if gap + needed <= victim.granules() as usize {
                return Some(self.carve_behind(self.victim, victim, gap as u32, size));
            }
        }
        if let Some((index, whole, gap)) =
            self.probe(size, place, probes).or_else(|| self.certain(needed, place))
        {
            return Some(self.carve_behind(index, whole, gap, size));
        }
        None
    }

    /// Takes a block of `size` at such a place from the top.
    fn take_top_at(&mut self, size: BlockSize, place: Place, end: End) -> Option<Index> {
        let gap = self.gap_at(self.top, place);
        let needed = gap + size.granules() as usize;
        if needed > self.committed.granules_since(self.top) as usize
            && !u32::try_from(needed).is_ok_and(|needed| self.commit(self.top, needed))
        {
            return None;
        }
        let near = (gap > 0).then(|| BlockSize::from_granules(gap as u32));
        let far = match place {
            Place::Multiple(align) => {
                self.classes.aligned_left_gaps |= align > SlotSize::LARGEST_ALIGN && gap > 0;
                self.gap_to_far_end(size, align, end)
            }
            Place::Page => None,
        };
        Some(match far.or(near) {
            Some(gap) => self.take_from_top_behind(gap, size),
            None => self.take_from_top(size),
        })
    }

    /// The smallest free block that holds so many granules wherever the place is in it, its size, and the
    /// granules to skip.
    fn certain(&self, needed: usize, place: Place) -> Option<(Index, BlockSize, u32)> {
        let worst_gap = match place {
            Place::Multiple(align) => worst_alignment_gap(align),
            Place::Page => self.pages.worst_gap() as usize,
        };
        let most = MAX_REGION / GRANULE;
        let certain = u32::try_from(needed + worst_gap).ok().filter(|&granules| granules as usize <= most)?;
        let (index, whole) = self.free.good_fit(self.arena, BlockSize::from_granules(certain))?;
        Some((index, whole, self.gap_at(index, place) as u32))
    }

    /// One of so many free blocks that holds a block of `size` at such a place, from the bin of that size on;
    /// with its size and the granules to skip in it.
    ///
    /// After the last size comes the first one again, as long as there are blocks that were not looked at. What was
    /// looked at is the last of its size then, for the next search, too.
    #[inline(never)]
    fn probe(&mut self, size: BlockSize, place: Place, probes: Probes) -> Option<(Index, BlockSize, u32)> {
        let Probes { of_each, mut sizes } = probes;
        let mut first = self.free.first_block_from(Bin::of(size))?;
        let mut are_more = false;
        loop {
            // SAFETY: LISTED.
            let whole = unsafe { self.arena.tag(first).size() };
            let (mut index, mut left) = (first, of_each);
            while left > 0 && !index.is_none() {
                let gap = self.gap_at(index, place);
                if gap + size.granules() as usize <= whole.granules() as usize {
                    // SAFETY: LISTED.
                    unsafe { self.free.begin_with(self.arena, index, whole) };
                    return Some((index, whole, gap as u32));
                }
                left -= 1;
                // SAFETY: LISTED.
                index = unsafe { self.arena.next(index) };
            }
            sizes -= 1;
            if !index.is_none() {
                are_more = true;
                // SAFETY: LISTED.
                unsafe { self.free.begin_with(self.arena, index, whole) };
                first = index;
            }
            if sizes == 0 {
                return None;
            }
            // SAFETY: LISTED, and it is the first one of its size.
            let next = unsafe { self.free.next_first_block(self.arena, first, whole) };
            let again = || {
                if core::mem::take(&mut are_more) { self.free.first_block_from(Bin::of(size)) } else { None }
            };
            first = next.or_else(again)?;
        }
    }

    /// Splits the gap off the front of a free block, then cuts a used block of `size` behind it.
    #[inline(never)]
    fn carve_behind(&mut self, index: Index, whole: BlockSize, gap: u32, size: BlockSize) -> Index {
        if gap == 0 {
            return self.carve(index, whole, size);
        }
        let gap = BlockSize::from_granules(gap);
        let aligned = index + gap;
        let behind = index + whole;
        let rest = BlockSize::from_granules(whole.granules() - gap.granules());
        // SAFETY: LISTED, the caller found `index` in a bin, or it is the victim. All parts lie in the free
        // block, which nobody uses. COALESCED, a block lies behind it.
        unsafe {
            let is_victim = self.take_out_out_of_line(index, whole);
            self.make_free_out_of_line(index, gap, false);
            match rest.remainder(size) {
                Remainder::Slack => {
                    self.arena.set_tag(aligned, Tag::used(rest).with_left_free(true));
                    self.arena.set_left_free(behind, false);
                }
                Remainder::Block(left_over) => {
                    self.arena.set_tag(aligned, Tag::used(size).with_left_free(true));
                    self.make_free_out_of_line(aligned + size, left_over, is_victim);
                }
            }
        }
        aligned
    }

    /// Leaves a free block of `gap` at the top, then takes the block behind it.
    #[inline(never)]
    pub(super) fn take_from_top_behind(&mut self, gap: BlockSize, size: BlockSize) -> Index {
        let index = self.top;
        // SAFETY: the gap is the heap's own: it is the front of the top. The block taken lies behind it.
        unsafe {
            self.make_free_out_of_line(index, gap, false);
            self.top = index + gap;
            let taken = self.take_from_top(size);
            self.arena.set_left_free(taken, true);
            taken
        }
    }
}
