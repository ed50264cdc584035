//! Breaking up a run that has few slots in use, where a request would be refused otherwise: those become blocks, and
//! all that lies between them is free for any size.
//!
//! ```text
//!  ┌────────┬────────────┬──────┬──────┬──────┬──────┬──────┬──────┬────────┐
//!  │ header │ run header │ free │ used │ free │ free │ used │ free │ next's │
//!  └────────┴────────────┴──────┴──────┴──────┴──────┴──────┴──────┴ header ┘
//!  ┌────────┬─────────────────┬─┬───────┬─┬─────────┬─┬───────┬─┬───┬────────┐
//!  │ header │   free block    │h│ block │h│  free   │h│ block │h│ … │ next's │
//!  └────────┴─────────────────┴─┴───────┴─┴─────────┴─┴───────┴─┴───┴ header ┘
//! ```
//!
//! A slot fills all of its place, so that its block has a granule more, and neither its header nor that of what follows
//! has room unless the slots on both sides are free. So a run can be broken up if none of its slots in use lie side by
//! side, as it is where few are left of many. Nothing moves, and no pointer changes.

use super::Heap;
use super::slot_sizes::SlotSizes;
use crate::block::Tag;
use crate::run::{Run, ScatteredSlots};
use crate::size::{BlockSize, GRANULE, Index, SlotSize, worst_alignment_gap};
use core::alloc::Layout;

/// So many runs with few slots in use are looked at for one that can be broken up and has room then. Of those that have
/// too many, or some side by side, as many times more are: a look at one of these is hardly more than a glance.
const MOST_LOOKED_AT: u32 = 24;
const GLANCES: u32 = 8;

/// When none was found, what is in use has to change by this share of a page before the next search, or so many
/// requests to be refused: one eighth, and eight.
const CHANGE_SHARE_LOG2: u32 = 3;
const REFUSALS: u8 = 8;

/// The last search in which no run was found that can be broken up; all zero bytes if there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SoughtInVain {
    /// For how many granules it was.
    pub(super) granules: u32,
    /// How many were in use then.
    pub(super) live: u32,
    /// How many requests were refused since without a search.
    refused: u8,
    /// Whether all runs were looked at in that search.
    is_complete: bool,
    /// The class that the next search begins with, and the run, if that is of the class then.
    next_class: u8,
    next_run: Index,
}

impl SoughtInVain {
    pub(super) const NOTHING: Self =
        Self { granules: 0, live: 0, refused: 0, is_complete: false, next_class: 0, next_run: Index::NONE };

    /// There is no run to be broken up for anything, while so many granules are in use.
    pub(super) const fn anything(live: u32) -> Self {
        Self { granules: 1, live, ..Self::NOTHING }
    }
}

/// A run that can be broken up, and its neighbour behind it if that is to be as well.
pub(crate) struct SparseRuns(Run, Option<Run>);

/// The granules of a block that a request certainly fits into.
fn granules_for(layout: Layout) -> Option<u32> {
    let size = BlockSize::for_payload(layout.size())?;
    let gap = if layout.align() > GRANULE { worst_alignment_gap(layout.align()) } else { 0 };
    size.granules().checked_add(u32::try_from(gap).ok()?)
}

impl Heap {
    /// A run, or two that are neighbours, so that there is a free block for such a request when they are broken up.
    #[cold]
    #[inline(never)]
    pub(crate) fn sparse_runs(&mut self, layout: Layout) -> Option<SparseRuns> {
        let granules = granules_for(layout)?;
        if granules > self.growth.capacity || !self.is_worth_looking(granules) {
            return None;
        }
        let found = self.sparse_runs_for(granules);
        if found.is_none() {
            let sought = &mut self.classes.sought_in_vain;
            (sought.granules, sought.live, sought.refused) = (granules, self.figures.live(), 0);
        }
        found
    }

    /// Breaks up a run, or two. Returns whether that was done: not if somebody looks at what runs' headers say.
    ///
    /// # Safety
    ///
    /// - They were [found](Self::sparse_runs) just now.
    /// - Nobody looks at headers of runs without the lock, but in [`usable_size_at`](Self::usable_size_at).
    pub(crate) unsafe fn break_up(&mut self, runs: SparseRuns) -> bool {
        if !self.figures.runs_may_go() {
            return false;
        }
        let SparseRuns(first, second) = runs;
        // SAFETY: RUNS, they are listed (contract).
        let is_done =
            unsafe { self.break_up_run(first) && second.is_none_or(|second| self.break_up_run(second)) };
        self.figures.runs_stay();
        is_done
    }

