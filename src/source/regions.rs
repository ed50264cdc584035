//! Regions that are handed over at run time, in any order and at any distance.

use super::{Elsewhere, Leftover, Outside, sealed};
use crate::fault::{Action, Fault};
use crate::heap::{AuditError, Heap, RegionError, Resized, end_of_span};
use crate::refusal::Memory;
use crate::run::Grid;
use crate::size::GRANULE;
use crate::stats::Stats;
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::NonNull;

/// Several regions of memory, which are handed over at run time with
/// [`Locked::add_region`](crate::Locked::add_region): the first one, and up to `OTHERS` that touch no other, seven by
/// default.
///
/// ```
/// use core::alloc::{GlobalAlloc, Layout};
/// use mem_alloc_rust::{Locked, RegionError, Regions};
///
/// static A: Locked<Regions> = Locked::new();
///
/// let memory = Box::leak(vec![0u64; 4000].into_boxed_slice());
/// let start: *mut u8 = memory.as_mut_ptr().cast();
/// // SAFETY: the memory is leaked, one allocation, and used by nothing else. The layouts are of more than no bytes.
/// unsafe {
///     let (small, large) = (Layout::new::<[u8; 7000]>(), Layout::new::<[u8; 14_000]>());
///     assert!(A.alloc(small).is_null(), "there is no memory yet");
///     // What does not touch stays apart: each block lies in one of them.
///     A.add_region(start.add(24_000), 8000).unwrap();
///     A.add_region(start, 8000).unwrap();
///     assert!(A.alloc(large).is_null());
///     let blocks = [A.alloc(small), A.alloc(small)];
///     assert!(blocks.iter().all(|block| !block.is_null()) && A.alloc(small).is_null());
///     // What lies between makes one of the three.
///     assert_eq!(A.add_region(start.add(7999), 16_001), Err(RegionError::Overlaps));
///     A.add_region(start.add(8000), 16_000).unwrap();
///     assert!(!A.alloc(large).is_null());
///     blocks.into_iter().for_each(|block| A.dealloc(block, small));
/// }
/// A.audit().unwrap();
/// ```
///
/// - A block lies in one region as a whole, and goes back to that. Regions that touch are one: a block may lie across
///   their border.
/// - Requests are served from the first region, as fast as those of a [`Region`](super::Region), and from the others
///   only if that has no room, in the order in which they were added. So the largest, or the fastest, comes first.
/// - Two that touch and are together larger than 4 GiB less a page stay two. Those that have been in use both, and
///   become neighbours by what is added between them, become one as soon as there is room for the map of their pages,
///   1/4224 of them: it is tried at each `add_region`, and before a request is refused.
/// - Each of the `OTHERS` takes about 5 KiB of `.bss`. A region costs one byte for each 4,224, and up to fifteen at its
///   ends. One that was added behind another leaves that one's map unused.
/// - The figures are those of all regions. [`peak_bytes`](Stats::peak_bytes) is no less than the most that all had in
///   use together, and more where the first one had its most at another time. [`occupancy`](crate::Locked::occupancy)
///   draws the first region.
/// - The threads' caches of a [`ThreadCached`](crate::ThreadCached) are filled from the first region, of which they
///   keep a share.
pub struct Regions<const OTHERS: usize = 7> {
    others: UnsafeCell<Others<OTHERS>>,
    /// What is in use in the others.
    outside: Outside,
}

/// What a heap has refused that has not been asked since it changed.
const NOTHING_REFUSED: usize = 0;

/// What is reached with the lock only.
struct Others<const OTHERS: usize> {
    /// Beside the first, which is the allocator's own. Those that are not in use have no region.
    heaps: [Heap; OTHERS],
    /// Bytes of the smallest request that each has refused since it changed, or [`NOTHING_REFUSED`]: as long as it does
    /// not change again, it need not be asked for as many.
    refused: [usize; OTHERS],
    /// There are regions that touch and are not one: there was no room for the map of their pages.
    have_neighbours: bool,
}

