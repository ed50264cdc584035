//! The engine: allocate, release, coalesce, over one region of memory. It knows no lock, no thread and no OS.
//!
//! # How an allocation is served
//!
//! 1. The request becomes a [`BlockSize`]; one bitmap search finds the smallest bin whose blocks all fit. For a large
//!    size, a few blocks of the bin just below are looked at first, because one of them may fit more tightly.
//! 2. The block found is cut to size; what is left over is a free block again.
//! 3. If no bin has one, the block comes from the *top*, the span behind the last block.
//! 4. If the top is too small as well, the bin just below is searched to its end, so that memory which would fit is never
//!    refused. Nothing else takes more than a constant number of steps.
//!
//! # Invariants
//!
//! [`Heap::audit`] checks every one of them; SAFETY comments name the one they rest on.
//!
//! - CHAIN: from [`Index::FIRST`] to `top`, blocks lie end to end, each with an initialised header that tells its size.
//! - COALESCED: a free block's neighbours are in use, and the block before the top is in use.
//! - FLAGS: a header says "left neighbour free" exactly if it is, and a free block's footer repeats its size.
//! - LISTED: the lists hold exactly the free blocks, each in the bin of its size, and the bitmap has exactly the bins that are
//!   not empty.
//! - SUM: live granules + listed granules + top granules = granules of the arena.
//! - OWNED: payload bytes of a block in use are the caller's and are neither read nor written, except to move
//!   or clear them on request.
//! - PRISTINE: no byte from the payload position `pristine` on was written since the region was zero.

mod audit;
mod census;
mod free_list;
mod resize;
#[cfg(test)]
mod tests;

pub use audit::AuditError;
pub use census::Blocks;

use crate::bins::Bin;
use crate::block::{Arena, Tag};
use crate::fault::{Action, Fault};
use crate::size::{BlockSize, GRANULE, Index, MAX_REGION, Remainder, alignment_gap, worst_alignment_gap};
use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;
use free_list::FreeLists;

/// How many blocks of the bin just below the fitting one are looked at before a larger block is cut.
const PROBES: usize = 4;

/// Why a region was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionError {
    /// The region holds not even the smallest block.
    TooSmall {
        /// Bytes of the region.
        len: usize,
    },
    /// The region is larger than 4 GiB less a page, which is the most that one heap manages.
    TooLarge {
        /// Bytes of the region.
        len: usize,
    },
    /// The region starts at the null pointer, or ends behind the address space.
    InvalidAddress,
    /// The heap has a region already.
    AlreadyInitialized,
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { len } => {
                write!(f, "a region of {len} bytes holds not even one block of 16 bytes")
            }
            Self::TooLarge { len } => {
                write!(
                    f,
                    "a region of {len} bytes is larger than {MAX_REGION}, the most that one heap manages"
                )
            }
            Self::InvalidAddress => f.write_str("the region starts at null or ends behind the address space"),
            Self::AlreadyInitialized => f.write_str("the heap has a region already"),
        }
    }
}

impl core::error::Error for RegionError {}

/// A free-list heap over one region of memory.
///
/// [`Heap::new`] is empty and refuses every request until [`Heap::init`] hands it a region. It is all zero bytes,
/// about 2 KiB, and can be a `static`'s initial value without growing the program's file.
///
/// Allocations are raw pointers; dropping the heap or moving it leaves them valid, because all of the heap's bookkeeping is
/// kept as distances from the region's start.
pub struct Heap {
    arena: Arena,
    /// Behind the last block; equal to `end` when the arena is full to the last granule.
    top: Index,
    /// Behind the last granule. `NONE` as long as there is no region.
    end: Index,
    /// From here on the region is as zero as it was in the beginning; never below `top`.
    pristine: Index,
    /// Granules of the blocks in use, and the most there ever were.
    live: u32,
    peak: u32,
    lists: FreeLists,
}

// SAFETY: the heap owns its region (contract of `init`), so it may use it from whichever thread the heap is on.
unsafe impl Send for Heap {}

