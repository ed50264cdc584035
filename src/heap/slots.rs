//! Small requests: slots of runs, and which size class earns a run.
//!
//! A class earns a run by its objects, those in blocks and those in its full runs: there have to be as many
//! of them, beside a half page's granules, as there is live memory beside free memory; and the first run is
//! not cut for less than 1/32 of a page in blocks. So where most of the arena is free, nearly every class has
//! runs; the fuller it is, the more a class has to have in use, and rare sizes, or all sizes where memory is
//! tight, are served by blocks, to the byte. Where a full run takes more memory than its objects in blocks, because
//! its header is much of a short page or few slots do not divide a page well, it is for arenas that are free by half,
//! and there is none where that is more than a sixth.
//!
//! What is in use one after the other counts, too: a class that was served a page's length in blocks since it
//! asked for a run gets a first one, if a page is little beside what is free.
//!
//! Of a class's runs that have room, one is used until it is full, and then the one that was full last, so
//! that the others become empty. An empty run is given up at once, unless it is the only one of its class
//! with room: then the class is likely to want it again. One is kept at most, which another class that asks
//! gets; it is given up when it is more than four times as much as what is in use, and before a request is
//! refused. (With five, programs that allocate few objects of many sizes in turn take a tenth less time, and a
//! request that comes to nothing more than 3,000 instructions.)

use super::take::End;
use super::{Heap, Released};
use crate::block::Arena;
use crate::run::{HEAP, Pages, Returned, Run, RunList};
use crate::size::{BlockSize, Index, SlotSize};
use core::ptr::NonNull;

/// The least that a class has to have in blocks to get its first run, as a share of a page: 1/32.
const LEAST_SHARE_LOG2: u32 = 5;

/// What the objects of a full run have to take in blocks, in 64ths of a page, so that the run takes hardly more; and so
/// that it is cut while half of the arena is free.
const LEAST_DENSE: u64 = 63;
const LEAST_ANYHOW: u64 = 53;

/// How little of the free memory a page has to be for a class that has a lot served, but little in use at a
/// time: 1/128.
const LITTLE_SHARE_LOG2: u32 = 7;

/// A run without a slot in use is kept while it is no more than so many times as much as what is in use: four
/// times.
const IDLE_SHARE_LOG2: u32 = 2;

/// What is known of each size class; all zero bytes in the beginning.
#[derive(Debug)]
pub(super) struct SlotClasses {
    /// The runs of each class that have room.
    with_room_lists: [RunList; SlotSize::TABLE],
    /// How many runs each class has.
    runs: [u32; SlotSize::TABLE],
    /// How many blocks are in use that hold what a slot of the class does, and not what one of the next
    /// class does.
    blocks: [u32; SlotSize::TABLE],
    /// How many granules were served with such blocks since the class asked for a run the last time.
    served: [u32; SlotSize::TABLE],
    /// A bit for each class that has a run with room.
    with_room: u64,
    /// A bit for each class that had a page's length served since it asked, and has a run for that, or had
    /// to give it up for that of another class.
    busy: u64,
    /// The bit of the class that may have the one run without slots in use that is kept.
    maybe_idle: u64,
    /// A bit for each class that is to ask for a run: that may have enough blocks, as far as is known
    /// without a look at what is free, and was served some since it asked the last time.
    candidates: u64,
}

impl SlotClasses {
    pub(super) const fn new() -> Self {
        Self {
            with_room_lists: [RunList::EMPTY; SlotSize::TABLE],
            runs: [0; SlotSize::TABLE],
            blocks: [0; SlotSize::TABLE],
            served: [0; SlotSize::TABLE],
            with_room: 0,
            busy: 0,
            maybe_idle: 0,
            candidates: 0,
        }
    }

    /// The class whose slots a block of that size could be, if there is one.
    #[inline(always)]
    pub(super) const fn of_block(size: BlockSize) -> Option<SlotSize> {
        let granules = size.granules() as usize - 1;
        if granules > SlotSize::MOST_GRANULES {
            return None;
        }
        Some(SlotSize::of_granules(granules))
    }

    /// Counts a block in use, in a heap whose pages have so many granules.
    #[inline(always)]
    pub(super) fn count_block(&mut self, size: BlockSize, page: u32) {
        if let Some(slot) = Self::of_block(size) {
            let blocks = &mut self.blocks[slot.number()];
            *blocks = blocks.wrapping_add(1);
            let served = &mut self.served[slot.number()];
            *served = served.saturating_add(size.granules());
            let page = Pages::usual(page);
            let least = page >> LEAST_SHARE_LOG2;
            if *served >= least && (*blocks * size.granules() >= least || *served >= page) {
                // Blocks of this size serve requests of this class and of the next.
                self.candidates |= 3 << slot.number();
            }
        }
    }

