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
const LAST_PROBES: usize = 16;

impl Heap {
    /// Takes a block whose payload is a multiple of `align`, more than [`GRANULE`].
    #[inline(never)]
    pub(super) fn take_aligned(&mut self, size: BlockSize, align: usize, end: End) -> Option<Index> {
        let gap_at = |heap: &Self, index| alignment_gap(heap.arena.address(index), align);
        self.take_at(size, gap_at, worst_alignment_gap(align), |heap, gap| {
            heap.gap_to_far_end(size, align, end).or(gap)
        })
    }

    /// Takes a block that is a page.
    #[inline(never)]
    pub(super) fn take_page(&mut self) -> Option<Index> {
        let gap_at = |heap: &Self, index| heap.pages.gap(index) as usize;
        self.take_at(self.pages.block(), gap_at, self.pages.worst_gap() as usize, |_, gap| gap)
    }

    /// Takes a block of `size` where `gap_at` says that no granules have to be skipped: from the victim, from
    /// a small free block that just holds it, from one that certainly does, or from the top. `worst_gap` is
    /// the most that has to be skipped, and `top_gap` may choose a wider gap in the top.
    #[inline(always)]
    fn take_at(
        &mut self,
        size: BlockSize,
        gap_at: impl Fn(&Self, Index) -> usize,
        worst_gap: usize,
        top_gap: impl FnOnce(&Self, Option<BlockSize>) -> Option<BlockSize>,
    ) -> Option<Index> {
        let needed = size.granules() as usize;
        let gap_in = |heap: &Self, (index, whole): (Index, BlockSize)| {
            let gap = gap_at(heap, index);
            (gap + needed <= whole.granules() as usize).then_some((index, whole, gap as u32))
        };
        let victim = self.victim_len();
        if victim >= size.granules()
            && let Some((index, whole, gap)) = gap_in(self, (self.victim, BlockSize::from_granules(victim)))
        {
            return Some(self.carve_victim_behind(index, whole, gap, size));
        }
        let probe = |heap: &Self, probes| {
            heap.free.at_least(heap.arena, size).take(probes).find_map(|found| gap_in(heap, found))
        };
        let certain = |heap: &Self| {
            let certain =
                u32::try_from(needed + worst_gap).ok().filter(|&g| g as usize <= MAX_REGION / GRANULE)?;
            gap_in(heap, heap.free.best_fit(heap.arena, BlockSize::from_granules(certain))?)
        };
        if let Some((index, whole, gap)) = probe(self, PROBES).or_else(|| certain(self)) {
            return Some(self.carve_behind(index, whole, gap, size));
        }
        let gap = gap_at(self, self.top);
        if gap + needed <= self.end.granules_since(self.top) as usize {
            let gap = (gap > 0).then(|| BlockSize::from_granules(gap as u32));
            return Some(match top_gap(self, gap) {
                Some(gap) => self.take_from_top_behind(gap, size),
                None => self.take_from_top(size),
            });
        }
        let (index, whole, gap) = probe(self, LAST_PROBES)?;
        Some(self.carve_behind(index, whole, gap, size))
    }

    /// Splits the gap off the front of a free block, then carves the block behind it.
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
            self.free.remove(self.arena, index, whole);
            self.make_free(index, gap);
            self.make_free(aligned, rest);
            let taken = self.carve(aligned, rest, size);
            self.arena.set_left_free(taken, true);
            taken
        }
    }

    /// Splits the gap off the front of the victim, and takes the block behind it.
    fn carve_victim_behind(&mut self, index: Index, whole: BlockSize, gap: u32, size: BlockSize) -> Index {
        if gap > 0 {
            let gap = BlockSize::from_granules(gap);
            self.victim = index + gap;
            invariant!(whole > gap);
            // SAFETY: the gap is the heap's own: it was the front of the victim.
            unsafe { self.make_free(index, gap) };
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
            self.make_free(index, gap);
            self.top = index + gap;
            let taken = self.take_from_top(size);
            self.arena.set_left_free(taken, true);
            taken
        }
    }
}
