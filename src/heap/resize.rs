//! `realloc`: in place where it can be, moving only where it must.
//!
//! In the order in which it is tried:
//!
//! 1. move a small block, be it to grow or to shrink, to one of the right size that is held: nothing is cut or merged;
//! 2. shrink in place, giving what is cut off to the block behind or to the lists;
//! 3. grow into the free block or the top behind;
//! 4. move to a new block and copy;
//! 5. where no new block can be had, slide down into the free block in front, which may still hold it.
//!
//! A small block moves only where what lies behind it is in use, so that it could neither grow nor give anything back to be merged.

use super::quick_list::QuickLists;
use super::take::End;
use super::{Heap, LiveBlock};
use crate::block::Tag;
use crate::fault::{Action, Fault};
use crate::size::{BlockSize, GRANULE, Index, Remainder, alignment_gap};
use core::alloc::Layout;
use core::ptr::NonNull;

impl Heap {
    /// Changes a block's size to at least `new_size` bytes, keeping its contents up to the smaller of both sizes, and its
    /// alignment. Returns the block's new address, or `None` if there is no room; the block is unchanged then.
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
        let Some(live) = self.live_block(block) else { return Err(self.fault_of(block, Action::Realloc)) };
        // SAFETY: the caller's contract, checked as far as possible.
        unsafe {
            match self.realloc_fast(live, layout, new_size) {
                Some(index) => Ok(Some(self.arena.payload(index))),
                None => self.realloc_slow(live, layout, new_size),
            }
        }
    }

    /// The cases of [`realloc`](Self::realloc) that touch no list but a quick list: a small block keeps its size, or moves to a
    /// block that is held. `None`, and nothing is done, in all others.
    ///
    /// # Safety
    ///
    /// - As for [`realloc`](Self::realloc), whose block was found to be `live`.
    #[inline(always)]
    unsafe fn realloc_fast(&mut self, live: LiveBlock, layout: Layout, new_size: usize) -> Option<Index> {
        let LiveBlock { index, tag } = live;
        if tag.size() >= QuickLists::LARGE
            || new_size >= QuickLists::LARGE_PAYLOAD
            || layout.align() > GRANULE
        {
            return None;
        }
        let wanted = BlockSize::for_payload(new_size)?;
        let size = tag.size();
        if wanted <= size && size.remainder(wanted) == Remainder::Slack {
            return Some(index);
        }
        let behind = index + size;
        // SAFETY: CHAIN, a block lies behind unless the top does.
        if behind == self.top || unsafe { self.arena.tag(behind) }.is_free() || !self.may_hold() {
            return None;
        }
        let target = self.take_small_held(wanted)?;
        // SAFETY: both are live blocks that do not overlap (CHAIN), and hold the smaller of the two sizes.
        unsafe {
            let bytes = layout.size().min(new_size);
            self.arena.payload(index).copy_to_nonoverlapping(self.arena.payload(target), bytes);
            self.hold_small(index, tag);
        }
        Some(target)
    }

    /// The rest of [`realloc`](Self::realloc), for when [`realloc_fast`](Self::realloc_fast) did nothing.
    ///
    /// # Safety
    ///
    /// - As for [`realloc`](Self::realloc).
    #[inline(never)]
    unsafe fn realloc_slow(
        &mut self,
        LiveBlock { index, tag }: LiveBlock,
        layout: Layout,
        new_size: usize,
    ) -> Result<Option<NonNull<u8>>, Fault> {
        if new_size > isize::MAX as usize - (layout.align() - 1) {
            return Ok(None);
        }
        let Some(wanted) = BlockSize::for_payload(new_size) else { return Ok(None) };
        let behind = index + tag.size();
        // SAFETY: the block is live (contract, checked as far as possible).
        let resized = unsafe {
            if behind == self.top {
                self.resize_into_top(index, tag, wanted)
            } else {
                let right = self.arena.tag(behind);
                if right.is_left_free() {
                    let address = self.arena.address(index);
                    return Err(Fault::NotABlock { action: Action::Realloc, address });
                }
                self.resize_in_place(index, tag, right, wanted)
            }
        };
        let index = if resized {
            self.evict_excess();
            index
        } else {
            // SAFETY: as above; growing is all that fails in place, so `layout.size()` bytes fit the new block.
            match unsafe { self.relocate(index, layout, wanted) } {
                Some(index) => index,
                None => return Ok(None),
            }
        };
        // SAFETY: CHAIN, the block at `index` is in use.
        Ok(Some(unsafe { self.arena.payload(index) }))
    }

    /// Shrinks or grows a block without moving it, if that is possible.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use, `tag` its header, and `right` that of the block behind; when it shrinks, nobody uses what is
    ///   cut off.
    #[inline(never)]
    unsafe fn resize_in_place(&mut self, index: Index, tag: Tag, right: Tag, wanted: BlockSize) -> bool {
        let size = tag.size();
        let behind = index + size;
        let right_size = right.is_free().then(|| right.size());
        let span = right_size.map_or(size, |right_size| size + right_size);
        if span < wanted {
            return false;
        }
        // Plan: the span of this block and a free one behind is cut in two, the front in use, the rest free.
        let (kept, rest) = match (span.remainder(wanted), right_size) {
            (Remainder::Block(rest), _) => (wanted, Some(rest)),
            (Remainder::Slack, _) => (span, None),
        };
        if kept == size {
            return true;
        }
        // Cut. SAFETY: the span is this block and, if free, the one behind, which LISTED has on its list; `rest` is cut
        // from it and used by nobody. COALESCED: the block behind the span is in use and not the top, unless the span
        // is this block alone.
        unsafe {
            if let Some(right_size) = right_size {
                self.lists.remove(self.arena, behind, right_size);
            }
            self.arena.set_tag(index, tag.resized(kept));
            if let Some(rest) = rest {
                self.make_free(index + kept, rest);
            }
            self.arena.set_left_free(index + span, rest.is_some());
        }
        self.note_large_span(span);
        self.count_gone(size);
        self.count_taken(kept);
        true
    }

    /// Moves the border between the last block and the top, if the top has room.
    #[inline(never)]
    fn resize_into_top(&mut self, index: Index, tag: Tag, wanted: BlockSize) -> bool {
        if self.end.granules_since(index) < wanted.granules() {
            return false;
        }
        self.count_gone(tag.size());
        // SAFETY: the header is that of a block in use, which now ends where the top begins.
        unsafe { self.arena.set_tag(index, tag.resized(wanted)) };
        self.top = index + wanted;
        self.used_up_to = self.used_up_to.max(self.top);
        self.count_taken(wanted);
        self.refresh_hold_limit();
        true
    }

    /// Moves a block that has to grow: to a new block, or else down into the free block in front of it.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use that was allocated for `layout`, and is smaller than `wanted`.
    #[inline(never)]
    unsafe fn relocate(&mut self, index: Index, layout: Layout, wanted: BlockSize) -> Option<Index> {
        let Some(target) = self.take(wanted, layout.align(), End::Near) else {
            // SAFETY: the caller's contract.
            return unsafe { self.grow_where_it_is(index, layout, wanted) };
        };
        // SAFETY: both are live blocks that do not overlap (CHAIN) and hold `layout.size()` bytes. The old one is released
        // with its header as it is now, because taking the new one may have changed its flags.
        unsafe {
            copy(self.arena.payload(index), self.arena.payload(target), layout.size());
            let released = self.release_slow(LiveBlock { index, tag: self.arena.tag(index) });
            invariant!(released);
        }
        Some(target)
    }

    /// Grows a block for which no other one can be had. Before it refused, `take` merged all that was held, so that there may be
    /// room behind the block now, or in front of it.
    ///
    /// # Safety
    ///
    /// - As for [`relocate`](Self::relocate).
    #[cold]
    #[inline(never)]
    unsafe fn grow_where_it_is(&mut self, index: Index, layout: Layout, wanted: BlockSize) -> Option<Index> {
        // SAFETY: the block is live (contract); CHAIN, a block lies behind unless the top does.
        unsafe {
            let tag = self.arena.tag(index);
            let behind = index + tag.size();
            let resized = if behind == self.top {
                self.resize_into_top(index, tag, wanted)
            } else {
                self.resize_in_place(index, tag, self.arena.tag(behind), wanted)
            };
            if resized { Some(index) } else { self.slide_down(index, layout, wanted) }
        }
    }

    /// Moves a block down into the free block in front of it, taking what is free behind it as well, if that is enough.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use that was allocated for `layout`.
    unsafe fn slide_down(&mut self, index: Index, layout: Layout, wanted: BlockSize) -> Option<Index> {
        // SAFETY: the block is live (contract).
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
            _ if behind == self.top => self.end,
            Some(right_size) => behind + right_size,
            None => behind,
        };
        let start = Index::new(left.get() + gap as u32);
        if span_end.granules_since(start) < wanted.granules() {
            return None;
        }
        // Cut. The neighbours' links and footers are read and unlinked before the contents move over them, and what is
        // left over is written behind the block's new end.
        // SAFETY: LISTED for the neighbours. All bytes from `left` to `span_end` are this block's or free. The new block
        // holds `layout.size()` bytes, because it is larger than the old one.
        unsafe {
            self.unlist(left, left_size);
            if let Some(right_size) = right_size {
                self.unlist(behind, right_size);
            }
            // Where the contents do not come to lie over it, the old header stays behind as that of a freed block.
            self.arena.set_tag(index, tag.freed());
            self.arena.payload(index).copy_to(self.arena.payload(start), layout.size());
            if gap > 0 {
                let gap = BlockSize::from_granules(gap as u32);
                self.make_free(left, gap);
            }
            self.count_gone(tag.size());
            if behind == self.top {
                self.arena.set_tag(start, Tag::used(wanted).with_left_free(gap > 0));
                self.top = start + wanted;
                self.used_up_to = self.used_up_to.max(self.top);
                self.count_taken(wanted);
                self.refresh_hold_limit();
                return Some(start);
            }
            let span = BlockSize::from_granules(span_end.granules_since(start));
            let (kept, rest) = match span.remainder(wanted) {
                Remainder::Block(rest) => (wanted, Some(rest)),
                Remainder::Slack => (span, None),
            };
            self.arena.set_tag(start, Tag::used(kept).with_left_free(gap > 0));
            if let Some(rest) = rest {
                self.make_free(start + kept, rest);
            }
            self.arena.set_left_free(span_end, rest.is_some());
            self.count_taken(kept);
        }
        self.refresh_hold_limit();
        Some(start)
    }
}

/// Copies `bytes` bytes between blocks that do not overlap.
///
/// Some processors copy a long stretch 16 times slower when the target lies less than 32 bytes behind the source modulo a
/// page, because each load then seems to depend on the store before it. Blocks whose sizes are powers of two plus a header
/// often lie like that. In short pieces the effect does not occur.
///
/// # Safety
///
/// - Both blocks hold that many bytes, and they do not overlap.
unsafe fn copy(from: NonNull<u8>, to: NonNull<u8>, bytes: usize) {
    const PAGE: usize = 4096;
    const PIECE: usize = 2048;
    let ahead = to.addr().get().wrapping_sub(from.addr().get()) % PAGE;
    // SAFETY: the caller's contract; each piece lies in both blocks.
    unsafe {
        if bytes <= PIECE || ahead == 0 || ahead >= 32 {
            return from.copy_to_nonoverlapping(to, bytes);
        }
        for offset in (0..bytes).step_by(PIECE) {
            from.add(offset).copy_to_nonoverlapping(to.add(offset), PIECE.min(bytes - offset));
        }
    }
}
