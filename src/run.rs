//! The run: a block of the heap that is one page long, cut into equal slots without headers.
//!
//! ```text
//!      page                                                       page + length - 4
//!  ┌────────┬────────────┬────────┬─────┬──────┬──────┬──────┬ … ┬──────┬───┬────────┐
//!  │ header │ run header │ bitmap │ pad │ slot │ slot │ slot │   │ slot │   │ next's │
//!  └────────┴────────────┴────────┴─────┴──────┴──────┴──────┴ … ┴──────┴───┴ header ┘
//!                        16 bytes on    ↑ first
//! ```
//!
//! - A *page* is a stretch of the arena that begins at a multiple of its length from the first page. (Pages
//!   of the operating system are something else.) It is 4,224 bytes long, and shorter in an arena of less
//!   than 513 KiB. It is not 4,096, because then all run headers would compete for the same few places of
//!   the processor's caches. A block of exactly one page, where a page is, packs without a gap.
//! - The bitmap has a bit for each slot, set while the slot is free. It is the run's free list, too: the
//!   lowest free slot is the one that is taken. Neither taking nor freeing touches the slot's own bytes,
//!   what is asked for in a row lies in a row, and a second free of a slot is certain to be seen.
//! - `with_room` has a bit for each word of the bitmap, set while a slot of that word is free.
//! - The first slot lies at a multiple of the slots' alignment.
//! - A bit per page in front of the arena ([`Pages`]) tells which pages are runs.
//!
//! (Free lists that belong to pages: Leijen, Zorn and de Moura, *Mimalloc: free list sharding in
//! action*, 2019. Bitmaps in place of lists: Evans, *A scalable concurrent malloc(3) implementation for
//! FreeBSD*, 2006. Here the pages come from a bounded free-list heap and go back to it.)

use crate::block::Arena;
use crate::size::{BlockSize, GRANULE, Index, SlotSize};
use core::sync::atomic::{AtomicUsize, Ordering};

/// A page is this share of the arena, rounded up to a power of two, but no shorter than this: 1/256, and 256
/// bytes.
const PAGE_SHARE: usize = 256;
const SHORTEST_PAGE: usize = 256;

/// Where that is 4 KiB or more, it is this long: 33 times what all slots are aligned to, so that run headers
/// are spread over all sets of a cache.
const LONGEST_PAGE: usize = 33 * SlotSize::LARGEST_ALIGN;

/// Regions that are shorter have no pages.
const SHORTEST_REGION: usize = 4 * SHORTEST_PAGE;

/// Dividing by a page's length is multiplying by `2^SHIFT` over that length, rounded up. Exact for all
/// granules of an arena, of which there are less than 2^29.
const SHIFT: u32 = 40;

/// Which stretches of an arena are pages, and which pages are runs.
///
/// The map of runs lies in front of the arena's origin, one bit for each page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages {
    /// The position of the first page.
    first: Index,
    /// Granules of all pages.
    total: u32,
    /// Granules of a page.
    length: u32,
    /// Bytes of the map.
    map_bytes: u32,
    /// What dividing by the length is multiplying by.
    reciprocal: u64,
}

impl Pages {
    /// No pages; all zero bytes.
    pub(crate) const fn none() -> Self {
        Self { first: Index::NONE, total: 0, length: 0, map_bytes: 0, reciprocal: 0 }
    }

    /// The bytes in front of a region of `len` bytes that the map of its pages takes, a multiple of 8; zero
    /// if the region is too small to have pages.
    pub(crate) const fn map_bytes(len: usize) -> usize {
        if len < SHORTEST_REGION {
            return 0;
        }
        (len / Self::length(len)).div_ceil(64) * 8
    }

    /// The length of the pages of a region of `len` bytes, in bytes.
    const fn length(len: usize) -> usize {
        let share = len.div_ceil(PAGE_SHARE).next_power_of_two();
        match share {
            ..SHORTEST_PAGE => SHORTEST_PAGE,
            4096.. => LONGEST_PAGE,
            _ => share,
        }
    }