impl Heap {
    /// A heap without a region, which refuses every request.
    pub const fn new() -> Self {
        Self {
            arena: Arena::empty(),
            top: Index::NONE,
            end: Index::NONE,
            pristine: Index::NONE,
            live: 0,
            peak: 0,
            lists: FreeLists::new(),
        }
    }

    /// Hands the heap the region of `len` bytes at `start`, of any alignment; up to 7 bytes at each end stay unused.
    ///
    /// Nothing is written to the region now. `zeroed` says that all of it is zero, which spares
    /// [`alloc_zeroed`](Self::alloc_zeroed) the clearing of memory that is used for the first time.
    ///
    /// # Errors
    ///
    /// Refuses a region that is too small for a block, too large, at null or wrapping around, and a second region. The
    /// heap is unchanged then.
    ///
    /// # Safety
    ///
    /// - The region is valid for reads and writes as long as the heap or anything allocated from it is in use.
    /// - Nothing else reads or writes it, except through pointers that the heap hands out.
    /// - If `zeroed` is true, every byte of the region is zero.
    pub unsafe fn init(&mut self, start: *mut u8, len: usize, zeroed: bool) -> Result<(), RegionError> {
        if self.is_initialized() {
            return Err(RegionError::AlreadyInitialized);
        }
        if start.is_null() || start.addr().checked_add(len).is_none_or(|end| end > usize::MAX - GRANULE) {
            return Err(RegionError::InvalidAddress);
        }
        if len > MAX_REGION {
            return Err(RegionError::TooLarge { len });
        }
        let arena = Arena::at(start);
        let end = arena.end_of(start, len);
        if end < Index::FIRST + BlockSize::MIN {
            return Err(RegionError::TooSmall { len });
        }
        self.arena = arena;
        self.top = Index::FIRST;
        self.end = end;
        self.pristine = if zeroed { Index::FIRST } else { end };
        Ok(())
    }

    /// Whether the heap has a region.
    #[inline]
    pub const fn is_initialized(&self) -> bool {
        !self.end.is_none()
    }

    /// Follows a region that moved as a whole, as an arena does that lies in a value which is moved.
    ///
    /// # Safety
    ///
    /// - `start` is congruent to the old start modulo 8.
    /// - The region's bytes are the same as they were at the old start, and the contract of [`init`](Self::init) holds for it.
    #[inline(always)]
    pub(crate) unsafe fn rebase(&mut self, start: *mut u8) {
        self.arena = Arena::at(start);
    }

