//! Giving a block back: it is merged with its free neighbours.

use super::Heap;
use crate::block::Tag;
use crate::run::{HEAP, LeadsInto, Run};
use crate::size::{BlockSize, Index};

/// What came of a release, as far as slots go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// It was a slot, and is free now.
    Slot,
    /// It was a slot, and is free now. What is to become of its run is to be [settled](Heap::settle).
    SlotOf(Run),
    /// The pointer leads into no run: it may be that of a block.
    NoSlot,
    /// The pointer leads into a run, but not to a slot in use; or [the run is not the heap's](Heap::release_left_slot).
    Rejected,
}

impl Heap {
    /// The part of [`dealloc`](Self::dealloc) that is worth a place in the caller: slots.
    ///
    /// # Safety
    ///
    /// - As for [`dealloc`](Self::dealloc).
    #[inline(always)]
    pub(crate) unsafe fn release_slot(&mut self, block: *mut u8) -> Released {
        match self.pages.at(block.addr()) {
            LeadsInto::NoRun => Released::NoSlot,
            // SAFETY: RUNS; the caller's contract.
            LeadsInto::Run { owner: HEAP, run, in_page } => unsafe { self.put_slot(run, in_page) },
            LeadsInto::Run { .. } => Released::Rejected,
        }
    }

    /// The rest of [`dealloc`](Self::dealloc), for a pointer that leads into no run. False, and nothing is
    /// done, if it cannot be that of a block in use.
    ///
    /// # Safety
    ///
    /// - As for [`dealloc`](Self::dealloc).
    #[inline(always)]
    pub(crate) unsafe fn release_block(&mut self, block: *mut u8) -> bool {
        let Some((index, tag)) = self.live_block(block) else { return false };
        let Some(neighbours) = self.neighbours(index, tag) else { return false };
        self.count_block_gone(tag.size());
        // SAFETY: the caller's contract.
        unsafe { self.merge(index, tag, neighbours) };
        if self.is_idle() {
            self.begin_anew();
        }
        true
    }

    /// What lies on either side of a block in use; `None` if one of them denies that it is a block.
    ///
    /// That tells nearly every pointer into the middle of a block.
    #[inline(always)]
    pub(super) fn neighbours(&self, index: Index, tag: Tag) -> Option<Neighbours> {
        let behind = index + tag.size();
        let right = if behind == self.top {
            None
        } else {
            // SAFETY: CHAIN, a block lies behind, since the top does not.
            Some(unsafe { self.right_neighbour(behind) }?)
        };
        let left = if tag.is_left_free() { Some(self.free_block_before(index)?) } else { None };
        Some(Neighbours { left, right })
    }

    /// The header of the block behind one in use; `None` if it denies that one lies in front of it, or is no header, as
    /// after a write past the end of the one in front.
    ///
    /// # Safety
    ///
    /// - A block starts there.
    #[inline(always)]
    pub(super) unsafe fn right_neighbour(&self, index: Index) -> Option<Tag> {
        // SAFETY: the caller's contract.
        unsafe {
            let tag = self.arena.tag(index);
            (!tag.is_left_free() && self.is_sound(index, tag)).then_some(tag)
        }
    }

    /// The size of the free block that ends where the block at `index` starts, as that block's header says;
    /// `None` if there is no such block.
    #[inline(always)]
    fn free_block_before(&self, index: Index) -> Option<BlockSize> {
        if index == Index::FIRST {
            return None;
        }
        // SAFETY: another block lies in front of any but the first.
        let left = unsafe { self.arena.left_footer(index) };
        if left < BlockSize::MIN.granules() || left >= index.get() {
            return None;
        }
        let left = BlockSize::from_granules(left);
        // SAFETY: the word lies between the first block and this one; it is looked at to find out.
        unsafe { self.arena.tag(index - left) }.is_of_free(left).then_some(left)
    }

    /// Makes a free block whose neighbours are in use, and puts it into its bin, or makes it the victim. The
    /// flag behind it is left to the caller.
    ///
    /// # Safety
    ///
    /// - The block of `size` at `index` is in the arena, and no byte of it is handed out.
    /// - If it is to be the victim, there is none.
    #[inline(always)]
    pub(super) unsafe fn make_free(&mut self, index: Index, size: BlockSize, is_victim: bool) {
        let arena = self.arena;
        // SAFETY: the caller's contract; LISTED.
        unsafe {
            arena.set_free(index, size);
            if is_victim {
                self.victim = index;
            } else {
                self.free.insert(arena, index, size);
            }
        }
    }