// SAFETY: the heaps are reached under the lock of the first one only, which is passed to each function.
unsafe impl<const OTHERS: usize> Sync for Regions<OTHERS> {}

impl<const OTHERS: usize> Regions<OTHERS> {
    const fn new() -> Self {
        let others = Others {
            heaps: [const { Heap::new() }; OTHERS],
            refused: [NOTHING_REFUSED; OTHERS],
            have_neighbours: false,
        };
        Self { others: UnsafeCell::new(others), outside: Outside::NEW }
    }

    /// All heaps. The first one tells that this thread has the lock.
    fn heaps<'a>(&'a self, first: &'a mut Heap) -> Heaps<'a> {
        // SAFETY: who has the first heap has the lock, and nobody else is at the others then.
        let Others { heaps, refused, have_neighbours } = unsafe { &mut *self.others.get() };
        Heaps { first, others: heaps, refused, have_neighbours }
    }

    /// The other heaps, to look at.
    fn others<'a>(&'a self, _first: &'a Heap) -> &'a [Heap; OTHERS] {
        // SAFETY: as above.
        unsafe { &(*self.others.get()).heaps }
    }
}

/// Heaps in a row: the first one of an allocator, and its others.
struct Heaps<'a> {
    first: &'a mut Heap,
    others: &'a mut [Heap],
    refused: &'a mut [usize],
    have_neighbours: &'a mut bool,
}

impl Heaps<'_> {
    fn get(&mut self, number: usize) -> Option<&mut Heap> {
        match number.checked_sub(1) {
            None => Some(self.first),
            Some(number) => self.others.get_mut(number),
        }
    }

    /// The other heap whose region an address lies in, to be changed.
    fn other_with(&mut self, address: usize) -> Option<&mut Heap> {
        let mut others = self.others.iter_mut().zip(self.refused.iter_mut());
        let (heap, refused) = others.find(|(heap, _)| heap.has_in_region(address))?;
        *refused = NOTHING_REFUSED;
        Some(heap)
    }

    /// A block of one of the others', and how many bytes of it are to be cleared.
    fn alloc_in_others(&mut self, outside: &Outside, layout: Layout) -> Option<(NonNull<u8>, usize)> {
        for (heap, refused) in self.others.iter_mut().zip(self.refused.iter_mut()) {
            if *refused != NOTHING_REFUSED && layout.size() >= *refused {
                continue;
            }
            let found = outside.following(heap, |heap| heap.alloc_to_clear(layout));
            if found.is_some() {
                *refused = NOTHING_REFUSED;
                return found;
            }
            // Where alignment does not matter.
            if layout.align() <= GRANULE && heap.has_refused_for_good(layout) {
                *refused = layout.size().max(1);
            }
        }
        None
    }

    /// The regions, each with its number.
    fn regions(&self) -> impl Iterator<Item = (usize, (usize, usize))> + '_ {
        let heaps = core::iter::once(&*self.first).chain(self.others.iter());
        heaps.enumerate().filter_map(|(number, heap)| Some((number, heap.region()?)))
    }

    /// Makes memory part of a region that it touches, or a region of its own.
    ///
    /// # Errors
    ///
    /// As for [`Locked::add_region`](crate::Locked::add_region).
    ///
    /// # Safety
    ///
    /// - As for [`Locked::add_region`](crate::Locked::add_region).
    unsafe fn add(&mut self, start: *mut u8, len: usize) -> Result<(), RegionError> {
        let end = end_of_span(start, len)?;
        if len > 0 && self.regions().any(|(_, (from, to))| from < end && start.addr() < to) {
            return Err(RegionError::Overlaps);
        }
        let numbers = |touches: &dyn Fn((usize, usize)) -> bool| {
            self.regions().find_map(|(number, region)| touches(region).then_some(number))
        };
        let touching = [numbers(&|(_, to)| to == start.addr()), numbers(&|(from, _)| from == end)];
        for number in touching.into_iter().flatten() {
            // SAFETY: the caller's contract.
            let extend = |heap: &mut Heap| unsafe { heap.extend_with_pages(start, len, false, Grid::Common) };
            if self.get(number).is_some_and(|heap| extend(heap).is_ok()) {
                return Ok(());
            }
        }
        // What would become too large, or has no room for a longer map of pages, is one of its own.
        let mut heaps = core::iter::once(&mut *self.first).chain(self.others.iter_mut());
        let vacant = heaps.find(|heap| !heap.is_initialized()).ok_or(RegionError::TooMany)?;
        // SAFETY: the caller's contract.
        unsafe { vacant.init_with_pages(start, len, false, Some(Grid::Common)) }
    }

    /// Makes regions that touch one, and moves maps of pages out of the way, where there is room now. Returns whether
    /// anything was done.
    fn tidy(&mut self) -> bool {
        let count = 1 + self.others.len();
        let mut has_changed = false;
        while *self.have_neighbours
            && (0..count).any(|upper| (0..count).any(|lower| lower != upper && self.join(lower, upper)))
        {
            has_changed = true;
            self.look_for_neighbours();
        }
        for number in 0..count {
            has_changed |= self.get(number).is_some_and(Heap::move_map_behind_top);
        }
        has_changed
    }

    /// Notes whether there are regions that touch.
    fn look_for_neighbours(&mut self) {
        let begins = |address| self.regions().any(|(_, (from, _))| from == address);
        let have_neighbours = self.regions().any(|(_, (_, to))| begins(to));
        *self.have_neighbours = have_neighbours;
    }

    /// Makes two heaps one, which takes the place of the first of them, if the lower one's region ends where the upper
    /// one's begins.
    fn join(&mut self, lower: usize, upper: usize) -> bool {
        let Self { first, others, .. } = self;
        let (before, from) = others.split_at_mut(lower.max(upper).saturating_sub(1));
        let Some(later) = from.first_mut() else { return false };
        let earlier = match lower.min(upper).checked_sub(1) {
            None => Some(&mut **first),
            Some(number) => before.get_mut(number),
        };
        let Some(earlier) = earlier else { return false };
        let (lower_heap, upper_heap) = if lower < upper { (earlier, later) } else { (later, earlier) };
        // SAFETY: regions that touch are one allocation (contract of `add`).
        if !unsafe { upper_heap.join(lower_heap, Grid::Common) } {
            return false;
        }
        if lower < upper {
            lower_heap.swap(upper_heap);
        }
        true
    }
}

