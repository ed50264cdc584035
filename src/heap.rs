//! The engine: allocate, release, coalesce, over one region of memory. It knows no lock, no thread and no OS.
//!
//! # How an allocation is served
//!
//! 1. The request becomes a [`BlockSize`]. A block of about that size which was freed not long ago may be *held*: it is taken back
//!    as it is. From 256 bytes on it may be up to an eighth larger than what was asked for.
//! 2. Otherwise one bitmap search finds the smallest bin whose blocks all fit. The first block of the bin just below is looked at
//!    first, or the first few where memory is short, because one of them may fit more tightly. The block found is cut to size;
//!    what is left over is a free block again.
//! 3. If no bin has one, the block comes from the *top*, the span behind the last block. A block that is broad beside the arena is
//!    taken from the far end of the top, where it does not cut what is free in two.
//! 4. If the top is too small as well, the last search begins, so that memory which would fit is never refused: all that is
//!    held is merged, and the bin just below is searched to its end. For an alignment of more than 8, every bin that may have a
//!    fitting block is.
//!
//! # How a release is served
//!
//! While the arena is *roomy*, that is while one free span is at least an eighth of it, a block is held for the next request of its
//! size. It is not if it is of 32 KiB or more, if it is of 1 KiB or more and has a free neighbour, or if what is live and what is
//! held are already more than the most that ever was live and 1/32 more. A few held blocks are merged then, in turn by size.
//! All others are merged with their free neighbours at once.
//!
//! # Bounds
//!
//! Nothing but the last search takes more than a constant number of steps: two held blocks at most are merged on the way of an
//! allocation, a release or a change of size in place, and four where a block moves or several are allocated, 64 at most. The last search is bounded by the number of held blocks, then by the number of free blocks, and for
//! alignments up to 8 by `arena / size`.
//!
//! # Invariants
//!
//! [`Heap::audit`] checks all but OWNED and FRESH; SAFETY comments name the one they rest on.
//!
//! - CHAIN: from [`Index::FIRST`] to `top`, blocks lie end to end, each with an initialised header that tells its size.
//! - COALESCED: a free block's neighbours are in use, and the block before the top is in use.
//! - FLAGS: a header says "left neighbour free" exactly if it is, and a free block's footer repeats its size.
//! - LISTED: the lists hold exactly the free blocks, each in the bin of its size, and the bitmap has exactly the bins that are
//!   not empty.
//! - HELD: the quick lists hold exactly the blocks that are marked as held, each on the list of its bin.
//! - SUM: occupied granules = live granules + held granules, and with listed granules and top granules all of the arena's.
//! - OWNED: payload bytes of a block in use are the caller's and are neither read nor written, except to move
//!   or clear them on request.
//! - FRESH: no byte from the payload position `used_up_to` on was ever written.

mod align;
mod audit;
mod census;
mod check;
mod free_list;
mod quick_list;
mod release;
mod resize;
mod take;
#[cfg(test)]
mod tests;

pub use audit::AuditError;
pub use census::Blocks;
pub(crate) use check::LiveBlock;

