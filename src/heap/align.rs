//! Taking a block whose payload is a multiple of more than 8: the gap in front of it becomes a free block.

use super::Heap;
use super::take::{End, PROBES};
use crate::bins::Bin;
use crate::size::{BlockSize, GRANULE, Index, MAX_REGION, alignment_gap, worst_alignment_gap};

impl Heap {
    /// Takes a block whose payload is a multiple of `align`, more than [`GRANULE`]. The gap in front becomes a free block.
    #[inline(never)]
    pub(super) fn take_aligned(&mut self, size: BlockSize, align: usize, end: End) -> Option<Index> {
        let (own, fitting) = (Bin::of(size), Bin::fitting(size));
        // SAFETY: HELD.
        let held = unsafe {
            let held = self.quick.pop_aligned(self.arena, own, size, align);
            held.or_else(|| self.quick.pop_aligned(self.arena, fitting, size, align))
        };
        if let Some((index, tag)) = held {
            self.count_live(tag.size());
            return Some(index);
        }
        let certain = size.granules() as usize + worst_alignment_gap(align);
        let roomy = u32::try_from(certain)
            .ok()
            .map(BlockSize::from_granules)
            .filter(|roomy| roomy.granules() as usize <= MAX_REGION / GRANULE);
        // A block that was freed at this alignment before is found at once; then one where any position will do.
        let tight =
            || self.probe(own, PROBES, size, align).or_else(|| self.probe(fitting, PROBES, size, align));
        let roomy = || self.probe(self.lists.first_from(Bin::fitting(roomy?))?, 1, size, align);
        if let Some((index, gap)) = tight().or_else(roomy) {
            return Some(self.carve_aligned(index, gap, size));
        }
        if let Some(gap) = self.gap_in_top(size, align) {
            let near = (gap > 0).then(|| BlockSize::from_granules(gap));
            return Some(match self.gap_to_far_end(size, align, end).or(near) {
                Some(gap) => self.take_from_top_behind(gap, size),
                None => self.take_from_top(size),
            });
        }
        if self.release_held() {
            return self.take_aligned(size, align, end);
        }
        // The last search before a refusal. Bound: the number of free blocks.
        let start = self.lists.first_from(own)?;
        let mut bins = core::iter::successors(Some(start), |&bin| self.lists.first_above(bin));
        let (index, gap) = bins.find_map(|bin| self.probe(bin, usize::MAX, size, align))?;
        Some(self.carve_aligned(index, gap, size))
    }

    /// The first of the first `probes` blocks of a bin that holds an aligned block of `size`, and the granules to skip in it.
    #[inline(never)]
    fn probe(&self, bin: Bin, probes: usize, size: BlockSize, align: usize) -> Option<(Index, u32)> {
        let mut blocks = self.lists.iter(self.arena, bin).take(probes);
        blocks.find_map(|(index, found)| Some((index, self.gap_in(index, found, size, align)?)))
    }

    /// The granules to skip in a free block so that an aligned block of `size` still fits.
    fn gap_in(&self, index: Index, whole: BlockSize, size: BlockSize, align: usize) -> Option<u32> {
        let gap = alignment_gap(self.arena.address(index), align);
        (gap + size.granules() as usize <= whole.granules() as usize).then_some(gap as u32)
    }

    /// The granules to skip at the top so that an aligned block of `size` still fits.
    fn gap_in_top(&self, size: BlockSize, align: usize) -> Option<u32> {
        let gap = alignment_gap(self.arena.address(self.top), align);
        let room = self.end.granules_since(self.top) as usize;
        (gap + size.granules() as usize <= room).then_some(gap as u32)
    }

    /// Splits the gap off the front of a free block, then carves the block behind it.
    fn carve_aligned(&mut self, index: Index, gap: u32, size: BlockSize) -> Index {
        if gap == 0 {
            return self.carve(index, size);
        }
        let gap = BlockSize::from_granules(gap);
        // SAFETY: LISTED, the caller found `index` on a list.
        let whole = unsafe { self.arena.tag(index).size() };
        let aligned = index + gap;
        let rest = BlockSize::from_granules(whole.granules() - gap.granules());
        // SAFETY: both parts lie in the free block, which nobody uses. The second one is on its list only for the moment
        // in which `carve` takes it; its neighbour's flag is set right after.
        unsafe {
            self.unlist(index, whole);
            self.make_free(index, gap);
            self.make_free(aligned, rest);
            let taken = self.carve(aligned, size);
            self.arena.set_left_free(taken, true);
            self.refresh_hold_limit();
            taken
        }
    }

    /// Leaves a free block of `gap` at the top, then takes the block behind it.
    #[inline(never)]
    pub(super) fn take_from_top_behind(&mut self, gap: BlockSize, size: BlockSize) -> Index {
        let index = self.top;
        // SAFETY: the gap is the heap's own: it is the front of the top. The block taken lies behind it.
        unsafe {
            self.make_free(index, gap);
            self.top = index + gap;
            let taken = self.take_from_top(size);
            self.arena.set_left_free(taken, true);
            taken
        }
    }
}
