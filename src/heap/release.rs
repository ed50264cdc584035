//! Giving a block back: it is merged with its free neighbours.

use super::Heap;
use crate::block::Tag;
use crate::size::{BlockSize, Index};

/// What came of a release, as far as slots go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// It was a slot, and is free now.
    Slot,
    /// The pointer leads into no run: it may be that of a block.
    NoSlot,
    /// The pointer leads into a run, but not to a slot in use.
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
        let Some((run, in_page)) = self.run_at(block) else { return Released::NoSlot };
        // SAFETY: RUNS; the caller's contract.
        if unsafe { self.put_slot(run, in_page) } { Released::Slot } else { Released::Rejected }
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
        let behind = index + tag.size();
        // SAFETY: CHAIN, a block lies behind unless the top or the victim does.
        let is_denied =
            behind != self.top && behind != self.victim && unsafe { self.arena.tag(behind) }.is_left_free();
        if is_denied || tag.is_left_free() && !self.left_is_free(index) {
            return false;
        }
        self.count_block_gone(tag.size());
        // SAFETY: the caller's contract.
        unsafe { self.coalesce(index, tag) };
        true
    }

    /// Makes a free block whose neighbours are in use, and puts it into its bin. The flag behind it is left to the
    /// caller.
    ///
    /// # Safety
    ///
    /// - The block of `size` at `index` is in the arena, and no byte of it is handed out.
    #[inline(always)]
    pub(super) unsafe fn make_free(&mut self, index: Index, size: BlockSize) {
        // SAFETY: the caller's contract; LISTED.
        unsafe {
            self.arena.set_free(index, size);
            self.free.insert(self.arena, index, size);
        }
    }

    /// Merges a block with its free neighbours. The result goes into its bin, or is part of the victim or
    /// of the top.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use, `tag` its header, and nobody uses its bytes any more.
    /// - It is not counted as live.
    #[inline(always)]
    pub(super) unsafe fn coalesce(&mut self, index: Index, tag: Tag) {
        let behind = index + tag.size();
        let mut start = index;
        let mut is_victim = false;
        // SAFETY: the header stays behind as that of a freed block, wherever it comes to lie. FLAGS and LISTED,
        // the left neighbour is free if the tag says so, and its footer tells its size; it is taken out of its
        // bin.
        unsafe {
            self.arena.set_tag(index, tag.freed());
            if tag.is_left_free() {
                let left_size = self.arena.left_size(index);
                start = index - left_size;
                self.free.remove(self.arena, start, left_size);
            } else if index == self.victim_end {
                start = self.victim;
                is_victim = true;
            }
        }
        if behind == self.top {
            self.top = start;
            if is_victim {
                (self.victim, self.victim_end) = (Index::NONE, Index::NONE);
            }
            return;
        }
        let mut end = behind;
        // SAFETY: CHAIN, a block lies behind, since neither the top nor the victim does; LISTED, if it is
        // free; the merged block is the heap's own.
        unsafe {
            if behind == self.victim {
                end = self.victim_end;
                is_victim = true;
            } else {
                let right = self.arena.tag(behind);
                if right.is_free() {
                    self.free.remove(self.arena, behind, right.size());
                    end = behind + right.size();
                    if is_victim {
                        self.arena.set_left_free(end, false);
                    }
                } else if !is_victim {
                    self.arena.set_tag(behind, right.with_left_free(true));
                }
            }
            if is_victim {
                (self.victim, self.victim_end) = (start, end);
            } else {
                self.make_free(start, BlockSize::from_granules(end.granules_since(start)));
            }
        }
    }
}
