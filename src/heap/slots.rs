//! Small requests: slots of runs, and which size class earns a run.
//!
//! A class gets its first run when its blocks in use would fill half of a page, and another one when all
//! of its runs are full; but only while an eighth of the arena is free. Rare sizes, and all sizes where
//! memory is tight, are served by blocks, to the byte.
//!
//! Of a class's runs that have room, the one that was full last is used first, so that the others become
//! empty. An empty run is given up at once, unless it is the only one with room and the class has others.

use super::take::End;
use super::{Heap, Index};
use crate::block::Arena;
use crate::run::{Returned, Run};
use crate::size::{BlockSize, SlotSize};
use core::ptr::NonNull;

/// New runs are cut only while this share of the arena is free: 1/8.
const ROOMY_SHARE_LOG2: u32 = 3;

/// What is known of each size class; all zero bytes in the beginning.
#[derive(Debug)]
pub(super) struct SlotClasses {
    /// The first run of each class that has room, or [`Index::NONE`].
    heads: [Index; SlotSize::COUNT],
    /// How many runs each class has.
    runs: [u32; SlotSize::COUNT],
    /// How many small blocks of each size are in use.
    blocks: [u32; SlotClasses::COUNTED],
    /// A bit for each class that has a run with room.
    with_room: u32,
    /// A bit for each class that may have a run without slots in use.
    maybe_idle: u32,
}

impl SlotClasses {
    /// Blocks of fewer granules than these are counted by size: a request for the largest slot needs one
    /// granule less.
    pub(super) const COUNTED: usize = SlotSize::COUNT + 2;

    pub(super) const fn new() -> Self {
        Self {
            heads: [Index::NONE; SlotSize::COUNT],
            runs: [0; SlotSize::COUNT],
            blocks: [0; Self::COUNTED],
            with_room: 0,
            maybe_idle: 0,
        }
    }

    #[inline(always)]
    pub(super) fn count_block(&mut self, size: BlockSize) {
        if let Some(blocks) = self.blocks.get_mut(size.granules() as usize) {
            *blocks = blocks.wrapping_add(1);
        }
    }

    #[inline(always)]
    pub(super) fn count_block_gone(&mut self, size: BlockSize) {
        if let Some(blocks) = self.blocks.get_mut(size.granules() as usize) {
            *blocks = blocks.wrapping_sub(1);
        }
    }

    /// How many blocks in use a class would serve with slots, about: a block holds what a slot of one
    /// granule less does, and four bytes more.
    fn blocks(&self, slot: SlotSize) -> u32 {
        let granules = slot.granules() as usize;
        self.blocks[granules].wrapping_add(self.blocks[granules + 1])
    }

    /// The counts of small blocks by their granules.
    pub(super) fn block_counts(&self) -> &[u32; Self::COUNTED] {
        &self.blocks
    }

    /// How many runs a class has.
    pub(super) fn runs(&self, slot: SlotSize) -> u32 {
        self.runs[slot.number()]
    }

    /// The first run of a class that has room, or [`Index::NONE`].
    #[inline(always)]
    pub(super) fn head(&self, slot: SlotSize) -> Index {
        self.heads[slot.number()]
    }

    /// Whether the map says that a class has a run with room.
    pub(super) fn is_with_room(&self, slot: SlotSize) -> bool {
        self.with_room & 1 << slot.number() != 0
    }

    /// Puts a run that has room in front of the others of its class.
    ///
    /// # Safety
    ///
    /// - It is a run of that class in the arena, and not listed; those listed are runs.
    unsafe fn list(&mut self, arena: Arena, slot: SlotSize, run: Run) {
        let head = self.heads[slot.number()];
        // SAFETY: both are runs (contract).
        unsafe {
            run.set_next(arena, head);
            run.set_prev(arena, Index::NONE);
            if !head.is_none() {
                Run::at(head).set_prev(arena, run.index());
            }
        }
        self.heads[slot.number()] = run.index();
        self.with_room |= 1 << slot.number();
    }

    /// Takes a run off the list of those that have room.
    ///
    /// # Safety
    ///
    /// - It is a run of that class in the arena, and listed.
    unsafe fn unlist(&mut self, arena: Arena, slot: SlotSize, run: Run) {
        // SAFETY: a listed run's links lead to runs, or nowhere (contract).
        unsafe {
            let (next, prev) = (run.next(arena), run.prev(arena));
            if !next.is_none() {
                Run::at(next).set_prev(arena, prev);
            }
            if !prev.is_none() {
                Run::at(prev).set_next(arena, next);
                return;
            }
            self.heads[slot.number()] = next;
            if next.is_none() {
                self.with_room &= !(1 << slot.number());
            }
        }
    }
}

impl Heap {
    /// Takes the lowest free slot of the first run of a class that has room, if there is one.
    #[inline(always)]
    pub(super) fn take_slot(&mut self, slot: SlotSize) -> Option<NonNull<u8>> {
        let head = self.classes.head(slot);
        if head.is_none() {
            return None;
        }
        let run = Run::at(head);
        // SAFETY: RUNS, a listed run has room.
        let (index, is_full) = unsafe { run.take(self.arena, slot) };
        if is_full {
            // SAFETY: RUNS.
            unsafe { self.classes.unlist(self.arena, slot, run) };
        }
        self.count_live(slot.granules());
        // SAFETY: a slot's position is in the arena.
        Some(unsafe { self.arena.payload(index) })
    }

