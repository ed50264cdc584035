//! Taking a block at a certain position: at a multiple of more than 8, or a page. The gap in front of it
//! becomes a free block.

use super::Heap;
use super::take::End;
use crate::size::{BlockSize, GRANULE, Index, MAX_REGION, alignment_gap, worst_alignment_gap};

/// How many free blocks that may or may not hold an aligned block are looked at, the smallest first,
/// before one is taken that certainly does; and how many more before a request is refused.
///
/// So a request is refused though it would fit only if no free span has room for the block wherever it
/// begins, and as many free blocks as these are at least as large as the block and do not hold it aligned.
const PROBES: usize = 4;
const LAST_PROBES: usize = 6;

impl Heap {
    /// Takes a block whose payload is a multiple of `align`, more than [`GRANULE`].
    #[inline(never)]
    pub(super) fn take_aligned(&mut self, size: BlockSize, align: usize, end: End) -> Option<Index> {
        let gap_at = |heap: &Self, index| alignment_gap(heap.arena.address(index), align);
        let worst_gap = worst_alignment_gap(align);
        let top_gap = |heap: &Self, gap| heap.gap_to_far_end(size, align, end).or(gap);
        let found = self.take_at(size, gap_at, worst_gap, PROBES, top_gap);
        found.or_else(|| {
            let (index, whole, gap) = self.probe(size, gap_at, LAST_PROBES)?;
            Some(self.carve_behind(index, whole, gap, size))
        })
    }

    /// Takes a block that is a page.
    #[inline(never)]
    pub(super) fn take_page(&mut self) -> Option<Index> {
        let gap_at = |heap: &Self, index| heap.pages.gap(index) as usize;
        self.take_at(self.pages.block(), gap_at, self.pages.worst_gap() as usize, 1, |_, gap| gap)
    }

    /// Takes a block of `size` where `gap_at` says that no granules have to be skipped: from the victim, from
    /// one of the `probes` smallest free blocks that may hold it, from one that certainly does, or from the
    /// top. `worst_gap` is the most that has to be skipped, and `top_gap` may choose a wider gap in the top.
    #[inline(always)]
    fn take_at(
        &mut self,
        size: BlockSize,
        gap_at: impl Fn(&Self, Index) -> usize,
        worst_gap: usize,
        probes: usize,
        top_gap: impl FnOnce(&Self, Option<BlockSize>) -> Option<BlockSize>,
    ) -> Option<Index> {
        let needed = size.granules() as usize;
        let victim = self.victim_len();
        if victim >= size.granules() {
            let gap = gap_at(self, self.victim);
            if gap + needed <= victim as usize {
                return Some(self.carve_victim_behind(gap as u32, size));
            }
        }
        let certain = |heap: &Self| {
            let most = MAX_REGION / GRANULE;
            let certain =
                u32::try_from(needed + worst_gap).ok().filter(|&granules| granules as usize <= most)?;
            let (index, whole) = heap.free.best_fit(heap.arena, BlockSize::from_granules(certain))?;
            Some((index, whole, gap_at(heap, index) as u32))
        };
        if let Some((index, whole, gap)) = self.probe(size, &gap_at, probes).or_else(|| certain(self)) {
            return Some(self.carve_behind(index, whole, gap, size));
        }
        let gap = gap_at(self, self.top);
        if gap + needed > self.end.granules_since(self.top) as usize {
            return None;
        }
        let gap = (gap > 0).then(|| BlockSize::from_granules(gap as u32));
        Some(match top_gap(self, gap) {
            Some(gap) => self.take_from_top_behind(gap, size),
            None => self.take_from_top(size),
        })
    }

    /// The first of the so many smallest free blocks that may hold a block of `size` which does where `gap_at`
    /// says; with its size and the granules to skip in it.
    fn probe(
        &self,
        size: BlockSize,
        gap_at: impl Fn(&Self, Index) -> usize,
        probes: usize,
    ) -> Option<(Index, BlockSize, u32)> {
        self.free.at_least(self.arena, size).take(probes).find_map(|(index, whole)| {
            let gap = gap_at(self, index);
            let fits = gap + size.granules() as usize <= whole.granules() as usize;
            fits.then_some((index, whole, gap as u32))
        })
    }

    /// Splits the gap off the front of a free block, then carves the block behind it.
    #[inline(never)]
    fn carve_behind(&mut self, index: Index, whole: BlockSize, gap: u32, size: BlockSize) -> Index {
        if gap == 0 {
            return self.carve(index, whole, size);
        }
        let gap = BlockSize::from_granules(gap);
        let aligned = index + gap;
        let rest = BlockSize::from_granules(whole.granules() - gap.granules());
        // SAFETY: LISTED, the caller found `index` in a bin. Both parts lie in the free block, which nobody
        // uses. The second one is in its bin only for the moment in which `carve` takes it; its neighbour's
        // flag is set right after.
        unsafe {
            self.take_out(index, whole);
            self.make_free_out_of_line(index, gap);
            self.make_free_out_of_line(aligned, rest);
            let taken = self.carve(aligned, rest, size);
            self.arena.set_left_free(taken, true);
            taken
        }
    }

    /// Splits the gap off the front of the victim, and takes the block behind it.
    fn carve_victim_behind(&mut self, gap: u32, size: BlockSize) -> Index {
        if gap > 0 {
            let (index, gap) = (self.victim, BlockSize::from_granules(gap));
            self.victim = index + gap;
            // SAFETY: the gap is the heap's own: it was the front of the victim.
            unsafe { self.make_free_out_of_line(index, gap) };
        }
        let taken = self.take_from_victim(size);
        // SAFETY: CHAIN, the block was just taken.
        unsafe { self.arena.set_left_free(taken, gap > 0) };
        taken
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
