//! The run: a block of the heap that is one page long, cut into equal slots without headers.
//!
//! ```text
//!      page                                                       page + length - 4
//!  ┌────────┬────────────┬────────┬─────┬──────┬──────┬──────┬ … ┬──────┬───┬────────┐
//!  │ header │ run header │ bitmap │ pad │ slot │ slot │ slot │   │ slot │   │ next's │
//!  └────────┴────────────┴────────┴─────┴──────┴──────┴──────┴ … ┴──────┴───┴ header ┘
//!                        24 bytes on    ↑ first
//! ```
//!
//! - A *page* is a stretch of the arena that begins at a multiple of its length from the first page. (Pages
//!   of the operating system are something else.) It is 4,224 bytes long, and shorter, down to 1 KiB, in an arena of
//!   less than 513 KiB; in one of less than 8 KiB an eighth of that. It is not 4,096, because then all run headers
//!   would compete for the same few places of the processor's caches. In an arena of 64 MiB or more, and where memory
//!   is committed as it is needed, pages are 16 KiB long. A block of exactly one page, where a page is, packs without
//!   a gap.
//! - The bitmap has a bit for each slot, set while the slot is free. It is the run's free list, too: the
//!   lowest free slot is the one that is taken. Neither taking nor freeing touches the slot's own bytes, what
//!   is asked for in a row lies in a row, and a second free of a slot is certain to be seen.
//! - A run is the heap's, or for a time a thread's cache's (`run/owned.rs`).
//! - `lowest` is the first word of the bitmap with a slot that is free.
//! - The slots of a run are *opened* as they are needed, as many at once as lie in one of the system's pages: those
//!   behind have no bit yet. What of a long run was never used may not even be in memory, and stays so when it is given
//!   up. (That halves what many threads have in memory that allocate little each, and their time.)
//! - The first slot lies at a multiple of the slots' alignment.
//! - A byte per page in front of the arena ([`Pages`]) tells which pages are runs, and whose.
//!
//! (Free lists that belong to pages: Leijen, Zorn and de Moura, *Mimalloc: free list sharding in
//! action*, 2019. Bitmaps in place of lists: Evans, *A scalable concurrent malloc(3) implementation for
//! FreeBSD*, 2006. Here the pages come from a bounded free-list heap and go back to it.)

mod divisor;
mod list;
#[cfg(all(feature = "std", unix))]
mod owned;
mod pages;
mod sparse;
mod word;

pub(crate) use list::RunList;
#[cfg(all(feature = "std", unix))]
pub(crate) use owned::Spot;
pub(crate) use pages::{Geometry, Grid, HEAP, LeadsInto, Owner, Pages};
pub(crate) use sparse::ScatteredSlots;
#[cfg(all(feature = "std", unix))]
pub(crate) use word::EmptyWord;
pub(crate) use word::Word;

use crate::block::{Arena, mark_freed};
use crate::size::{BlockSize, GRANULE, Index, SlotSize};
use crate::sync::in_place::{AtomicU16, Ordering};
use core::num::NonZero;
use core::ptr::NonNull;
use divisor::Divisor;

/// The header of a run, at the beginning of its page. The bitmap follows.
#[repr(C)]
struct Header {
    /// The list that the run is on.
    next: Index,
    prev: Index,
    /// Slots in use. While a cache owns the run: how many slots it gives back before it looks at the run.
    used: u16,
    /// Granules from the page to the first slot.
    first: u8,
    /// The number of the size class.
    number: u8,
    /// Slots that may be in use. Who gives one back reads that, while the owner opens more.
    opened: u16,
    /// Slots that there are.
    slots: u16,
    /// How a number of granules is divided by those of a slot: a [`Divisor`].
    inverse: u32,
    exponent: u8,
    /// Granules of a slot.
    granules: u8,
    /// The first word of the bitmap that has a free slot; [`FULL`] if none has, and while a cache owns the run.
    lowest: u8,
}

const _: () = assert!(size_of::<Header>() % size_of::<u64>() == 0);

/// A page of the system's has so many bytes, or more.
const SYSTEM_PAGE: usize = 4096;

/// The number of no word.
const FULL: u8 = u8::MAX;

/// How a page is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Division {
    /// Granules from the page to the first slot.
    first: u32,
    /// How many slots there are.
    slots: u32,
}

