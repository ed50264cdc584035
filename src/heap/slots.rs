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
//! Long slots, of more than 256 bytes, are for arenas that are four fifths free. Few of them fit a page, so that one
//! that stays in use keeps much from other sizes; their sizes are far apart; and the header that they spare is little
//! beside them (but not the gap between blocks at multiples of 64 and more, where that is what they spare). Without
//! them at all, what is free serves as much as in an arena without runs, and programs with such objects take 1.4 to 3
//! times the time.
//!
//! A run's page comes from a free block that holds one, and else from the top. But where aligned blocks have left gaps,
//! and there is much between the blocks, beside the top, no run is cut from that while a hole is left that holds an
//! object of the class: the gaps would be lost to small objects, until it is too late for aligned ones. (Objects at
//! multiples of 16 and more get runs all the same: as blocks they would leave gaps themselves.)
//!
//! A class asks whether it has earned a run when it has enough in blocks for that, as far as its own counts tell, and
//! then again after as much was served with blocks as it lacked, or a quarter of a page. Blocks are counted for the
//! class that is as long as they are. An object may need a longer slot for the sake of its alignment, as small hash
//! tables do at multiples of 16. What is served of these is counted apart, for the class that they need, which asks for
//! their sake where its slots take hardly more than their blocks.
//!
//! What is in use one after the other counts, too: a class that was served a page's length in blocks since it
//! had a run gets a first one, as long as two thirds of the arena are free, and all runs of such classes are little
//! beside how much more is free than in use.
//!
//! Of a class's runs that have room, one is used until it is full, and then the one that was full last, so
//! that the others become empty. An empty run is given up at once, unless it is the only one of its class
//! with room, which may be kept (`heap/idle.rs`).

use super::break_up::SoughtInVain;
use super::slot_sizes::SlotSizes;
use super::{Heap, Released};
use crate::block::Arena;
use crate::run::{HEAP, Pages, Returned, Run, RunList};
use crate::size::{BlockSize, GRANULE, Index, SlotSize};
use core::ptr::NonNull;

/// The least that a class has to have in blocks to get its first run, as a share of a page: 1/32.
const LEAST_SHARE_LOG2: u32 = 5;

/// A class that lacks more asks for a run again after it was served this share of a page: 1/4. What is free and in use
/// may have changed by then. (Asking took a fifth of the time where sizes are many.)
const LONGEST_WAIT_SHARE_LOG2: u32 = 2;

/// What the objects of a full run have to take in blocks, in 64ths of a page, so that the run takes hardly more, or a
/// tenth where they are aligned, since an aligned block takes three times as long; and so that it is cut while half
/// of the arena is free.
const LEAST_DENSE: u64 = 63;
const LEAST_DENSE_ALIGNED: u64 = 58;
const LEAST_ANYHOW: u64 = 53;

/// Long slots are cut as long as live memory is this share of free memory at most, 1/4, unless blocks instead would
/// take this share more, 1/16.
const LONG_SLOTS_SHARE_LOG2: u32 = 2;
const LONG_SLOTS_SPARE_LOG2: u32 = 4;

/// What lies free between blocks serves objects before there are more runs from the top, if it is more than this share
/// of that: 1/4.
const HOLES_SHARE_LOG2: u32 = 2;

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
    /// How much was served with such blocks.
    served: [Served; SlotSize::TABLE],
    /// How much was asked for that is [aligned](Objects::are_aligned) and found no slot of the class.
    aligned: [Served; SlotSize::TABLE],
    /// Classes that have a run with room.
    pub(super) with_room: SlotSizes,
    /// Classes that had a page's length served since they asked, and have a run for that.
    pub(super) busy: SlotSizes,
    /// Classes that may have an idle run.
    pub(super) maybe_idle: SlotSizes,
    /// Classes that are to ask for a run: they may have enough blocks, as far as is known without a look at what is
    /// free, and were served as much since they asked the last time as they lacked then.
    candidates: SlotSizes,
    /// Blocks at multiples of more than slots are aligned to were taken from the top, and have left gaps in front of
    /// them.
    pub(super) aligned_left_gaps: bool,
    pub(super) sought_in_vain: SoughtInVain,
}

/// How many granules were served with blocks of a class; all zero bytes in the beginning.
#[derive(Clone, Copy, Debug)]
struct Served {
    /// How many more have to be before the class asks for a run again.
    until_asked: u16,
    /// Since that was a page's length.
    in_all: u16,
}

