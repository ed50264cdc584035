//! `realloc`: in place where it can be, moving only where it must.
//!
//! In the order in which it is tried:
//!
//! 1. A slot stays where it is while its size class is right, or if it shrinks by less than half.
//! 2. A block shrinks in place, giving what is cut off to what lies behind, or to the bins.
//! 3. A block grows into the free block or the top behind.
//! 4. It moves. What is in a slot or in a small block is copied at once. What is in another block is copied
//!    by the caller, who gives the old one back, so that nobody has to wait for the copying of a large block.
//! 5. Where no new block can be had, it slides down into the free block in front, which may still hold it.

use super::Heap;
use super::take::End;
use crate::block::Tag;
use crate::fault::{Action, Fault};
use crate::run::{HEAP, Run};
use crate::size::{BlockSize, GRANULE, Index, Remainder, SlotSize, alignment_gap};
use core::alloc::Layout;
use core::ptr::NonNull;

/// What grows to more bytes than these becomes a block.
const LARGEST_GROWING_SLOT: usize = 256;

/// Up to so many bytes are copied at once when a block moves, as what is in a slot is: about as many steps as
/// taking the lock once more and looking the block up again.
const MOST_MOVED_AT_ONCE: usize = SlotSize::MOST_GRANULES * GRANULE;

/// What became of a block that was to change its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resized {
    /// It has the new size, and its contents, at this address.
    Done(NonNull<u8>),
    /// Here is a new block. The old one is as it was: its contents are to be copied, and then it is to be
    /// given back.
    MoveTo(NonNull<u8>),
    /// There is no room. The block is as it was.
    Refused,
    /// The pointer cannot be that of a block or slot in use.
    Rejected,
}

/// What became of a block that was to change its size where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InPlace {
    /// It has the new size.
    Done,
    /// What is free behind it is not enough.
    TooTight,
    /// What lies behind it denies that it is a block.
    NoBlock,
}

