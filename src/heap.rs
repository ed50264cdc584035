//! The engine: allocate, release, coalesce, over one region of memory. It knows no lock, no thread and no OS.
//!
//! # How an allocation is served
//!
//! 1. A request of up to 768 bytes whose size class has a *run* with room takes the run's lowest free slot
//!    (`run.rs` draws one). Which class earns a run is told in `heap/slots.rs`.
//! 2. Any other request becomes a [`BlockSize`]. A small one takes a free block of exactly its size, or is
//!    cut from the front of the *victim*, the free block that small blocks are cut from. If that is too
//!    small, the smallest free block that fits is cut, and what is left of it is the new victim. A large
//!    request takes the smallest free block that fits, or one that is a thirty-second larger at most.
//! 3. If there is none, the block comes from the *top*, the span behind the last block. A block that is broad
//!    beside the arena is taken from the far end of the top, where it does not cut what is free in two.
//! 4. Before a request is refused, runs without a slot in use are given up, a small request takes a free
//!    slot of any larger class, and a run with few slots in use is broken up: these become blocks.
//!
//! # How a release is served
//!
//! A slot's bit is set. A run whose last slot was given back becomes a free block again. A block is
//! merged with its free neighbours at once, be they free blocks or the top.
//!
//! Nothing else is held back: a run without a slot in use is kept while it is the only one of its class
//! that has room, something is in use, and all of those are little beside how much more is free
//! than in use (`heap/idle.rs`).
//!
//! # Bounds
//!
//! Every call takes a bounded number of steps. The longest are those of the tries, one for each bit in
//! which the sizes of a bin differ (`heap/trie.rs`), and marking the slots of a run that is given up, 512
//! at most. Before a refusal, idle runs of all classes are given up, aligned requests look at up to 256 free blocks
//! (`heap/align.rs`), and 24 runs with few slots in use for one that can be broken up (`heap/break_up.rs`). Copying and
//! clearing take as long as there are bytes.
//!
//! # Invariants
//!
//! [`Heap::audit`] checks all but OWNED, FRESH and COMMITTED; SAFETY comments name the one they rest on.
//!
//! - CHAIN: from [`Index::FIRST`] to `top`, blocks lie end to end, each with an initialised header that tells
//!   its size.
//! - COALESCED: a free block's neighbours are in use, and so is the block before the top.
//! - FLAGS: a header says "left neighbour free" exactly if a free block lies there, and a free block's footer
//!   repeats its size.
//! - LISTED: the bins hold exactly the free blocks but the victim, each in the bin of its size, and the
//!   bitmap has exactly the bins that are not empty.
//! - RUNS: the map of pages has exactly the blocks that are marked as runs. Their headers and bitmaps are
//!   sound, and the list of a class has exactly those of its runs that have room. Runs that caches own are on none
//!   of these lists.
//! - SUM: live granules are those of the blocks in use but runs, of the slots in use, and of all slots of runs
//!   that caches own.
//! - OWNED: payload bytes of a block or slot in use are the caller's and are neither read nor written, except
//!   to move or clear them on request.
//! - FRESH: no byte from the payload position `used_up_to` on was ever written, or all were given back since.
//! - COMMITTED: up to the position `committed` the region may be used; what is behind is only reserved
//!   (`heap/growth.rs`). In a region that is used as a whole that is its end.

mod align;
mod audit;
mod break_up;
mod census;
mod check;
mod extend;
mod figures;
mod free_blocks;
mod growth;
mod idle;
mod owned;
mod release;
#[cfg(any(feature = "allocator-api2", feature = "nightly"))]
mod reset;
mod resize;
mod slot_sizes;
mod slots;
mod take;
#[cfg(test)]
mod tests;
mod trie;
mod usable;

pub use audit::AuditError;
pub use census::Blocks;
#[cfg(all(feature = "std", unix))]
pub(crate) use check::InUse;
#[cfg(all(feature = "std", unix))]
pub(crate) use growth::Reserved;
pub(crate) use release::Released;
pub(crate) use resize::{Resized, copy};