impl Served {
    const NOTHING: Self = Self { until_asked: 0, in_all: 0 };

    #[inline(always)]
    fn add(&mut self, size: BlockSize) {
        let granules = size.granules() as u16;
        self.until_asked = self.until_asked.saturating_sub(granules);
        self.in_all = self.in_all.saturating_add(granules);
    }
}

/// What a class asks for a run for.
#[derive(Clone, Copy, Debug)]
struct Objects {
    /// The class that their blocks are counted for.
    counted_as: SlotSize,
    /// How many granules one takes in a block, about.
    in_block: u32,
    /// What those of a full run have to take in blocks where more is in use than free, in 64ths of a page.
    least_dense: u64,
    /// They need its slots for their alignment, and not by their length alone.
    are_aligned: bool,
}

impl Objects {
    /// Those that are as long as its slots, at multiples of `align`.
    #[inline(always)]
    const fn as_long_as(slot: SlotSize, align: usize) -> Self {
        let in_block = in_block(BlockSize::from_granules(slot.granules() + 1), align);
        Self { counted_as: slot, in_block, least_dense: LEAST_DENSE, are_aligned: false }
    }

    /// Those that such blocks at multiples of `align` hold.
    fn aligned(slot: SlotSize, block: BlockSize, align: usize) -> Self {
        let block = block.at(align);
        Self {
            counted_as: SlotClasses::of_block(block).unwrap_or(slot),
            in_block: in_block(block, align),
            least_dense: LEAST_DENSE_ALIGNED,
            are_aligned: true,
        }
    }
}

/// How many granules an object in such a block at a multiple of `align` takes, about. Half of the gap to the next one
/// counts, too: objects of other lengths may have that, or none.
#[inline(always)]
const fn in_block(block: BlockSize, align: usize) -> u32 {
    let between = if align > GRANULE { (align / GRANULE) as u32 } else { 1 };
    let with_gap = (block.granules() + between - 1) & !(between - 1);
    (block.granules() + with_gap) / 2
}