impl Heap {
    /// Changes a block's size to at least `new_size` bytes, keeping its contents up to the smaller of both
    /// sizes, and its alignment. Returns the block's new address, or `None` if there is no room; the
    /// block is unchanged then.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if the pointer cannot be that of a block in use. The heap is unchanged then.
    ///
    /// # Safety
    ///
    /// - `block` came from this heap for `layout` and was not given back since.
    /// - After `Ok(Some(_))` the old pointer is dead, even if the address is the same.
    #[inline]
    pub unsafe fn realloc(
        &mut self,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> Result<Option<NonNull<u8>>, Fault> {
        // SAFETY: the caller's contract.
        match unsafe { self.resize(block, layout, new_size) } {
            Resized::Done(block) => Ok(Some(block)),
            Resized::Refused => Ok(None),
            Resized::Rejected => Err(self.fault_of(block, Action::Realloc)),
            Resized::MoveTo(target) => {
                // SAFETY: both are in use, do not overlap (CHAIN), and hold the smaller of the two sizes. The
                // old one's contents have moved, and nobody uses it again.
                unsafe {
                    copy(block, target.as_ptr(), layout.size().min(new_size));
                    self.dealloc(block)?;
                }
                Ok(Some(target))
            }
        }
    }

    /// The part of [`realloc`](Self::realloc) that copies nothing, but for what is in a slot, and for sliding
    /// down.
    ///
    /// # Safety
    ///
    /// - As for [`realloc`](Self::realloc). If the outcome is to move, the caller does it.
    #[inline(always)]
    pub(crate) unsafe fn resize(&mut self, block: *mut u8, layout: Layout, new_size: usize) -> Resized {
        // SAFETY: RUNS; the caller's contract.
        unsafe {
            match self.run_at(block) {
                Some((run, in_page)) => self.resize_slot(run, in_page, layout, new_size),
                None => self.resize_block(block, layout, new_size),
            }
        }
    }

    /// [`resize`](Self::resize) for a slot.
    ///
    /// # Safety
    ///
    /// - As for [`resize`](Self::resize); the pointer leads so many granules into that run.
    #[inline(never)]
    unsafe fn resize_slot(&mut self, run: Run, in_page: u32, layout: Layout, new_size: usize) -> Resized {
        // SAFETY: it is a run (contract). A slot is in its page.
        let (granules, here) = unsafe {
            if run.slot_at(in_page).is_none_or(|number| !run.is_used(number)) {
                return Resized::Rejected;
            }
            (run.granules(), run.payload(in_page))
        };
        let wanted = SlotSize::serving(new_size, layout.align()).map_or(u32::MAX, SlotSize::granules);
        let shrinks = wanted <= granules;
        if shrinks && wanted * 2 > granules {
            return Resized::Done(here);
        }
        // What has grown beyond a small slot is likely to grow again, which a block can do where it is.
        let target = if shrinks || new_size <= LARGEST_GROWING_SLOT {
            self.alloc_out_of_line(new_size, layout.align(), End::Near)
        } else {
            self.alloc_block(new_size, layout.align(), End::Near)
        };
        let Some(target) = target else {
            return if shrinks { Resized::Done(here) } else { Resized::Refused };
        };
        // What is in a slot is moved at once.
        // SAFETY: both hold so many bytes and do not overlap. The slot was found in use, and nobody uses
        // its bytes any more.
        unsafe {
            // It is a cache's, or was broken up for the sake of this request, and the slot is a block now.
            if self.pages.owner_of(run) != HEAP {
                return Resized::MoveTo(target);
            }
            target.copy_from_nonoverlapping(here, layout.size().min(new_size));
            self.put_slot_and_settle(run, in_page);
        }
        Resized::Done(target)
    }

    /// [`resize`](Self::resize) for a block.
    ///
    /// # Safety
    ///
    /// - As for [`resize`](Self::resize); the pointer leads into no run.
    #[inline(never)]
    unsafe fn resize_block(&mut self, block: *mut u8, layout: Layout, new_size: usize) -> Resized {
        let Some((index, tag)) = self.live_block(block) else { return Resized::Rejected };
        let Some(wanted) = BlockSize::for_payload(new_size) else { return Resized::Refused };
        // SAFETY: the block is in use (contract, checked as far as possible).
        unsafe {
            match self.resize_in_place(index, tag, wanted) {
                InPlace::Done => return Resized::Done(self.arena.payload(index)),
                InPlace::TooTight => {}
                InPlace::NoBlock => return Resized::Rejected,
            }
            // Growing is all that fails in place.
            let may_make_room = self.has_idle_run();
            let Some(target) = self.alloc_out_of_line(new_size, layout.align(), End::Near) else {
                // One that was given up in vain may have made room behind the block.
                if may_make_room
                    && self.resize_in_place(index, self.arena.tag(index), wanted) == InPlace::Done
                {
                    return Resized::Done(self.arena.payload(index));
                }
                return match self.slide_down(index, layout, wanted) {
                    Some(index) => Resized::Done(self.arena.payload(index)),
                    None => Resized::Refused,
                };
            };
            if layout.size() > MOST_MOVED_AT_ONCE {
                return Resized::MoveTo(target);
            }
            target.copy_from_nonoverlapping(self.arena.payload(index), layout.size());
            self.release_moved(index);
            Resized::Done(target)
        }
    }

    /// Gives back a block whose contents are elsewhere now.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use, and nobody uses its bytes any more.
    unsafe fn release_moved(&mut self, index: Index) {
        // SAFETY: CHAIN, a block starts there; its neighbours may not be the same as before.
        unsafe {
            let tag = self.arena.tag(index);
            self.count_block_gone(tag.size());
            // What the neighbours say was right when the block was to grow where it is.
            self.merge_out_of_line(index, tag);
        }
    }

    /// Shrinks or grows a block without moving it, if that is possible. If not, nothing is done.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use and `tag` its header; when it shrinks, nobody uses what is cut off.
    #[inline(never)]
    unsafe fn resize_in_place(&mut self, index: Index, tag: Tag, wanted: BlockSize) -> InPlace {
        let size = tag.size();
        let behind = index + size;
        if behind == self.top {
            return self.resize_before_top(index, tag, wanted);
        }
        // SAFETY: CHAIN, a block lies behind, since the top does not.
        let Some(right) = (unsafe { self.right_neighbour(behind) }) else { return InPlace::NoBlock };
        let free_behind = if right.is_free() { right.granules() } else { 0 };
        let span = BlockSize::from_granules(size.granules() + free_behind);
        if span < wanted {
            return InPlace::TooTight;
        }
        // Plan: the span of this block and a free one behind is cut in two, the front in use, the rest free.
        let (kept, rest) = match span.remainder(wanted) {
            Remainder::Block(rest) => (wanted, Some(rest)),
            Remainder::Slack => (span, None),
        };
        if kept == size {
            return InPlace::Done;
        }
        // Cut. SAFETY: the span is this block and, if free, the one behind, which LISTED has in its bin
        // unless it is the victim; `rest` is cut from it and used by nobody. COALESCED: the block
        // behind the span is in use and not the top, unless the span is this block alone.
        unsafe {
            let with_victim = free_behind > 0 && self.take_out(behind, right.size());
            self.arena.set_tag(index, tag.resized(kept));
            if let Some(rest) = rest {
                self.make_free(index + kept, rest, with_victim);
            }
            self.arena.set_left_free(index + span, rest.is_some());
        }
        self.count_block_gone(size);
        self.count_block(kept);
        InPlace::Done
    }

    /// Moves the border between a block and the top, if that has room.
    fn resize_before_top(&mut self, index: Index, tag: Tag, wanted: BlockSize) -> InPlace {
        if self.committed.granules_since(index) < wanted.granules() && !self.commit(index, wanted.granules())
        {
            return InPlace::TooTight;
        }
        // SAFETY: the header is that of a block in use, which now ends where the top begins.
        unsafe { self.arena.set_tag(index, tag.resized(wanted)) };
        self.top = index + wanted;
        self.used_up_to = self.used_up_to.max(self.top);
        self.count_block_gone(tag.size());
        self.count_block(wanted);
        InPlace::Done
    }

    /// Moves a block down into the free block in front of it, taking what is free behind it as well, if that
    /// is enough.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use that was allocated for `layout`.
    #[cold]
    #[inline(never)]
    unsafe fn slide_down(&mut self, index: Index, layout: Layout, wanted: BlockSize) -> Option<Index> {
        // SAFETY: the block is in use (contract).
        let tag = unsafe { self.arena.tag(index) };
        if !tag.is_left_free() {
            return None;
        }
        // SAFETY: FLAGS.
        let left_size = unsafe { self.arena.left_size(index) };
        let left = index - left_size;
        let gap = alignment_gap(self.arena.address(left), layout.align().max(GRANULE));
        if gap >= left_size.granules() as usize {
            return None;
        }
        let behind = index + tag.size();
        // SAFETY: CHAIN, a block lies behind unless the top does.
        let right_size = if behind == self.top {
            None
        } else {
            // SAFETY: as above.
            let right = unsafe { self.arena.tag(behind) };
            right.is_free().then(|| right.size())
        };
        let span_end = match right_size {
            _ if behind == self.top => self.committed,
            Some(right_size) => behind + right_size,
            None => behind,
        };
        let start = Index::new(left.get() + gap as u32);
        if span_end.granules_since(start) < wanted.granules() {
            return None;
        }
        // Cut. The neighbours' links and footers are read and unlinked before the contents move over them,
        // and what is left over is written behind the block's new end.
        // SAFETY: LISTED for the neighbours, or the victim. All bytes from `left` to `span_end` are this
        // block's or free. The new block holds `layout.size()` bytes, because it is larger than the
        // old one.
        unsafe {
            self.take_out_out_of_line(left, left_size);
            if let Some(right_size) = right_size {
                self.take_out_out_of_line(behind, right_size);
            }
            // Where the contents do not come to lie over it, the old header stays behind as that of a freed
            // block.
            self.arena.set_tag(index, tag.freed());
            self.arena.payload(index).copy_to(self.arena.payload(start), layout.size());
            if gap > 0 {
                let gap = BlockSize::from_granules(gap as u32);
                self.make_free_out_of_line(left, gap, false);
            }
            self.count_block_gone(tag.size());
            if behind == self.top {
                self.arena.set_tag(start, Tag::used(wanted).with_left_free(gap > 0));
                self.top = start + wanted;
                self.used_up_to = self.used_up_to.max(self.top);
                self.count_block(wanted);
                return Some(start);
            }
            let span = BlockSize::from_granules(span_end.granules_since(start));
            let (kept, rest) = match span.remainder(wanted) {
                Remainder::Block(rest) => (wanted, Some(rest)),
                Remainder::Slack => (span, None),
            };
            self.arena.set_tag(start, Tag::used(kept).with_left_free(gap > 0));
            if let Some(rest) = rest {
                self.make_free_out_of_line(start + kept, rest, false);
            }
            self.arena.set_left_free(span_end, rest.is_some());
            self.count_block(kept);
        }
        Some(start)
    }
}

/// Copies `bytes` bytes between blocks that do not overlap.
///
/// Some processors copy a long stretch 16 times slower when the target lies less than 32 bytes behind the
/// source modulo a page, because each load then seems to depend on the store before it. Blocks whose sizes
/// are powers of two plus a header often lie like that. In short pieces the effect does not occur.
///
/// # Safety
///
/// - Both blocks hold that many bytes, and they do not overlap.
#[inline(always)]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
    const PAGE: usize = 4096;
    const PIECE: usize = 2048;
    let ahead = to.addr().wrapping_sub(from.addr()) % PAGE;
    // SAFETY: the caller's contract; each piece lies in both blocks.
    unsafe {
        if bytes <= PIECE || ahead == 0 || ahead >= 32 {
            return to.copy_from_nonoverlapping(from, bytes);
        }
        for offset in (0..bytes).step_by(PIECE) {
            to.add(offset).copy_from_nonoverlapping(from.add(offset), PIECE.min(bytes - offset));
        }
    }
}