    /// Finds some and [breaks them up](Self::break_up), unless caches have copies of where pages are: their threads may
    /// look at any run's header.
    pub(super) fn break_up_for(&mut self, layout: Layout) -> bool {
        // SAFETY: there are no caches.
        !self.facts.is_copied && self.sparse_runs(layout).is_some_and(|runs| unsafe { self.break_up(runs) })
    }

    /// Whether a request that was refused just now would be refused again, as long as nothing changes: if it is more
    /// than there is, or there was a search for its sake, in which all runs were looked at.
    pub(crate) fn has_refused_for_good(&self, layout: Layout) -> bool {
        let sought = &self.classes.sought_in_vain;
        let is_searched = sought.is_complete && sought.refused == 0 && sought.live == self.figures.live();
        granules_for(layout).is_none_or(|granules| {
            granules > self.growth.capacity || is_searched && (1..=granules).contains(&sought.granules)
        })
    }

    /// Whether there may be a run to be broken up for so many granules: unless none was found the last time for as many
    /// at most, and what is in use has hardly changed since. It may be another part of the runs that are looked at, or
    /// what is in use may be elsewhere, so that there is a search now and then.
    fn is_worth_looking(&mut self, granules: u32) -> bool {
        let page = self.pages.granules();
        let sought = &mut self.classes.sought_in_vain;
        let change = self.figures.live().abs_diff(sought.live);
        if sought.granules == 0 || granules < sought.granules || change > page >> CHANGE_SHARE_LOG2 {
            return true;
        }
        sought.refused = sought.refused.saturating_add(1);
        sought.refused >= REFUSALS
    }

    /// A run that can be broken up and leaves a gap of so many granules then, with what is free beside it, and with
    /// what its neighbour leaves if it is broken up, too.
    ///
    /// The search goes on where the last one ended, and round.
    fn sparse_runs_for(&mut self, granules: u32) -> Option<SparseRuns> {
        let mut left = MOST_LOOKED_AT * GLANCES;
        let first = SlotSize::numbered(self.classes.sought_in_vain.next_class.into());
        let goes_on_at = self.where_search_goes_on();
        let mut classes = self.classes.with_room.from(first);
        let mut rest = self.classes.with_room.below(first);
        if goes_on_at.is_some() {
            // The class where it began comes last, too, up to there.
            rest.add(first);
        }
        let mut is_second_round = false;
        loop {
            let Some(slot) = classes.pop() else {
                if rest.is_empty() {
                    break;
                }
                classes = core::mem::replace(&mut rest, SlotSizes::NONE);
                is_second_round = true;
                continue;
            };
            let head = self.classes.head(slot);
            let (mut index, end) = match goes_on_at {
                Some(run) if slot == first && is_second_round => (head, run),
                Some(run) if slot == first => (run, Index::NONE),
                _ => (head, Index::NONE),
            };
            while !index.is_none() && index != end {
                if left == 0 {
                    let sought = &mut self.classes.sought_in_vain;
                    (sought.next_class, sought.next_run) = (slot.number() as u8, index);
                    sought.is_complete = false;
                    return None;
                }
                let run = Run::at(self.arena, index);
                // SAFETY: RUNS.
                let (used, next) = unsafe { (ScatteredSlots::of(run), run.links().0) };
                if let Some(next) = used.as_ref().and_then(|used| self.gap_beside(index, used, granules)) {
                    return Some(SparseRuns(run, next));
                }
                left = left.saturating_sub(if used.is_some() { GLANCES } else { 1 });
                index = next;
            }
        }
        let sought = &mut self.classes.sought_in_vain;
        (sought.next_class, sought.next_run, sought.is_complete) = (0, Index::NONE, true);
        None
    }

    /// The run that the search is to go on at, if it is still one of the class.
    fn where_search_goes_on(&self) -> Option<Index> {
        let SoughtInVain { next_class, next_run, .. } = self.classes.sought_in_vain;
        if next_run.is_none() {
            return None;
        }
        let run = self.listed_run_at(next_run)?;
        // SAFETY: RUNS.
        let slot = unsafe { run.slot_size() };
        (slot.number() == usize::from(next_class)).then_some(next_run)
    }

