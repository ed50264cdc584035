//! Which stretches of an arena are pages, which pages are runs, and whose.

use super::{FULL, Header, Run};
use crate::block::{Arena, granules_or_more};
use crate::size::{BlockSize, GRANULE, Index, SlotSize};
use crate::sync::in_place::{AtomicU8, Ordering};
use core::ops::Range;
use core::ptr::null_mut;

/// A page is this share of the arena, rounded up to a power of two: 1/256.
const PAGE_SHARE: usize = 256;

/// But a larger one in a small arena, 1/8, of so many bytes at least and at most: the header is a quarter of a run of
/// 256 bytes that has four slots, and where there are few pages, there are few sizes that could have one. (An arena of
/// 64 KiB that is filled with objects of 64 bytes holds 93 % of them with pages of 1 KiB, 87 % with 512 bytes; in one
/// of 4 KiB, pages of 1 KiB are as good as none.)
const LARGER_PAGE_SHARE: usize = 8;
const SHORT_PAGES: (usize, usize) = (256, 1024);

/// Where a 256th is 4 KiB or more, it is this long: 33 times what all slots are aligned to, so that run headers
/// are spread over all sets of a cache.
const USUAL_PAGE: usize = 33 * SlotSize::LARGEST_ALIGN;

/// Where memory is committed as it is needed and that share of the region is longer, and in a long arena, it is this
/// long: 129 times that alignment, 16 KiB. Then there are few run headers, so that most of them stay in the
/// processor's caches, whatever the program releases and in which order (programs that take a JSON document apart
/// take 0.96 to 0.98 of the time); what of a page was never used takes no memory. Longer ones gain little more, and
/// keep more in memory for the sake of a few slots: of 63 KiB, a program that works in waves had 1.35 times what it
/// used after each, where it had 1.23 with these and 1.20 with usual ones, as memory was given back then.
#[allow(dead_code, reason = "the oldest compilers do not see a use in the pattern of a range")]
const LONG_PAGE: usize = 129 * SlotSize::LARGEST_ALIGN;

/// An arena of a fixed size is long from so many bytes on, 64 MiB. Each size that is in use has half a page to spare in
/// the mean, and all of these together are half a percent then.
const LONG_ARENA: usize = 64 << 20;

/// Regions that have room for fewer pages have none.
const FEWEST_PAGES: usize = 4;

/// Dividing by a page's length is multiplying by `2^SHIFT` over that length, rounded up. Exact for all
/// granules of an arena, of which there are less than 2^29, if the product with the rounded-up one is less than 2^11
/// too much.
const SHIFT: u32 = 40;

// The words of the longest bitmap have numbers.
const _: () = assert!(LONG_PAGE / GRANULE / 64 < FULL as usize);

const _: () = {
    let lengths = [USUAL_PAGE, LONG_PAGE];
    let mut at = 0;
    while at < lengths.len() {
        let granules = (lengths[at] / GRANULE) as u64;
        assert!((1u64 << SHIFT).next_multiple_of(granules) - (1 << SHIFT) < 1 << 11);
        at += 1;
    }
};

/// Whose a run is, as a number: the heap's, or that of a cache.
pub(crate) type Owner = u8;

/// Nobody, where a page is no run.
const NOBODY: Owner = 0;

/// The heap.
pub(crate) const HEAP: Owner = 1;

/// How pages are laid out over addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grid {
    /// Of a length that suits the region, from where the first one can begin.
    Own,
    /// The same for a region that is committed as it is needed.
    #[cfg(all(feature = "std", unix))]
    Growing,
    /// Of the usual length, and as if the first one of all lay at the beginning of the address space. So the runs
    /// of two regions that touch are pages of the two together, too.
    Common,
}

/// How long pages are, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Bytes of a page.
    length: usize,
    /// The address of a page, whether or not there is memory.
    anchor: usize,
}

impl Grid {
    /// The length of the pages of a region of `len` bytes, in bytes.
    const fn length(self, len: usize) -> usize {
        let share = len.div_ceil(PAGE_SHARE).next_power_of_two();
        let larger = len.div_ceil(LARGER_PAGE_SHARE).next_power_of_two();
        match (self, share) {
            #[cfg(all(feature = "std", unix))]
            (Self::Growing, LONG_PAGE..) => LONG_PAGE,
            (Self::Own, _) if len >= LONG_ARENA => LONG_PAGE,
            (Self::Common, _) | (_, 4096..) => USUAL_PAGE,
            _ if larger < SHORT_PAGES.0 => SHORT_PAGES.0,
            _ if larger < SHORT_PAGES.1 => larger,
            _ if share < SHORT_PAGES.1 => SHORT_PAGES.1,
            _ => share,
        }
    }