    #[inline(always)]
    pub(super) fn count_block_gone(&mut self, size: BlockSize) {
        if let Some(slot) = Self::of_block(size) {
            let blocks = &mut self.blocks[slot.number()];
            *blocks = blocks.wrapping_sub(1);
        }
    }

    /// How many blocks in use a class would serve with slots, about: four bytes more need a block of a
    /// granule more.
    fn blocks(&self, slot: SlotSize) -> u32 {
        let own = self.blocks[slot.number()];
        slot.number().checked_sub(1).map_or(own, |below| own.wrapping_add(self.blocks[below]))
    }

    /// How many granules a class had served with blocks since it asked the last time, about. It asks now.
    fn ask(&mut self, slot: SlotSize) -> u32 {
        self.candidates &= !(1 << slot.number());
        let own = core::mem::take(&mut self.served[slot.number()]);
        let below = slot.number().checked_sub(1).map_or(0, |below| core::mem::take(&mut self.served[below]));
        own.saturating_add(below)
    }

    /// The counts of blocks by class.
    pub(super) fn block_counts(&self) -> &[u32; SlotSize::TABLE] {
        &self.blocks
    }

    /// Forgets all that is known.
    pub(super) fn forget_all(&mut self) {
        *self = Self::new();
    }

    /// Counts a run, and lists it if it is to be listed.
    ///
    /// # Safety
    ///
    /// - It is a run of that class in the arena, and not counted; those listed are runs.
    pub(super) unsafe fn admit(&mut self, arena: Arena, slot: SlotSize, run: Run, is_listed: bool) {
        self.runs[slot.number()] += 1;
        if is_listed {
            // SAFETY: the caller's contract.
            unsafe { self.list(arena, slot, run) };
        }
    }

    /// Whether any class has a run.
    pub(super) fn have_runs(&self) -> bool {
        self.runs.iter().any(|&runs| runs > 0)
    }

    /// How many runs a class has.
    pub(super) fn runs(&self, slot: SlotSize) -> u32 {
        self.runs[slot.number()]
    }

    /// The first run of a class that has room, or [`Index::NONE`].
    #[inline(always)]
    pub(super) fn head(&self, slot: SlotSize) -> Index {
        self.with_room_lists[slot.number()].first()
    }

    /// Whether the map says that a class has a run with room.
    pub(super) fn is_with_room(&self, slot: SlotSize) -> bool {
        self.with_room & 1 << slot.number() != 0
    }

    /// Puts a run that has room on the list of its class, behind the first one.
    ///
    /// # Safety
    ///
    /// - It is a run of that class in the arena, and not listed; those listed are runs.
    #[inline(always)]
    unsafe fn list(&mut self, arena: Arena, slot: SlotSize, run: Run) {
        // SAFETY: the caller's contract.
        unsafe { self.with_room_lists[slot.number()].push_behind_first(arena, run) };
        self.with_room |= 1 << slot.number();
    }

    /// Takes a run off the list of those that have room.
    ///
    /// # Safety
    ///
    /// - It is a run of that class in the arena, and listed.
    unsafe fn unlist(&mut self, arena: Arena, slot: SlotSize, run: Run) {
        // SAFETY: the caller's contract.
        unsafe { self.with_room_lists[slot.number()].remove(arena, run) };
        self.note_room(slot);
    }

    /// Takes the first run off the list of those that have room.
    ///
    /// # Safety
    ///
    /// - Those listed are runs in the arena.
    #[inline(always)]
    pub(super) unsafe fn unlist_first(&mut self, arena: Arena, slot: SlotSize) -> Option<Run> {
        // SAFETY: the caller's contract.
        let first = unsafe { self.with_room_lists[slot.number()].pop(arena) };
        self.note_room(slot);
        first
    }

    /// Notes that a class has no run with room any more, if it has none.
    #[inline(always)]
    fn note_room(&mut self, slot: SlotSize) {
        if self.with_room_lists[slot.number()].is_empty() {
            self.with_room &= !(1 << slot.number());
        }
    }
}

impl Heap {
    /// Takes the lowest free slot of the first run of a class that has room, if there is one.
    #[inline(always)]
    pub(crate) fn take_slot(&mut self, slot: SlotSize) -> Option<NonNull<u8>> {
        let head = self.classes.head(slot);
        if head.is_none() {
            return None;
        }
        let run = Run::at(self.arena, head);
        // SAFETY: RUNS, a listed run has room.
        let taken = unsafe { run.take() };
        self.count_live(taken.granules);
        Some(if taken.is_last_of_word { self.go_on_in(run, slot, taken.slot) } else { taken.slot })
    }

