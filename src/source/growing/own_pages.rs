//! Blocks with pages of their own: where these come from, and how they become more and fewer.

use super::span::{HUGE_PAGE, map_block_at};
use super::{Growing, OWN_PAGES_FROM, State};
use crate::heap::{Heap, Resized};
use crate::mapping;
use crate::source::{Elsewhere, ToMove};
use core::alloc::Layout;
use core::ptr::NonNull;

/// What of a block is in memory is cleared with the rest if it is more than this part: 1/16. To have a page anew takes
/// twenty times as long as to clear it.
const CLEARED_WITH_THE_REST: usize = 16;

/// Makes bytes of a large block zero. What was kept, and is hardly in memory because little of it was ever used, does
/// not come there for that: the pages are given back, and are zero therefore.
///
/// # Safety
///
/// - They are in a block that was just found, in pages that were mapped here, and nobody uses them.
pub(super) unsafe fn clear_large(block: NonNull<u8>, bytes: usize) {
    let to_page = block.addr().get().wrapping_neg() % mapping::page();
    let whole = bytes.saturating_sub(to_page) / mapping::page() * mapping::page();
    let first = block.as_ptr().wrapping_add(to_page);
    // SAFETY: whole pages of the block lie between the two rests; all of it is private and anonymous (contract).
    unsafe {
        if mapping::is_resident(first, whole, CLEARED_WITH_THE_REST) || !mapping::discard(first, whole) {
            return block.write_bytes(0, bytes);
        }
        block.write_bytes(0, to_page);
        first.wrapping_add(whole).write_bytes(0, bytes - to_page - whole);
    }
}

impl<const CAP: usize, const HUGE_PAGES: bool> Growing<CAP, HUGE_PAGES> {
    /// A block with pages of its own, and how many bytes at its beginning are not known to be zero.
    pub(super) fn map_block(
        &self,
        state: &mut State,
        heap: &Heap,
        layout: Layout,
    ) -> Option<(NonNull<u8>, usize)> {
        let bytes = mapping::whole_pages(layout.size())?;
        let left = self.budget(state, heap).left;
        let kept = if layout.align() <= mapping::page() && state.table.wanted_bytes() == 0 {
            let State { kept, stayed, .. } = state;
            let whole = kept.take(bytes).map(|start| (start, bytes, bytes));
            // What stayed is not counted as a whole, and may have an eighth too many.
            let has_room = left >= bytes.saturating_add(bytes / 8);
            let whole = whole.or_else(|| if has_room { stayed.take(bytes) } else { None });
            let longer = |(start, had)| (start, bytes, had);
            whole.or_else(|| {
                // No more is to be had anew than the cap leaves.
                if mapping::CAN_MOVE { kept.take_longer(bytes, left).map(longer) } else { None }
            })
        } else {
            None
        };
        let (start, bytes, dirty) = match kept {
            Some((start, bytes, dirty)) => {
                // SAFETY: what is kept was mapped here.
                unsafe { Self::prefer_huge_pages(state, start.as_ptr(), bytes) };
                (start, bytes, dirty.min(layout.size()))
            }
            None => {
                let needed = bytes.checked_add(state.table.wanted_bytes())?;
                if self.budget(state, heap).left < needed || !state.table.make_room() {
                    return None;
                }
                let huge_pages = HUGE_PAGES && state.wants_huge_pages(bytes);
                (map_block_at(bytes, layout.align(), huge_pages)?, bytes, 0)
            }
        };
        state.table.insert(start.as_ptr(), bytes);
        state.mapped += bytes;
        Some((start, dirty))
    }

    /// Asks for huge pages for a block with pages of its own that is not noted, and was not mapped for it, if that is
    /// wanted.
    ///
    /// # Safety
    ///
    /// - The pages were mapped here.
    unsafe fn prefer_huge_pages(state: &State, start: *mut u8, bytes: usize) {
        if HUGE_PAGES && state.wants_huge_pages(bytes) {
            // SAFETY: the caller's contract.
            unsafe { mapping::prefer_huge_pages(start, bytes) };
        }
    }

    /// Changes the size of a block with pages of its own.
    pub(super) fn resize_mapped(
        &self,
        state: &mut State,
        heap: &mut Heap,
        (start, bytes): (*mut u8, usize),
        new_layout: Option<Layout>,
    ) -> Elsewhere {
        let (Some(layout), Some(here)) = (new_layout, NonNull::new(start)) else {
            return Elsewhere::Known(Resized::Refused);
        };
        let Some(new_bytes) = mapping::whole_pages(layout.size().max(1)) else {
            return Elsewhere::Known(Resized::Refused);
        };
        if layout.size() < OWN_PAGES_FROM && layout.size() <= (bytes / 2).max(OWN_PAGES_FROM / 4) {
            // What has become small moves in among its like, if there is room; but not what is still large and keeps
            // most of its pages, so that a block that grows and shrinks about the border does not move each time.
            if let Some((target, _)) = heap.alloc_to_clear(layout) {
                return Elsewhere::Known(Resized::MoveTo(target));
            }
        }
        if new_bytes == bytes {
            return Elsewhere::Known(Resized::Done(here));
        }
        if new_bytes > bytes && state.kept.take_behind(start.wrapping_add(bytes), new_bytes - bytes) {
            state.table.remove(start.addr(), true);
            // SAFETY: the block, and what is kept, were mapped here.
            unsafe { Self::prefer_huge_pages(state, start, new_bytes) };
            state.table.insert_held(start, new_bytes);
            state.mapped += new_bytes - bytes;
            return Elsewhere::Known(Resized::Done(here));
        }
        // To have so many new pages takes longer than to copy those that it has to some that are kept.
        let is_quicker_copied = new_bytes > bytes && bytes <= 2 * (new_bytes - bytes);
        // Where the cap is near, others may want what both have together meanwhile.
        let may_copy = is_quicker_copied
            && layout.align() <= mapping::page()
            && state.table.wanted_bytes() == 0
            && self.budget(state, heap).left >= bytes;
        if may_copy && state.prefers_heap(heap, layout, false) {
            if let Some((target, _)) = heap.alloc_to_clear(layout) {
                return Elsewhere::Known(Resized::MoveTo(target));
            }
        }
        if may_copy {
            if let Some(target) = state.kept.take(new_bytes) {
                // SAFETY: what is kept was mapped here.
                unsafe { Self::prefer_huge_pages(state, target.as_ptr(), new_bytes) };
                state.table.insert(target.as_ptr(), new_bytes);
                state.mapped += new_bytes;
                return Elsewhere::Known(Resized::MoveTo(target));
            }
        }
        // Moved pages are at a multiple of a page, and of no more.
        let may_move = mapping::CAN_MOVE && layout.align() <= mapping::page();
        if new_bytes > bytes {
            let has_room = |state: &State, heap: &Heap| self.budget(state, heap).left >= new_bytes - bytes;
            let may_grow =
                may_move && (has_room(state, heap) || self.make_room(state, heap) && has_room(state, heap));
            if !may_grow {
                return Elsewhere::Known(Resized::Refused);
            }
        }
        state.table.remove(start.addr(), true);
        state.mapped -= bytes;
        let huge_pages = HUGE_PAGES && new_bytes > bytes && state.wants_huge_pages(new_bytes);
        let whole = new_bytes.next_multiple_of(HUGE_PAGE);
        let is_within_cap = self.budget(state, heap).left >= whole;
        let most = if huge_pages && is_within_cap { whole } else { bytes.max(new_bytes) };
        state.pending += most;
        Elsewhere::ToMove(ToMove { start, bytes, new_bytes, most, huge_pages })
    }
}
