//! A region that grows, by memory behind it or in front of it, and two heaps whose regions touch, which become one.
//!
//! Memory behind becomes a part of the top. What comes in front, memory or another heap, changes where positions are
//! counted from. So the arena gets a new origin, and all that is kept about blocks and runs is gathered anew from
//! their headers ([`Heap::gather`]), in a time in proportion to their number. The blocks stay where they are.
//!
//! ```text
//!  before    │map│ blocks │ top │                          and memory behind
//!  after     │old│ blocks │ top ……………………………………………………… │map│
//!
//!  before                 lower heap │ blocks │ top │map│map│ blocks │ top │ this heap
//!  after                             │ blocks │ free block  │ blocks │ top │map│
//! ```
//!
//! The map of pages has to become longer. It moves to the far end of the new memory. If there is no new memory at an
//! end, it moves behind the top, or, where that is too short, into a block of the heap's own, which is marked as a run
//! and is none: that nobody can give back. What it leaves becomes free with what lies beside it. Only a map in front
//! of the first block stays lost, until memory comes in front of that.

use super::take::End;
use super::{Heap, RegionError, behind_map, end_of_span, map_of};
use crate::block::Arena;
use crate::run::{Geometry, Grid, HEAP, Pages, Run};
use crate::size::{BlockSize, GRANULE, HEADER, Index, MAX_REGION, SlotSize};

/// Where the map of pages lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MapPlace {
    /// Nowhere: there are no pages.
    Nowhere,
    /// In front of the first block.
    InFront,
    /// In the payload of a block of the heap's own.
    Block(Index),
    /// Behind the last granule.
    Behind,
}

/// What lies in front of a heap's region, and becomes one with it.
struct Lower {
    region: *mut u8,
    arena: Arena,
    /// Behind the last block.
    top: Index,
    peak: u32,
    pages: Pages,
    /// The block that the map lies in, if it lies in one.
    map_block: Option<Index>,
}

/// Where the map of pages is to lie, and the address behind what the heap can use then.
struct NewMap {
    address: usize,
    bytes: usize,
    limit: usize,
}

impl Heap {
    /// Makes the region larger by the `len` bytes at `start`, which lie directly behind it or directly in front of it.
    /// Blocks that were handed out stay where they are; new ones may lie across the border.
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use mem_alloc_rust::{Heap, RegionError};
    ///
    /// let mut memory = vec![0u64; 1024];
    /// let start: *mut u8 = memory.as_mut_ptr().cast();
    /// let mut heap = Heap::new();
    /// let layout = Layout::new::<[u8; 6000]>();
    /// // SAFETY: only the heap uses the memory, which is all zero and one allocation.
    /// unsafe {
    ///     heap.init(start.add(2048), 2048, true).unwrap();
    ///     assert!(heap.alloc(layout).is_none());
    ///     heap.extend(start.add(4096), 4096, true).unwrap();
    ///     assert!(heap.alloc(layout).is_some());
    ///     // In front of it, too. What does not touch it is refused, as is what it has already.
    ///     assert_eq!(heap.extend(start, 1000, true), Err(RegionError::NotAdjacent));
    ///     assert_eq!(heap.extend(start, 2049, true), Err(RegionError::Overlaps));
    ///     heap.extend(start, 2048, true).unwrap();
    /// }
    /// assert!(heap.stats().arena_bytes > 8000);
    /// ```
    ///
    /// Memory behind the region is taken in a bounded time but for its map of pages, which has a byte for each, and is
    /// moved. Memory in front takes a time in proportion to the number of blocks. Pages stay as long as they are as
    /// long as there are runs: a region that begins with less than 513 KiB, and has runs when it grows, spends up to
    /// 1/256 of the new memory on their map, and not 1/4224.
    ///
    /// `zeroed` says that all of the memory is zero; see [`init`](Self::init).
    ///
    /// # Errors
    ///
    /// Refuses memory that does not touch the region or overlaps it, that is too small to be of use, that starts at
    /// null or wraps around, that makes the region too large, and any as long as there is no region. The heap is
    /// unchanged then.
    ///
    /// # Safety
    ///
    /// - The memory is valid for reads and writes as long as the heap or anything allocated from it is in use.
    /// - Nothing else reads or writes it, except through pointers that the heap hands out.
    /// - It is one allocation with the region, as parts of a buffer or of a mapping are, or memory that no allocator
    ///   of the program knows of. Two buffers that touch by chance are not.
    /// - If `zeroed` is true, every byte of it is zero.
    pub unsafe fn extend(&mut self, start: *mut u8, len: usize, zeroed: bool) -> Result<(), RegionError> {
        // SAFETY: the caller's contract.
        unsafe { self.extend_with_pages(start, len, zeroed, Grid::Own) }
    }

