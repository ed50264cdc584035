//! Idle runs: those without a slot in use that are kept, one of a class, because the class is likely to want it again.
//!
//! A program that has few objects of many sizes, one after the other, has a run of each of them, and cuts none and
//! gives none up. One is kept anyhow, and more as long as all of them are 1/32 of how much more is free than in use:
//! where memory is half in use, they would be in the way of what is large. They are given up
//! before a request is refused, and when nothing is in use any more: then the heap is as it was in the beginning. A
//! class that has enough objects for a run gets the page of one where there may not be more of them.

use super::Heap;
use super::break_up::SoughtInVain;
use super::slot_sizes::SlotSizes;
use super::take::End;
use crate::run::Run;
use crate::size::{BlockSize, Index, SlotSize};
use core::alloc::Layout;
use core::ptr::NonNull;

/// All idle runs are no more than this share of how much more is free than in use: 1/32.
const FREE_SHARE_LOG2: u32 = 5;

impl Heap {
    /// Lists a run that was full. Returns whether the class may have an idle run, so that the run is to be
    /// [settled](Self::settle).
    ///
    /// # Safety
    ///
    /// - It is a run, and that happened to it.
    #[inline(always)]
    pub(super) unsafe fn list_again(&mut self, run: Run) -> bool {
        // SAFETY: RUNS; a run is listed exactly if it has room.
        unsafe {
            let slot = run.slot_size();
            self.classes.list(self.arena, slot, run);
            self.classes.maybe_idle.has(slot)
        }
    }

    /// Keeps or gives up a run that is empty. If it is in use, the idle one of its class is given up.
    ///
    /// # Safety
    ///
    /// - It is a listed run.
    #[inline(never)]
    pub(crate) unsafe fn settle(&mut self, run: Run) {
        // SAFETY: RUNS; a run is listed exactly if it has room.
        unsafe {
            let slot = run.slot_size();
            if run.used() > 0 {
                self.classes.maybe_idle.remove(slot);
                if let Some(idle) = self.idle_run(slot) {
                    self.give_up(idle, slot);
                }
                return;
            }
            let is_alone = self.classes.head(slot) == run.index(self.arena) && run.links().0.is_none();
            if !(is_alone && self.keep_idle(slot)) {
                self.classes.busy.remove(slot);
                self.give_up(run, slot);
            }
            if self.is_idle() {
                self.begin_anew();
            }
        }
    }

    /// Notes that the one run of a class with room is idle, if there may be one more. Returns whether that is so.
    #[inline(always)]
    fn keep_idle(&mut self, slot: SlotSize) -> bool {
        let is_kept = self.classes.maybe_idle.has(slot) || self.may_keep_one_more();
        if is_kept {
            self.classes.maybe_idle.add(slot);
        }
        is_kept
    }

    /// Whether there may be one more idle run.
    #[inline(never)]
    pub(super) fn may_keep_one_more(&mut self) -> bool {
        if self.fits_one_more() {
            return true;
        }
        // Some are in use again.
        let mut idle = SlotSizes::NONE;
        self.classes
            .maybe_idle
            .iter()
            .filter(|&slot| self.idle_run(slot).is_some())
            .for_each(|slot| idle.add(slot));
        self.classes.maybe_idle = idle;
        self.fits_one_more()
    }

    /// Whether one more is little, with all that may be idle.
    fn fits_one_more(&self) -> bool {
        let count = self.classes.maybe_idle.count() + 1;
        count == 1 || self.are_little(count)
    }

    /// Whether so many pages are little beside how much more is free than in use.
    pub(super) fn are_little(&self, pages: u32) -> bool {
        let more = self.free_granules().saturating_sub(self.figures.live());
        pages.saturating_mul(self.pages.granules()) <= more >> FREE_SHARE_LOG2
    }

    /// Makes a run without slots in use a free block, or part of one, or of the top. Returns where that begins.
    ///
    /// # Safety
    ///
    /// - It is a listed run of that class, and none of its slots is in use.
    #[inline(never)]
    unsafe fn give_up(&mut self, run: Run, slot: SlotSize) -> Option<Index> {
        // SAFETY: the caller's contract; RUNS.
        unsafe {
            self.classes.discharge(self.arena, slot, run);
            run.mark_freed();
            self.pages.forget(run);
            let index = run.index(self.arena);
            let tag = self.arena.tag(index).in_one_piece();
            // What the neighbours say is right, unless the heap was overwritten: then the page is lost.
            self.merge_out_of_line(index, tag)
        }
    }