    /// The pages of a region of `len` bytes whose blocks end at `end`. There is a map of
    /// [`map_bytes`](Self::map_bytes) zeros in front of the arena's origin.
    pub(crate) fn of(arena: Arena, end: Index, len: usize) -> Self {
        let map_bytes = Self::map_bytes(len) as u32;
        if map_bytes == 0 {
            return Self::none();
        }
        let length = (Self::length(len) / GRANULE) as u32;
        let to_first = arena.address(Index::FIRST).wrapping_neg() % SlotSize::LARGEST_ALIGN;
        let first = Index::new(Index::FIRST.get() + (to_first / GRANULE) as u32);
        let total = end.get().saturating_sub(first.get()) / length * length;
        Self { first, total, length, map_bytes, reciprocal: (1u64 << SHIFT).div_ceil(length.into()) }
    }

    /// Whether there are any.
    #[inline(always)]
    pub(crate) const fn exist(&self) -> bool {
        self.total != 0
    }

    /// The bytes between the region's first granule and the arena's origin.
    #[inline(always)]
    pub(crate) const fn bytes_of_map(&self) -> usize {
        self.map_bytes as usize
    }

    /// A page's length in granules.
    #[inline(always)]
    pub(crate) const fn granules(&self) -> u32 {
        self.length
    }

    /// The size of a block that is one page.
    #[inline(always)]
    pub(crate) const fn block(&self) -> BlockSize {
        BlockSize::from_granules(self.length)
    }

    /// The granules to skip from `index` to the next page. What is skipped becomes a free block of its
    /// own, so they are none or enough for one.
    pub(crate) fn gap(&self, index: Index) -> u32 {
        let gap = if index < self.first {
            self.first.granules_since(index)
        } else {
            let into_page = index.granules_since(self.first) % self.length;
            if into_page == 0 { 0 } else { self.length - into_page }
        };
        if gap == 1 { self.length + 1 } else { gap }
    }

    /// The granules that [`gap`](Self::gap) asks for at most, from the first page on.
    pub(crate) const fn worst_gap(&self) -> u32 {
        self.length + 1
    }

    /// The number of the page in which a granule lies, if it is in one, and how far in it.
    #[inline(always)]
    fn locate(&self, granule: usize) -> Option<(usize, u32)> {
        let distance = granule.wrapping_sub(self.first.get() as usize);
        if distance >= self.total as usize {
            return None;
        }
        let page = ((distance as u64 * self.reciprocal) >> SHIFT) as u32;
        Some((page as usize, distance as u32 - page * self.length))
    }

    /// The word of the map that has a page's bit, and the bit.
    ///
    /// Words are relaxed atomics, which costs nothing: the owner of a slot may look its page up while another
    /// thread, which has the heap's lock, changes the bit of another page.
    ///
    /// # Safety
    ///
    /// - The pages are those of `arena`, and the page is one of them.
    #[inline(always)]
    unsafe fn map_word<'a>(&self, arena: Arena, page: usize) -> (&'a AtomicUsize, usize) {
        let bits = usize::BITS as usize;
        let word = arena.in_front(self.map_bytes as usize).cast::<usize>().wrapping_add(page / bits);
        // SAFETY: the map has a bit for each page, is aligned to 8 and is not touched otherwise.
        (unsafe { AtomicUsize::from_ptr(word) }, 1 << (page % bits))
    }

    /// The run in which a granule of the arena lies, and how many granules from the run's start; `None`
    /// if the granule, which may be any number, is not in a run.
    ///
    /// # Safety
    ///
    /// - The pages are those of `arena`.
    #[inline(always)]
    pub(crate) unsafe fn run_at(&self, arena: Arena, granule: usize) -> Option<(Run, u32)> {
        let (page, in_page) = self.locate(granule)?;
        // SAFETY: the caller's contract.
        let (word, bit) = unsafe { self.map_word(arena, page) };
        if word.load(Ordering::Relaxed) & bit == 0 {
            return None;
        }
        Some((Run { index: Index::new(granule as u32 - in_page) }, in_page))
    }

    /// How many pages are runs.
    ///
    /// # Safety
    ///
    /// - The pages are those of `arena`.
    pub(crate) unsafe fn runs(&self, arena: Arena) -> u32 {
        let count = self.total.checked_div(self.length).unwrap_or(0);
        let pages = (0..count as usize).step_by(usize::BITS as usize);
        // SAFETY: the caller's contract.
        let word = |page| unsafe { self.map_word(arena, page) }.0.load(Ordering::Relaxed);
        pages.map(|page| word(page).count_ones()).sum()
    }

    /// Notes whether the page at `run` is a run.
    ///
    /// # Safety
    ///
    /// - The pages are those of `arena`, and `run` is one of them.
    pub(crate) unsafe fn note(&self, arena: Arena, run: Run, is_run: bool) {
        let Some((page, _)) = self.locate(run.index.get() as usize) else { return };
        // SAFETY: the caller's contract.
        let (word, bit) = unsafe { self.map_word(arena, page) };
        let others = word.load(Ordering::Relaxed) & !bit;
        word.store(if is_run { others | bit } else { others }, Ordering::Relaxed);
    }
}