    /// Goes on to the next word of the first run of a class, or takes it off the list if it is full. Returns what was
    /// taken from it, so that the caller need not keep that.
    #[inline(never)]
    fn go_on_in(&mut self, run: Run, slot: SlotSize, taken: NonNull<u8>) -> NonNull<u8> {
        // SAFETY: RUNS, it is the first one of its class.
        unsafe {
            if !run.go_on() {
                self.classes.unlist_first(self.arena, slot);
            }
        }
        taken
    }

    /// Takes a slot of a new run, if the class is to ask for one and has earned it.
    #[inline(always)]
    pub(super) fn take_slot_of_new_run(&mut self, slot: SlotSize) -> Option<NonNull<u8>> {
        if self.add_run_of_candidate(slot) { self.take_slot(slot) } else { None }
    }

    /// Gives a class a run, if it is to ask for one and has earned it.
    #[inline(always)]
    pub(super) fn add_run_of_candidate(&mut self, slot: SlotSize) -> bool {
        self.classes.candidates & 1 << slot.number() != 0 && self.add_run(slot)
    }

    fn has_earned(&mut self, slot: SlotSize) -> bool {
        let page = u64::from(self.pages.granules());
        let usual = u64::from(Pages::usual(self.pages.granules()));
        let in_blocks = u64::from(self.classes.blocks(slot)) * u64::from(slot.granules());
        let in_runs = u64::from(self.classes.runs(slot)) * page;
        let served = u64::from(self.classes.ask(slot));
        if !self.pages.exist() {
            return false;
        }
        let live = u64::from(self.figures.live());
        let free = u64::from(self.growth.capacity).saturating_sub(live);
        let in_blocks_instead = u64::from(self.pages.in_blocks_instead(slot));
        let is_dense = in_blocks_instead * 64 >= page * LEAST_DENSE;
        if !is_dense && (in_blocks_instead * 64 < page * LEAST_ANYHOW || live > free) {
            return false;
        }
        let bit = 1 << slot.number();
        if in_runs == 0
            && (served >= usual || self.classes.busy & bit != 0)
            && page << LITTLE_SHARE_LOG2 <= free
            && page <= live << IDLE_SHARE_LOG2
        {
            self.classes.busy |= bit;
            return true;
        }
        self.classes.busy &= !bit;
        let is_enough = in_runs > 0 || in_blocks << LEAST_SHARE_LOG2 >= usual;
        // Objects over half a page's granules, and live over free memory, each side times all denominators.
        is_enough && (in_blocks + in_runs) * free * 2 >= page * live * u64::from(slot.granules())
    }

    /// Gives a class a run, if it has earned one.
    #[inline(never)]
    fn add_run(&mut self, slot: SlotSize) -> bool {
        if !self.has_earned(slot) {
            return false;
        }
        let index = match self.take_idle_page() {
            Some(index) => index,
            None => {
                let Some(index) = self.take_page() else { return false };
                // SAFETY: the page was just taken from the heap, as a block.
                unsafe { self.arena.set_tag(index, self.arena.tag(index).cut_into_slots()) };
                index
            }
        };
        // SAFETY: the page is a block of the heap's own, or a run without slots in use that is on no list.
        unsafe {
            let run = Run::cut(self.arena, index, self.pages.block(), slot);
            self.pages.set_owner(run, HEAP);
            self.classes.list(self.arena, slot, run);
        }
        self.classes.runs[slot.number()] += 1;
        self.classes.candidates |= 1 << slot.number();
        true
    }

    /// Gives back the slot that begins so many granules from the start of a run.
    ///
    /// # Safety
    ///
    /// - It is a run of the heap's, and nobody uses the slot's bytes any more.
    #[inline(always)]
    pub(super) unsafe fn put_slot(&mut self, run: Run, in_page: u32) -> Released {
        // SAFETY: RUNS; the caller's contract.
        unsafe {
            let Some(returned) = run.own_slot_at(in_page).and_then(|number| run.put(number)) else {
                return Released::Rejected;
            };
            // The most frequent way is one of its own.
            if returned == Returned::Simply {
                self.count_gone(run.granules());
                return Released::Slot;
            }
            self.count_gone(run.granules());
            match returned {
                Returned::ToFullRun if !self.list_again(run) => Released::Slot,
                _ => Released::SlotOf(run),
            }
        }
    }

