//! Telling a live block from a pointer that is none, and what is wrong with the latter.

use super::Heap;
use crate::block::Tag;
#[cfg(all(feature = "std", unix))]
use crate::block::cached;
use crate::fault::{Action, Fault};
use crate::run::Run;
#[cfg(all(feature = "std", unix))]
use crate::size::SlotSize;
use crate::size::{BlockSize, GRANULE, HEADER, Index};

/// A block or a slot in use.
#[cfg(all(feature = "std", unix))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum InUse {
    Block(Tag),
    Slot(SlotSize),
}

impl Heap {
    /// The block in use at `block` and its header, or `None` if there cannot be one.
    ///
    /// Reads a header only where one can be: before the top. It must have been made out before that the
    /// pointer leads into no run.
    #[inline(always)]
    pub(crate) fn live_block(&self, block: *mut u8) -> Option<(Index, Tag)> {
        let index = self.arena.index_of(block.addr());
        if index >= self.top.get() as usize || index < Index::FIRST.get() as usize {
            return None;
        }
        let index = Index::new(index as u32);
        // SAFETY: the word lies in front of the top. It is a header (contract of the callers), or something
        // in the middle of a block that is looked at to find out.
        let tag = unsafe { self.arena.tag(index) };
        let is_sound = tag.granules() >= BlockSize::MIN.granules()
            && index.get() as u64 + u64::from(tag.granules()) <= self.top.get() as u64;
        (tag.is_live() && is_sound).then_some((index, tag))
    }

    /// The run that a pointer leads into, and how many granules from its start.
    #[inline(always)]
    pub(super) fn run_at(&self, block: *mut u8) -> Option<(Run, u32)> {
        self.pages.run_at(block.addr())
    }

    /// Whether a pointer is one of a block or slot in use, as far as can be told.
    pub(crate) fn is_live(&self, block: *mut u8) -> bool {
        match self.run_at(block) {
            // SAFETY: RUNS.
            Some((run, in_page)) => unsafe { run.slot_at(in_page).is_some_and(|number| run.is_used(number)) },
            None => self.live_block(block).is_some(),
        }
    }

    /// What is at this address, if it is a block or slot in use that has the key of a cached one.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn keyed(&self, block: *mut u8) -> Option<InUse> {
        let in_use = match self.run_at(block) {
            // SAFETY: RUNS.
            Some((run, _)) => self.is_live(block).then(|| InUse::Slot(unsafe { run.slot_size() })).filter(
                // A smaller slot has no room for a key, and what lies behind it is another one's.
                |in_use| matches!(in_use, InUse::Slot(slot) if slot.bytes() >= BlockSize::MIN.bytes()),
            ),
            None => self.live_block(block).map(|(_, tag)| InUse::Block(tag)),
        };
        let index = Index::new(self.arena.index_of(block.addr()) as u32);
        // SAFETY: what is in use is in the arena, and of twelve bytes at least.
        in_use.filter(|_| unsafe { cached::has_key(self.arena.payload(index)) })
    }

    /// What is wrong with a pointer that was not accepted as that of a block or slot in use.
    #[cold]
    #[inline(never)]
    pub(crate) fn fault_of(&self, block: *mut u8, action: Action) -> Fault {
        let address = block.addr();
        let (start, end) = self.bounds();
        if address < start || address >= end {
            return Fault::OutsideArena { action, address, start, end };
        }
        let offset = self.arena.offset_of(address);
        if offset % GRANULE != 0 {
            return Fault::Misaligned { action, address };
        }
        if let Some((run, in_page)) = self.run_at(block) {
            // SAFETY: RUNS.
            return unsafe {
                match run.slot_at(in_page) {
                    Some(number) if !run.is_used(number) => {
                        Fault::AlreadyFree { action, address, bytes: run.slot_size().bytes() }
                    }
                    _ => Fault::NotABlock { action, address },
                }
            };
        }
        // In the top, the headers of what was there before are still there.
        let index = Index::new((offset / GRANULE) as u32);
        if index < Index::FIRST || index >= self.used_up_to {
            return Fault::NeverAllocated { action, address };
        }
        // SAFETY: the word lies in a part of the region that was used.
        let tag = unsafe { self.arena.tag(index) };
        if tag.is_free() && self.can_be_freed(index, tag) {
            // How large a slot was that went with its run is not known any more.
            let granules = if tag.was_slot() { 1 } else { tag.granules() };
            let bytes = (granules as usize * GRANULE).saturating_sub(HEADER);
            return Fault::AlreadyFree { action, address, bytes };
        }
        match self.block_in_front_of(index) {
            Some(left) => Fault::Overwritten { action, address, left },
            None => Fault::NotABlock { action, address },
        }
    }

    /// Whether a header can be that of a block or a slot that was given back.
    fn can_be_freed(&self, index: Index, tag: Tag) -> bool {
        let fits = u64::from(index.get()) + u64::from(tag.granules()) <= u64::from(self.used_up_to.get());
        tag.was_slot() || (!tag.is_run() && tag.granules() >= BlockSize::MIN.granules() && fits)
    }

    /// Whether a block starts at a position, as the headers in front of it say; and the block that ends there, if that
    /// is in use: its address and the bytes of its payload. Takes time in proportion to the number of blocks.
    #[allow(clippy::option_option, reason = "whether there is a block, and one in front of it")]
    fn block_in_front_of(&self, index: Index) -> Option<Option<(usize, usize)>> {
        let (mut left, mut at) = (None, Index::FIRST);
        while at < index {
            // SAFETY: CHAIN as checked up to here: a header starts there, before the top.
            let tag = unsafe { self.arena.tag(at) };
            let is_sound = tag.granules() >= BlockSize::MIN.granules()
                && u64::from(at.get()) + u64::from(tag.granules()) <= u64::from(self.top.get());
            if !is_sound {
                return None;
            }
            left = tag.is_live().then(|| (self.arena.address(at), tag.size().payload()));
            at = at + tag.size();
        }
        (at == index && at < self.top).then_some(left)
    }
}