/// The header of a run, at the beginning of its page. The bitmap follows.
#[repr(C)]
struct Header {
    /// The runs of the same size class that have room, as a list.
    next: Index,
    prev: Index,
    /// Slots in use.
    used: u16,
    /// Slots that there are.
    slots: u16,
    /// Granules from the page to the first slot.
    first: u16,
    /// Granules of a slot.
    granules: u8,
    /// A bit for each word of the bitmap that has a free slot.
    with_room: u8,
}

const _: () = assert!(size_of::<Header>().is_multiple_of(size_of::<u64>()));

/// Words of the longest bitmap.
const MOST_WORDS: u32 = u8::BITS;

/// `65536 / granules`, rounded up: dividing by multiplying. Exact for all of the granules of a page.
static RECIPROCALS: [u32; DIVISORS] = {
    let mut reciprocals = [0; DIVISORS];
    let mut granules = 1;
    while granules < DIVISORS {
        reciprocals[granules] = (1u32 << 16).div_ceil(granules as u32);
        granules += 1;
    }
    reciprocals
};
const DIVISORS: usize = (SlotSize::MOST_GRANULES + 1).next_power_of_two();

/// How a page is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Division {
    /// Granules from the page to the first slot.
    first: u32,
    /// How many slots there are.
    slots: u32,
}

impl Division {
    /// As many slots as fit in front of the next block's header, and behind a bitmap that is long enough
    /// for them.
    fn of(page: BlockSize, slot: SlotSize) -> Self {
        let mut slots = (page.payload() / slot.bytes()).min(MOST_WORDS as usize * 64);
        loop {
            let bitmap = slots.div_ceil(64) * size_of::<u64>();
            let first = (size_of::<Header>() + bitmap).next_multiple_of(slot.align());
            let fitting = page.payload().saturating_sub(first) / slot.bytes();
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
    /// Its position.
    pub(crate) index: Index,
    /// Its size in granules.
    pub(crate) granules: u32,
    /// Whether the slots of its word of the bitmap are all in use now, which is to be
    /// [noted](Run::note_full_word).
    pub(crate) word_is_full: bool,
}

/// What became of a slot that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    /// The run had room before, and has slots in use.
    Simply,
    /// The run was full before. (It may be empty now as well.)
    ToFullRun,
    /// The run had room before, and is empty now.
    LastOne,
}

/// A run, by the position of its page. Its contract, called *a run* below: the page is a block of the
/// arena that [`Run::cut`] has cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    index: Index,
}

impl Run {
    /// The run at a position, which may be [`Index::NONE`].
    #[inline(always)]
    pub(crate) const fn at(index: Index) -> Self {
        Self { index }
    }

    /// The position of the run's page.
    #[inline(always)]
    pub(crate) const fn index(self) -> Index {
        self.index
    }

    #[inline(always)]
    fn header(self, arena: Arena) -> *mut Header {
        arena.at_index(self.index).cast()
    }

    #[inline(always)]
    fn word(self, arena: Arena, word: u32) -> *mut u64 {
        arena.at_index(self.index).wrapping_add(size_of::<Header>()).cast::<u64>().wrapping_add(word as usize)
    }

    /// Cuts a page into free slots.
    ///
    /// # Safety
    ///
    /// - The page is a block of the arena, and nobody uses it.
    pub(crate) unsafe fn cut(index: Index, arena: Arena, page: BlockSize, slot: SlotSize) -> Self {
        let run = Self { index };
        let Division { first, slots } = Division::of(page, slot);
        let words = slots.div_ceil(64);
        invariant!(words <= MOST_WORDS);
        let header = Header {
            next: Index::NONE,
            prev: Index::NONE,
            used: 0,
            slots: slots as u16,
            first: first as u16,
            granules: slot.granules() as u8,
            with_room: (!0u8) >> (MOST_WORDS - words),
        };
        // SAFETY: header and bitmap lie in the page in front of the first slot (`Division::of`).
        unsafe {
            run.header(arena).write(header);
            for word in 0..words {
                let bits = (slots - word * 64).min(64);
                run.word(arena, word).write(!0 >> (64 - bits));
            }
        }
        run
    }