    /// As [`extend`](Self::extend), with pages that are laid out like that.
    ///
    /// # Errors
    ///
    /// As for [`extend`](Self::extend).
    ///
    /// # Safety
    ///
    /// - As for [`extend`](Self::extend).
    pub(crate) unsafe fn extend_with_pages(
        &mut self,
        start: *mut u8,
        len: usize,
        zeroed: bool,
        grid: Grid,
    ) -> Result<(), RegionError> {
        let end = end_of_span(start, len)?;
        let Some((region_start, region_end)) = self.region() else { return Err(RegionError::NotAdjacent) };
        if len > 0 && start.addr() < region_end && region_start < end {
            return Err(RegionError::Overlaps);
        }
        let whole = (region_end - region_start).saturating_add(len);
        invariant!(!self.facts.is_copied);
        match () {
            () if start.addr() != region_end && end != region_start => Err(RegionError::NotAdjacent),
            () if whole > MAX_REGION => Err(RegionError::TooLarge { len: whole }),
            // SAFETY: the caller's contract.
            () if start.addr() == region_end => unsafe { self.extend_upwards(start, len, zeroed, grid) },
            // SAFETY: the caller's contract.
            () => unsafe { self.extend_downwards(start, len, grid) },
        }
    }

    /// The region's first address, and the one behind it, if there is one.
    pub(crate) fn region(&self) -> Option<(usize, usize)> {
        self.is_initialized().then(|| {
            let behind = if self.map_place() == MapPlace::Behind { self.pages.bytes_of_map() } else { 0 };
            (self.region.addr(), self.limit() + behind)
        })
    }

    /// Whether an address lies in the region.
    pub(crate) fn has_in_region(&self, address: usize) -> bool {
        self.region().is_some_and(|(start, end)| (start..end).contains(&address))
    }

    /// The address behind what the heap can use: of the map, if that lies there, or behind the region.
    fn limit(&self) -> usize {
        self.arena.address(self.end) - HEADER + usize::from(self.facts.slack)
    }

    fn map_place(&self) -> MapPlace {
        let map = self.pages.map().addr();
        match () {
            () if self.pages.bytes_of_map() == 0 => MapPlace::Nowhere,
            () if map < self.arena.address(Index::FIRST) - HEADER => MapPlace::InFront,
            () if map >= self.limit() => MapPlace::Behind,
            () => MapPlace::Block(Index::new(self.arena.index_of(map) as u32)),
        }
    }

    pub(super) fn map_block(&self) -> Option<Index> {
        match self.map_place() {
            MapPlace::Block(index) => Some(index),
            _ => None,
        }
    }

    /// Whether a position is that of the block that the map of pages lies in.
    pub(super) fn is_map(&self, index: Index) -> bool {
        self.map_block() == Some(index)
    }

    /// The pages that a region has that grows to `whole` bytes: those that it has if there are runs among them.
    fn geometry_for(&self, grid: Grid, arena: Arena, whole: usize) -> Geometry {
        if self.classes.have_runs() { self.pages.geometry() } else { grid.geometry(arena, whole) }
    }

    /// # Errors
    ///
    /// There is not enough memory for another block.
    ///
    /// # Safety
    ///
    /// - As for [`extend`](Self::extend), and the memory lies directly behind the region, which does not become too
    ///   large.
    unsafe fn extend_upwards(
        &mut self,
        start: *mut u8,
        len: usize,
        zeroed: bool,
        grid: Grid,
    ) -> Result<(), RegionError> {
        let (region_end, place) = (start.addr() + len, self.map_place());
        let whole = region_end - self.region.addr();
        let geometry = self.geometry_for(grid, self.arena, whole);
        let map_bytes = geometry.map_bytes(whole);
        // The map stays where it is if it is long enough, or takes more than there is.
        let moves = place == MapPlace::Behind
            || map_bytes > self.pages.bytes_of_map() && map_bytes + 2 * BlockSize::MIN.bytes() <= len;
        let limit = if moves { region_end - map_bytes } else { region_end };
        let (old_end, old_limit) = (self.end, self.arena.address(self.end) - HEADER);
        let end = self.arena.end_before(limit.max(old_limit));
        if end < old_end + BlockSize::MIN {
            return Err(RegionError::TooSmall { len });
        }
        self.arena = self.arena.reaching(start);
        self.region = self.arena.pointer_to(self.region.addr());
        let former = core::mem::replace(&mut self.pages, Pages::none());
        let (map, map_bytes) =
            if moves { (limit, map_bytes) } else { (former.map().addr(), former.bytes_of_map()) };
        self.pages = Pages::new(geometry, self.arena, end, self.arena.pointer_to(map), map_bytes);
        let runs = if self.classes.have_runs() { former } else { Pages::none() };
        // SAFETY: the new map lies in the new memory, or is the former one.
        unsafe { self.pages.take_over(&runs, &Pages::none()) };
        let is_used_up = self.used_up_to == old_end;
        self.set_end(end, limit);
        self.facts.zeroed = zeroed && (self.facts.zeroed || is_used_up);
        // SAFETY: what lies there was slack, or the former map.
        unsafe { self.clear_what_was_used(old_limit, start.addr().min(limit)) };
        if let (true, MapPlace::Block(index)) = (moves, place) {
            // SAFETY: the map is elsewhere now.
            unsafe { self.give_up_map_block(index) };
        }
        Ok(())
    }

