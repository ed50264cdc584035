//! Whose a run is: the heap's, or a thread's cache's.
//!
//! A cache that owns a run takes and frees its slots without the heap's lock. The heap touches none of them
//! meanwhile, and counts all as in use. `used` then tells after how many releases the owner is to look at the run:
//! after the first one if it is full, which makes it one with room; after as many as there are slots in use, if it is
//! on a list of runs with room, which makes it one that is empty.

use super::{FULL, Run, Word};
use crate::size::GRANULE;
use core::ptr::{NonNull, null_mut};

/// The part of a run that slots are taken from: a word of its bitmap, and the first of that word's slots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) word: Word,
    pub(crate) first: *mut u8,
    /// Bytes of a slot.
    pub(crate) bytes: u32,
}

impl Run {
    /// Prepares the run for a cache. Returns how many slots are free. The owner looks at it at the latest possible
    /// time.
    ///
    /// # Safety
    ///
    /// - It is a run of the heap's, and the caller has the heap to itself.
    pub(crate) unsafe fn hand_over(self) -> u32 {
        let header = self.header;
        // SAFETY: a run's header is the heap's own (contract).
        unsafe {
            let free = self.slots() - u32::from((*header).used);
            (*header).lowest = FULL;
            self.look_after(u16::MAX);
            free
        }
    }

    /// Prepares the run for the heap. Returns how many slots are free.
    ///
    /// # Safety
    ///
    /// - It is a run of a cache's, and the caller has both the cache and the heap to itself.
    pub(crate) unsafe fn take_over(self) -> u32 {
        let header = self.header;
        // SAFETY: a run's header is the heap's own, and nobody else is at the bitmap (contract).
        unsafe {
            let free = self.free_slots();
            (*header).lowest = self.next_word(0);
            (*header).used = (self.slots() - free) as u16;
            free
        }
    }

    /// After so many releases the owner is to look at the run.
    ///
    /// # Safety
    ///
    /// - It is a run, and the caller is its owner.
    #[inline(always)]
    pub(crate) unsafe fn look_after(self, releases: u16) {
        // SAFETY: a run's header is its owner's to write (contract).
        unsafe { (*self.header).used = releases }
    }

    /// Gives a slot back; `None`, and nothing is done, if it is free already. Otherwise, whether the owner is to look
    /// at the run.
    ///
    /// # Safety
    ///
    /// - It is a run with a slot of that number, and the caller is its owner.
    #[inline(always)]
    pub(crate) unsafe fn put_back(self, number: u32) -> Option<bool> {
        // SAFETY: the slot has a bit, and header and bitmap are the owner's to write.
        unsafe {
            if !self.set_free(number) {
                return None;
            }
            let used = &raw mut (*self.header).used;
            *used = (*used).wrapping_sub(1);
            Some(*used == 0)
        }
    }

    /// As [`put_back`](Self::put_back), but does nothing if the owner would have to look at the run then. Returns
    /// whether it is done.
    ///
    /// # Safety
    ///
    /// - As for [`put_back`](Self::put_back).
    #[inline(always)]
    pub(crate) unsafe fn put_back_simply(self, number: u32) -> bool {
        // SAFETY: the caller's contract. What is undone was done just now.
        unsafe {
            let is_to_look = self.put_back(number);
            if is_to_look == Some(true) {
                // To look first and to write then would take more instructions.
                let word = self.word(number / 64);
                word.write(word.read() & !(1 << (number % 64)));
                self.look_after(1);
            }
            is_to_look == Some(false)
        }
    }

    /// How many slots are free.
    ///
    /// # Safety
    ///
    /// - It is a run, and the caller is its owner.
    pub(crate) unsafe fn free_slots(self) -> u32 {
        // SAFETY: the bitmap has that many words.
        unsafe {
            let opened: u32 = (0..self.words()).map(|word| self.word(word).read().count_ones()).sum();
            opened + self.slots() - self.opened()
        }
    }

    /// The lowest free slots.
    ///
    /// # Safety
    ///
    /// - It is a run, and the caller is its owner.
    pub(crate) unsafe fn lowest_spot(self) -> Option<Spot> {
        // SAFETY: the bitmap has that many words. The first slot of each lies in the page.
        unsafe {
            let word = u32::from(Some(self.next_word(0)).filter(|&word| word != FULL)?);
            let first = u32::from((*self.header).first) + word * 64 * self.granules();
            let bytes = self.granules() * GRANULE as u32;
            Some(Spot { word: self.word(word), first: self.granule(first), bytes })
        }
    }
}

impl Spot {
    /// All zero bytes; no spot to take anything from.
    pub(crate) const NULL: Self = Self { word: Word::null(), first: null_mut(), bytes: 0 };

    /// Takes the lowest free slot, if there is one.
    ///
    /// # Safety
    ///
    /// - The caller is the owner of the run, if there is one: a word that nobody writes and that is zero will do, too.
    #[inline(always)]
    pub(crate) unsafe fn take(self) -> Option<NonNull<u8>> {
        // SAFETY: the caller's contract. The slot lies in the run's page.
        unsafe {
            let free = self.word.read();
            if free == 0 {
                return None;
            }
            self.word.write(free & (free - 1));
            let slot = self.first.wrapping_add(free.trailing_zeros() as usize * self.bytes as usize);
            Some(NonNull::new_unchecked(slot))
        }
    }
}