    /// The bytes that the map of the pages of a region of `len` bytes takes, a multiple of 8; zero if the region is
    /// too small to have pages.
    pub(crate) const fn map_bytes(self, len: usize) -> usize {
        map_bytes(len, self.length(len))
    }

    /// The pages of a region of `len` bytes, whose first block lies where the arena's does.
    pub(crate) fn geometry(self, arena: Arena, len: usize) -> Geometry {
        let first = arena.address(Index::FIRST);
        let anchor = match self {
            Self::Common => Pages::MISALIGNMENT,
            _ => first + Pages::MISALIGNMENT.wrapping_sub(first) % SlotSize::LARGEST_ALIGN,
        };
        Geometry { length: self.length(len), anchor }
    }
}

impl Geometry {
    /// As [`Grid::map_bytes`].
    pub(crate) const fn map_bytes(self, len: usize) -> usize {
        map_bytes(len, self.length)
    }
}

const fn map_bytes(len: usize, length: usize) -> usize {
    if len / length < FEWEST_PAGES { 0 } else { (len / length).next_multiple_of(8) }
}

/// Which stretches of an arena are pages, and which pages are runs, and whose.
///
/// The map of owners has one byte for each page, and is no part of a block that was handed out: it lies in front of
/// the arena's origin or, in a region that has grown, behind its last granule or in a block of the heap's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages {
    /// The first page, derived from the arena's origin.
    start: *mut u8,
    /// The map's first byte, derived from there, too.
    map: *mut Owner,
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
    pub(super) const MISALIGNMENT: usize = SlotSize::LARGEST_ALIGN - size_of::<Header>() - size_of::<u64>();

    /// The granules of a page in a region that is neither small nor committed as it is needed.
    pub(crate) const USUAL_GRANULES: u32 = (USUAL_PAGE / GRANULE) as u32;

    /// The granules of a page of that many, or of a usual one if that is longer: what of a long one is not used costs
    /// nothing.
    pub(crate) const fn usual(page: u32) -> u32 {
        if page < Self::USUAL_GRANULES { page } else { Self::USUAL_GRANULES }
    }

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

    /// The pages between the first block of an arena and `end`: as many as a map of so many bytes has room for.
    pub(crate) fn new(geometry: Geometry, arena: Arena, end: Index, map: *mut u8, map_bytes: usize) -> Self {
        if map_bytes == 0 {
            return Self::none();
        }
        let Geometry { length: bytes, anchor } = geometry;
        let length = (bytes / GRANULE) as u32;
        let to_first = (anchor % bytes + bytes - arena.address(Index::FIRST) % bytes) % bytes;
        let first = Index::new(Index::FIRST.get() + (to_first / GRANULE) as u32);
        let count = (end.get().saturating_sub(first.get()) / length).min(map_bytes as u32);
        Self {
            start: arena.at_index(first),
            map,
            reciprocal: (1u64 << SHIFT).div_ceil(length.into()),
            total: count * length,
            length,
            first,
            map_bytes: map_bytes as u32,
        }
    }

    /// The same pages, of an arena that moved with its map.
    pub(crate) fn rebased(self, arena: Arena, map: *mut u8) -> Self {
        Self { start: arena.at_index(self.first), map, ..self }
    }

    /// How long these pages are, and where.
    pub(crate) fn geometry(&self) -> Geometry {
        Geometry { length: self.length as usize * GRANULE, anchor: self.start.addr() }
    }

    /// Whether these pages and others are of one grid.
    pub(crate) fn are_in_line_with(&self, other: &Self) -> bool {
        let distance = self.start.addr().abs_diff(other.start.addr());
        self.length == other.length && distance.checked_rem(self.length as usize * GRANULE) == Some(0)
    }

    /// The map's first byte.
    pub(crate) fn map(&self) -> *mut u8 {
        self.map
    }

    /// Whether an address lies in the map.
    pub(crate) fn is_in_map(&self, address: usize) -> bool {
        address.wrapping_sub(self.map.addr()) < self.map_bytes as usize
    }

    /// How many there are.
    fn count(&self) -> usize {
        self.total.checked_div(self.length).unwrap_or(0) as usize
    }

    /// Notes that what was a run among other pages, which lie among these, is one, and that all others are none.
    ///
    /// # Safety
    ///
    /// - All maps are the caller's alone. That of `former` may overlap this one, that of `others` does not.
    pub(crate) unsafe fn take_over(&self, former: &Self, others: &Self) {
        let place = |pages: &Self| {
            let to_first = pages.start.addr().wrapping_sub(self.start.addr());
            let page = self.length as usize * GRANULE;
            let number = if pages.exist() { to_first.checked_div(page).unwrap_or(0) } else { 0 };
            invariant!(number <= self.count());
            // Where the arena ends earlier now, for the sake of the map, nothing is in use.
            (number, pages.count().min(self.count().saturating_sub(number)))
        };
        let bytes = self.map_bytes as usize;
        if bytes == 0 {
            return;
        }
        let (number, count) = place(former);
        // SAFETY: a map has a byte for each page (contract).
        unsafe {
            self.map.wrapping_add(number).copy_from(former.map, count);
            self.map.write_bytes(NOBODY, number);
            self.map.wrapping_add(number + count).write_bytes(NOBODY, bytes - number - count);
            let (number, count) = place(others);
            self.map.wrapping_add(number).copy_from_nonoverlapping(others.map, count);
        }
    }

    /// Whether there are any.
    #[inline(always)]
    pub(crate) const fn exist(&self) -> bool {
        self.total != 0
    }

    /// The bytes of the map.
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

    /// Whose a page is.
    ///
    /// The map is read and written as relaxed atomics, which costs nothing: the owner of a slot may look its page up
    /// while another thread, which has the heap's lock, changes the byte of another page.
    #[inline(always)]
    fn owner(&self, page: u32) -> &AtomicU8 {
        // SAFETY: the map has a byte for each page that `locate` finds, and is not touched otherwise.
        unsafe { AtomicU8::from_ptr(self.map.wrapping_add(page as usize)) }
    }

    /// What an address, which may be any, leads into.
    #[inline(always)]
    pub(crate) fn at(&self, address: usize) -> LeadsInto {
        let Some((page, in_page)) = self.locate(address) else { return LeadsInto::NoRun };
        match self.owner(page).load(Ordering::Relaxed) {
            NOBODY => LeadsInto::NoRun,
            owner => LeadsInto::Run { owner, run: self.run(page), in_page },
        }
    }

    /// The run that an address leads into, and how many granules from the run's start; `None` if it, which
    /// may be any, leads into no run.
    #[inline(always)]
    pub(crate) fn run_at(&self, address: usize) -> Option<(Run, u32)> {
        match self.at(address) {
            LeadsInto::NoRun => None,
            LeadsInto::Run { run, in_page, .. } => Some((run, in_page)),
        }
    }

    #[inline(always)]
    fn run(&self, page: u32) -> Run {
        Run { header: self.start.wrapping_add((page * self.length) as usize * GRANULE).cast() }
    }

    /// How many pages in front of a position are runs.
    pub(crate) fn runs_before(&self, end: Index) -> u32 {
        let is_run = |page| self.owner(page).load(Ordering::Relaxed) != NOBODY;
        self.before(end).map(|page| u32::from(is_run(page))).sum()
    }

    /// Notes that no page in front of a position is a run any more.
    #[cfg(any(feature = "allocator-api2", feature = "nightly"))]
    pub(crate) fn forget_before(&self, end: Index) {
        for page in self.before(end) {
            self.owner(page).store(NOBODY, Ordering::Relaxed);
        }
    }

    /// The pages that lie in front of a position as a whole.
    fn before(&self, end: Index) -> Range<u32> {
        let granules = end.get().saturating_sub(self.first.get()).min(self.total);
        0..granules.checked_div(self.length).unwrap_or(0)
    }

    /// Whose a run is.
    pub(crate) fn owner_of(&self, run: Run) -> Owner {
        self.locate(run.header.addr()).map_or(NOBODY, |(page, _)| self.owner(page).load(Ordering::Relaxed))
    }

    /// Notes whose a run is.
    pub(crate) fn set_owner(&self, run: Run, owner: Owner) {
        if let Some((page, _)) = self.locate(run.header.addr()) {
            self.owner(page).store(owner, Ordering::Relaxed);
        }
    }

    /// Notes that a page is no run any more.
    pub(crate) fn forget(&self, run: Run) {
        self.set_owner(run, NOBODY);
    }
}

/// What an address leads into.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LeadsInto {
    NoRun,
    Run {
        owner: Owner,
        run: Run,
        /// Granules from the run's start.
        in_page: u32,
    },
}