impl Pages {
    /// How many granules as many blocks have as a full run of that class has slots, about, where each takes so many.
    /// (What [`Division::of`] finds is exact, and takes a hundred instructions.)
    pub(crate) const fn in_blocks_instead(&self, slot: SlotSize, granules_each: u32) -> u32 {
        /// The run's header, the next block's, and a bitmap of one word: slots that need a longer one are shorter than
        /// blocks by far.
        const BESIDE_SLOTS: u32 = (size_of::<Header>() / GRANULE) as u32 + 2;
        self.granules().saturating_sub(BESIDE_SLOTS) / slot.granules() * granules_each
    }
}

impl Division {
    /// As many slots as fit in front of the next block's header, and behind a bitmap that is long enough
    /// for them.
    fn of(page: BlockSize, slot: SlotSize) -> Self {
        let (room, bytes) = (page.payload(), NonZero::new(slot.bytes()).unwrap_or(NonZero::<usize>::MIN));
        let most_words = (page.granules() as usize / 64).max(1);
        let mut slots = (room / bytes).min(most_words * 64);
        loop {
            let bitmap = slots.div_ceil(64) * size_of::<u64>();
            let behind_bitmap = Pages::MISALIGNMENT + size_of::<Header>() + bitmap;
            let first = behind_bitmap.next_multiple_of(slot.align()) - Pages::MISALIGNMENT;
            let fitting = room.saturating_sub(first) / bytes;
            if slots <= fitting {
                return Self { first: (first / GRANULE) as u32, slots: slots as u32 };
            }
            slots = fitting;
        }
    }
}

/// A slot that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) slot: NonNull<u8>,
    /// Its size in granules.
    pub(crate) granules: u32,
    /// Whether it was the last one of its word of the bitmap, so that the owner is to
    /// [go on](Run::go_on) to the next one.
    pub(crate) is_last_of_word: bool,
}

/// What became of a slot that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    /// The run had room before, and has slots in use.
    Simply,
    /// The run was full.
    ToFullRun,
    /// The run is empty.
    LastOne,
}

/// A run, by the address of its page. The contract of its methods, called *a run* below: the page is a block
/// of the arena that [`Run::cut`] has cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    header: *mut Header,
}

impl Run {
    /// The run at a position.
    #[inline(always)]
    pub(crate) fn at(arena: Arena, index: Index) -> Self {
        Self { header: arena.at_index(index).cast() }
    }

    /// The position of the run's page.
    #[inline(always)]
    pub(crate) fn index(self, arena: Arena) -> Index {
        Index::new(arena.index_of(self.header.addr()) as u32)
    }

    /// The pointer to what lies so many granules behind the page's start.
    #[inline(always)]
    fn granule(self, granules: u32) -> *mut u8 {
        self.header.cast::<u8>().wrapping_add(granules as usize * GRANULE)
    }

    /// The pointer to what lies so many granules behind the run's start.
    ///
    /// # Safety
    ///
    /// - That is in the run's page.
    #[inline(always)]
    pub(crate) unsafe fn payload(self, in_page: u32) -> NonNull<u8> {
        // SAFETY: a position in the arena is not null.
        unsafe { NonNull::new_unchecked(self.granule(in_page)) }
    }

    /// The pointer to what lies at an address.
    ///
    /// # Safety
    ///
    /// - That is in the run's page.
    #[cfg(all(feature = "std", unix))]
    #[inline(always)]
    pub(crate) unsafe fn payload_at(self, address: usize) -> NonNull<u8> {
        // SAFETY: an address in the arena is not null.
        unsafe { NonNull::new_unchecked(self.header.cast::<u8>().with_addr(address)) }
    }

    #[inline(always)]
    fn word(self, word: u32) -> Word {
        Word(self.header.wrapping_add(1).cast::<u64>().wrapping_add(word as usize))
    }