use crate::block::Arena;
use crate::fault::{Action, Fault};
use crate::run::{Grid, Pages};
use crate::size::{BlockSize, GRANULE, HEADER, Index, MAX_REGION, SlotSize};
use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;
use figures::Figures;
use free_blocks::FreeBlocks;
use growth::Growth;
use slots::SlotClasses;
use take::End;

/// Why a region was refused.
///
/// ```
/// use mem_alloc_rust::{Heap, RegionError};
///
/// let (mut heap, mut arena) = (Heap::new(), [0u64; 512]);
/// let start = arena.as_mut_ptr().cast();
/// // SAFETY: only the heap uses the arena, which is all zero.
/// unsafe {
///     assert_eq!(heap.init(start, 15, true), Err(RegionError::TooSmall { len: 15 }));
///     assert_eq!(heap.init(core::ptr::null_mut(), 4096, true), Err(RegionError::InvalidAddress));
///     assert_eq!(heap.init(start, 4096, true), Ok(()));
///     assert_eq!(heap.init(start, 4096, true), Err(RegionError::AlreadyInitialized));
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionError {
    /// The region holds not even the smallest block.
    TooSmall {
        /// Bytes of the region.
        len: usize,
    },
    /// The region is larger than 4 GiB less a page, which is the most that one heap manages; on targets of 32
    /// bits than 2 GiB less a page.
    TooLarge {
        /// Bytes of the region.
        len: usize,
    },
    /// The region starts at the null pointer, or ends behind the address space.
    InvalidAddress,
    /// The heap has a region already.
    AlreadyInitialized,
    /// Some of the region is memory that the allocator has already.
    Overlaps,
    /// The memory lies neither directly behind nor directly in front of the heap's region.
    NotAdjacent,
    /// The allocator has as many regions as it has room for, and this one touches none of them, or none that it can
    /// become part of: because that would be too large, or because it is too small.
    TooMany,
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { len } => {
                write!(f, "a region of {len} bytes has no room for even the smallest block")
            }
            Self::TooLarge { len } => {
                write!(
                    f,
                    "a region of {len} bytes is larger than {MAX_REGION}, the most that one heap manages"
                )
            }
            Self::InvalidAddress => f.write_str("the region starts at null or ends behind the address space"),
            Self::AlreadyInitialized => f.write_str("the heap has a region already"),
            Self::Overlaps => f.write_str("the region overlaps memory that is in use already"),
            Self::NotAdjacent => f.write_str("the memory does not touch the heap's region"),
            Self::TooMany => f.write_str("there is no room for another region that touches none"),
        }
    }
}

impl core::error::Error for RegionError {}

/// A free-list heap over one region of memory.
///
/// ```
/// use core::alloc::Layout;
/// use mem_alloc_rust::Heap;
///
/// let mut arena = [0u64; 512];
/// let mut heap = Heap::new();
/// let layout = Layout::new::<[u8; 60]>();
/// assert!(heap.alloc(layout).is_none() && !heap.is_initialized());
/// // SAFETY: only the heap uses the arena, which is all zero. The block holds what is written to it, and is given
/// // back once.
/// unsafe {
///     heap.init(arena.as_mut_ptr().cast(), size_of_val(&arena), true).unwrap();
///     let block = heap.alloc_zeroed(layout).unwrap();
///     assert_eq!(block.read(), 0);
///     block.write(7);
///     let block = heap.realloc(block.as_ptr(), layout, 600).unwrap().expect("there is room for 600 bytes");
///     assert_eq!(block.read(), 7);
///     let (start, end) = heap.bounds();
///     assert!((start..end).contains(&block.addr().get()));
///     heap.dealloc(block.as_ptr()).unwrap();
/// }
/// assert!(heap.live_bytes() == 0 && heap.peak_bytes() >= 604);
/// heap.reset_peak();
/// assert_eq!(heap.peak_bytes(), 0);
/// heap.audit().unwrap();
/// assert_eq!(heap.stats().live_blocks, 0);
/// assert!(heap.blocks().next().is_none(), "all is one span again, which never was a block");
/// ```
///
/// [`Heap::new`] is empty and refuses every request until [`Heap::init`] hands it a region. It is all zero
/// bytes, about 5 KiB, and can be a `static`'s initial value without growing the program's file.
///
/// Allocations are raw pointers; dropping the heap or moving it leaves them valid, because all of the heap's
/// bookkeeping is kept as distances from the region's start.
pub struct Heap {
    arena: Arena,
    /// The region's start as it was handed over, or as it is after a move.
    region: *mut u8,
    pages: Pages,
    /// Behind the last block; equal to `end` when the arena is full to the last granule.
    top: Index,
    /// Behind the last granule. `NONE` as long as there is no region.
    end: Index,
    /// Behind the last granule that may be used now; never beyond `end`.
    committed: Index,
    /// How that moves, and what is not to be used though it may be.
    growth: Growth,
    /// The free block that small blocks are cut from, which is in no bin, or `NONE`.
    victim: Index,
    figures: Figures,
    /// From here on nothing was ever used; never below `top`.
    used_up_to: Index,
    facts: RegionFacts,
    /// A bit for each cache that may be at its runs without the heap's lock.
    #[cfg(all(feature = "std", unix))]
    active_owners: u64,
    classes: SlotClasses,
    free: FreeBlocks,
}