    /// Takes the lowest free slot.
    ///
    /// # Safety
    ///
    /// - It is a run, and has room.
    #[inline(always)]
    pub(crate) unsafe fn take(self, arena: Arena) -> Taken {
        let header = self.header(arena);
        // SAFETY: the header and the bitmap of a run are the heap's own. It has room, so that a bit is set
        // in a word that `with_room` names.
        unsafe {
            let word = u32::from((*header).with_room).trailing_zeros();
            invariant!(word < MOST_WORDS);
            let bitmap = self.word(arena, word);
            let free = bitmap.read();
            let rest = free & free.wrapping_sub(1);
            bitmap.write(rest);
            (*header).used += 1;
            let number = word * 64 + free.trailing_zeros();
            let granules = u32::from((*header).granules);
            let distance = u32::from((*header).first) + number * granules;
            Taken { index: Index::new(self.index.get() + distance), granules, word_is_full: rest == 0 }
        }
    }

    /// Notes that the first word that had a free slot has none any more, as [`take`](Self::take) said. Returns
    /// whether the run is full.
    ///
    /// # Safety
    ///
    /// - It is a run, and that is so.
    pub(crate) unsafe fn note_full_word(self, arena: Arena) -> bool {
        let header = self.header(arena);
        // SAFETY: a run's header is the heap's own.
        unsafe {
            let with_room = (*header).with_room;
            (*header).with_room = with_room & with_room.wrapping_sub(1);
            (*header).with_room == 0
        }
    }

