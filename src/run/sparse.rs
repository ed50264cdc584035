//! Runs with few slots in use, none of which lie side by side.

use super::Run;
use crate::block::mark_freed;

/// So many are few.
const MOST: usize = 12;

/// Where slots in use begin, in granules from their page, the lowest first.
pub(crate) struct ScatteredSlots {
    places: [u32; MOST],
    count: usize,
    /// Granules of a slot.
    granules: u32,
}

impl ScatteredSlots {
    /// Those of a run, if they are few, and none of them lie side by side.
    ///
    /// # Safety
    ///
    /// - It is a run of the heap's.
    pub(crate) unsafe fn of(run: Run) -> Option<Self> {
        // SAFETY: the caller's contract. The bitmap has that many words.
        unsafe {
            if run.used() as usize > MOST {
                return None;
            }
            let (first, granules, opened) = (u32::from((*run.header).first), run.granules(), run.opened());
            let mut found = Self { places: [0; MOST], count: 0, granules };
            // The bit of a slot that has none yet is zero as if it were in use.
            let used = |word: u32| !run.word(word).read() & !0 >> (64 - (opened - word * 64).min(64));
            let mut is_last_used = 0;
            for word in 0..run.words() {
                let mut left = used(word);
                if left & (left << 1 | is_last_used) != 0 {
                    return None;
                }
                is_last_used = left >> 63;
                while left != 0 {
                    *found.places.get_mut(found.count)? =
                        first + (word * 64 + left.trailing_zeros()) * granules;
                    found.count += 1;
                    left &= left - 1;
                }
            }
            Some(found)
        }
    }

    /// Granules of each.
    pub(crate) fn granules(&self) -> u32 {
        self.granules
    }

    /// Where they begin.
    pub(crate) fn places(&self) -> &[u32] {
        self.places.get(..self.count).unwrap_or_default()
    }

    /// What lies in front of each of them, and behind the last one, in a page of so many granules, if each has a
    /// granule more: where that begins, and its granules.
    pub(crate) fn gaps(&self, page: u32) -> impl Iterator<Item = (u32, u32)> {
        let starts = core::iter::once(0).chain(self.places().iter().map(|place| place + self.granules + 1));
        let ends = self.places().iter().copied().chain(core::iter::once(page));
        starts.zip(ends).map(|(start, end)| (start, end - start))
    }

    /// Leaves a word in front of each slot that is free, unless the one in front of it is in use, or none, that reads
    /// as the header of a free block; as for a run that is [given up](Run::mark_freed).
    ///
    /// # Safety
    ///
    /// - These are the slots in use of that run of the heap's, and all of the page but these is the heap's own.
    pub(crate) unsafe fn mark_freed_between(&self, run: Run) {
        // SAFETY: a run's header is initialised. The word in front of a slot lies in the one before, which is free.
        unsafe {
            let (first, opened) = (u32::from((*run.header).first), run.opened());
            let numbers = self.places().iter().map(|place| (place - first) / self.granules);
            let mut free_from = 0;
            for end in numbers.chain([opened]) {
                if end > free_from + 1 {
                    let start = run.granule(first + (free_from + 1) * self.granules);
                    mark_freed(start, self.granules, end - free_from - 1);
                }
                free_from = end + 1;
            }
        }
    }
}