    /// Allocates a block for `layout`, or `None` if no free span can hold it.
    ///
    /// A layout of zero bytes gets a block of its own like one of one byte.
    #[inline]
    pub fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let size = BlockSize::for_payload(layout.size())?;
        let index = if layout.align() <= GRANULE {
            self.take(size)?
        } else {
            self.take_aligned(size, layout.align())?
        };
        // SAFETY: CHAIN, the block was just taken.
        Some(unsafe { self.arena.payload(index) })
    }

    /// Like [`alloc`](Self::alloc), with all `layout.size()` bytes zero. What was never used since the region was zero is
    /// not cleared again.
    pub fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let pristine = self.arena.address(self.pristine);
        let block = self.alloc(layout)?;
        let used_before = pristine.saturating_sub(block.addr().get());
        // SAFETY: the block's payload holds `layout.size()` bytes and nobody has its pointer yet. What is left out lies
        // behind the old `pristine` and is zero (PRISTINE); taking the block wrote its header only.
        unsafe { block.write_bytes(0, layout.size().min(used_before)) };
        Some(block)
    }

    /// Gives a block back. It is merged with its free neighbours at once.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if the pointer cannot be that of a block in use. The heap is unchanged then. Not every wrong
    /// pointer can be told; see the safety contract.
    ///
    /// # Safety
    ///
    /// - `block` came from this heap, and was not given back since. Pointers for which this does not hold are found out
    ///   if they are misaligned, outside the region, or lead to a header that cannot be a live block's.
    /// - Nobody uses the block's bytes any more.
    #[inline]
    pub unsafe fn dealloc(&mut self, block: *mut u8) -> Result<(), Fault> {
        let (index, tag) = self.live_block(block, Action::Free)?;
        // SAFETY: the block is live (contract, checked as far as possible by `live_block`).
        unsafe { self.release(index, tag) };
        Ok(())
    }

    /// The span of addresses in which blocks can lie, as `(start, end)`.
    pub fn bounds(&self) -> (usize, usize) {
        if !self.is_initialized() {
            return (0, 0);
        }
        (
            self.arena.address(Index::FIRST) - crate::size::HEADER,
            self.arena.address(self.end) - crate::size::HEADER,
        )
    }

    /// Takes a block of `size` and marks it as used.
    #[inline]
    fn take(&mut self, size: BlockSize) -> Option<Index> {
        if let Some(index) = self.tight_fit(size) {
            return Some(self.carve(index, size));
        }
        if let Some(bin) = self.lists.first_from(Bin::fitting(size)) {
            return Some(self.carve(self.lists.head(bin), size));
        }
        if self.end.granules_since(self.top) >= size.granules() {
            return Some(self.take_from_top(size));
        }
        self.last_search(size)
    }

    /// The best of the first few blocks of the bin of `size`, if that bin mixes sizes.
    #[inline]
    fn tight_fit(&self, size: BlockSize) -> Option<Index> {
        let own = Bin::of(size);
        if own.is_exact() {
            return None;
        }
        self.best_in_bin(own, size, PROBES)
    }

    /// The last search before a refusal: every block of the one bin that mixes sizes below and above `size`.
    ///
    /// Bound: each of them has at least 15/16 of `size`, so there are at most `arena / size` of them.
    #[cold]
    fn last_search(&mut self, size: BlockSize) -> Option<Index> {
        let index = self.best_in_bin(Bin::of(size), size, usize::MAX)?;
        Some(self.carve(index, size))
    }

    /// The smallest block that holds `size` among the first `probes` of a bin.
    fn best_in_bin(&self, bin: Bin, size: BlockSize, probes: usize) -> Option<Index> {
        let mut best: Option<(BlockSize, Index)> = None;
        for (index, found) in self.lists.iter(self.arena, bin).take(probes) {
            if found >= size && best.is_none_or(|(smallest, _)| found < smallest) {
                best = Some((found, index));
                if found == size {
                    break;
                }
            }
        }
        best.map(|(_, index)| index)
    }

    /// Cuts a used block of `size` from the front of the free block at `index`.
    #[inline]
    fn carve(&mut self, index: Index, size: BlockSize) -> Index {
        // SAFETY: LISTED, the caller found `index` on a list.
        let whole = unsafe { self.arena.tag(index).size() };
        let behind = index + whole;
        // SAFETY: LISTED.
        unsafe { self.lists.remove(self.arena, index, whole) };
        match whole.remainder(size) {
            Remainder::Slack => {
                // SAFETY: CHAIN; COALESCED, so that a block and not the top lies behind a free block.
                unsafe {
                    self.arena.set_tag(index, Tag::used(whole));
                    self.arena.set_left_free(behind, false);
                }
                self.count_taken(whole);
            }
            Remainder::Block(rest) => {
                let cut = index + size;
                // SAFETY: both parts lie in the free block, which nobody uses (CHAIN). The flag behind stays true.
                unsafe {
                    self.arena.set_tag(index, Tag::used(size));
                    self.arena.set_free(cut, rest);
                    self.lists.insert(self.arena, cut, rest);
                }
                self.count_taken(size);
            }
        }
        index
    }

    /// Takes `size` from the top, which the caller knows to be large enough.
    #[inline]
    fn take_from_top(&mut self, size: BlockSize) -> Index {
        let index = self.top;
        // SAFETY: the span from `top` to `end` is the heap's own, and its first header belongs to the block that starts
        // there. COALESCED: the block to its left is in use.
        unsafe { self.arena.set_tag(index, Tag::used(size)) };
        self.top = index + size;
        self.pristine = self.pristine.max(self.top);
        self.count_taken(size);
        index
    }

    /// Takes a block whose payload is a multiple of `align`, more than [`GRANULE`]. The gap in front becomes a free block.
    #[inline(never)]
    fn take_aligned(&mut self, size: BlockSize, align: usize) -> Option<Index> {
        let certain = size.granules() as usize + worst_alignment_gap(align);
        let roomy = u32::try_from(certain)
            .ok()
            .map(BlockSize::from_granules)
            .filter(|roomy| roomy.bytes() <= MAX_REGION);
        let probe = |heap: &Self, bin: Bin, probes: usize| {
            let blocks = heap.lists.iter(heap.arena, bin).take(probes);
            blocks.filter_map(|(index, found)| Some((index, heap.gap_in(index, found, size, align)?))).next()
        };
        // A block that was freed at this alignment before is found at once; then one where any position will do.
        let tight = probe(self, Bin::fitting(size), PROBES);
        let roomy = || probe(self, self.lists.first_from(Bin::fitting(roomy?))?, 1);
        if let Some((index, gap)) = tight.or_else(roomy) {
            return Some(self.carve_aligned(index, gap, size));
        }
        if let Some(gap) = self.gap_in_top(size, align) {
            return Some(self.take_from_top_aligned(gap, size));
        }
        // The last search before a refusal. Bound: the number of free blocks.
        let start = self.lists.first_from(Bin::of(size))?;
        let mut bins = core::iter::successors(Some(start), |&bin| self.lists.first_above(bin));
        let (index, gap) = bins.find_map(|bin| probe(self, bin, usize::MAX))?;
        Some(self.carve_aligned(index, gap, size))
    }

    /// The granules to skip in a free block so that an aligned block of `size` still fits.
    fn gap_in(&self, index: Index, whole: BlockSize, size: BlockSize, align: usize) -> Option<u32> {
        let gap = alignment_gap(self.arena.address(index), align);
        (gap + size.granules() as usize <= whole.granules() as usize).then_some(gap as u32)
    }

    /// The granules to skip at the top so that an aligned block of `size` still fits.
    fn gap_in_top(&self, size: BlockSize, align: usize) -> Option<u32> {
        let gap = alignment_gap(self.arena.address(self.top), align);
        let room = self.end.granules_since(self.top) as usize;
        (gap + size.granules() as usize <= room).then_some(gap as u32)
    }

    /// Splits the gap off the front of a free block, then carves the block behind it.
    fn carve_aligned(&mut self, index: Index, gap: u32, size: BlockSize) -> Index {
        if gap == 0 {
            return self.carve(index, size);
        }
        let gap = BlockSize::from_granules(gap);
        // SAFETY: LISTED, the caller found `index` on a list.
        let whole = unsafe { self.arena.tag(index).size() };
        let aligned = index + gap;
        let rest = BlockSize::from_granules(whole.granules() - gap.granules());
        // SAFETY: both parts lie in the free block, which nobody uses. The second one is on its list only for the moment
        // in which `carve` takes it; its neighbour's flag is set right after.
        unsafe {
            self.lists.remove(self.arena, index, whole);
            self.arena.set_free(index, gap);
            self.lists.insert(self.arena, index, gap);
            self.arena.set_free(aligned, rest);
            self.lists.insert(self.arena, aligned, rest);
            let taken = self.carve(aligned, size);
            self.arena.set_left_free(taken, true);
            taken
        }
    }

    /// Leaves a free block of `gap` granules at the top, then takes the block behind it.
    fn take_from_top_aligned(&mut self, gap: u32, size: BlockSize) -> Index {
        if gap == 0 {
            return self.take_from_top(size);
        }
        let gap = BlockSize::from_granules(gap);
        let index = self.top;
        self.top = index + gap;
        let taken = self.take_from_top(size);
        // SAFETY: the gap is the heap's own: it was the front of the top. The block taken lies behind it.
        unsafe {
            self.arena.set_free(index, gap);
            self.lists.insert(self.arena, index, gap);
            self.arena.set_left_free(taken, true);
        }
        taken
    }

    /// The position and header of the live block at `block`, or what is wrong with the pointer.
    ///
    /// Reads a header only where one can be: before the top.
    #[inline]
    fn live_block(&self, block: *mut u8, action: Action) -> Result<(Index, Tag), Fault> {
        let Some(granules) =
            self.arena.index_of(block.addr()).filter(|&granules| self.may_be_block(granules))
        else {
            return Err(self.no_block(block.addr(), action));
        };
        let index = Index::new(granules as u32);
        // SAFETY: between the first block and the top every word was written or is zero since the region came to be
        // (CHAIN), so that even in the middle of a block a header can be read; whether it is one is what is asked.
        let tag = unsafe { self.arena.tag(index) };
        if tag.is_free() {
            let bytes = (tag.granules() as usize * GRANULE).saturating_sub(crate::size::HEADER);
            return Err(Fault::AlreadyFree { action, address: block.addr(), bytes });
        }
        let behind = index.get() + tag.granules();
        if tag.granules() < BlockSize::MIN.granules() || behind > self.top.get() {
            return Err(Fault::NotABlock { action, address: block.addr() });
        }
        Ok((index, tag))
    }

    /// Whether blocks can start that many granules from the origin.
    #[inline(always)]
    fn may_be_block(&self, granules: usize) -> bool {
        granules.wrapping_sub(1) < self.top.get().saturating_sub(1) as usize
    }

    /// What is wrong with a pointer at which no block can start.
    #[cold]
    fn no_block(&self, address: usize, action: Action) -> Fault {
        let (start, end) = self.bounds();
        if address < start || address >= end {
            return Fault::OutsideArena { action, address, start, end };
        }
        let Some(granules) = self.arena.index_of(address) else {
            return Fault::Misaligned { action, address };
        };
        // In front of the first payload, or in the top. Where the top was used before, its headers are still there.
        let index = Index::new(granules as u32);
        if index >= self.top && index < self.pristine && !self.pristine.is_none() {
            // SAFETY: the word lies in the region, which is readable as a whole (contract of `init`).
            let tag = unsafe { self.arena.tag(index) };
            if tag.is_free() {
                let bytes = (tag.granules() as usize * GRANULE).saturating_sub(crate::size::HEADER);
                return Fault::AlreadyFree { action, address, bytes };
            }
        }
        Fault::NeverAllocated { action, address }
    }

    /// Merges a live block with its free neighbours and puts the result on its list, or into the top.
    ///
    /// # Safety
    ///
    /// - `index` is a block in use, `tag` its header, and nobody uses its bytes any more.
    #[inline]
    unsafe fn release(&mut self, index: Index, tag: Tag) {
        self.live -= tag.granules();
        let mut start = index;
        let mut size = tag.size();
        let behind = index + size;
        if tag.is_left_free() {
            // SAFETY: FLAGS, the left neighbour is free and its footer tells its size; LISTED, it is on its list. The
            // header that ends up inside of the merged block stays behind as that of a freed block.
            unsafe {
                let left = self.arena.left_size(index);
                start = index - left;
                size = size + left;
                self.lists.remove(self.arena, start, left);
                self.arena.set_tag(index, tag.freed());
            }
        }
        if behind == self.top {
            // SAFETY: the block is the heap's own again.
            unsafe { self.arena.set_tag(start, Tag::free(size)) };
            self.top = start;
            return;
        }
        // SAFETY: CHAIN, a block lies behind, since it is not the top; LISTED, if it is free, it is on its list.
        unsafe {
            let right = self.arena.tag(behind);
            if right.is_free() {
                self.lists.remove(self.arena, behind, right.size());
                size = size + right.size();
            } else {
                self.arena.set_tag(behind, right.with_left_free(true));
            }
            self.arena.set_free(start, size);
            self.lists.insert(self.arena, start, size);
        }
    }

    #[inline(always)]
    fn count_taken(&mut self, size: BlockSize) {
        self.live += size.granules();
        self.peak = self.peak.max(self.live);
    }
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