    /// Whether there may be an idle run.
    #[inline(always)]
    pub(super) fn has_idle_run(&self) -> bool {
        !self.classes.maybe_idle.is_empty()
    }

    /// Whether nothing is in use, and there may be idle runs.
    #[inline(always)]
    pub(super) fn is_idle(&self) -> bool {
        self.figures.live() == 0 && self.has_idle_run()
    }

    /// The idle run of a class that may have one.
    #[inline(always)]
    fn idle_run(&self, slot: SlotSize) -> Option<Run> {
        let head = self.classes.head(slot);
        let run = Run::at(self.arena, head);
        // SAFETY: RUNS.
        (!head.is_none() && unsafe { run.used() } == 0).then_some(run)
    }

    /// An idle run, if there is one, and its class. It is not noted any more.
    fn next_idle_run(&mut self) -> Option<(Run, SlotSize)> {
        while let Some(slot) = self.classes.maybe_idle.pop() {
            if let Some(run) = self.idle_run(slot) {
                return Some((run, slot));
            }
        }
        None
    }

    /// Makes an idle run a free block, if there is one. Returns where that begins, or the top if it is part of that
    /// now.
    #[cold]
    #[inline(never)]
    fn give_up_idle_run(&mut self) -> Option<Index> {
        let (idle, slot) = self.next_idle_run()?;
        // SAFETY: RUNS, it is listed, and has no slot in use.
        unsafe { self.give_up(idle, slot) }
    }

    /// Makes all idle runs free blocks.
    pub(super) fn give_up_idle_runs(&mut self) {
        while self.has_idle_run() {
            self.give_up_idle_run();
        }
    }

    /// Gives up all idle runs, where nothing is in use: then all that there is becomes the top. To give up one after
    /// the other would take as many steps for each as this does for all.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_anew(&mut self) {
        if self.map_block().is_some() {
            return self.give_up_idle_runs();
        }
        invariant!(self.figures.live() == 0);
        let idle = self.classes.maybe_idle.iter().filter_map(|slot| self.idle_run(slot));
        idle.for_each(|run| self.pages.forget(run));
        self.classes.forget_runs();
        self.free.forget_all();
        self.victim = Index::NONE;
        self.top = Index::FIRST;
    }

    /// The page of an idle run, if there is one.
    pub(super) fn take_idle_page(&mut self) -> Option<Index> {
        let (run, slot) = self.next_idle_run()?;
        // SAFETY: RUNS, it is listed, and has no slot in use.
        unsafe {
            self.classes.discharge(self.arena, slot, run);
            run.mark_freed();
        }
        Some(run.index(self.arena))
    }

    /// What is left to try before a request is refused: idle runs become free blocks, a small request takes a slot that
    /// is larger than need be, and a run with few slots in use is [broken up](Self::break_up_for). (Of what became free
    /// with idle runs only that is searched.)
    #[cold]
    #[inline(never)]
    pub(super) fn last_resort(
        &mut self,
        bytes: usize,
        size: BlockSize,
        align: usize,
        end: End,
    ) -> Option<NonNull<u8>> {
        while self.has_idle_run() {
            let freed = self.give_up_idle_run();
            if let Some(index) = freed.and_then(|freed| self.take_out_of(freed, size, align, end)) {
                return Some(self.hand_out(self.arena, index));
            }
        }
        if let Some(slot) = SlotSize::serving(bytes, align) {
            let with_room = self.classes.with_room.from(slot);
            let larger = with_room.iter().find(|slot| slot.align() >= align);
            if let Some(block) = larger.and_then(|larger| self.take_slot(larger)) {
                return Some(block);
            }
        }
        if !self.break_up_for(Layout::from_size_align(bytes, align).ok()?) {
            return None;
        }
        // Once is enough.
        let sought = self.classes.sought_in_vain;
        self.classes.sought_in_vain = SoughtInVain::anything(self.figures.live());
        let found = self.alloc_block(bytes, align, end);
        self.classes.sought_in_vain = sought;
        found
    }
}
