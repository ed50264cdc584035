//! A region of which only the front may be used yet, and what of it can be given back meanwhile.
//!
//! Address space is *reserved*, and memory is *committed* from the front on, in steps, as the top advances. The heap
//! knows no operating system: it is told how at the beginning, and how far it may go.
//!
//! ```text
//!  │ map │ blocks … │ top: never used, or given back │ reserved … │
//!                   ↑                                ↑       ↑    ↑
//!                  top                       committed   limit  end
//! ```

use super::Heap;
#[cfg(all(feature = "std", unix))]
use super::RegionError;
#[cfg(all(feature = "std", unix))]
use crate::bins::Bin;
#[cfg(all(feature = "std", unix))]
use crate::run::Grid;
#[cfg(all(feature = "std", unix))]
use crate::size::{BlockSize, HEADER};
use crate::size::{GRANULE, Index};
#[cfg(all(feature = "std", unix))]
use core::alloc::Layout;

/// Makes `least` bytes from `start` on usable, or as many as `most`, and more than that up to the end of a page.
/// Returns how many there are from `start` on, or zero if there are none.
///
/// It is called with what follows directly on what is committed, and never for more than the reserved span and its
/// heap's limit have.
pub(crate) type Commit = unsafe fn(start: *mut u8, least: usize, most: usize) -> usize;

/// At each step at least so many granules are committed, 64 KiB, and this share of what is committed: 1/8.
const LEAST_STEP: u32 = 8 << 10;
const STEP_SHARE_LOG2: u32 = 3;

/// Granules that count as free for each cache in a region that is committed as it is needed, if it may have them: 64
/// MiB, so that it may keep on its lists as much as in a large arena.
#[cfg(all(feature = "std", unix))]
const LEAST_FREE: u32 = 8 << 20;

/// For so many caches at most: threads that sleep keep what they have.
#[cfg(all(feature = "std", unix))]
const MOST_COUNTED: usize = 16;

/// This share of what is in use may be runs that are kept for the sake of few blocks: 1/16.
#[cfg(all(feature = "std", unix))]
const SCATTERED_SHARE_LOG2: u32 = 4;

/// How a heap's region becomes usable; all zero bytes as long as there is none.
#[derive(Clone, Copy)]
pub(super) struct Growth {
    /// How many granules may be in use, which decides what is plenty and what is tight: those of the region, or
    /// what a cap leaves.
    pub(super) capacity: u32,
    /// The position that `committed` may advance to.
    limit: Index,
    /// How it does; `None` if all of the region is usable.
    commit: Option<Commit>,
}

impl Growth {
    pub(super) const fn none() -> Self {
        Self { capacity: 0, limit: Index::NONE, commit: None }
    }
}

/// A region that is reserved, and how memory is had for it.
#[cfg(all(feature = "std", unix))]
#[derive(Clone, Copy)]
pub(crate) struct Reserved {
    /// Where it begins; a multiple of the system's page, as its length and what is committed are.
    pub(crate) start: *mut u8,
    pub(crate) len: usize,
    /// Bytes at its start that may be used.
    pub(crate) committed: usize,
    pub(crate) commit: Commit,
}

impl Heap {
    /// Granules that are not in use, of all that there may be.
    pub(super) fn free_granules(&self) -> u32 {
        self.growth.capacity.saturating_sub(self.figures.live())
    }

    /// The position that blocks can reach up to, with what may still be committed.
    pub(super) fn reach(&self) -> u32 {
        let limit = if self.growth.commit.is_some() { self.growth.limit } else { self.end };
        limit.min(self.end).max(self.committed).get()
    }

    /// Commits memory up to `granules` from a position on, and some more, if that is allowed and the system agrees.
    #[cold]
    #[inline(never)]
    pub(super) fn commit(&mut self, from: Index, granules: u32) -> bool {
        let Some(commit) = self.growth.commit else { return false };
        let limit = self.growth.limit.get().min(self.end.get());
        let here = self.committed.get();
        let Some(needed) = from.get().checked_add(granules).filter(|&needed| needed <= limit) else {
            return false;
        };
        let step = LEAST_STEP.max(here >> STEP_SHARE_LOG2);
        let wanted = needed.max(here.saturating_add(step).min(limit));
        let start = self.arena.at_index(self.committed);
        let bytes = |to: u32| Index::new(to.saturating_sub(here)).byte_offset();
        // SAFETY: COMMITTED, what follows is reserved, up to the limit at least.
        let had = unsafe { commit(start, bytes(needed), bytes(wanted)) };
        self.committed = Index::new(here + (had / GRANULE) as u32).min(self.end);
        self.committed.get() >= needed
    }
}

