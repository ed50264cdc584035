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
//!   of the operating system are something else.) It is 4,224 bytes long, and shorter in an arena of less
//!   than 513 KiB. It is not 4,096, because then all run headers would compete for the same few places of the
//!   processor's caches. A block of exactly one page, where a page is, packs without a gap.
//! - The bitmap has a bit for each slot, set while the slot is free. It is the run's free list, too: the
//!   lowest free slot is the one that is taken. Neither taking nor freeing touches the slot's own bytes, what
//!   is asked for in a row lies in a row, and a second free of a slot is certain to be seen.
//! - `with_room` has a bit for each word of the bitmap, set while a slot of that word is free.
//! - The first slot lies at a multiple of the slots' alignment.
//! - A bit per page in front of the arena ([`Pages`]) tells which pages are runs.
//!
//! (Free lists that belong to pages: Leijen, Zorn and de Moura, *Mimalloc: free list sharding in
//! action*, 2019. Bitmaps in place of lists: Evans, *A scalable concurrent malloc(3) implementation for
//! FreeBSD*, 2006. Here the pages come from a bounded free-list heap and go back to it.)

use crate::block::{Arena, granules_or_more, mark_freed};
use crate::size::{BlockSize, GRANULE, Index, SlotSize};
use core::num::NonZero;
use core::ptr::{NonNull, null_mut};
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
    /// The first page, derived from the arena's origin.
    start: *mut u8,
    /// The map's first word, derived from there, too.
    map: *mut usize,
    /// What dividing by the length is multiplying by.
    reciprocal: u64,
    /// Granules of all pages.
    total: u32,
    /// Granules of a page.
    length: u32,
    /// The position of the first page.
    first: Index,
    /// Bytes of the map.
    map_bytes: u32,
}

impl Pages {
    /// What the address of each page is modulo the largest alignment of slots: behind a header and one word
    /// of bitmap, a slot has any alignment that slots can have.
    const MISALIGNMENT: usize = SlotSize::LARGEST_ALIGN - size_of::<Header>() - size_of::<u64>();

    /// No pages; all zero bytes.
    pub(crate) const fn none() -> Self {
        Self {
            start: null_mut(),
            map: null_mut(),
            reciprocal: 0,
            total: 0,
            length: 0,
            first: Index::NONE,
            map_bytes: 0,
        }
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
        let to_first =
            (Self::MISALIGNMENT.wrapping_sub(arena.address(Index::FIRST))) % SlotSize::LARGEST_ALIGN;
        let first = Index::new(Index::FIRST.get() + (to_first / GRANULE) as u32);
        let total = end.get().saturating_sub(first.get()) / length * length;
        let reciprocal = (1u64 << SHIFT).div_ceil(length.into());
        let pages = Self { first, total, length, map_bytes, reciprocal, ..Self::none() };
        pages.rebased(arena)
    }

    /// The same pages, of an arena that moved.
    pub(crate) fn rebased(self, arena: Arena) -> Self {
        let start = arena.at_index(self.first);
        Self { start, map: arena.in_front(self.map_bytes as usize).cast(), ..self }
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
            let into_page = index.granules_since(self.first).checked_rem(self.length);
            into_page.filter(|&granules| granules > 0).map_or(0, |granules| self.length - granules)
        };
        if gap == 1 { self.length + 1 } else { gap }
    }

    /// The granules that [`gap`](Self::gap) asks for at most, from the first page on.
    pub(crate) const fn worst_gap(&self) -> u32 {
        self.length + 1
    }

    /// The number of the page that an address lies in, and how many granules from the page; `None` if it lies
    /// in no page, or is no multiple of a granule.
    #[inline(always)]
    fn locate(&self, address: usize) -> Option<(u32, u32)> {
        let distance = granules_or_more(address.wrapping_sub(self.start.addr()));
        if distance >= self.total as usize {
            return None;
        }
        let page = ((distance as u64 * self.reciprocal) >> SHIFT) as u32;
        Some((page, distance as u32 - page * self.length))
    }

    /// The word of the map that has a page's bit, and the bit.
    ///
    /// Words are relaxed atomics, which costs nothing: the owner of a slot may look its page up while another
    /// thread, which has the heap's lock, changes the bit of another page.
    #[inline(always)]
    fn map_word(&self, page: u32) -> (&AtomicUsize, usize) {
        let word = self.map.wrapping_add((page / usize::BITS) as usize);
        // SAFETY: the map has a bit for each page that `locate` finds, is aligned to 8, and is not touched
        // otherwise.
        (unsafe { AtomicUsize::from_ptr(word) }, 1 << (page % usize::BITS))
    }

    /// The run that an address leads into, and how many granules from the run's start; `None` if it, which
    /// may be any, leads into no run.
    #[inline(always)]
    pub(crate) fn run_at(&self, address: usize) -> Option<(Run, u32)> {
        let (page, in_page) = self.locate(address)?;
        let (word, bit) = self.map_word(page);
        if word.load(Ordering::Relaxed) & bit == 0 {
            return None;
        }
        Some((self.run(page), in_page))
    }

    #[inline(always)]
    fn run(&self, page: u32) -> Run {
        Run { header: self.start.wrapping_add((page * self.length) as usize * GRANULE).cast() }
    }

    /// How many pages are runs.
    pub(crate) fn runs(&self) -> u32 {
        let count = self.total.checked_div(self.length).unwrap_or(0);
        let pages = (0..count).step_by(usize::BITS as usize);
        pages.map(|page| self.map_word(page).0.load(Ordering::Relaxed).count_ones()).sum()
    }

    /// Notes whether the page of a run is one.
    pub(crate) fn note(&self, run: Run, is_run: bool) {
        let Some((page, _)) = self.locate(run.header.addr()) else { return };
        let (word, bit) = self.map_word(page);
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
    first: u8,
    /// The number of the size class.
    number: u8,
    /// Granules of a slot.
    granules: u8,
    /// A bit for each word of the bitmap that has a free slot.
    with_room: u8,
    /// What dividing by the granules of a slot is multiplying by.
    reciprocal: u64,
}