    /// Keeps FRESH, where what was not part of a block becomes part of the top.
    ///
    /// # Safety
    ///
    /// - The span lies in the top.
    unsafe fn clear_what_was_used(&self, from: usize, to: usize) {
        if self.facts.zeroed && from < to {
            // SAFETY: the top is the heap's own (contract).
            unsafe { self.arena.pointer_to(from).write_bytes(0, to - from) };
        }
    }

    /// # Errors
    ///
    /// There is not enough memory for another block, or none for the map of pages.
    ///
    /// # Safety
    ///
    /// - As for [`extend`](Self::extend), and the memory ends where the region begins, which does not become too
    ///   large.
    unsafe fn extend_downwards(&mut self, start: *mut u8, len: usize, grid: Grid) -> Result<(), RegionError> {
        let Some((region_start, region_end)) = self.region() else { return Err(RegionError::NotAdjacent) };
        let whole = region_end - start.addr();
        // How long the map is does not depend on where the arena begins.
        let map_bytes = self.geometry_for(grid, self.arena, whole).map_bytes(whole);
        let has_block = |from: *mut u8| from.addr() + GRANULE + BlockSize::MIN.bytes() <= region_start;
        let (map, first) = (map_of(start, map_bytes), behind_map(start, map_bytes));
        let (arena, map) = match () {
            () if has_block(first) => {
                let limit = if self.map_place() == MapPlace::Behind { region_end } else { self.limit() };
                (Arena::at(first), NewMap { address: map.addr(), bytes: map_bytes, limit })
            }
            () if has_block(start) => {
                (Arena::at(start), self.place_for_map(map_bytes, None).ok_or(RegionError::TooSmall { len })?)
            }
            () => return Err(RegionError::TooSmall { len }),
        };
        let arena = arena.reaching(self.region);
        let geometry = self.geometry_for(grid, arena, whole);
        let pages = Pages::none();
        let lower = Lower { region: start, arena, top: Index::FIRST, peak: 0, pages, map_block: None };
        // SAFETY: the caller's contract.
        unsafe { self.continue_above(lower, geometry, map) };
        Ok(())
    }

    /// Makes this heap one with `lower`, whose region ends where this one's begins. False, and both serve as before, if
    /// they cannot become one: if the region would be too large, there is no room for a longer map of pages, or the
    /// runs of the two are not pages of one grid. Otherwise `lower` has no region any more.
    ///
    /// # Safety
    ///
    /// - The two regions are one allocation, as [`extend`](Self::extend) says.
    pub(crate) unsafe fn join(&mut self, lower: &mut Self, grid: Grid) -> bool {
        let (Some((own_start, end)), Some((start, border))) = (self.region(), lower.region()) else {
            return false;
        };
        let whole = end.saturating_sub(start);
        if own_start != border || whole > MAX_REGION || self.facts.is_copied || lower.facts.is_copied {
            return false;
        }
        let arena = lower.arena.reaching(self.region);
        let geometry = match (self.classes.have_runs(), lower.classes.have_runs()) {
            (true, true) if !self.pages.are_in_line_with(&lower.pages) => return false,
            (false, true) => lower.pages.geometry(),
            _ => self.geometry_for(grid, arena, whole),
        };
        let Some(map) = self.place_for_map(geometry.map_bytes(whole), Some(lower)) else { return false };
        lower.give_up_idle_runs();
        let pages = if lower.classes.have_runs() { lower.pages } else { Pages::none() };
        let (top, peak, map_block) = (lower.top, lower.figures.peak(), lower.map_block());
        let below = Lower { region: lower.region, arena, top, peak, pages, map_block };
        // SAFETY: the caller's contract.
        unsafe { self.continue_above(below, geometry, map) };
        lower.swap(&mut Self::new());
        true
    }

