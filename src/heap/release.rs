//! Giving a block back: it is merged with its free neighbours.

use super::Heap;
use crate::block::Tag;
use crate::run::Run;
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
        unsafe { self.put_slot(run, in_page) }
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
        true
    }

    /// What lies on either side of a block in use; `None` if one of them denies that it is a block.
    ///
    /// That tells nearly every pointer into the middle of a block.
    #[inline(always)]
    pub(super) fn neighbours(&self, index: Index, tag: Tag) -> Option<Neighbours> {
        let arena = self.arena;
        let behind = index + tag.size();
        let right = if behind == self.top {
            Right::Top
        } else if behind == self.victim {
            Right::Victim
        } else {
            // SAFETY: CHAIN, a block lies behind, since neither the top nor the victim does.
            let right = unsafe { arena.tag(behind) };
            if right.is_left_free() {
                return None;
            }
            Right::Block(right)
        };
        let left = match tag.is_left_free() {
            true => Left::Free(self.free_block_before(index)?),
            false if index == self.victim_end => Left::Victim,
            false => Left::Used,
        };
        Some(Neighbours { left, right })
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
        (unsafe { self.arena.tag(index - left) } == Tag::free(left)).then_some(left)
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

    /// As [`make_free`](Self::make_free), where it need not be fast.
    ///
    /// # Safety
    ///
    /// - As for [`make_free`](Self::make_free).
    #[inline(never)]
    pub(super) unsafe fn make_free_out_of_line(&mut self, index: Index, size: BlockSize) {
        // SAFETY: the caller's contract.
        unsafe { self.make_free(index, size) }
    }

    /// Takes a free block out of its bin, where that need not be fast.
    ///
    /// # Safety
    ///
    /// - `index` is a free block of `size`.
    #[inline(never)]
    pub(super) unsafe fn take_out(&mut self, index: Index, size: BlockSize) {
        // SAFETY: LISTED.
        unsafe { self.free.remove(self.arena, index, size) }
    }

    /// As [`merge`](Self::merge), where it need not be fast.
    ///
    /// # Safety
    ///
    /// - As for [`merge`](Self::merge).
    #[inline(never)]
    pub(super) unsafe fn merge_out_of_line(&mut self, index: Index, tag: Tag, neighbours: Neighbours) {
        // SAFETY: the caller's contract.
        unsafe { self.merge(index, tag, neighbours) }
    }

    /// Merges a block with its free neighbours. The result goes into its bin, or is part of the victim or
    /// of the top.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use, `tag` its header, and nobody uses its bytes any more.
    /// - It is not counted as live.
    /// - Those are its neighbours.
    #[inline(always)]
    pub(super) unsafe fn merge(&mut self, index: Index, tag: Tag, neighbours: Neighbours) {
        let arena = self.arena;
        let behind = index + tag.size();
        // SAFETY: the header stays behind as that of a freed block, wherever it comes to lie. FLAGS and LISTED
        // for the neighbours, which are taken out of their bins; the merged block is the heap's own.
        unsafe {
            arena.set_tag(index, tag.freed());
            let start = match neighbours.left {
                Left::Used => index,
                Left::Victim => self.victim,
                Left::Free(left) => {
                    let start = index - left;
                    self.free.remove(arena, start, left);
                    start
                }
            };
            let end = match neighbours.right {
                Right::Top => {
                    if neighbours.left == Left::Victim {
                        (self.victim, self.victim_end) = (Index::NONE, Index::NONE);
                    }
                    self.top = start;
                    return;
                }
                Right::Victim => {
                    self.victim = start;
                    return;
                }
                Right::Block(right) if right.is_free() => {
                    self.free.remove(arena, behind, right.size());
                    behind + right.size()
                }
                Right::Block(right) => {
                    if neighbours.left != Left::Victim {
                        arena.set_tag(behind, right.with_left_free(true));
                    }
                    behind
                }
            };
            if neighbours.left == Left::Victim {
                if end != behind {
                    arena.set_left_free(end, false);
                }
                self.victim_end = end;
            } else {
                self.make_free(start, BlockSize::from_granules(end.granules_since(start)));
            }
        }
    }
}

/// What lies to the left of a block in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Used,
    Victim,
    Free(BlockSize),
}

/// What lies to the right of a block in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Top,
    Victim,
    Block(Tag),
}

/// What lies on either side of a block in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbours {
    pub(super) left: Left,
    pub(super) right: Right,
}