    /// Whether a run at a position has a gap of so many granules between its slots in use, with what is free beside it:
    /// `None` if not, and the run behind it that has to be broken up as well for that, if there is one.
    fn gap_beside(&self, index: Index, used: &ScatteredSlots, granules: u32) -> Option<Option<Run>> {
        let own = self.block_of_run(index);
        let neighbours = self.neighbours(index, own)?;
        let mut behind = index + own.size();
        let mut free_behind = neighbours.free_behind();
        if free_behind > 0 {
            behind = behind + BlockSize::from_granules(free_behind);
        }
        if behind == self.top {
            free_behind += self.committed.granules_since(self.top);
        }
        let mut last = 0;
        for (start, gap) in used.gaps(own.granules()) {
            let in_front = if start == 0 { neighbours.free_in_front() } else { 0 };
            // What is too small to be a block is part of the one in front.
            let gap_alone = if gap > 1 { gap } else { 0 };
            last = in_front + gap_alone + if start + gap == own.granules() { free_behind } else { 0 };
            if last >= granules {
                return Some(None);
            }
        }
        if behind == self.top {
            return None;
        }
        let next = self.listed_run_at(behind)?;
        // SAFETY: RUNS.
        let first = unsafe { ScatteredSlots::of(next) }?.gaps(self.block_of_run(behind).granules()).next()?.1;
        (last + first >= granules).then_some(Some(next))
    }

    /// The header of the block that a run at a position is: that has a granule or two more than a page, where what was
    /// left of a free block was too small to be one.
    fn block_of_run(&self, index: Index) -> Tag {
        // SAFETY: RUNS.
        unsafe { self.arena.tag(index) }.in_one_piece()
    }

    /// The run of the heap's with room that begins at a position, if there is one.
    fn listed_run_at(&self, index: Index) -> Option<Run> {
        let (run, in_page) = self.run_at(self.arena.at_index(index))?;
        // SAFETY: RUNS.
        let is_listed = in_page == 0 && !self.is_run_of_cache(run) && unsafe { run.has_room() };
        is_listed.then_some(run)
    }

    /// Makes blocks of a run's slots in use, and frees the rest. False, and nothing is done, if its neighbours deny
    /// that it is a block.
    ///
    /// # Safety
    ///
    /// - It is a listed run of the heap's.
    unsafe fn break_up_run(&mut self, run: Run) -> bool {
        // SAFETY: the caller's contract.
        let Some(used) = (unsafe { ScatteredSlots::of(run) }) else { return false };
        let arena = self.arena;
        let index = run.index(arena);
        let at = |place: u32| Index::new(index.get() + place);
        // SAFETY: RUNS; a run is listed exactly if it has room. Headers lie in front of slots in use, and behind them
        // where their blocks end, both in what is free (`ScatteredSlots::of`); so does the run's own header, which is
        // not needed any more.
        unsafe {
            let tag = self.block_of_run(index);
            let granules = tag.granules();
            if self.neighbours(index, tag).is_none() {
                return false;
            }
            self.classes.discharge(arena, run.slot_size(), run);
            used.mark_freed_between(run);
            self.pages.forget(run);
            // Until all is a chain of blocks, they are all in use.
            for (start, gap) in used.gaps(granules).filter(|&(_, gap)| gap > 1) {
                let is_left_free = start == 0 && tag.is_left_free();
                arena.set_tag(
                    at(start),
                    Tag::used(BlockSize::from_granules(gap)).with_left_free(is_left_free),
                );
            }
            for (&place, (_, gap)) in used.places().iter().zip(used.gaps(granules).skip(1)) {
                // What is too small to be a block is part of the one in front.
                let size = BlockSize::from_granules(used.granules() + 1 + if gap == 1 { 1 } else { 0 });
                arena.set_tag(at(place), Tag::used(size));
                self.count_gone(used.granules());
                self.count_block(size);
            }
            for (start, _) in used.gaps(granules).filter(|&(_, gap)| gap > 1) {
                let freed = self.merge_out_of_line(at(start), arena.tag(at(start)));
                invariant!(freed.is_some());
            }
        }
        true
    }
}