/// What is known of a heap's region beside where it is. (One field of the heap, so that those which are used all the
/// time stay at its beginning, where instructions that use them are short.)
#[derive(Clone, Copy)]
struct RegionFacts {
    /// Whether what was never used is zero.
    zeroed: bool,
    /// Bytes behind the heap's `end` that are no granule of the region's, or not one that the map of pages leaves.
    slack: u8,
    /// Whether caches have copies of where arena and pages are, which must not change then.
    is_copied: bool,
}

impl RegionFacts {
    const fn none() -> Self {
        Self { zeroed: false, slack: 0, is_copied: false }
    }
}

// SAFETY: the heap owns its region (contract of `init`), so it may use it from whichever thread the heap is
// on.
unsafe impl Send for Heap {}

impl Heap {
    /// A heap without a region, which refuses every request.
    pub const fn new() -> Self {
        Self {
            arena: Arena::empty(),
            region: core::ptr::null_mut(),
            pages: Pages::none(),
            top: Index::NONE,
            end: Index::NONE,
            committed: Index::NONE,
            growth: Growth::none(),
            victim: Index::NONE,
            figures: Figures::new(),
            used_up_to: Index::NONE,
            facts: RegionFacts::none(),
            #[cfg(all(feature = "std", unix))]
            active_owners: 0,
            classes: SlotClasses::new(),
            free: FreeBlocks::new(),
        }
    }

    /// Hands the heap the region of `len` bytes at `start`, of any alignment. Up to 7 bytes at each end stay
    /// unused, and in a region of 1 KiB or more, one byte for each of its pages of 4 KiB; in one of less than
    /// 513 KiB, for pages of 1/256 of it, in one of 64 MiB or more, of 16 KiB.
    ///
    /// Nothing but those is written to the region now. `zeroed` says that all of it is zero, which
    /// spares them the clearing, and [`alloc_zeroed`](Self::alloc_zeroed) that of memory that is used for
    /// the first time.
    ///
    /// # Errors
    ///
    /// Refuses a region that is too small for a block, too large, at null or wrapping around, and a second
    /// region. The heap is unchanged then.
    ///
    /// # Safety
    ///
    /// - The region is valid for reads and writes as long as the heap or anything allocated from it is in
    ///   use.
    /// - Nothing else reads or writes it, except through pointers that the heap hands out.
    /// - If `zeroed` is true, every byte of the region is zero.
    #[inline]
    pub unsafe fn init(&mut self, start: *mut u8, len: usize, zeroed: bool) -> Result<(), RegionError> {
        // SAFETY: the caller's contract.
        unsafe { self.init_with_pages(start, len, zeroed, Some(Grid::Own)) }
    }