    /// How many slots are opened.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    unsafe fn opened(self) -> u32 {
        // SAFETY: a run's header is initialised, and that field accessed like this only, but by its owner.
        unsafe { AtomicU16::from_ptr(&raw mut (*self.header).opened) }.load(Ordering::Relaxed).into()
    }

    /// The words of the bitmap that have slots which are opened.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    unsafe fn words(self) -> u32 {
        // SAFETY: the caller's contract.
        unsafe { self.opened() }.div_ceil(64)
    }

    /// The first word of the bitmap with a slot that is free, from such a word on, or [`FULL`].
    ///
    /// # Safety
    ///
    /// - It is a run, and the caller is its owner.
    unsafe fn lowest_word(self, from: u32) -> u8 {
        // SAFETY: the bitmap has that many words.
        let found = unsafe { (from..self.words()).find(|&word| self.word(word).read() != 0) };
        found.map_or(FULL, |word| word as u8)
    }

    /// As [`lowest_word`](Self::lowest_word), for the sake of taking slots from there: if there is none, more are
    /// opened.
    ///
    /// # Safety
    ///
    /// - As for [`lowest_word`](Self::lowest_word).
    unsafe fn next_word(self, from: u32) -> u8 {
        // SAFETY: the caller's contract.
        unsafe {
            let word = self.lowest_word(from);
            if word == FULL { self.open_more() } else { word }
        }
    }

    /// Opens more slots, if there are any that are not: those that lie in the system's page in which the first of them
    /// begins, but no more than one word of the bitmap has. Returns the number of that word, or [`FULL`].
    ///
    /// # Safety
    ///
    /// - It is a run, and the caller is its owner. Slots that are not opened have bits that are zero.
    #[inline(never)]
    unsafe fn open_more(self) -> u8 {
        // SAFETY: a run's header is its owner's to write, and so is the bitmap. All slots lie in the page.
        unsafe {
            let (opened, slots, granules) = (self.opened(), self.slots(), self.granules());
            if opened == slots {
                return FULL;
            }
            let (word, in_word) = (opened / 64, opened % 64);
            let left = (slots - opened).min(64 - in_word);
            let first = self.granule(u32::from((*self.header).first) + opened * granules);
            let to_end = (SYSTEM_PAGE - first.addr() % SYSTEM_PAGE) / GRANULE;
            let count = left.min((to_end as u32 / granules).max(1));
            let bitmap = self.word(word);
            bitmap.write(bitmap.read() | (!0 >> (64 - count)) << in_word);
            let opened = (opened + count) as u16;
            AtomicU16::from_ptr(&raw mut (*self.header).opened).store(opened, Ordering::Relaxed);
            word as u8
        }
    }

    /// Whether what lies so many granules from the page belongs to the slots that are opened, or lies in front of
    /// these.
    ///
    /// # Safety
    ///
    /// - It is a run.
    pub(crate) unsafe fn is_opened_at(self, in_page: u32) -> bool {
        // SAFETY: the caller's contract.
        unsafe { in_page < u32::from((*self.header).first) + self.opened() * self.granules() }
    }

    /// Cuts a page into free slots.
    ///
    /// # Safety
    ///
    /// - The page is a block of the arena, and nobody uses it.
    pub(crate) unsafe fn cut(arena: Arena, index: Index, page: BlockSize, slot: SlotSize) -> Self {
        let run = Self::at(arena, index);
        let Division { first, slots } = Division::of(page, slot);
        let Divisor { inverse, exponent } = Divisor::new(slot.granules());
        let header = Header {
            next: Index::NONE,
            prev: Index::NONE,
            used: 0,
            first: first as u8,
            number: slot.number() as u8,
            opened: 0,
            slots: slots as u16,
            inverse,
            exponent,
            granules: slot.granules() as u8,
            lowest: 0,
        };
        // SAFETY: header and bitmap lie in the page in front of the first slot (`Division::of`).
        unsafe {
            run.header.write(header);
            (0..slots.div_ceil(64)).for_each(|word| run.word(word).write(0));
            run.open_more();
        }
        run
    }

    /// Takes the lowest free slot.
    ///
    /// # Safety
    ///
    /// - It is a run, and has room.
    #[inline(always)]
    pub(crate) unsafe fn take(self) -> Taken {
        let header = self.header;
        // SAFETY: the header and the bitmap of a run are the heap's own. It has room, so that a bit is set
        // in the word that `lowest` names. The slot lies in the page.
        unsafe {
            let lowest = (*header).lowest;
            let word = u32::from(lowest);
            let bitmap = self.word(word);
            let free = NonZero::new_unchecked(bitmap.read());
            let rest = free.get() & (free.get() - 1);
            bitmap.write(rest);
            (*header).used += 1;
            let number = word * 64 + free.trailing_zeros();
            let granules = u32::from((*header).granules);
            let slot = self.payload(u32::from((*header).first) + number * granules);
            Taken { slot, granules, is_last_of_word: rest == 0 }
        }
    }

    /// Goes on to the next word of the bitmap, from which slots are taken then. Returns whether there is one.
    ///
    /// # Safety
    ///
    /// - It is a run of the heap's, and the last slot of a word was just taken.
    pub(crate) unsafe fn go_on(self) -> bool {
        let header = self.header;
        // SAFETY: a run's header is the heap's own.
        unsafe {
            let next = self.next_word(u32::from((*header).lowest) + 1);
            (*header).lowest = next;
            next != FULL
        }
    }

    /// The number of the slot that begins so many granules from the page, if one does that is opened.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn slot_at(self, in_page: u32) -> Option<u32> {
        // SAFETY: the caller's contract.
        unsafe { self.slot_below(in_page, self.opened()) }
    }

    /// As [`slot_at`](Self::slot_at), for who opens them.
    ///
    /// # Safety
    ///
    /// - It is a run, and the caller is its owner.
    #[inline(always)]
    pub(crate) unsafe fn own_slot_at(self, in_page: u32) -> Option<u32> {
        // SAFETY: nobody else writes that field (contract). What is read plainly is compared in one instruction.
        unsafe { self.slot_below(in_page, (*self.header).opened.into()) }
    }

    /// The number of the slot that begins so many granules from the page, if one does whose number is less than that.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    unsafe fn slot_below(self, in_page: u32, limit: u32) -> Option<u32> {
        let header = self.header;
        // SAFETY: a run's header is initialised.
        let (first, divisor) = unsafe {
            let divisor = Divisor { inverse: (*header).inverse, exponent: (*header).exponent };
            (u32::from((*header).first), divisor)
        };
        divisor.divide(in_page.wrapping_sub(first), limit)
    }

    /// Gives a slot back; `None`, and nothing is done, if it is free already.
    ///
    /// # Safety
    ///
    /// - It is a run with a slot of that number.
    #[inline(always)]
    pub(crate) unsafe fn put(self, number: u32) -> Option<Returned> {
        let header = self.header;
        // SAFETY: the header and the bitmap of a run are the heap's own; the slot has a bit.
        unsafe {
            if !self.set_free(number) {
                return None;
            }
            let lowest = (*header).lowest;
            (*header).lowest = lowest.min((number / 64) as u8);
            (*header).used -= 1;
            Some(match () {
                () if lowest == FULL => Returned::ToFullRun,
                () if (*header).used == 0 => Returned::LastOne,
                () => Returned::Simply,
            })
        }
    }

    /// Sets the bit of a slot. Returns whether that was not set before.
    ///
    /// # Safety
    ///
    /// - It is a run with a slot of that number, and its bitmap is the caller's to write.
    #[inline(always)]
    unsafe fn set_free(self, number: u32) -> bool {
        let bit = 1u64 << (number % 64);
        let word = self.word(number / 64);
        // SAFETY: the slot has a bit (contract).
        unsafe {
            let free = word.read();
            if free & bit != 0 {
                return false;
            }
            word.write(free | bit);
        }
        true
    }

    /// Whether the slot of that number is in use.
    ///
    /// # Safety
    ///
    /// - It is a run with a slot of that number.
    #[inline(always)]
    pub(crate) unsafe fn is_used(self, number: u32) -> bool {
        // SAFETY: the slot has a bit (contract).
        unsafe { self.word(number / 64).read() >> (number % 64) & 1 == 0 }
    }

    /// The granules of a slot.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn granules(self) -> u32 {
        // SAFETY: a run's header is initialised.
        u32::from(unsafe { (*self.header).granules })
    }

    /// The size of the run's slots.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn slot_size(self) -> SlotSize {
        // SAFETY: a run's header is initialised.
        SlotSize::numbered(unsafe { (*self.header).number }.into())
    }

    /// How many slots there are.
    ///
    /// # Safety
    ///
    /// - It is a run.
    pub(crate) unsafe fn slots(self) -> u32 {
        // SAFETY: a run's header is initialised.
        u32::from(unsafe { (*self.header).slots })
    }

    /// How many slots are in use.
    ///
    /// # Safety
    ///
    /// - It is a run of the heap's.
    #[inline(always)]
    pub(crate) unsafe fn used(self) -> u32 {
        // SAFETY: a run's header is initialised.
        u32::from(unsafe { (*self.header).used })
    }

    /// Whether a slot is free that the heap knows of.
    ///
    /// # Safety
    ///
    /// - It is a run.
    pub(crate) unsafe fn has_room(self) -> bool {
        // SAFETY: a run's header is initialised.
        unsafe { (*self.header).lowest != FULL }
    }

    /// The neighbours in the list of the runs that have room: the next one, then the previous one.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn links(self) -> (Index, Index) {
        // SAFETY: a run's header is initialised.
        unsafe { ((*self.header).next, (*self.header).prev) }
    }

    /// Sets where the list of runs that have room goes on.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn set_next(self, next: Index) {
        // SAFETY: a run's header is the heap's own.
        unsafe { (*self.header).next = next }
    }

    /// Sets the run in front of this one in the list of those that have room.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn set_prev(self, prev: Index) {
        // SAFETY: a run's header is the heap's own.
        unsafe { (*self.header).prev = prev }
    }

    /// Leaves a word in front of each slot that was opened that reads as the header of a free block, so that a second
    /// free of a slot is seen after the run is gone.
    ///
    /// # Safety
    ///
    /// - It is a run, none of its slots is in use, and all of the page is the heap's own.
    pub(crate) unsafe fn mark_freed(self) {
        // SAFETY: a run's header is initialised. All slots lie in the page, and so do the words in front
        // of them, because a run header lies in front of the first one.
        unsafe {
            let first = self.granule((*self.header).first.into());
            mark_freed(first, self.granules(), self.opened());
        }
    }

    /// How many granules from the page the slots in use lie, the lowest first.
    ///
    /// # Safety
    ///
    /// - It is a run, and remains one as long as the iterator is used.
    pub(crate) unsafe fn slots_in_use(self) -> impl Iterator<Item = u32> {
        // SAFETY: a run's header is initialised.
        let (first, granules, opened) =
            unsafe { (u32::from((*self.header).first), self.granules(), self.opened()) };
        (0..opened).filter_map(move |number| {
            // SAFETY: the slot has a bit (contract).
            let is_used = unsafe { self.is_used(number) };
            is_used.then_some(first + number * granules)
        })
    }

    /// Checks the run's header and bitmap, and counts free slots; that is its owner.
    ///
    /// # Errors
    ///
    /// What is wrong.
    ///
    /// # Safety
    ///
    /// - The page is a block of the arena.
    pub(crate) unsafe fn audit(self, owner: Owner, page: BlockSize) -> Result<u32, &'static str> {
        // SAFETY: the page has room for the header, which `cut` initialised.
        let header = unsafe { self.header.read() };
        let granules = usize::from(header.granules);
        if !SlotSize::all().any(|slot| slot.granules() as usize == granules) {
            return Err("its run header names no slot size");
        }
        let division = Division::of(page, SlotSize::of_granules(granules));
        if (u32::from(header.first), u32::from(header.slots)) != (division.first, division.slots)
            || (Divisor { inverse: header.inverse, exponent: header.exponent })
                != Divisor::new(granules as u32)
            || usize::from(header.number) != SlotSize::of_granules(granules).number()
        {
            return Err("its run header does not describe the division of its page");
        }
        let opened = u32::from(header.opened);
        if opened > division.slots {
            return Err("it has more slots opened than there are");
        }
        let is_heap = owner == HEAP;
        let mut free = division.slots - opened;
        for word in 0..division.slots.div_ceil(64) {
            let bits = opened.saturating_sub(word * 64).min(64);
            // SAFETY: a word that has bits lies in front of the first slot.
            let map = unsafe { self.word(word).read() };
            if bits < 64 && map >> bits != 0 {
                return Err("its bitmap has slots that are not opened");
            }
            free += map.count_ones();
        }
        // SAFETY: as above.
        if is_heap && header.lowest != unsafe { self.lowest_word(0) } {
            return Err("its first word with room is not that of its bitmap");
        }
        if is_heap && free + u32::from(header.used) != division.slots {
            return Err("its count of slots in use is not that of its bitmap");
        }
        Ok(free)
    }
}