    /// Swaps the regions of two heaps, and all that is known of them, but for the caches that may be active: there are
    /// none at either.
    ///
    /// The figures may be read meanwhile, so that the heaps cannot be swapped as they are.
    pub(crate) fn swap(&mut self, other: &mut Self) {
        use core::mem::swap;
        let Self {
            arena,
            region,
            pages,
            top,
            end,
            committed,
            growth,
            victim,
            figures,
            used_up_to,
            facts,
            classes,
            free,
            ..
        } = self;
        swap(arena, &mut other.arena);
        swap(region, &mut other.region);
        swap(pages, &mut other.pages);
        for (here, there) in [
            (top, &mut other.top),
            (end, &mut other.end),
            (committed, &mut other.committed),
            (victim, &mut other.victim),
            (used_up_to, &mut other.used_up_to),
        ] {
            swap(here, there);
        }
        swap(growth, &mut other.growth);
        swap(facts, &mut other.facts);
        let (live, peak) = (figures.live(), figures.peak());
        figures.set(other.figures.live(), other.figures.peak());
        other.figures.set(live, peak);
        let arena = figures.arena();
        figures.set_arena(other.figures.arena());
        other.figures.set_arena(arena);
        swap(classes, &mut other.classes);
        swap(free, &mut other.free);
    }

    /// Finds room for a map of pages of so many bytes, where there is no new memory for it: where it is, behind the
    /// top, or in a block of one of the two heaps, which is taken for it.
    fn place_for_map(&mut self, bytes: usize, lower: Option<&mut Self>) -> Option<NewMap> {
        let (_, region_end) = self.region()?;
        let (place, address) = (self.map_place(), self.pages.map().addr());
        if bytes <= self.pages.bytes_of_map() && !matches!(place, MapPlace::InFront | MapPlace::Nowhere) {
            return Some(NewMap { address, bytes: self.pages.bytes_of_map(), limit: self.limit() });
        }
        let limit = region_end.checked_sub(bytes)?;
        if limit >= self.arena.address(self.top) - HEADER {
            return Some(NewMap { address: limit, bytes, limit });
        }
        let size = BlockSize::for_payload(bytes)?;
        // In front of what becomes free between the two, rather than behind.
        let address = lower.and_then(|lower| lower.take_for_map(size)).or_else(|| self.take_for_map(size))?;
        Some(NewMap { address, bytes, limit: region_end })
    }

    /// Takes a block of the heap's own. Returns the address of its payload.
    #[inline(never)]
    fn take_for_map(&mut self, size: BlockSize) -> Option<usize> {
        let index = self.take(size, GRANULE, End::Near)?;
        // SAFETY: the block was just taken.
        unsafe { self.arena.set_tag(index, self.arena.tag(index).cut_into_slots()) };
        Some(self.arena.address(index))
    }

    /// Gives up a block that the map of pages was in.
    ///
    /// # Safety
    ///
    /// - It is such a block, and the map is elsewhere now.
    unsafe fn give_up_map_block(&mut self, index: Index) {
        // SAFETY: CHAIN; nobody uses the block (contract).
        unsafe {
            let tag = self.arena.tag(index).in_one_piece();
            // What the neighbours say is right, unless the heap was overwritten: then the block is lost.
            self.merge_out_of_line(index, tag);
        }
    }

    /// Moves the map of pages out of the block that it lies in, if it does and there is room behind the top, so that
    /// what is free on both sides of it becomes one. Returns whether that was done.
    pub(crate) fn move_map_behind_top(&mut self) -> bool {
        let (Some(block), bytes) = (self.map_block(), self.pages.bytes_of_map()) else { return false };
        let limit = self.limit() - bytes;
        // SAFETY: CHAIN.
        let behind = block + unsafe { self.arena.tag(block) }.size();
        let room = self.arena.address(if behind == self.top { block } else { self.top });
        if self.facts.is_copied || limit < room {
            return false;
        }
        let map = self.arena.pointer_to(limit);
        // SAFETY: the top, and the block that the map is in, are the heap's own. Headers are not written to.
        unsafe {
            map.copy_from(self.pages.map(), bytes);
            self.pages = self.pages.rebased(self.arena, map);
            self.set_end(self.arena.end_before(limit), limit);
            self.used_up_to = self.used_up_to.min(self.end);
            self.give_up_map_block(block);
        }
        true
    }