    /// Gives a class a run, if it has earned one and memory is not tight.
    #[inline(always)]
    pub(super) fn add_run_if_earned(&mut self, slot: SlotSize) -> bool {
        if !self.pages.exist() {
            return false;
        }
        let page = self.pages.block().granules();
        let has_earned = self.classes.runs(slot) > 0
            || self.classes.blocks(slot) * slot.granules() >= page && slot.granules() * 4 <= page;
        let arena = self.end.get();
        let is_roomy = arena - self.live >= arena >> ROOMY_SHARE_LOG2;
        has_earned && is_roomy && self.add_run(slot)
    }

    #[inline(never)]
    fn add_run(&mut self, slot: SlotSize) -> bool {
        let Some(index) = self.take_page() else { return false };
        // SAFETY: the page was just taken from the heap, as a block.
        unsafe {
            self.arena.set_tag(index, self.arena.tag(index).cut_into_slots());
            let run = Run::cut(index, self.arena, self.pages.block(), slot);
            self.pages.note(self.arena, run, true);
            self.classes.list(self.arena, slot, run);
        }
        self.classes.runs[slot.number()] += 1;
        true
    }

    /// Gives back the slot that begins so many granules from the start of a run; false if none in use does.
    ///
    /// # Safety
    ///
    /// - It is a run, and nobody uses the slot's bytes any more.
    #[inline(always)]
    pub(super) unsafe fn put_slot(&mut self, run: Run, in_page: u32) -> bool {
        // SAFETY: it is a run (contract).
        unsafe {
            let Some(number) = run.slot_at(self.arena, in_page) else { return false };
            let Some(returned) = run.put(self.arena, number) else { return false };
            let slot = run.slot_size(self.arena);
            self.count_gone(slot.granules());
            if returned != Returned::Simply {
                self.note_returned(run, slot, returned);
            }
        }
        true
    }

    /// Lists a run that was full, or gives up one that is empty.
    ///
    /// # Safety
    ///
    /// - It is a run of that class, and that happened to it.
    #[inline(never)]
    unsafe fn note_returned(&mut self, run: Run, slot: SlotSize, returned: Returned) {
        // SAFETY: RUNS; a run is listed exactly if it has room.
        unsafe {
            if returned == Returned::ToFullRun {
                let other = self.classes.head(slot);
                self.classes.list(self.arena, slot, run);
                if !other.is_none() && Run::at(other).used(self.arena) == 0 {
                    self.give_up(Run::at(other), slot);
                }
                return;
            }
            let is_alone = self.classes.head(slot) == run.index() && run.next(self.arena).is_none();
            if is_alone && self.classes.runs(slot) > 1 {
                self.classes.maybe_idle |= 1 << slot.number();
            } else {
                self.give_up(run, slot);
            }
        }
    }

    /// Makes a run without slots in use a free block.
    ///
    /// # Safety
    ///
    /// - It is a listed run of that class, and none of its slots is in use.
    unsafe fn give_up(&mut self, run: Run, slot: SlotSize) {
        // SAFETY: the caller's contract; RUNS.
        unsafe {
            self.classes.unlist(self.arena, slot, run);
            self.classes.runs[slot.number()] -= 1;
            run.mark_freed(self.arena);
            self.pages.note(self.arena, run, false);
            let tag = self.arena.tag(run.index()).in_one_piece();
            self.coalesce(run.index(), tag);
        }
    }

    /// Gives up all runs without slots in use; false if there was none.
    #[cold]
    fn give_up_idle_runs(&mut self) -> bool {
        let mut any = false;
        while self.classes.maybe_idle != 0 {
            let slot = SlotSize::from_granules(self.classes.maybe_idle.trailing_zeros() as u8 + 1);
            self.classes.maybe_idle &= self.classes.maybe_idle - 1;
            let head = self.classes.head(slot);
            // SAFETY: RUNS. An idle run is the only one of its class that has room.
            unsafe {
                if !head.is_none() && Run::at(head).used(self.arena) == 0 {
                    self.give_up(Run::at(head), slot);
                    any = true;
                }
            }
        }
        any
    }

    /// What is left to try before a request is refused: idle runs become free blocks, and a small request
    /// takes a slot that is larger than need be.
    #[cold]
    #[inline(never)]
    pub(super) fn last_resort(
        &mut self,
        slot: Option<SlotSize>,
        size: BlockSize,
        align: usize,
        end: End,
    ) -> Option<NonNull<u8>> {
        if self.classes.maybe_idle != 0
            && self.give_up_idle_runs()
            && let Some(index) = self.take(size, align, end)
        {
            return Some(self.hand_out(index));
        }
        let mut candidates = self.classes.with_room & !0 << slot?.number();
        while candidates != 0 {
            let larger = SlotSize::from_granules(candidates.trailing_zeros() as u8 + 1);
            if larger.align() >= align {
                return self.take_slot(larger);
            }
            candidates &= candidates - 1;
        }
        None
    }
}
