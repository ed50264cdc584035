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

/// Whether a header at a position has the size of a block that ends at `end` or in front of it.
#[inline(always)]
fn fits(index: Index, tag: Tag, end: Index) -> bool {
    tag.granules() >= BlockSize::MIN.granules()
        && u64::from(index.get()) + u64::from(tag.granules()) <= u64::from(end.get())
}

/// Links of a free block that lie where headers could be are so many granules from its start, at most; see `block.rs`.
const LAST_LINK: u32 = 2;

/// What the chain of headers says about a position.
#[derive(Clone, Copy, Debug)]
enum Chain {
    /// A block starts there. The one that ends there, if that is in use: its address, and the bytes of its payload.
    Starts { left: Option<(usize, usize)> },
    /// It lies in a free block, or in the top: where that starts, and the first position behind it.
    InFreeBlock { start: Index, end: Index },
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
                    _ => Fault::NotABlock { action, address, may_have_been_freed: false },
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
        let looks_freed = |end| tag.is_free() && (fits(index, tag, end) || tag.was_slot());
        let (is_already_free, may_have_been_freed) = match self.chain_at(index) {
            Chain::Starts { left } => {
                // SAFETY: a header starts there, or did.
                if !unsafe { self.is_free_block(index, tag) } {
                    return Fault::Overwritten { action, address, left };
                }
                (true, true)
            }
            // Links of that block may have come to lie where the header was.
            Chain::InFreeBlock { start, end } => {
                let is_in_links = tag.is_free() && index.granules_since(start) <= LAST_LINK;
                (is_in_links || looks_freed(end), true)
            }
            // If it was merged, what lies there now was handed out since, and may be anything.
            Chain::Elsewhere => (false, looks_freed(self.used_up_to)),
        };
        if is_already_free {
            // How large a slot was that went with its run is not known any more.
            let granules = if tag.was_slot() { 1 } else { tag.granules() };
            let bytes = (granules as usize * GRANULE).saturating_sub(HEADER);
            return Fault::AlreadyFree { action, address, bytes };
        }
        Fault::NotABlock { action, address, may_have_been_freed }
    }

    /// Whether the header at a position is one of a free block, by all that there is of such a block: its footer, and
    /// what the header behind it says.
    ///
    /// # Safety
    ///
    /// - The header lies before the top, and that is what stands there.
    unsafe fn is_free_block(&self, index: Index, tag: Tag) -> bool {
        tag.is_free() && fits(index, tag, self.top) && {
            let behind = index + tag.size();
            // A free block in front of the top would have become part of it.
            // SAFETY: there is a word for a header behind it, before the top, and one for a footer in front of that.
            behind < self.top
                && unsafe {
                    self.arena.tag(behind).is_left_free() && self.arena.left_footer(behind) == tag.granules()
                }
        }
    }

    /// What the headers in front of a position say about it. Takes time in proportion to the number of blocks.
    #[inline(always)]
    fn chain_at(&self, index: Index) -> Chain {
        let (mut left, mut start, mut at, mut is_free) = (None, Index::FIRST, Index::FIRST, true);
        while at < index && at < self.top {
            // SAFETY: CHAIN as checked up to here: a header starts there, before the top.
            let tag = unsafe { self.arena.tag(at) };
            if !fits(at, tag, self.top) {
                return Chain::Elsewhere;
            }
            is_free = tag.is_free();
            left = tag.is_live().then(|| (self.arena.address(at), tag.size().payload()));
            start = at;
            at = at + tag.size();
        }
        match () {
            // The top is a free block, too.
            () if at >= self.top && at <= index => {
                Chain::InFreeBlock { start: self.top, end: self.used_up_to }
            }
            () if at == index => Chain::Starts { left },
            () if is_free => Chain::InFreeBlock { start, end: at },
            () => Chain::Elsewhere,
        }
    }
}