    /// As [`init`](Self::init), for a heap that gives each allocation a header and has no runs.
    ///
    /// # Errors
    ///
    /// As for [`init`](Self::init).
    ///
    /// # Safety
    ///
    /// - As for [`init`](Self::init).
    pub(crate) unsafe fn init_without_runs(
        &mut self,
        start: *mut u8,
        len: usize,
        zeroed: bool,
    ) -> Result<(), RegionError> {
        // SAFETY: the caller's contract.
        unsafe { self.init_with_pages(start, len, zeroed, None) }
    }

    /// As [`init`](Self::init), with pages that are laid out like that, or without runs.
    ///
    /// # Errors
    ///
    /// As for [`init`](Self::init).
    ///
    /// # Safety
    ///
    /// - As for [`init`](Self::init).
    pub(crate) unsafe fn init_with_pages(
        &mut self,
        start: *mut u8,
        len: usize,
        zeroed: bool,
        grid: Option<Grid>,
    ) -> Result<(), RegionError> {
        if self.is_initialized() {
            return Err(RegionError::AlreadyInitialized);
        }
        let region_end = end_of_span(start, len)?;
        if len > MAX_REGION {
            return Err(RegionError::TooLarge { len });
        }
        let map_bytes = grid.map_or(0, |grid| grid.map_bytes(len));
        let (map, first) = (map_of(start, map_bytes), behind_map(start, map_bytes));
        let arena = Arena::at(first);
        let end = arena.end_before(region_end.max(first.addr()));
        if end < Index::FIRST + BlockSize::MIN {
            return Err(RegionError::TooSmall { len });
        }
        if let Some(grid) = grid.filter(|_| map_bytes > 0) {
            self.pages = Pages::new(grid.geometry(arena, len), arena, end, map, map_bytes);
            if !zeroed {
                // SAFETY: the map lies in the region, in front of the arena.
                unsafe { map.write_bytes(0, map_bytes) };
            }
        }
        self.arena = arena;
        self.region = start;
        self.top = Index::FIRST;
        self.set_end(end, region_end);
        self.used_up_to = Index::FIRST;
        self.facts.zeroed = zeroed;
        Ok(())
    }

    /// Notes where the last granule ends, and where that which the heap may use does, which is less than a granule
    /// behind.
    fn set_end(&mut self, end: Index, limit: usize) {
        (self.end, self.committed) = (end, end);
        self.figures.set_arena(end.granules_since(Index::FIRST));
        self.growth.capacity = end.get();
        self.facts.slack = limit.wrapping_sub(self.arena.address(end) - HEADER) as u8;
        invariant!(usize::from(self.facts.slack) < GRANULE);
    }

    /// Whether the heap has a region.
    #[inline]
    pub const fn is_initialized(&self) -> bool {
        !self.end.is_none()
    }

    /// Whether `start` is where the region is, as far as the heap knows.
    #[inline(always)]
    pub(crate) fn is_based_on(&self, start: *mut u8) -> bool {
        self.region == start
    }

    /// Follows a region that moved as a whole, as an arena does that lies in a value which is moved.
    ///
    /// # Safety
    ///
    /// - `start` is congruent to the old start modulo 128.
    /// - The region's bytes are the same as they were at the old start, and the contract of
    ///   [`init`](Self::init) holds for it.
    #[cold]
    pub(crate) unsafe fn rebase(&mut self, start: *mut u8) {
        let moved = |address: usize| start.wrapping_add(address.wrapping_sub(self.region.addr()));
        let map = moved(self.pages.map().addr());
        self.arena = Arena::with_origin(moved(self.arena.address(Index::NONE)));
        self.pages = self.pages.rebased(self.arena, map);
        self.region = start;
    }

