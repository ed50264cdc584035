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

/// Whether a header at a position in front of `end` has the size of a block that ends there or before.
#[inline(always)]
fn fits(index: Index, tag: Tag, end: Index) -> bool {
    tag.granules() >= BlockSize::MIN.granules() && tag.granules() <= end.granules_since(index)
}

/// What the chain of headers says about a position.
#[derive(Clone, Copy, Debug)]
enum Chain {
    /// A block starts there. The one that ends there, if that is in use: its address, and the bytes of its payload.
    Starts { left: Option<(usize, usize)> },
    /// It lies in a free block, or in the top.
    InFreeBlock,
    /// It lies in a block in use, or a header in front of it is none any more.
    Elsewhere,
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
        (tag.is_live() && fits(index, tag, self.top)).then_some((index, tag))
    }

    /// The run that a pointer leads into, and how many granules from its start.
    #[inline(always)]
    pub(super) fn run_at(&self, block: *mut u8) -> Option<(Run, u32)> {
        self.pages.run_at(block.addr())
    }

    /// Whether a pointer leads to where blocks and slots of this heap are.
    #[inline(always)]
    pub(crate) fn reaches(&self, block: *mut u8) -> bool {
        (Index::FIRST.get() as usize..self.top.get() as usize).contains(&self.arena.index_of(block.addr()))
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
        // SAFETY: RUNS.
        let slot = self.run_at(block).map(|(run, _)| unsafe { run.slot_size() });
        // A smaller slot has no room for a key, and what lies behind it is another one's.
        if slot.is_some_and(|slot| slot.bytes() < BlockSize::MIN.bytes()) {
            return None;
        }
        // What is in use has hardly ever a key, so that this is looked at before all else.
        let index = self.arena.index_of(block.addr());
        let smallest_ends = index.saturating_add(BlockSize::MIN.granules() as usize);
        if index < Index::FIRST.get() as usize || smallest_ends > self.top.get() as usize {
            return None;
        }
        // SAFETY: the smallest block has room for a key, and would lie between the first one and the top.
        if !unsafe { cached::has_key(self.arena.payload(Index::new(index as u32))) } {
            return None;
        }
        match slot {
            Some(slot) => self.is_live(block).then_some(InUse::Slot(slot)),
            None => self.live_block(block).map(|(_, tag)| InUse::Block(tag)),
        }
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
                    // There may have been one of a run that was there before.
                    _ => {
                        Fault::NotABlock { action, address, may_have_been_freed: !run.is_opened_at(in_page) }
                    }
                }
            };
        }
        if self.pages.is_in_map(address) {
            return Fault::NotABlock { action, address, may_have_been_freed: false };
        }
        // In the top, the headers of what was there before are still there.
        let index = Index::new((offset / GRANULE) as u32);
        if index < Index::FIRST || index >= self.used_up_to {
            return Fault::NeverAllocated { action, address };
        }
        // SAFETY: the word lies in a part of the region that was used.
        let tag = unsafe { self.arena.tag(index) };
        match self.chain_at(index) {
            // SAFETY: a header starts there, before the top, or did.
            Chain::Starts { left } if !(tag.is_free() && unsafe { self.is_sound(index, tag) }) => {
                Fault::Overwritten { action, address, left, or_behind: self.is_denied_behind(block) }
            }
            // (In a free block, its links may have come to lie there.)
            Chain::Starts { .. } | Chain::InFreeBlock if tag.is_free() => {
                // How large a slot was that went with its run is not known any more.
                let granules = if tag.was_slot() { 1 } else { tag.granules() };
                let bytes = (granules as usize * GRANULE).saturating_sub(HEADER);
                Fault::AlreadyFree { action, address, bytes }
            }
            // It may have been a slot of a run that has become part of the top with all others: then what stands in
            // front of it was another's.
            Chain::InFreeBlock if index >= self.top => {
                Fault::AlreadyFree { action, address, bytes: GRANULE - HEADER }
            }
            // If it was merged, what lies there now was handed out since, and may be anything.
            _ => Fault::NotABlock { action, address, may_have_been_freed: tag.is_free() },
        }
    }

    /// Whether what may be a block in use is denied to be one by what lies behind it.
    fn is_denied_behind(&self, block: *mut u8) -> bool {
        self.live_block(block).is_some_and(|(index, tag)| {
            let behind = index + tag.size();
            // SAFETY: it ends at the top or before that; what stands there is looked at to find out.
            behind != self.top && unsafe { self.right_neighbour(behind) }.is_none()
        })
    }

    /// Whether what stands at a position can be the header of a block: by its size, and by its footer if it is that of
    /// a free one.
    ///
    /// # Safety
    ///
    /// - The position lies before the top, and that is what stands there.
    #[inline(always)]
    pub(super) unsafe fn is_sound(&self, index: Index, tag: Tag) -> bool {
        // SAFETY: the block ends at the top or before that, where there is a word in front for a footer.
        fits(index, tag, self.top)
            && (!tag.is_free() || unsafe { self.arena.left_footer(index + tag.size()) } == tag.granules())
    }

    /// What the headers in front of a position say about it. Takes time in proportion to the number of blocks.
    #[inline(always)]
    fn chain_at(&self, index: Index) -> Chain {
        let (mut left, mut at, mut is_free) = (None, Index::FIRST, true);
        while at < index && at < self.top {
            // SAFETY: CHAIN as checked up to here: a header starts there, before the top.
            let tag = unsafe { self.arena.tag(at) };
            if !fits(at, tag, self.top) {
                return Chain::Elsewhere;
            }
            is_free = tag.is_free();
            left = tag.is_live().then(|| (self.arena.address(at), tag.size().payload()));
            at = at + tag.size();
        }
        match () {
            // The top is a free block, too.
            () if at >= self.top && at <= index => Chain::InFreeBlock,
            () if at == index => Chain::Starts { left },
            () if is_free => Chain::InFreeBlock,
            () => Chain::Elsewhere,
        }
    }
}
