//! Where cached blocks can lie, and what class a block or slot at an address is of.

use super::class::Class;
use crate::block::{Arena, cached};
use crate::heap::Heap;
use crate::run::{LeadsInto, Owner, Pages, Run};
use crate::size::Index;
use core::ptr::NonNull;

/// The part of an arena in which cached blocks can lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    arena: Arena,
    pages: Pages,
    /// How many positions there are, from the first one on.
    positions: usize,
}

impl Place {
    /// No position at all; all zero bytes.
    pub(super) const fn nowhere() -> Self {
        Self { arena: Arena::empty(), pages: Pages::none(), positions: 0 }
    }

    /// That of a heap.
    pub(super) fn of(heap: &mut Heap) -> Self {
        let (arena, end, pages) = heap.place();
        Self { arena, pages, positions: end.granules_since(Index::FIRST) as usize }
    }

    /// The slot that a pointer leads to, in use or not, if it is one.
    #[inline(always)]
    pub(super) fn find_slot(&self, block: *mut u8) -> Option<Found> {
        match self.pages.at(block.addr()) {
            // SAFETY: what the map says is a run is one.
            LeadsInto::Run { owner, run, in_page } => unsafe {
                Found::slot(owner, run, in_page, block.addr())
            },
            LeadsInto::NoRun => None,
        }
    }

    /// What may be a block or a slot that is small enough for a cache, in one or not.
    #[inline(always)]
    pub(super) fn find(&self, block: *mut u8) -> Option<Found> {
        if let LeadsInto::Run { owner, run, in_page } = self.pages.at(block.addr()) {
            // SAFETY: what the map says is a run is one.
            return unsafe { Found::slot(owner, run, in_page, block.addr()) };
        }
        let granule = self.arena.index_of(block.addr());
        let position = granule.wrapping_sub(Index::FIRST.get() as usize);
        if position >= self.positions {
            return None;
        }
        let index = Index::new(granule as u32);
        // SAFETY: the word before a position of the place is in the arena, aligned to 4, and never handed out if it
        // is a header; it is looked at to find out.
        let tag = unsafe { self.arena.tag(index) };
        let class = Class::of(tag).filter(|_| tag.granules() as usize <= self.positions - position)?;
        // SAFETY: as above.
        Some(Found::Block(class, unsafe { self.arena.payload(index) }))
    }
}

/// What was found at an address.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// A slot of a run, by its number, in use or not, and whose the run was.
    Slot { owner: Owner, run: Run, number: u32, slot: NonNull<u8> },
    /// What may be a block, of a class.
    Block(Class, NonNull<u8>),
}

impl Found {
    /// The slot that begins at an address, so many granules from the start of a run, if one does.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    unsafe fn slot(owner: Owner, run: Run, in_page: u32, address: usize) -> Option<Self> {
        // SAFETY: the caller's contract; where a slot begins is in the page.
        unsafe {
            let number = run.slot_at(in_page)?;
            Some(Self::Slot { owner, run, number, slot: run.payload_at(address) })
        }
    }

    /// The class, and the payload, of what is no free slot and has no key of a cached block.
    #[inline(always)]
    pub(super) fn unless_cached(self) -> Option<(Class, NonNull<u8>)> {
        // SAFETY: a block or a slot of a class is long enough for a key.
        self.unless_free()
            .filter(|&(class, block)| class == Class::NONE || !unsafe { cached::has_key(block) })
    }

    /// The class, and the payload, of what is no free slot.
    #[inline(always)]
    pub(super) fn unless_free(self) -> Option<(Class, NonNull<u8>)> {
        match self {
            Self::Block(class, block) => Some((class, block)),
            // SAFETY: what was found is a run with a slot of that number.
            Self::Slot { run, number, slot, .. } => unsafe {
                run.is_used(number).then(|| (Class::of_slot(run.slot_size()), slot))
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Tag;
    use crate::size::BlockSize;
    use core::alloc::Layout;
    use std::boxed::Box;

    #[test]
    fn what_would_reach_beyond_the_arena_is_not_found() {
        const BYTES: usize = 16 << 10;
        let memory = Box::leak(std::vec![0u64; BYTES / 8].into_boxed_slice());
        let mut heap = Heap::new();
        // SAFETY: the memory is leaked and used by nothing else.
        unsafe { heap.init(memory.as_mut_ptr().cast(), BYTES, true) }.unwrap();
        let layout = Layout::new::<[u8; 2000]>();
        let highest = core::iter::from_fn(|| heap.alloc(layout)).max().unwrap();
        let place = Place::of(&mut heap);
        assert!(place.find(highest.as_ptr()).is_some());
        let beyond = BlockSize::for_payload(2 * layout.size()).unwrap();
        let index = Index::new(place.arena.index_of(highest.addr().get()) as u32);
        // SAFETY: the header is in front of the block, which is this test's.
        unsafe { place.arena.set_tag(index, Tag::used(beyond)) };
        assert!(place.find(highest.as_ptr()).is_none());
    }
}