impl SlotClasses {
    pub(super) const fn new() -> Self {
        Self {
            with_room_lists: [RunList::EMPTY; SlotSize::TABLE],
            runs: [0; SlotSize::TABLE],
            blocks: [0; SlotSize::TABLE],
            served: [Served::NOTHING; SlotSize::TABLE],
            aligned: [Served::NOTHING; SlotSize::TABLE],
            with_room: SlotSizes::NONE,
            busy: SlotSizes::NONE,
            maybe_idle: SlotSizes::NONE,
            candidates: SlotSizes::NONE,
            aligned_left_gaps: false,
            sought_in_vain: SoughtInVain::NOTHING,
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
            served.add(size);
            let page = Pages::usual(page);
            let least = page >> LEAST_SHARE_LOG2;
            let is_enough = *blocks * size.granules() >= least || u32::from(served.in_all) >= page;
            if is_enough && served.until_asked == 0 {
                // Blocks of this size serve requests of this class and of the next.
                self.candidates.add_with_next(slot);
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

    /// How many granules a class had served with blocks for such objects, about. What is `enough` is counted anew
    /// afterwards. The class asks again after so many more as it `waits` for.
    #[inline(never)]
    fn ask(&mut self, slot: SlotSize, objects: Objects, waits: u32, enough: u32) -> u32 {
        let own = slot.number();
        let (below, of_all) = if objects.are_aligned {
            (own, &mut self.aligned)
        } else {
            (own.saturating_sub(1), &mut self.served)
        };
        let of_below = if below == own { 0 } else { of_all[below].in_all };
        let in_all = u32::from(of_all[own].in_all) + u32::from(of_below);
        for number in [below, own] {
            let served = &mut of_all[number];
            served.until_asked = waits as u16;
            if in_all >= enough {
                served.in_all = 0;
            }
        }
        in_all
    }

    /// The counts of blocks by class.
    pub(super) fn block_counts(&self) -> &[u32; SlotSize::TABLE] {
        &self.blocks
    }

    /// Forgets all that is known.
    pub(super) fn forget_all(&mut self) {
        *self = Self::new();
    }

    /// There are no runs any more, and nothing is in use.
    pub(super) fn forget_runs(&mut self) {
        self.with_room_lists = [RunList::EMPTY; SlotSize::TABLE];
        self.runs = [0; SlotSize::TABLE];
        [self.with_room, self.maybe_idle, self.busy] = [SlotSizes::NONE; 3];
        self.aligned_left_gaps = false;
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

    /// Counts a run no more, and lists it no more.
    ///
    /// # Safety
    ///
    /// - It is a run of that class in the arena, and listed.
    pub(super) unsafe fn discharge(&mut self, arena: Arena, slot: SlotSize, run: Run) {
        // SAFETY: the caller's contract.
        unsafe { self.unlist(arena, slot, run) };
        self.runs[slot.number()] -= 1;
        if self.runs[slot.number()] == 0 {
            self.busy.remove(slot);
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
        self.with_room.has(slot)
    }

    /// Puts a run that has room on the list of its class, behind the first one.
    ///
    /// # Safety
    ///
    /// - It is a run of that class in the arena, and not listed; those listed are runs.
    #[inline(always)]
    pub(super) unsafe fn list(&mut self, arena: Arena, slot: SlotSize, run: Run) {
        // SAFETY: the caller's contract.
        unsafe { self.with_room_lists[slot.number()].push_behind_first(arena, run) };
        self.with_room.add(slot);
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
            self.with_room.remove(slot);
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

    /// Takes a slot of a new run, for an object of so many bytes at a multiple of `align`, if the class is to ask for
    /// one and has earned it.
    #[inline(always)]
    pub(super) fn take_slot_of_new_run(
        &mut self,
        slot: SlotSize,
        bytes: usize,
        align: usize,
    ) -> Option<NonNull<u8>> {
        if align <= GRANULE && !self.classes.candidates.has(slot) {
            return None;
        }
        self.take_slot_of_run_if_earned(slot, bytes, align)
    }

    #[inline(never)]
    fn take_slot_of_run_if_earned(
        &mut self,
        slot: SlotSize,
        bytes: usize,
        align: usize,
    ) -> Option<NonNull<u8>> {
        let block = BlockSize::for_payload(bytes)?;
        let is_as_long =
            align <= GRANULE || block.granules() == slot.granules() + 1 && block.at(align) == block;
        let is_there = if is_as_long {
            self.add_run_of_candidate(slot, align)
        } else {
            let objects = self.aligned_objects(slot, block, align)?;
            self.add_run(slot, objects, align)
        };
        if is_there { self.take_slot(slot) } else { None }
    }

    /// The objects that a class asks for a run for now that one is to be put into such a block at a multiple of
    /// `align`; `None` if it does not ask. Those that can have no run however a page is divided, because slots take
    /// much more than their blocks, do not count: others that need slots of the class wait for what they lack.
    fn aligned_objects(&mut self, slot: SlotSize, block: BlockSize, align: usize) -> Option<Objects> {
        let objects = Objects::aligned(slot, block, align);
        if u64::from(objects.in_block) * 64 < u64::from(slot.granules()) * self.least_dense(objects) {
            return None;
        }
        let served = &mut self.classes.aligned[slot.number()];
        served.add(block);
        (served.until_asked == 0).then_some(objects)
    }

    /// Gives a class a run for the sake of objects that are as long as its slots, as all of a cache's are, at a
    /// multiple of `align`, if it is to ask for one and has earned it.
    #[inline(always)]
    pub(super) fn add_run_of_candidate(&mut self, slot: SlotSize, align: usize) -> bool {
        self.classes.candidates.has(slot) && self.add_run(slot, Objects::as_long_as(slot, align), align)
    }

    /// What the objects of a full run have to take in blocks now, in 64ths of a page.
    fn least_dense(&self, objects: Objects) -> u64 {
        if self.figures.live() > self.free_granules() { objects.least_dense } else { LEAST_ANYHOW }
    }

    /// Whether a class has earned a run. If not, it asks again when it may have what it lacks, or after the longest
    /// wait.
    #[inline(always)]
    fn has_earned(&mut self, slot: SlotSize, objects: Objects) -> bool {
        let usual = Pages::usual(self.pages.granules());
        let Some(lacks) = self.lacks(slot, objects, usual) else { return true };
        if lacks > u64::from(usual >> LEAST_SHARE_LOG2) {
            let longest = u64::from(usual >> LONGEST_WAIT_SHARE_LOG2);
            self.classes.ask(slot, objects, lacks.min(longest) as u32, u32::MAX);
        }
        false
    }

    /// How many more granules a class has to have in blocks to earn a run, about; `u64::MAX` if that is not what it
    /// lacks, and `None` if it has earned one.
    #[inline(always)]
    fn lacks(&mut self, slot: SlotSize, objects: Objects, usual: u32) -> Option<u64> {
        let page = u64::from(self.pages.granules());
        let blocks = self.classes.blocks(objects.counted_as).max(self.classes.blocks(slot));
        let in_blocks = u64::from(blocks) * u64::from(slot.granules());
        let in_runs = u64::from(self.classes.runs(slot)) * page;
        let live = u64::from(self.figures.live());
        let free = u64::from(self.free_granules());
        let in_blocks_instead = u64::from(self.pages.in_blocks_instead(slot, objects.in_block));
        let is_dense = in_blocks_instead * 64 >= page * self.least_dense(objects);
        if objects.are_aligned && !is_dense {
            // Others of the class may be denser: they are not to wait.
            return Some(0);
        }
        if !objects.are_aligned {
            self.classes.candidates.remove(slot);
        }
        let in_all = self.classes.ask(slot, objects, usual >> LEAST_SHARE_LOG2, usual);
        let is_busy = in_all >= usual || self.classes.busy.has(slot);
        let spared = objects.in_block.saturating_sub(slot.granules());
        let spares_little = slot.is_long() && spared << LONG_SLOTS_SPARE_LOG2 < slot.granules();
        let is_too_long = spares_little && live << LONG_SLOTS_SHARE_LOG2 > free;
        if !is_dense || is_too_long || !self.pages.exist() {
            return Some(u64::MAX);
        }
        if in_runs == 0
            && is_busy
            && live > 0
            && live * 2 <= free
            && self.are_little(self.classes.busy.count() + 1)
        {
            self.classes.busy.add(slot);
            return None;
        }
        self.classes.busy.remove(slot);
        let is_enough = in_runs > 0 || in_blocks << LEAST_SHARE_LOG2 >= u64::from(usual);
        // Objects over half a page's granules, and live over free memory, each side times all denominators.
        let (has, needs) = ((in_blocks + in_runs) * free * 2, page * live * u64::from(slot.granules()));
        if is_enough && has >= needs {
            return None;
        }
        Some(needs.saturating_sub(has).checked_div(free * 2).unwrap_or(u64::MAX))
    }

    /// Gives a class a run for such objects, at a multiple of `align`, if it [has earned](Self::has_earned) one.
    #[inline(never)]
    fn add_run(&mut self, slot: SlotSize, objects: Objects, align: usize) -> bool {
        if !self.has_earned(slot, objects) {
            return false;
        }
        let idle = if self.may_keep_one_more() { None } else { self.take_idle_page() };
        let Some(index) =
            idle.or_else(|| self.take_page_for_slots(slot, align)).or_else(|| self.take_idle_page())
        else {
            if self.classes.runs(slot) == 0 {
                self.classes.busy.remove(slot);
            }
            return false;
        };
        // SAFETY: the page is a block of the heap's own, or a run without slots in use that is on no list.
        unsafe {
            let run = Run::cut(self.arena, index, self.pages.block(), slot);
            self.pages.set_owner(run, HEAP);
            self.classes.list(self.arena, slot, run);
        }
        self.classes.runs[slot.number()] += 1;
        // It asks again as soon as that is full.
        if objects.are_aligned {
            self.classes.aligned[slot.number()].until_asked = 0;
        } else {
            self.classes.candidates.add(slot);
        }
        true
    }

    /// Whether the next object of a class, at a multiple of `align`, is better put where there is a hole for it than
    /// into a run from the top.
    fn has_hole_for(&self, slot: SlotSize, align: usize) -> bool {
        if !self.classes.aligned_left_gaps || align > GRANULE {
            return false;
        }
        let top = self.growth.capacity.saturating_sub(self.top.get());
        let free = self.free_granules();
        let block = BlockSize::from_granules(slot.granules() + 1);
        free.saturating_sub(top) > top >> HOLES_SHARE_LOG2
            && (self.victim_holding(block).is_some() || self.free.good_fit(self.arena, block).is_some())
    }

    /// Takes a page of what is free, for an object of a class at a multiple of `align`.
    fn take_page_for_slots(&mut self, slot: SlotSize, align: usize) -> Option<Index> {
        let index = match self.take_page_of_free() {
            None if self.has_hole_for(slot, align) => return None,
            None => self.take_page_of_top()?,
            Some(index) => index,
        };
        // SAFETY: the page was just taken from the heap, as a block.
        unsafe { self.arena.set_tag(index, self.arena.tag(index).cut_into_slots()) };
        Some(index)
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
                // The only slot of a run is the last one, too.
                Returned::ToFullRun if !self.list_again(run) && run.used() > 0 => Released::Slot,
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
}
