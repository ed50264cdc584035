//! What goes back to the system: when memory in use has fallen, when something else needs the room, or on request.

use super::span::{give_back, trim, uncommit};
use super::{Growing, State};
use crate::heap::Heap;
use crate::mapping;
use core::sync::atomic::Ordering;

/// Memory in use has to fall by this share of it, or so many bytes, before something is given back: 1/16 and 1 MiB.
/// Then it is free stretches of this share of the fall, 1/128: more of them would be smaller, and take more calls of
/// the system.
const FALL_SHARE_LOG2: u32 = 4;
const LEAST_FALL: usize = 1 << 20;
const STRETCH_SHARE_LOG2: u32 = 7;

/// When the pace has refused, so many visits pass before it is asked again, so that what goes back goes so many visits
/// later at most: to ask takes as long as a quick visit does, and most often the answer is the same.
const PAUSE: u8 = 16;

impl State {
    /// Gives back the pages that are kept, and those that stayed. Returns how many bytes of what had stayed were in
    /// memory.
    pub(super) fn give_back_kept(&mut self) -> usize {
        self.kept.give_back(&mut self.stayed, |_| true);
        self.stayed.give_back()
    }

    /// Gives back what is kept and too much beside what is in use: as a block grows it takes pages of the system's, and
    /// leaves what is kept where it is, and so does the heap. No more than a piece with each call, since the lock is
    /// held; the next visit goes on.
    pub(super) fn bound_kept(&mut self, heap: &Heap) {
        let in_use = heap.live_bytes() + self.outside();
        self.most_in_use = self.most_in_use.max(in_use);
        let most = self.most_in_use + (self.most_in_use >> FALL_SHARE_LOG2);
        let too_much = (in_use + self.kept.bytes()).saturating_sub(most).next_multiple_of(mapping::page());
        if too_much > 0 && self.kept.give_back_smallest(&mut self.stayed, too_much) {
            self.pause = 0;
        }
    }
}

impl<const CAP: usize, const HUGE_PAGES: bool> Growing<CAP, HUGE_PAGES> {
    /// Looks whether something is to go back now, when somebody has come to the heap.
    #[inline(always)]
    pub(super) fn look_for_fall(&self, heap: &mut Heap) {
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        let live = heap.live_bytes() + state.further.live_bytes();
        state.mark = state.mark.max(live);
        if state.mark - live + state.kept.bytes() > least_fall(live) || state.are_caches_told {
            match state.pause.checked_sub(1) {
                Some(pause) if !self.is_beyond_cap.load(Ordering::Relaxed) => state.pause = pause,
                _ => self.give_back_fallen(state, heap, live),
            }
        }
    }

    /// As [`look_for_fall`](Self::look_for_fall), for a cache. Returns whether so much less is in use that caches are
    /// to give back what whole runs are kept for.
    #[inline(always)]
    pub(super) fn look_for_fall_of_cache(&self, heap: &mut Heap) -> bool {
        // SAFETY: the heap is here.
        unsafe { self.state(heap) }.pause = 0;
        self.look_for_fall(heap);
        // SAFETY: as above.
        let state = unsafe { self.state(heap) };
        let has_fallen = core::mem::take(&mut state.has_fallen);
        state.are_caches_told |= has_fallen;
        has_fallen
    }

    /// What memory in use has fallen by since something was given back, and what is kept, is too much: it goes back, as
    /// far as the pace allows.
    #[cold]
    #[inline(never)]
    fn give_back_fallen(&self, state: &mut State, heap: &mut Heap, live: usize) {
        if self.is_beyond_cap.load(Ordering::Relaxed) {
            self.trim_all(state, heap);
            (state.has_fallen, state.are_caches_told) = (state.mark - live > least_fall(live), false);
        } else {
            let most = state.committed(heap);
            let State { pace, kept, stayed, .. } = state;
            kept.give_back(stayed, |bytes| pace.allows(bytes, most));
            // What heaps had in use is in memory still, until it goes back: who uses it again takes no more.
            let in_memory = state.mark + state.in_own_pages() + state.kept.bytes();
            state.most_in_use = state.most_in_use.min(in_memory);
            let fall = state.mark - live;
            let is_far = fall > least_fall(live);
            // What was kept for the sake of what caches had is not known before it goes back. What goes back beyond the
            // allowance is owed.
            let wanted = if is_far { fall } else { least_fall(live) };
            if !(is_far || state.are_caches_told) || !state.pace.has(wanted.min(most), most) {
                state.pause = PAUSE;
                return self.settle_limits(state, heap);
            }
            state.has_fallen = is_far;
            state.are_caches_told = false;
            state.further.unmap_empty();
            let (kept, least) = (least_fall(live), least_fall(live) >> STRETCH_SHARE_LOG2);
            let mut given_back = give_back(heap, least, kept, HUGE_PAGES);
            state.further.each(|heap| given_back += give_back(heap, least, kept, HUGE_PAGES));
            // More may have been free than what memory in use has fallen by, and less in memory.
            let charged = if mapping::TELLS_WHAT_IS_RESIDENT { given_back } else { wanted };
            state.pace.charge(charged, most);
        }
        state.mark = live;
        self.settle_limits(state, heap);
    }

    /// Gives back all that is free. Returns how many bytes of that were in memory.
    pub(super) fn trim_all(&self, state: &mut State, heap: &mut Heap) -> usize {
        let mut given_back = state.kept.resident_bytes() + trim(heap, HUGE_PAGES);
        given_back += state.give_back_kept();
        state.further.each(|heap| given_back += trim(heap, HUGE_PAGES));
        state.further.unmap_empty();
        given_back
    }

    /// Gives back what stands in the way of another request, under the cap or in the system: what is kept, and what is
    /// committed and was never used. Returns whether there was any.
    pub(super) fn make_room(&self, state: &mut State, heap: &mut Heap) -> bool {
        let before = state.committed(heap);
        state.give_back_kept();
        uncommit(heap, 0, HUGE_PAGES);
        state.further.unmap_empty();
        state.further.each(|heap| uncommit(heap, 0, HUGE_PAGES));
        self.settle_limits(state, heap);
        state.committed(heap) < before
    }
}

/// How much memory in use has to fall before something is given back.
fn least_fall(live: usize) -> usize {
    LEAST_FALL.max(live >> FALL_SHARE_LOG2)
}