#[cfg(all(feature = "std", unix))]
impl Heap {
    /// As [`init`](Self::init), for a region of which only the front may be used yet. That is as long as
    /// [`least_committed`](Self::least_committed) says at least, and all of the reserved span is zero.
    ///
    /// # Errors
    ///
    /// As for [`init`](Self::init).
    ///
    /// # Safety
    ///
    /// - As for [`init`](Self::init), for what is committed, and for the rest from when `commit` has made it usable.
    /// - The rest can be read before, and is zero.
    pub(crate) unsafe fn init_reserved(&mut self, reserved: Reserved) -> Result<(), RegionError> {
        let Reserved { start, len, committed, commit } = reserved;
        // SAFETY: the caller's contract; only the map of pages is written to, which is committed.
        unsafe { self.init_with_pages(start, len, true, Some(Grid::Growing))? };
        self.committed = self.position_behind(committed);
        self.growth = Growth { limit: self.committed, commit: Some(commit), ..self.growth };
        Ok(())
    }

    /// Bytes of a region of `len` bytes that have to be usable from the beginning.
    pub(crate) fn least_committed(len: usize) -> usize {
        Grid::Growing.map_bytes(len) + HEADER + GRANULE + BlockSize::MIN.bytes()
    }

    /// The position behind the last block that would lie in so many bytes of the region, which are a multiple of the
    /// system's page, as the region's start is.
    fn position_behind(&self, bytes: usize) -> Index {
        let behind = self.region.addr() + bytes;
        Index::new((self.arena.offset_of(behind) / GRANULE) as u32).min(self.end)
    }

    /// Where the region starts; null if there is none.
    pub(crate) fn region_start(&self) -> *mut u8 {
        self.region
    }

    /// Bytes of the region, from its start, that may be used.
    pub(crate) fn committed_bytes(&self) -> usize {
        if self.is_initialized() { self.arena.address(self.committed) - self.region.addr() } else { 0 }
    }

    /// Sets how many bytes of the region may be committed, a multiple of the system's page, and how many bytes of
    /// blocks may be in use. What is beyond stays as it is.
    pub(crate) fn set_limits(&mut self, region: usize, in_use: usize) {
        let len = self.arena.address(self.end).wrapping_sub(self.region.addr());
        self.growth.limit = self.position_behind(region.min(len));
        self.growth.capacity = u32::try_from(in_use / GRANULE).unwrap_or(u32::MAX).min(self.end.get());
    }

    /// How many bytes are not in use, of which so many caches may keep a share: in a region that is committed as it is
    /// needed, no more than are in use, or [`LEAST_FREE`] for each of [`MOST_COUNTED`], since what is only reserved is
    /// nothing yet.
    pub(crate) fn free_for(&self, caches: usize) -> usize {
        let free = self.free_granules();
        let least = LEAST_FREE * caches.min(MOST_COUNTED) as u32;
        let most = if self.growth.commit.is_some() { self.figures.live().max(least) } else { free };
        free.min(most) as usize * GRANULE
    }

    /// How many blocks may wait in a place that does not know where they lie: each of them may be all that a run is
    /// kept for. In a region that is committed as it is needed, where runs are long, those runs are no more than a
    /// share of what is in use, 1/16, or of [what](LEAST_FREE) always counts as free for one cache.
    pub(crate) fn most_scattered_blocks(&self) -> usize {
        if self.growth.commit.is_none() {
            return usize::MAX;
        }
        let most = self.figures.live().max(LEAST_FREE) >> SCATTERED_SHARE_LOG2;
        most.checked_div(self.pages.granules()).unwrap_or(0) as usize
    }

    /// Where a block for `layout` would be cut from what was used before, and how many bytes it would have there;
    /// `None` if there is no such place, or it was given back. (A free block that has changed does not know of that.)
    pub(crate) fn used_place(&self, layout: Layout) -> Option<(*mut u8, usize)> {
        let gap = if layout.align() > GRANULE { layout.align() } else { 0 };
        let size = BlockSize::for_payload(layout.size().checked_add(gap)?)?;
        let place = match self.find_large(size) {
            // SAFETY: LISTED, or it is the victim.
            Some((index, _)) => unsafe { (!self.arena.tag(index).is_given_back()).then_some(index)? },
            None if self.used_up_to.granules_since(self.top) >= size.granules() => self.top,
            None => return None,
        };
        Some((self.arena.at_index(place), size.payload()))
    }

