//! Telling a live block from a pointer that is none, and what is wrong with the latter.

use super::Heap;
use crate::block::Tag;
#[cfg(all(feature = "std", unix))]
use crate::block::cached;
use crate::fault::{Action, Fault};
use crate::size::{BlockSize, GRANULE, HEADER, Index};

/// A block in use, and its header, as found by [`Heap::live_block`].
#[derive(Clone, Copy)]
pub(crate) struct LiveBlock {
    pub(super) index: Index,
    pub(super) tag: Tag,
}

impl Heap {
    /// The live block at `block`, or `None` if there cannot be one.
    ///
    /// Reads a header only where one can be: before the top.
    #[inline(always)]
    pub(crate) fn live_block(&self, block: *mut u8) -> Option<LiveBlock> {
        let index = self.arena.index_of(block.addr());
        if index >= self.top.get() as usize || index < Index::FIRST.get() as usize {
            return None;
        }
        let index = Index::new(index as u32);
        // SAFETY: the word lies in front of the top. It is a header (contract of the callers), or something in the middle of a
        // block that is looked at to find out.
        let tag = unsafe { self.arena.tag(index) };
        let is_sound = tag.granules() >= BlockSize::MIN.granules()
            && index.get() as u64 + u64::from(tag.granules()) <= self.top.get() as u64;
        (tag.is_live() && is_sound).then_some(LiveBlock { index, tag })
    }

    /// The header of a live block at this address that has the key of a cached one.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn tag_if_keyed(&self, block: *mut u8) -> Option<Tag> {
        // SAFETY: a live block's payload is in the arena, and of twelve bytes at least.
        let has_key = |live: &LiveBlock| unsafe { cached::has_key(self.arena.payload(live.index)) };
        self.live_block(block).filter(has_key).map(|live| live.tag)
    }

    /// The address of a block that [`live_block`](Self::live_block) found.
    pub(crate) fn address(&self, live: LiveBlock) -> usize {
        self.arena.address(live.index)
    }

    /// Whether a free block ends where the block at `index` starts, as its header says. That, and what the block behind says about
    /// this one, tells nearly every pointer into the middle of a block.
    #[inline(always)]
    pub(super) fn left_is_free(&self, index: Index) -> bool {
        if index == Index::FIRST {
            return false;
        }
        // SAFETY: another block lies in front of any but the first.
        let left = unsafe { self.arena.left_footer(index) };
        if left < BlockSize::MIN.granules() || left >= index.get() {
            return false;
        }
        // SAFETY: as in `live_block`.
        unsafe { self.arena.tag(Index::new(index.get() - left)) == Tag::free(BlockSize::from_granules(left)) }
    }

    /// What is wrong with a pointer that `live_block` did not accept.
    #[cold]
    #[inline(never)]
    pub(crate) fn fault_of(&self, block: *mut u8, action: Action) -> Fault {
        let address = block.addr();
        let (start, end) = self.bounds();
        if address < start || address >= end {
            return Fault::OutsideArena { action, address, start, end };
        }
        let offset = self.arena.offset_of(address);
        if !offset.is_multiple_of(GRANULE) {
            return Fault::Misaligned { action, address };
        }
        // In the top, the headers of what was there before are still there.
        let index = Index::new((offset / GRANULE) as u32);
        if index < Index::FIRST || index >= self.used_up_to {
            return Fault::NeverAllocated { action, address };
        }
        // SAFETY: the word lies in a part of the region that was used.
        let tag = unsafe { self.arena.tag(index) };
        if !tag.is_live() {
            let bytes = (tag.granules() as usize * GRANULE).saturating_sub(HEADER);
            return Fault::AlreadyFree { action, address, bytes };
        }
        Fault::NotABlock { action, address }
    }
}