    /// As [`put_slot`](Self::put_slot), and settles what is to become of the run. False, and nothing is done, if
    /// the slot is not in use.
    ///
    /// # Safety
    ///
    /// - As for [`put_slot`](Self::put_slot).
    pub(super) unsafe fn put_slot_and_settle(&mut self, run: Run, in_page: u32) -> bool {
        // SAFETY: the caller's contract.
        unsafe {
            match self.put_slot(run, in_page) {
                Released::SlotOf(run) => self.settle(run),
                Released::Slot => {}
                Released::NoSlot | Released::Rejected => return false,
            }
        }
        true
    }

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
            self.classes.maybe_idle & 1 << slot.number() != 0
        }
    }

    /// Gives up a run that is empty, or, if it is in use, the idle one of its class.
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
                self.give_up_idle_run();
                return;
            }
            let is_alone = self.classes.head(slot) == run.index(self.arena) && run.links().0.is_none();
            let bit = 1 << slot.number();
            if is_alone && self.classes.maybe_idle & !bit == 0 {
                self.classes.maybe_idle = bit;
            } else {
                self.give_up(run, slot);
            }
            if self.is_too_idle() {
                self.give_up_idle_run();
            }
        }
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
            self.classes.unlist(self.arena, slot, run);
            self.classes.runs[slot.number()] -= 1;
            run.mark_freed();
            self.pages.forget(run);
            let index = run.index(self.arena);
            let tag = self.arena.tag(index).in_one_piece();
            // What the neighbours say is right, unless the heap was overwritten: then the page is lost.
            self.merge_out_of_line(index, tag)
        }
    }

    /// Whether there may be a run without slots in use.
    #[inline(always)]
    pub(super) fn has_idle_run(&self) -> bool {
        self.classes.maybe_idle != 0
    }

    /// Whether that is too much beside what is in use.
    #[inline(always)]
    pub(super) fn is_too_idle(&self) -> bool {
        self.has_idle_run() && self.figures.live() < self.pages.granules().div_ceil(1 << IDLE_SHARE_LOG2)
    }

    /// The first listed run of the class that may have an idle one, if that has no slot in use, and the class.
    /// None is thought to be idle any more.
    #[inline(never)]
    fn idle_run(&mut self) -> Option<(Run, SlotSize)> {
        let idle = core::mem::take(&mut self.classes.maybe_idle);
        if idle == 0 {
            return None;
        }
        let slot = SlotSize::numbered(idle.trailing_zeros());
        let head = self.classes.head(slot);
        let run = Run::at(self.arena, head);
        // SAFETY: RUNS.
        (!head.is_none() && unsafe { run.used() } == 0).then_some((run, slot))
    }

    /// Makes the run without slots in use a free block, if there is one. Returns where that begins, or the
    /// top if it is part of that now.
    #[cold]
    #[inline(never)]
    pub(super) fn give_up_idle_run(&mut self) -> Option<Index> {
        let (idle, slot) = self.idle_run()?;
        // SAFETY: RUNS, it is listed, and has no slot in use.
        unsafe { self.give_up(idle, slot) }
    }

    /// The page of the run without slots in use, if there is one. Its class gets another one as soon as it asks.
    fn take_idle_page(&mut self) -> Option<Index> {
        let (run, slot) = self.idle_run()?;
        self.classes.busy |= 1 << slot.number();
        self.classes.candidates |= 1 << slot.number();
        // SAFETY: RUNS, it is listed, and has no slot in use.
        unsafe {
            self.classes.unlist(self.arena, slot, run);
            self.classes.runs[slot.number()] -= 1;
            run.mark_freed();
        }
        Some(run.index(self.arena))
    }

    /// What is left to try before a request is refused: the idle run becomes a free block, and a small request
    /// takes a slot that is larger than need be. (Nothing else became free since there was no block to be had,
    /// so that is not searched for again.)
    #[cold]
    #[inline(never)]
    pub(super) fn last_resort(
        &mut self,
        bytes: usize,
        size: BlockSize,
        align: usize,
        end: End,
    ) -> Option<NonNull<u8>> {
        let taken = self.give_up_idle_run().and_then(|freed| self.take_out_of(freed, size, align, end));
        if let Some(index) = taken {
            return Some(self.hand_out(self.arena, index));
        }
        let slot = SlotSize::serving(bytes, align)?;
        let mut candidates = self.classes.with_room & !0 << slot.number();
        while candidates != 0 {
            let larger = SlotSize::numbered(candidates.trailing_zeros());
            if larger.align() >= align {
                return self.take_slot(larger);
            }
            candidates &= candidates - 1;
        }
        None
    }
}