    /// Gives back what is free and lies in whole pages of the system's: each free block of at least `least` bytes
    /// that was not given back as it is, and the top. `discard` is handed spans whose bytes are zero afterwards, and
    /// returns whether they are; the first that are not end it.
    pub(crate) fn give_back(
        &mut self,
        least: usize,
        page: usize,
        mut discard: impl FnMut(*mut u8, usize) -> bool,
    ) {
        self.give_back_top(page, &mut discard);
        let Some(least) = BlockSize::for_payload(least) else { return };
        if let Some(size) = self.victim_holding(least.max(Bin::MIXED)) {
            if !self.give_back_block(self.victim, size, page, &mut discard) {
                return;
            }
        }
        let mut bin = Bin::of(least.max(Bin::MIXED));
        while let Some(first) = self.free.first_block_from(bin) {
            let mut node = Some(first);
            while let Some(first) = node {
                let mut index = first;
                while !index.is_none() {
                    // SAFETY: LISTED.
                    let (size, next) = unsafe { (self.arena.tag(index).size(), self.arena.next(index)) };
                    if !self.give_back_block(index, size, page, &mut discard) {
                        return;
                    }
                    index = next;
                }
                // SAFETY: LISTED, and it is the first one of its size.
                node = unsafe { self.free.next_node(self.arena, first) };
            }
            // SAFETY: LISTED.
            bin = Bin::of(unsafe { self.arena.tag(first).size() }).next();
        }
    }

    /// Gives back the whole pages in a large free block, behind what is written in it. False if they were not taken.
    fn give_back_block(
        &mut self,
        index: Index,
        size: BlockSize,
        page: usize,
        discard: &mut impl FnMut(*mut u8, usize) -> bool,
    ) -> bool {
        let to = self.arena.left_footer_address(index + size);
        let pages = whole_pages(self.arena.behind_links(index), to, page);
        // SAFETY: LISTED, or it is the victim: a free block.
        let tag = unsafe { self.arena.tag(index) };
        let Some((start, bytes)) = pages.filter(|_| !tag.is_given_back()) else {
            return true;
        };
        if !discard(start, bytes) {
            return false;
        }
        // SAFETY: as above.
        unsafe { self.arena.set_tag(index, tag.given_back()) };
        true
    }

    /// Behind the last byte that blocks can have: of a reserved region the end of a page.
    fn usable_end(&self) -> usize {
        let behind = self.arena.address(self.committed);
        if self.growth.commit.is_some() { behind } else { behind - HEADER }
    }

    /// Gives back the whole pages that were used and are part of the top now.
    fn give_back_top(&mut self, page: usize, discard: &mut impl FnMut(*mut u8, usize) -> bool) {
        if !self.is_initialized() {
            return;
        }
        // The header of the first block that will lie in the top belongs to it, those behind do not.
        let from = self.arena.at_index(self.top).wrapping_sub(HEADER);
        let to = self.arena.address(self.used_up_to).next_multiple_of(page);
        let to = to.min(self.usable_end());
        let Some((start, bytes)) = whole_pages(from, to, page) else { return };
        if !discard(start, bytes) {
            return;
        }
        // What lies behind the last whole page was never used, or the committed span ends in that page.
        if start.addr() + bytes >= self.arena.address(self.used_up_to) {
            let first = Index::new((self.arena.offset_of(start.addr()).div_ceil(GRANULE)) as u32);
            self.used_up_to = first.max(self.top);
        }
    }

    /// Makes the end of the committed span reserved again, but for `kept` bytes behind the top, in whole pages.
    /// `uncommit` is handed that, and returns whether it did.
    pub(crate) fn uncommit(
        &mut self,
        kept: usize,
        page: usize,
        uncommit: impl FnOnce(*mut u8, usize) -> bool,
    ) {
        if self.growth.commit.is_none() {
            return;
        }
        // What is kept may be more than there is address space behind the top.
        if kept >= self.committed.granules_since(self.top) as usize * GRANULE {
            return;
        }
        let from = self.arena.at_index(self.top).wrapping_add(kept);
        let Some((start, bytes)) = whole_pages(from, self.usable_end(), page) else { return };
        if !uncommit(start, bytes) {
            return;
        }
        self.committed = Index::new((self.arena.offset_of(start.addr()) / GRANULE) as u32);
        self.used_up_to = self.used_up_to.min(self.committed);
    }
}

/// The whole pages between a pointer and an address, if there are any.
#[cfg(all(feature = "std", unix))]
fn whole_pages(from: *mut u8, to: usize, page: usize) -> Option<(*mut u8, usize)> {
    let start = from.wrapping_add(from.addr().wrapping_neg() % page);
    let end = to - to % page;
    (start.addr() < end).then(|| (start, end - start.addr()))
}