    /// As [`make_free`](Self::make_free), where it need not be fast.
    ///
    /// # Safety
    ///
    /// - As for [`make_free`](Self::make_free).
    #[inline(never)]
    pub(super) unsafe fn make_free_out_of_line(&mut self, index: Index, size: BlockSize, is_victim: bool) {
        // SAFETY: the caller's contract.
        unsafe { self.make_free(index, size, is_victim) }
    }

    /// Takes a free block out of its bin, or makes it no longer the victim; returns whether it was that.
    ///
    /// # Safety
    ///
    /// - `index` is a free block of `size`.
    #[inline(always)]
    pub(super) unsafe fn take_out(&mut self, index: Index, size: BlockSize) -> bool {
        let was_victim = index == self.victim;
        if was_victim {
            self.victim = Index::NONE;
        } else {
            // SAFETY: LISTED.
            unsafe { self.free.remove(self.arena, index, size) }
        }
        was_victim
    }

    /// As [`take_out`](Self::take_out), where it need not be fast.
    ///
    /// # Safety
    ///
    /// - As for [`take_out`](Self::take_out).
    #[inline(never)]
    pub(super) unsafe fn take_out_out_of_line(&mut self, index: Index, size: BlockSize) -> bool {
        // SAFETY: the caller's contract.
        unsafe { self.take_out(index, size) }
    }

    /// [Merges](Self::merge) a block with its free neighbours, where that need not be fast. Returns where the result
    /// begins; `None`, and nothing is done, if one of the neighbours denies that it is a block.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use, `tag` its header, and nobody uses its bytes any more.
    /// - It is not counted as live.
    #[inline(never)]
    pub(super) unsafe fn merge_out_of_line(&mut self, index: Index, tag: Tag) -> Option<Index> {
        let neighbours = self.neighbours(index, tag)?;
        // SAFETY: the caller's contract.
        Some(unsafe { self.merge(index, tag, neighbours) })
    }

    /// Merges a block with its free neighbours. The result goes into its bin, or is the victim if one of them
    /// was, or is part of the top. Returns where it begins.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use, `tag` its header, and nobody uses its bytes any more.
    /// - It is not counted as live.
    /// - Those are its neighbours.
    #[inline(always)]
    pub(super) unsafe fn merge(&mut self, index: Index, tag: Tag, neighbours: Neighbours) -> Index {
        let arena = self.arena;
        let (mut start, mut end) = (index, index + tag.size());
        let mut with_victim = false;
        // SAFETY: the header stays behind as that of a freed block, wherever it comes to lie. FLAGS and
        // LISTED for the neighbours, which are taken out of their bins; the merged block is the
        // heap's own.
        unsafe {
            if let Some(left) = neighbours.left {
                arena.set_tag(index, tag.freed());
                start = index - left;
                with_victim = self.take_out(start, left);
            }
            match neighbours.right {
                None => {
                    arena.set_tag(index, tag.freed());
                    self.top = start;
                    return start;
                }
                Some(right) if right.is_free() => {
                    with_victim |= self.take_out(end, right.size());
                    end = end + right.size();
                }
                Some(right) => arena.set_tag(end, right.with_left_free(true)),
            }
            let whole = BlockSize::from_granules(end.granules_since(start));
            self.make_free(start, whole, with_victim);
        }
        start
    }
}

/// What lies on either side of a block in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbours {
    /// The size of a free block in front.
    left: Option<BlockSize>,
    /// The header behind, unless the top lies there.
    right: Option<Tag>,
}

impl Neighbours {
    /// Granules of the free block in front, if there is one.
    pub(super) fn free_in_front(&self) -> u32 {
        self.left.map_or(0, BlockSize::granules)
    }

    /// Granules of the free block behind, if there is one.
    pub(super) fn free_behind(&self) -> u32 {
        self.right.filter(|tag| tag.is_free()).map_or(0, |tag| tag.size().granules())
    }
}