use crate::block::Arena;
use crate::fault::{Action, Fault};
use crate::size::{BlockSize, GRANULE, HEADER, Index, MAX_REGION};
use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;
use free_list::FreeLists;
use quick_list::QuickLists;
use take::End;

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
/// about 2.7 KiB, and can be a `static`'s initial value without growing the program's file.
///
/// Allocations are raw pointers; dropping the heap or moving it leaves them valid, because all of the heap's bookkeeping is
/// kept as distances from the region's start.
pub struct Heap {
    arena: Arena,
    /// Behind the last block; equal to `end` when the arena is full to the last granule.
    top: Index,
    /// Behind the last granule. `NONE` as long as there is no region.
    end: Index,
    /// From here on nothing was ever used; never below `top`.
    used_up_to: Index,
    /// Whether what was never used is zero.
    zeroed: bool,
    /// Granules of the blocks in use, and the most there ever were.
    live: u32,
    peak: u32,
    /// Granules of the blocks in use and of those that are held.
    occupied: u32,
    /// No more is held where more granules than these are occupied; zero if the arena is tight. See `refresh_hold_limit`.
    hold_limit: u32,
    /// The least number of granules by which more may be occupied than ever were live.
    least_headroom: u32,
    quick: QuickLists,
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
            used_up_to: Index::NONE,
            zeroed: false,
            live: 0,
            peak: 0,
            occupied: 0,
            hold_limit: 0,
            least_headroom: 0,
            quick: QuickLists::new(),
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
        self.used_up_to = Index::FIRST;
        self.zeroed = zeroed;
        self.least_headroom = release::least_headroom(end);
        self.refresh_hold_limit();
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
        let index = self.take(BlockSize::for_payload(layout.size())?, layout.align(), End::FarIfBroad)?;
        // SAFETY: CHAIN, the block was just taken.
        Some(unsafe { self.arena.payload(index) })
    }

    /// The part of [`alloc`](Self::alloc) that is worth a place in the caller: a small block that is held back. `None` says
    /// nothing about what [`alloc_slow`](Self::alloc_slow) finds.
    #[inline(always)]
    pub(crate) fn alloc_fast(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.size() >= QuickLists::LARGE_PAYLOAD || layout.align() > GRANULE {
            return None;
        }
        let index = self.take_small_held(BlockSize::for_payload(layout.size())?)?;
        // SAFETY: CHAIN, the block was just taken.
        Some(unsafe { self.arena.payload(index) })
    }

    /// The rest of [`alloc`](Self::alloc), for when [`alloc_fast`](Self::alloc_fast) has nothing.
    #[inline(always)]
    pub(crate) fn alloc_slow(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let size = BlockSize::for_payload(layout.size())?;
        let index = if layout.align() > GRANULE {
            self.take_aligned(size, layout.align(), End::FarIfBroad)
        } else {
            self.take_slow(size, End::FarIfBroad)
        };
        // SAFETY: CHAIN, the block was just taken.
        Some(unsafe { self.arena.payload(index?) })
    }

    /// Allocates up to `count` blocks of at least `payload` bytes and gives each to `take`: held ones, holes of just that size, and then
    /// some that lie end to end. Where memory is short, there may be fewer; but one, if there is room for one.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn alloc_several(&mut self, payload: usize, count: u32, mut take: impl FnMut(NonNull<u8>)) {
        let Some(size) = BlockSize::for_payload(payload).filter(|_| count > 0) else { return };
        let mut missing = count;
        while missing > 0
            && size < QuickLists::LARGE
            && let Some(index) = self.take_small_held(size).or_else(|| self.take_exact(size))
        {
            // SAFETY: CHAIN, the block was just taken.
            take(unsafe { self.arena.payload(index) });
            missing -= 1;
        }
        if count > 1
            && let Some((mut index, found)) = self.take_run(size, missing)
        {
            for _ in 0..found {
                // SAFETY: as above, for the next block of the run.
                take(unsafe { self.arena.payload(index) });
                index = index + size;
            }
        } else if missing == count
            && let Some(index) = self.take_slow(size, End::Near)
        {
            // SAFETY: as above.
            take(unsafe { self.arena.payload(index) });
        }
    }

    /// Like [`alloc`](Self::alloc), with all `layout.size()` bytes zero. What was never used since the region was zero is
    /// not cleared again, unless it lies in front of a broad block at the far end.
    pub fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let fresh = if self.zeroed { self.arena.address(self.used_up_to) } else { usize::MAX };
        let block = self.alloc(layout)?;
        let used_before = fresh.saturating_sub(block.addr().get());
        // SAFETY: the block's payload holds `layout.size()` bytes and nobody has its pointer yet. What is left out was never
        // used and is zero (FRESH); taking the block wrote its header only.
        unsafe { block.write_bytes(0, layout.size().min(used_before)) };
        Some(block)
    }

    /// Gives a block back. It is merged with its free neighbours, or held back for the next request of its size.
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
        let Some(live) = self.live_block(block) else { return Err(self.fault_of(block, Action::Free)) };
        // SAFETY: the caller's contract.
        if unsafe { self.release_fast(live) || self.release_slow(live) } {
            Ok(())
        } else {
            Err(Fault::NotABlock { action: Action::Free, address: block.addr() })
        }
    }

    /// The span of addresses in which blocks can lie, as `(start, end)`.
    pub fn bounds(&self) -> (usize, usize) {
        if !self.is_initialized() {
            return (0, 0);
        }
        (self.arena.address(Index::FIRST) - HEADER, self.arena.address(self.end) - HEADER)
    }

    /// Counts a block in use that was neither live nor held.
    #[inline(always)]
    fn count_taken(&mut self, size: BlockSize) {
        self.occupied = self.occupied.wrapping_add(size.granules());
        self.count_live(size);
        if !self.is_tight() {
            self.hold_limit = self.roomy_hold_limit();
        }
    }

    /// The arena, and the position behind its last granule.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn place(&self) -> (Arena, Index) {
        (self.arena, self.end)
    }

    #[inline(always)]
    fn count_live(&mut self, size: BlockSize) {
        self.live = self.live.wrapping_add(size.granules());
        self.peak = self.peak.max(self.live);
    }

    /// Counts a block out that is neither live nor held any more.
    #[inline(always)]
    fn count_gone(&mut self, size: BlockSize) {
        self.occupied = self.occupied.wrapping_sub(size.granules());
        self.live = self.live.wrapping_sub(size.granules());
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
