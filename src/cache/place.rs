//! Where cached blocks can lie, and what class a block or slot at an address is of.

use super::class::{Class, MEDIUM};
use crate::block::{Arena, Tag};
use crate::heap::Heap;
use crate::run::Pages;
use crate::size::Index;
use core::ptr::NonNull;

/// The part of an arena in which cached blocks can lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    arena: Arena,
    pages: Pages,
    /// How many positions there are, from the first one on, but for the last few: what begins in front of those
    /// and looks like a small block ends in the arena, whatever its header says.
    positions: usize,
}

impl Place {
    /// No position at all; all zero bytes.
    pub(super) const fn nowhere() -> Self {
        Self { arena: Arena::empty(), pages: Pages::none(), positions: 0 }
    }

    /// That of a heap.
    pub(super) fn of(heap: &Heap) -> Self {
        let (arena, end, pages) = heap.place();
        let positions = end.granules_since(Index::FIRST).saturating_sub(MEDIUM.granules());
        Self { arena, pages, positions: positions as usize }
    }

    /// The payload of what may be a block or a slot that is small enough for a cache, with its class.
    pub(super) fn find_any(&self, block: *mut u8) -> Option<(Class, NonNull<u8>)> {
        let ends_in_arena =
            |tag: Tag, room: usize| tag.granules() as usize <= room + MEDIUM.granules() as usize;
        self.find(block, |tag, room| Class::of(tag).filter(|_| ends_in_arena(tag, room)))
    }

    /// The payload of what may be a block or a slot, in a cache or not, with its class; `class_of` knows that of a
    /// block, by its header and how many granules the arena has from there on, less [`MEDIUM`].
    #[inline(always)]
    pub(super) fn find(
        &self,
        block: *mut u8,
        class_of: impl FnOnce(Tag, usize) -> Option<Class>,
    ) -> Option<(Class, NonNull<u8>)> {
        // SAFETY: what the map says is a run is one, and where one of its slots begins is in its page. The word
        // before a position of the place is in the arena, aligned to 4, and never handed out if it is a header;
        // it is looked at to find out.
        unsafe {
            match self.pages.run_at(block.addr()) {
                Some((run, in_page)) => {
                    run.slot_at(in_page)?;
                    Some((Class::of_slot(run.slot_size()), run.payload(in_page)))
                }
                None => {
                    let granule = self.arena.index_of(block.addr());
                    let position = granule.wrapping_sub(Index::FIRST.get() as usize);
                    if position >= self.positions {
                        return None;
                    }
                    let index = Index::new(granule as u32);
                    let class = class_of(self.arena.tag(index), self.positions - position)?;
                    Some((class, self.arena.payload(index)))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let place = Place::of(&heap);
        assert!(place.find_any(highest.as_ptr()).is_some());
        let beyond = BlockSize::for_payload(2 * layout.size()).unwrap();
        // SAFETY: the header is in front of the block, which is this test's.
        unsafe { highest.as_ptr().cast::<u32>().sub(1).write(Tag::used(beyond).bits()) };
        assert!(place.find_any(highest.as_ptr()).is_none());
    }
}