const _: () = assert!(size_of::<Header>() % size_of::<u64>() == 0);

/// Words of the longest bitmap.
const MOST_WORDS: u32 = u8::BITS;

/// Dividing by the granules of a slot is multiplying by this, which is `2^32` over them, rounded up: the quotient
/// is what is above the lower 32 bits. Those are less than this if and only if nothing remains. Exact for all
/// granules of a page. (Lemire, Kaser and Kurz, *Faster remainder by direct computation*, 2019.)
fn reciprocal_of(slot: SlotSize) -> u64 {
    (1u64 << 32).div_ceil(slot.granules().max(1).into())
}

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
        let (room, bytes) = (page.payload(), NonZero::new(slot.bytes()).unwrap_or(NonZero::<usize>::MIN));
        let mut slots = (room / bytes).min(MOST_WORDS as usize * 64);
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
    /// Whether it was the last one, so that the run has no room any more.
    pub(crate) run_is_full: bool,
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

    #[inline(always)]
    fn word(self, word: u32) -> *mut u64 {
        self.header.wrapping_add(1).cast::<u64>().wrapping_add(word as usize)
    }

    /// Cuts a page into free slots.
    ///
    /// # Safety
    ///
    /// - The page is a block of the arena, and nobody uses it.
    pub(crate) unsafe fn cut(arena: Arena, index: Index, page: BlockSize, slot: SlotSize) -> Self {
        let run = Self::at(arena, index);
        let Division { first, slots } = Division::of(page, slot);
        let words = slots.div_ceil(64);
        invariant!(words <= MOST_WORDS);
        let header = Header {
            next: Index::NONE,
            prev: Index::NONE,
            used: 0,
            slots: slots as u16,
            first: first as u8,
            number: slot.number() as u8,
            granules: slot.granules() as u8,
            with_room: (!0u8) >> (MOST_WORDS - words),
            reciprocal: reciprocal_of(slot),
        };
        // SAFETY: header and bitmap lie in the page in front of the first slot (`Division::of`).
        unsafe {
            run.header.write(header);
            for word in 0..words {
                let bits = (slots - word * 64).min(64);
                run.word(word).write(!0 >> (64 - bits));
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
    pub(crate) unsafe fn take(self) -> Taken {
        let header = self.header;
        // SAFETY: the header and the bitmap of a run are the heap's own. It has room, so that a bit is set
        // in a word that `with_room` names. The slot lies in the page.
        unsafe {
            let with_room = (*header).with_room;
            let word = NonZero::new_unchecked(u32::from(with_room)).trailing_zeros();
            let bitmap = self.word(word);
            let free = NonZero::new_unchecked(bitmap.read());
            let rest = free.get() & (free.get() - 1);
            bitmap.write(rest);
            // Without a branch, which no processor could foresee.
            let with_room = with_room ^ u8::from(rest == 0) << word;
            (*header).with_room = with_room;
            (*header).used += 1;
            let number = word * 64 + free.trailing_zeros();
            let granules = u32::from((*header).granules);
            let slot = self.payload(u32::from((*header).first) + number * granules);
            Taken { slot, granules, run_is_full: with_room == 0 }
        }
    }

    /// The number of the slot that begins so many granules from the page, if one does.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn slot_at(self, in_page: u32) -> Option<u32> {
        let header = self.header;
        // SAFETY: a run's header is initialised.
        let (first, slots, reciprocal) =
            unsafe { (u32::from((*header).first), u32::from((*header).slots), (*header).reciprocal) };
        let product = u64::from(in_page.wrapping_sub(first)) * reciprocal;
        let (number, remainder) = ((product >> 32) as u32, product as u32);
        (u64::from(remainder) < reciprocal && number < slots).then_some(number)
    }

    /// Gives a slot back; `None`, and nothing is done, if it is free already.
    ///
    /// # Safety
    ///
    /// - It is a run with a slot of that number.
    #[inline(always)]
    pub(crate) unsafe fn put(self, number: u32) -> Option<Returned> {
        let header = self.header;
        let bit = 1u64 << (number % 64);
        let bitmap = self.word(number / 64);
        // SAFETY: the header and the bitmap of a run are the heap's own; the slot has a bit.
        unsafe {
            let free = bitmap.read();
            if free & bit != 0 {
                return None;
            }
            bitmap.write(free | bit);
            let with_room = (*header).with_room;
            (*header).with_room = with_room | 1 << (number / 64);
            (*header).used -= 1;
            Some(match () {
                () if with_room == 0 => Returned::ToFullRun,
                () if (*header).used == 0 => Returned::LastOne,
                () => Returned::Simply,
            })
        }
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

    /// How many slots are in use.
    ///
    /// # Safety
    ///
    /// - It is a run.
    #[inline(always)]
    pub(crate) unsafe fn used(self) -> u32 {
        // SAFETY: a run's header is initialised.
        u32::from(unsafe { (*self.header).used })
    }

    /// Whether a slot is free.
    ///
    /// # Safety
    ///
    /// - It is a run.
    pub(crate) unsafe fn has_room(self) -> bool {
        // SAFETY: a run's header is initialised.
        unsafe { (*self.header).with_room != 0 }
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

    /// Leaves a word in front of each slot that reads as the header of a free block, so that a second
    /// free of a slot is seen after the run is gone.
    ///
    /// # Safety
    ///
    /// - It is a run, none of its slots is in use, and all of the page is the heap's own.
    pub(crate) unsafe fn mark_freed(self) {
        // SAFETY: a run's header is initialised. All slots lie in the page, and so do the words in front
        // of them, because a run header lies in front of the first one.
        unsafe {
            let header = self.header;
            let (granules, slots) = (u32::from((*header).granules), u32::from((*header).slots));
            let first = self.granule((*header).first.into());
            mark_freed(first, granules, slots);
        }
    }

    /// How many granules from the page the slots in use lie, the lowest first.
    ///
    /// # Safety
    ///
    /// - It is a run, and remains one as long as the iterator is used.
    pub(crate) unsafe fn slots_in_use(self) -> impl Iterator<Item = u32> {
        let header = self.header;
        // SAFETY: a run's header is initialised.
        let (first, granules, slots) = unsafe {
            (u32::from((*header).first), u32::from((*header).granules), u32::from((*header).slots))
        };
        (0..slots).filter_map(move |number| {
            // SAFETY: the slot has a bit (contract).
            let is_used = unsafe { self.is_used(number) };
            is_used.then_some(first + number * granules)
        })
    }

    /// What is wrong with the run's header and bitmap, if anything.
    ///
    /// # Safety
    ///
    /// - The page is a block of the arena.
    pub(crate) unsafe fn violation(self, page: BlockSize) -> Option<&'static str> {
        // SAFETY: the page has room for the header, which `cut` initialised.
        let header = unsafe { self.header.read() };
        let granules = usize::from(header.granules);
        if !SlotSize::all().any(|slot| slot.granules() as usize == granules) {
            return Some("its run header names no slot size");
        }
        let division = Division::of(page, SlotSize::of_granules(granules));
        if (u32::from(header.first), u32::from(header.slots)) != (division.first, division.slots)
            || header.reciprocal != reciprocal_of(SlotSize::of_granules(granules))
            || usize::from(header.number) != SlotSize::of_granules(granules).number()
        {
            return Some("its run header does not describe the division of its page");
        }
        let mut free = 0;
        for word in 0..MOST_WORDS {
            let bits = (division.slots.saturating_sub(word * 64)).min(64);
            // SAFETY: a word that has bits lies in front of the first slot.
            let map = if bits == 0 { 0 } else { unsafe { self.word(word).read() } };
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