    /// The number of the slot that begins so many granules from the page, if one does.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn slot_at(self, arena: Arena, in_page: u32) -> Option<u32> {
        let header = self.header(arena);
        // SAFETY: a run's header is initialised.
        let (first, granules, slots) = unsafe {
            (u32::from((*header).first), u32::from((*header).granules), u32::from((*header).slots))
        };
        let distance = in_page.wrapping_sub(first);
        let reciprocal = RECIPROCALS[granules as usize & (DIVISORS - 1)];
        let number = ((u64::from(distance) * u64::from(reciprocal)) >> 16) as u32;
        (number < slots && number * granules == distance).then_some(number)
    }

    /// Gives a slot back; `None`, and nothing is done, if it is free already.
    ///
    /// # Safety
    ///
    /// - It is a run with a slot of that number.
    #[inline(always)]
    pub(crate) unsafe fn put(self, arena: Arena, number: u32) -> Option<Returned> {
        let header = self.header(arena);
        let (word, bit) = (number / 64, 1u64 << (number % 64));
        let bitmap = self.word(arena, word);
        // SAFETY: the header and the bitmap of a run are the heap's own; the slot has a bit.
        unsafe {
            let free = bitmap.read();
            if free & bit != 0 {
                return None;
            }
            bitmap.write(free | bit);
            let with_room = (*header).with_room;
            (*header).with_room = with_room | 1 << word;
            (*header).used -= 1;
            Some(if with_room == 0 {
                Returned::ToFullRun
            } else if (*header).used == 0 {
                Returned::LastOne
            } else {
                Returned::Simply
            })
        }
    }

    /// Whether the slot of that number is in use.
    ///
    /// # Safety
    ///
    /// - It is a run with a slot of that number.
    pub(crate) unsafe fn is_used(self, arena: Arena, number: u32) -> bool {
        // SAFETY: the slot has a bit (contract).
        unsafe { self.word(arena, number / 64).read() >> (number % 64) & 1 == 0 }
    }

    /// The granules of a slot.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn granules(self, arena: Arena) -> u32 {
        // SAFETY: a run's header is initialised.
        u32::from(unsafe { (*self.header(arena)).granules })
    }

    /// The size of the run's slots.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn slot_size(self, arena: Arena) -> SlotSize {
        // SAFETY: a run's header is initialised.
        SlotSize::of_granules(unsafe { (*self.header(arena)).granules }.into())
    }

    /// How many slots are in use.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn used(self, arena: Arena) -> u32 {
        // SAFETY: a run's header is initialised.
        u32::from(unsafe { (*self.header(arena)).used })
    }

    /// Whether a slot is free.
    ///
    /// # Safety
    ///
    /// - It is a run.
    pub(crate) unsafe fn has_room(self, arena: Arena) -> bool {
        // SAFETY: a run's header is initialised.
        unsafe { (*self.header(arena)).with_room != 0 }
    }

    /// Where the list of runs that have room goes on.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn next(self, arena: Arena) -> Index {
        // SAFETY: a run's header is initialised.
        unsafe { (*self.header(arena)).next }
    }

    /// The run in front of this one in the list of those that have room.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn prev(self, arena: Arena) -> Index {
        // SAFETY: a run's header is initialised.
        unsafe { (*self.header(arena)).prev }
    }

    /// Sets where the list of runs that have room goes on.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn set_next(self, arena: Arena, next: Index) {
        // SAFETY: a run's header is the heap's own.
        unsafe { (*self.header(arena)).next = next }
    }

    /// Sets the run in front of this one in the list of those that have room.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn set_prev(self, arena: Arena, prev: Index) {
        // SAFETY: a run's header is the heap's own.
        unsafe { (*self.header(arena)).prev = prev }
    }

    /// Leaves a word in front of each slot that reads as the header of a free block, so that a second
    /// free of a slot is seen after the run is gone.
    ///
    /// # Safety
    ///
    /// - It is a run, none of its slots is in use, and all of the page is the heap's own.
    pub(crate) unsafe fn mark_freed(self, arena: Arena) {
        // SAFETY: a run's header is initialised. All slots lie in the page, and so do the words in front
        // of them, because a run header lies in front of the first one.
        unsafe {
            let header = self.header(arena);
            let granules = u32::from((*header).granules);
            let slots = u32::from((*header).slots);
            let first = Index::new(self.index.get() + u32::from((*header).first));
            if granules == 1 {
                // These are so many that they had better be written several at a time.
                arena.mark_freed(first, 1, slots);
            } else {
                arena.mark_freed(first, granules, slots);
            }
        }
    }

    /// The positions of the slots in use, the lowest first.
    ///
    /// # Safety
    ///
    /// - It is a run, and remains one as long as the iterator is used.
    pub(crate) unsafe fn slots_in_use(self, arena: Arena) -> impl Iterator<Item = Index> {
        let header = self.header(arena);
        // SAFETY: a run's header is initialised.
        let (first, granules, slots) = unsafe {
            (u32::from((*header).first), u32::from((*header).granules), u32::from((*header).slots))
        };
        (0..slots).filter_map(move |number| {
            // SAFETY: the slot has a bit (contract).
            let is_used = unsafe { self.is_used(arena, number) };
            is_used.then(|| Index::new(self.index.get() + first + number * granules))
        })
    }

    /// What is wrong with the run's header and bitmap, if anything.
    ///
    /// # Safety
    ///
    /// - The page is a block of the arena.
    pub(crate) unsafe fn violation(self, arena: Arena, page: BlockSize) -> Option<&'static str> {
        let header = self.header(arena);
        // SAFETY: the page has room for the header, which `cut` initialised.
        let header = unsafe { header.read() };
        let granules = usize::from(header.granules);
        let is_size = SlotSize::all().any(|slot| slot.granules() as usize == granules);
        if !is_size {
            return Some("its run header names no slot size");
        }
        let division = Division::of(page, SlotSize::of_granules(granules));
        if (u32::from(header.first), u32::from(header.slots)) != (division.first, division.slots) {
            return Some("its run header does not describe the division of its page");
        }
        let mut free = 0;
        for word in 0..MOST_WORDS {
            let bits = (division.slots.saturating_sub(word * 64)).min(64);
            // SAFETY: a word that has bits lies in front of the first slot.
            let map = if bits == 0 { 0 } else { unsafe { self.word(arena, word).read() } };
            if bits < 64 && map >> bits != 0 {
                return Some("its bitmap has slots that there are not");
            }
            if (header.with_room >> word & 1 != 0) != (map != 0) {
                return Some("its summary is not that of its bitmap");
            }
            free += map.count_ones();
        }
        (free + u32::from(header.used) != division.slots)
            .then_some("its count of slots in use is not that of its bitmap")
    }
}