impl<const OTHERS: usize> Regions<OTHERS> {
    /// As [`Locked::add_region`](crate::Locked::add_region), for the first of whose heaps the caller has the lock.
    ///
    /// # Errors
    ///
    /// As for [`Locked::add_region`](crate::Locked::add_region).
    ///
    /// # Safety
    ///
    /// - As for [`Locked::add_region`](crate::Locked::add_region).
    pub(crate) unsafe fn add(&self, first: &mut Heap, start: *mut u8, len: usize) -> Result<(), RegionError> {
        self.outside.note_peak(first);
        let mut heaps = self.heaps(first);
        // SAFETY: the caller's contract.
        unsafe { heaps.add(start, len)? };
        heaps.look_for_neighbours();
        heaps.tidy();
        self.note_regions(first);
        Ok(())
    }

    /// To be called after the regions became other ones.
    fn note_regions(&self, first: &mut Heap) {
        self.heaps(first).refused.fill(NOTHING_REFUSED);
        let others = self.others(first);
        self.outside.set_live(others.iter().map(Heap::live_bytes).sum());
        self.outside.set_arena(others.iter().map(Heap::arena_bytes).sum());
    }

    /// The other heap whose region an address lies in.
    fn other_with<'a>(&'a self, first: &'a Heap, address: usize) -> Option<&'a Heap> {
        self.others(first).iter().find(|heap| heap.has_in_region(address))
    }
}

impl<const OTHERS: usize> sealed::Source for Regions<OTHERS> {
    #[allow(clippy::declare_interior_mutable_const, reason = "the initial value of statics")]
    const INIT: Self = Self::new();

