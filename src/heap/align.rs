//! Taking a block at a certain position: at a multiple of more than 8, or a page. The gap in front of it
//! becomes a free block.

use super::Heap;
use super::take::End;
use crate::bins::Bin;
use crate::block::Tag;
use crate::size::{BlockSize, GRANULE, Index, MAX_REGION, Remainder, alignment_gap, worst_alignment_gap};

/// How many free blocks that may or may not hold an aligned block are looked at before one is taken that
/// certainly does.
const PROBES: Probes = Probes { blocks: 1, sizes: 1 };

/// How many are looked at before a request is refused.
///
/// So a request is refused though it would fit only if no free span has room for the block wherever it
/// begins, and as many free blocks as these, or of as many sizes, are larger than the lower end of the bin of
/// the block's size, and do not hold it aligned.
const LAST_PROBES: Probes = Probes { blocks: 12, sizes: 4 };

/// How many free blocks to look at, and of how many sizes: the next one of the same size is found in fewer
/// steps.
#[derive(Clone, Copy)]
struct Probes {
    blocks: usize,
    sizes: usize,
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
    /// Takes a block whose payload is a multiple of `align`, more than [`GRANULE`].
    #[inline(never)]
    pub(super) fn take_aligned(&mut self, size: BlockSize, align: usize, end: End) -> Option<Index> {
        let place = Place::Multiple(align);
        let found = self.take_at(size, place, PROBES, end);
        if found.is_some() || self.has_idle_run() {
            // That is given up before a request is refused, and then it comes here again.
            return found;
        }
        let (index, whole, gap) = self.probe(size, place, LAST_PROBES)?;
        Some(self.carve_behind(index, whole, gap, size))
    }

    /// Takes a block that is a page.
    #[inline(never)]
    pub(super) fn take_page(&mut self) -> Option<Index> {
        self.take_at(self.pages.block(), Place::Page, PROBES, End::Near)
    }

    /// The granules to skip from a position to the next place.
    fn gap_at(&self, index: Index, place: Place) -> usize {
        match place {
            Place::Multiple(align) => alignment_gap(self.arena.address(index), align),
            Place::Page => self.pages.gap(index) as usize,
        }
    }

    /// Takes a block of `size` at such a place: from the victim, from one of so many free blocks that may
    /// hold it, from one that certainly does, or from the top.
    #[inline(never)]
    fn take_at(&mut self, size: BlockSize, place: Place, probes: Probes, end: End) -> Option<Index> {
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
        let gap = self.gap_at(self.top, place);
        if gap + needed > self.end.granules_since(self.top) as usize {
            return None;
        }
        let near = (gap > 0).then(|| BlockSize::from_granules(gap as u32));
        let far = match place {
            Place::Multiple(align) => self.gap_to_far_end(size, align, end),
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
    /// The next search begins with the one where this one ends, if there are several of that size.
    #[inline(never)]
    fn probe(&mut self, size: BlockSize, place: Place, probes: Probes) -> Option<(Index, BlockSize, u32)> {
        let Probes { mut blocks, mut sizes } = probes;
        let mut before = None;
        let mut index = self.free.first_block_from(Bin::of(size))?;
        loop {
            // SAFETY: LISTED.
            let whole = unsafe { self.arena.tag(index).size() };
            let gap = self.gap_at(index, place);
            let holds = gap + size.granules() as usize <= whole.granules() as usize;
            blocks -= 1;
            sizes -= usize::from(before.replace(whole) != Some(whole));
            // SAFETY: LISTED.
            unsafe {
                if holds || blocks == 0 || sizes == 0 {
                    self.free.begin_with(self.arena, index, whole);
                    return holds.then_some((index, whole, gap as u32));
                }
                index = self.free.next_block(self.arena, index, whole)?;
            }
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
            self.make_free_out_of_line(index, gap);
            match rest.remainder(size) {
                Remainder::Slack => {
                    self.arena.set_tag(aligned, Tag::used(rest).with_left_free(true));
                    self.arena.set_left_free(behind, false);
                }
                Remainder::Block(left_over) => {
                    self.arena.set_tag(aligned, Tag::used(size).with_left_free(true));
                    self.make_free(aligned + size, left_over, is_victim);
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
            self.make_free_out_of_line(index, gap);
            self.top = index + gap;
            let taken = self.take_from_top(size);
            self.arena.set_left_free(taken, true);
            taken
        }
    }
}