    /// Allocates a block for `layout`, or `None` if no free span can hold it.
    ///
    /// A layout of zero bytes gets a block of its own like one of one byte.
    #[inline]
    pub fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.alloc_bytes(layout.size(), layout.align(), End::FarIfBroad)
    }

    /// Allocates at least so many bytes at a multiple of `align`.
    #[inline(always)]
    fn alloc_bytes(&mut self, bytes: usize, align: usize, end: End) -> Option<NonNull<u8>> {
        let slot = SlotSize::serving(bytes, align);
        if let Some(slot) = slot {
            let found = self.take_slot(slot).or_else(|| self.take_slot_of_new_run(slot, bytes, align));
            if found.is_some() {
                return found;
            }
        }
        self.alloc_block(bytes, align, end)
    }

    /// As [`alloc_bytes`](Self::alloc_bytes), where it need not be fast.
    #[inline(never)]
    fn alloc_out_of_line(&mut self, bytes: usize, align: usize, end: End) -> Option<NonNull<u8>> {
        self.alloc_bytes(bytes, align, end)
    }

    /// The part of [`alloc`](Self::alloc) that is worth a place in the caller: a slot of a run that has room.
    /// `None` says nothing about what [`alloc_otherwise`](Self::alloc_otherwise) finds.
    #[inline(always)]
    pub(crate) fn alloc_fast(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.take_slot(SlotSize::serving(layout.size(), layout.align())?)
    }

    /// The rest of [`alloc`](Self::alloc), for when [`alloc_fast`](Self::alloc_fast) has nothing.
    #[inline(always)]
    pub(crate) fn alloc_otherwise(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let (bytes, align) = (layout.size(), layout.align());
        let found =
            SlotSize::serving(bytes, align).and_then(|slot| self.take_slot_of_new_run(slot, bytes, align));
        found.or_else(|| self.alloc_block(bytes, align, End::FarIfBroad))
    }

    /// Allocates a block, or a slot of another class where there is no block to be had.
    #[inline(never)]
    fn alloc_block(&mut self, bytes: usize, align: usize, end: End) -> Option<NonNull<u8>> {
        let size = BlockSize::for_payload(bytes)?;
        let arena = self.arena;
        match self.take(size, align, end) {
            Some(index) => Some(self.hand_out(arena, index)),
            None => self.last_resort(bytes, size, align, end),
        }
    }

    /// Counts a block that was just taken, and returns its payload.
    #[inline(always)]
    fn hand_out(&mut self, arena: Arena, index: Index) -> NonNull<u8> {
        // SAFETY: CHAIN, a block starts at `index`.
        let (size, block) = unsafe { (arena.tag(index).size(), arena.payload(index)) };
        self.count_block(size);
        block
    }

    /// Allocates up to `count` slots or blocks of at least `payload` bytes at multiples of `align`, which lie in
    /// a row if they can, and gives each to `take`. Where memory is short, there may be fewer, or none.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn alloc_several(
        &mut self,
        payload: usize,
        align: usize,
        count: u32,
        mut take: impl FnMut(NonNull<u8>),
    ) {
        let Some(size) = BlockSize::for_payload(payload) else { return };
        let slot = SlotSize::serving(payload, align);
        for _ in 0..count {
            let from_run = slot.and_then(|slot| {
                let has_room = self.classes.is_with_room(slot) || self.add_run_of_candidate(slot, align);
                if has_room { self.take_slot(slot) } else { None }
            });
            let block = from_run.or_else(|| {
                // A block of a class of the caches must not be longer than that.
                let index = if align > GRANULE {
                    self.take_aligned_exactly(size, align, End::Near)?
                } else {
                    self.take(size, GRANULE, End::Near)?
                };
                Some(self.hand_out(self.arena, index))
            });
            let Some(block) = block else { return };
            take(block);
        }
    }

    /// Like [`alloc`](Self::alloc), with all `layout.size()` bytes zero. What was never used since the region
    /// was zero is not cleared again, unless it lies in front of a broad block at the far end.
    pub fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let (block, dirty) = self.alloc_to_clear(layout)?;
        // SAFETY: the block holds that many bytes, and nobody has its pointer yet.
        unsafe { block.write_bytes(0, dirty) };
        Some(block)
    }

    /// Like [`alloc`](Self::alloc), with the number of bytes at the block's beginning that the caller has to
    /// clear for all `layout.size()` bytes to be zero.
    pub(crate) fn alloc_to_clear(&mut self, layout: Layout) -> Option<(NonNull<u8>, usize)> {
        let fresh = if self.facts.zeroed { self.arena.address(self.used_up_to) } else { usize::MAX };
        let block = self.alloc_out_of_line(layout.size(), layout.align(), End::FarIfBroad)?;
        // What was never used is zero (FRESH): taking the block wrote its header only.
        let used_before = fresh.saturating_sub(block.addr().get());
        Some((block, layout.size().min(used_before)))
    }

    /// Gives a block back. It is merged with its free neighbours.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if the pointer cannot be that of a block in use. The heap is unchanged then. Not every
    /// wrong pointer can be told; see the safety contract.
    ///
    /// # Safety
    ///
    /// - `block` came from this heap, and was not given back since. Pointers for which this does not hold are
    ///   found out if they are misaligned, outside the region, lead into a run but not to a slot in use, or
    ///   lead to a header that cannot be a live block's.
    /// - Nobody uses the block's bytes any more.
    #[inline]
    pub unsafe fn dealloc(&mut self, block: *mut u8) -> Result<(), Fault> {
        // SAFETY: the caller's contract.
        let released = unsafe {
            match self.release_slot(block) {
                Released::NoSlot => self.release_block(block),
                Released::Slot => true,
                Released::SlotOf(run) => {
                    self.settle(run);
                    true
                }
                Released::Rejected => self.release_left_slot(block),
            }
        };
        if released { Ok(()) } else { Err(self.fault_of(block, Action::Free)) }
    }

    /// Whether a block for `layout` could be had if nothing were in use, but for its alignment.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn could_hold(&self, layout: Layout) -> bool {
        let most = self.growth.capacity.saturating_sub(Index::FIRST.get());
        BlockSize::for_payload(layout.size()).is_some_and(|size| size.granules() <= most)
    }

    /// The span of addresses in which blocks can lie, as `(start, end)`.
    pub fn bounds(&self) -> (usize, usize) {
        if !self.is_initialized() {
            return (0, 0);
        }
        (self.arena.address(Index::FIRST) - HEADER, self.arena.address(self.end) - HEADER)
    }

    /// The arena, the position behind its last granule, and its pages: these do not change until the heap is told
    /// that there are [no copies](Self::forget_copies) any more.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn place(&mut self) -> (Arena, Index, Pages) {
        self.facts.is_copied = true;
        (self.arena, self.end, self.pages)
    }

    /// Nobody relies any more on what [`place`](Self::place) returned.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn forget_copies(&mut self) {
        self.facts.is_copied = false;
    }

    /// Counts a block that has come into use.
    #[inline(always)]
    fn count_block(&mut self, size: BlockSize) {
        self.classes.count_block(size, self.pages.granules());
        self.count_live(size.granules());
    }

    /// Counts a block that is not in use any more.
    #[inline(always)]
    fn count_block_gone(&mut self, size: BlockSize) {
        self.classes.count_block_gone(size);
        self.count_gone(size.granules());
    }

    /// Counts granules that have come into use.
    #[inline(always)]
    fn count_live(&mut self, granules: u32) {
        self.figures.add(granules);
    }

    /// Counts granules that are not in use any more.
    #[inline(always)]
    fn count_gone(&mut self, granules: u32) {
        self.figures.subtract(granules);
    }
}

/// The address behind a span of memory.
///
/// # Errors
///
/// The span starts at null, or ends behind the address space.
pub(crate) fn end_of_span(start: *mut u8, len: usize) -> Result<usize, RegionError> {
    let end = start.addr().checked_add(len).filter(|&end| end <= usize::MAX - GRANULE);
    end.filter(|_| !start.is_null()).ok_or(RegionError::InvalidAddress)
}

/// Where the map of pages begins in a region: at the first multiple of a granule.
#[inline(always)]
fn map_of(start: *mut u8, map_bytes: usize) -> *mut u8 {
    if map_bytes == 0 { start } else { start.wrapping_add(start.addr().wrapping_neg() % GRANULE) }
}

/// Where the arena begins in a region: behind the map of pages.
#[inline(always)]
fn behind_map(start: *mut u8, map_bytes: usize) -> *mut u8 {
    map_of(start, map_bytes).wrapping_add(map_bytes)
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = self.bounds();
        f.debug_struct("Heap").field("bounds", &format_args!("{start:#x}..{end:#x}")).finish_non_exhaustive()
    }
}