    const MEMORY: Memory = Memory::Regions;

    const HAS_ELSEWHERE: bool = true;

    fn has(&self, _: usize) -> bool {
        // Regions change while others look: that is asked with the lock.
        false
    }

    fn outside(&self) -> Option<&Outside> {
        Some(&self.outside)
    }

    fn arena_bytes(&self, first: usize) -> usize {
        first + self.outside.arena()
    }

    unsafe fn usable_size_elsewhere(&self, heap: &Heap, block: *mut u8) -> Option<usize> {
        let heap = if heap.has_in_region(block.addr()) { heap } else { self.other_with(heap, block.addr())? };
        // SAFETY: the caller's contract.
        unsafe { heap.usable_size(block) }.ok()
    }

    fn alloc_elsewhere(&self, heap: &mut Heap, layout: Layout) -> Option<(NonNull<u8>, usize)> {
        self.outside.note_peak(heap);
        let mut heaps = self.heaps(heap);
        let found = heaps.alloc_in_others(&self.outside, layout);
        if found.is_some() || !heaps.tidy() {
            return found;
        }
        self.note_regions(heap);
        let mut heaps = self.heaps(heap);
        let found = heaps.first.alloc_to_clear(layout);
        found.or_else(|| heaps.alloc_in_others(&self.outside, layout))
    }

    unsafe fn dealloc_elsewhere(&self, heap: &mut Heap, block: *mut u8) -> Option<Leftover> {
        self.outside.note_peak(heap);
        // SAFETY: the caller's contract.
        let dealloc = |heap: &mut Heap| unsafe { heap.dealloc(block) };
        let outcome = self.outside.following(self.heaps(heap).other_with(block.addr())?, dealloc);
        outcome.ok().map(|()| Leftover::NOTHING)
    }

    unsafe fn resize_elsewhere(
        &self,
        heap: &mut Heap,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> Elsewhere {
        self.outside.note_peak(heap);
        let mut heaps = self.heaps(heap);
        let Some(other) = heaps.other_with(block.addr()) else { return Elsewhere::Unknown };
        // SAFETY: the caller's contract.
        let resize = |heap: &mut Heap| unsafe { heap.resize(block, layout, new_size) };
        let mut resized = self.outside.following(other, resize);
        if let (Resized::Refused, Ok(new_layout)) =
            (resized, Layout::from_size_align(new_size, layout.align()))
        {
            let elsewhere = heap.alloc(new_layout);
            let elsewhere = elsewhere.or_else(|| Some(self.alloc_elsewhere(heap, new_layout)?.0));
            resized = elsewhere.map_or(resized, Resized::MoveTo);
        }
        match resized {
            Resized::Rejected => Elsewhere::Unknown,
            resized => Elsewhere::Known(resized),
        }
    }

    fn has_elsewhere(&self, heap: &Heap, ptr: *mut u8) -> bool {
        heap.has_in_region(ptr.addr()) || self.other_with(heap, ptr.addr()).is_some()
    }

    fn is_live_elsewhere(&self, heap: &Heap, block: *mut u8) -> bool {
        self.other_with(heap, block.addr()).is_some_and(|heap| heap.is_live(block))
    }

    fn fault_elsewhere(&self, heap: &Heap, block: *mut u8, action: Action) -> Option<Fault> {
        self.other_with(heap, block.addr()).map(|heap| heap.fault_of(block, action))
    }

    fn add_to_stats(&self, heap: &Heap, stats: &mut Stats) {
        stats.peak_bytes = self.outside.peak_with(stats.peak_bytes);
        self.others(heap).iter().for_each(|other| other.count(stats));
    }

    fn audit_elsewhere(&self, heap: &Heap) -> Result<(), AuditError> {
        self.others(heap).iter().try_for_each(Heap::audit)
    }
}

impl<const OTHERS: usize> core::fmt::Debug for Regions<OTHERS> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Regions<{OTHERS}>")
    }
}