    /// Counts positions from another origin, which lies in front, and makes what lies between one with the arena.
    ///
    /// # Safety
    ///
    /// - The region of `lower` ends where this one begins, and all of it is the heap's own from now on, but for what
    ///   was handed out of it.
    /// - The map is to lie where [`place_for_map`](Self::place_for_map) says, or in front of the new arena.
    unsafe fn continue_above(&mut self, lower: Lower, geometry: Geometry, map: NewMap) {
        self.give_up_idle_runs();
        let arena = lower.arena;
        let distance = self.arena.address(Index::FIRST) - arena.address(Index::FIRST);
        let shifted = |index: Index| Index::new(index.get() + (distance / GRANULE) as u32);
        let moves = map.address != self.pages.map().addr();
        let map_block = self.map_block().filter(|_| moves).map(shifted);
        let old_limit = self.arena.address(self.end) - HEADER;
        let former = if self.classes.have_runs() { self.pages } else { Pages::none() };
        self.arena = arena;
        self.region = arena.pointer_to(lower.region.addr());
        self.top = shifted(self.top);
        self.set_end(arena.end_before(map.limit), map.limit);
        self.used_up_to = shifted(self.used_up_to).min(self.end);
        self.pages = Pages::new(geometry, arena, self.end, arena.pointer_to(map.address), map.bytes);
        let peak = self.figures.peak() + lower.peak;
        self.figures.set(0, peak);
        // SAFETY: the maps are the heap's own, and only the former one may overlap the new one. What lies between the
        // last block of the one and the first of the other is the heap's own (contract). No other block lies where a
        // map did.
        unsafe {
            self.pages.take_over(&former, &lower.pages);
            self.clear_what_was_used(old_limit, map.limit);
            self.bridge(lower.top, shifted(Index::FIRST));
            self.gather();
            for block in [map_block, lower.map_block].into_iter().flatten() {
                self.give_up_map_block(block);
            }
        }
    }

    /// Makes what lies between the last block of the lower part of the arena and the first one of the upper part a
    /// free block, or part of one, or of the top.
    ///
    /// # Safety
    ///
    /// - CHAIN holds in both parts, and what lies between is the heap's own.
    unsafe fn bridge(&mut self, from: Index, to: Index) {
        if to == self.top {
            self.top = from;
            return;
        }
        // SAFETY: the caller's contract. COALESCED, a block lies behind a free one.
        unsafe {
            let first = self.arena.tag(to);
            let end = if first.is_free() { to + first.size() } else { to };
            let granules = end.granules_since(from);
            if granules >= BlockSize::MIN.granules() {
                self.arena.set_free(from, BlockSize::from_granules(granules));
                self.arena.set_left_free(end, true);
            } else if granules > 0 {
                // A granule is no block: the one in front becomes longer.
                let mut last = Index::FIRST;
                while last + self.arena.tag(last).size() < from {
                    last = last + self.arena.tag(last).size();
                }
                let size = BlockSize::from_granules(end.granules_since(last));
                self.arena.set_tag(last, self.arena.tag(last).resized(size));
            }
        }
    }

    /// Gathers all that is kept about blocks and runs from their headers.
    ///
    /// # Safety
    ///
    /// - CHAIN, COALESCED and FLAGS hold, and the map of pages is right. There is no run without a slot in use.
    unsafe fn gather(&mut self) {
        self.free.forget_all();
        self.classes.forget_all();
        self.victim = Index::NONE;
        let mut live = 0;
        let mut index = Index::FIRST;
        while index < self.top {
            // SAFETY: CHAIN; RUNS.
            unsafe {
                let tag = self.arena.tag(index);
                match self.pages.run_at(self.arena.address(index)) {
                    _ if tag.is_free() => self.free.insert(self.arena, index, tag.size()),
                    Some((run, 0)) => live += self.gather_run(run),
                    // What is marked as a run and is none is the map's.
                    _ if tag.is_run() => {}
                    _ => {
                        self.classes.count_block(tag.size(), self.pages.granules());
                        live += tag.granules();
                    }
                }
                index = index + tag.size();
            }
        }
        self.figures.set(live, self.figures.peak());
    }

    /// Returns how many granules of a run are in use.
    ///
    /// # Safety
    ///
    /// - It is a run, and on no list.
    unsafe fn gather_run(&mut self, run: Run) -> u32 {
        // SAFETY: the caller's contract.
        unsafe {
            let slot: SlotSize = run.slot_size();
            let is_own = self.pages.owner_of(run) == HEAP;
            // A cache's slots all count as in use.
            let used = if is_own { run.used() } else { run.slots() };
            self.classes.admit(self.arena, slot, run, is_own && run.has_room());
            used * slot.granules()
        }
    }
}
