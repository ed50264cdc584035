//! Where a heap's memory comes from: a static arena, a region that the caller hands over at run time, or the system.

mod free_list;
#[cfg(all(feature = "std", unix))]
mod growing;
#[cfg(feature = "std")]
mod or_system;
mod outside;
mod region;
mod regions;

pub use free_list::{DEFAULT_ARENA, FreeList};
#[cfg(all(feature = "std", unix))]
pub use growing::Growing;
#[cfg(feature = "std")]
pub use or_system::OrSystem;
pub(crate) use outside::Outside;
pub use region::{Region, RunTimeSource};
pub use regions::Regions;

use crate::fault::{Action, Fault};
use crate::heap::{AuditError, Heap, RegionError, Resized};
#[cfg(all(feature = "std", unix))]
use crate::mapping;
use crate::refusal::{GrowthLimit, Memory};
use crate::stats::Stats;
use core::ptr::NonNull;

/// Where the memory of a [`Locked`](crate::Locked) allocator comes from.
///
/// Sealed: the sources are [`FreeList`], [`Region`], [`Regions`] and, with `std`, `OrSystem` around the first two.
/// [Choosing](crate::choosing) says which is for whom.
///
/// ```
/// use mem_alloc_rust::lock_api::RawMutex;
/// use mem_alloc_rust::{FreeList, Locked, Region, Source};
///
/// /// Watches an allocator, whatever its memory and its lock.
/// fn is_half_full<S: Source, R: RawMutex>(allocator: &Locked<S, R>) -> bool {
///     let stats = allocator.stats();
///     stats.live_bytes >= stats.free_bytes
/// }
///
/// #[global_allocator]
/// static A: Locked<FreeList> = Locked::new();
///
/// fn main() {
///     let _first = Box::new(1);
///     assert!(!is_half_full(&A));
///     let _most = vec![0u8; 600 << 10];
///     assert!(is_half_full(&A));
///     assert!(is_half_full(&Locked::<Region>::new()), "no memory yet, and none that is free");
/// }
/// ```
pub trait Source: sealed::Source + Sync + 'static {}

impl<S: sealed::Source + Sync + 'static> Source for S {}

/// Clears what [`INIT`](sealed::Source::INIT) left uninitialised, where it is to be.
///
/// When the compiler evaluates a static, it copies nothing of a value that is not initialised at all. So an arena costs
/// it no memory on its way into the allocator, and is cleared there rather than at the beginning of that way.
pub(crate) const fn clear<S: sealed::Source>(source: &mut S) {
    // SAFETY: so many bytes of the source are an arena's, for which zero is a value; this is the only reference to it.
    unsafe { (&raw mut *source).cast::<u8>().write_bytes(0, S::UNCLEARED) }
}

pub(crate) mod sealed {
    use super::{
        Action, AuditError, Elsewhere, Fault, GrowthLimit, Heap, Leftover, Memory, Moved, Outside,
        RegionError, Stats,
    };
    use core::alloc::Layout;
    use core::ptr::NonNull;

    pub trait Source {
        /// A source that has claimed nothing yet. It has to be [cleared](super::clear), and is all zero bytes then.
        #[allow(clippy::declare_interior_mutable_const, reason = "the initial value of statics")]
        const INIT: Self;

        /// How many bytes at its beginning [`INIT`](Self::INIT) leaves uninitialised: an arena's, which may be zero.
        const UNCLEARED: usize = 0;

        /// What the memory is, for whoever needs more of it.
        const MEMORY: Memory;

        /// Whether the operating system serves what the arena cannot.
        const OVERFLOWS_TO_SYSTEM: bool = false;

        /// Whether blocks can lie elsewhere than in the heap's region. They are under the heap's lock, too: whoever has
        /// the heap to pass on has that.
        const HAS_ELSEWHERE: bool = false;

        /// Requests of so many bytes are served elsewhere, if they can be, unless the [heap](Self::prefers_heap) is
        /// better.
        const ELSEWHERE_FROM: usize = usize::MAX;

        /// Whether there may come to be more in use than is allowed.
        const HAS_CAP: bool = false;

        /// Hands the source's memory to a heap that has none.
        ///
        /// # Errors
        ///
        /// There is none: it is handed over by the user, or to be had later.
        fn supply(&self, heap: &mut Heap) -> Result<(), RegionError> {
            let _ = heap;
            Err(RegionError::TooSmall { len: 0 })
        }

        /// Tells the heap where its memory is, in case that it lies in `self` and `self` was moved.
        #[inline(always)]
        fn rebase(&self, heap: &mut Heap) {
            // It stays where it is when the allocator moves, unless it is part of that.
            let _ = heap;
        }

        /// Whether the heap knows where its memory is.
        #[inline(always)]
        fn is_at_home(&self, heap: &Heap) -> bool {
            let _ = heap;
            true
        }

        /// Whether an address is one of the memory that the heap was given. Asked without the heap's lock.
        fn has(&self, address: usize) -> bool;

        /// What is in use elsewhere, if anything can be. Asked without the heap's lock.
        fn outside(&self) -> Option<&Outside> {
            None
        }

        /// Bytes of a block in use elsewhere that may be used; `None` if it is not known there.
        ///
        /// # Safety
        ///
        /// - If it is known, it is in use.
        unsafe fn usable_size_elsewhere(&self, heap: &Heap, block: *mut u8) -> Option<usize> {
            let _ = (heap, block);
            None
        }

        /// A block from elsewhere, and how many bytes at its beginning are not known to be zero.
        fn alloc_elsewhere(&self, heap: &mut Heap, layout: Layout) -> Option<(NonNull<u8>, usize)> {
            let _ = (heap, layout);
            None
        }

        /// Whether a block that is to come [from elsewhere](Self::ELSEWHERE_FROM), and perhaps to be cleared, is better
        /// the heap's now.
        fn prefers_heap(&self, heap: &Heap, layout: Layout, is_zeroed: bool) -> bool {
            let _ = (heap, layout, is_zeroed);
            false
        }

        /// Makes so many bytes at the beginning of a block that was just found zero. To be called without the lock.
        ///
        /// # Safety
        ///
        /// - The block is one of the heap's or from elsewhere, holds that many bytes, and nobody has its pointer yet.
        #[inline]
        unsafe fn clear(&self, block: NonNull<u8>, bytes: usize) {
            // SAFETY: the caller's contract.
            unsafe { block.write_bytes(0, bytes) };
        }

        /// Gives back a block that does not lie in the heap's region. `None` if it is not known elsewhere.
        ///
        /// # Safety
        ///
        /// - If it is known, it is in use, and nobody uses its bytes any more.
        unsafe fn dealloc_elsewhere(&self, heap: &mut Heap, block: *mut u8) -> Option<Leftover> {
            let _ = (heap, block);
            None
        }

        /// Notes what is left over of a block and was not taken by the system.
        ///
        /// # Safety
        ///
        /// - It comes from [`dealloc_elsewhere`](Self::dealloc_elsewhere) of this source.
        unsafe fn note_stayed(&self, heap: &mut Heap, leftover: Leftover) {
            let _ = (heap, leftover);
        }

        /// Changes the size of a block that does not lie in the heap's region.
        ///
        /// # Safety
        ///
        /// - If it is known, it is in use, and was allocated for the layout.
        unsafe fn resize_elsewhere(
            &self,
            heap: &mut Heap,
            block: *mut u8,
            layout: Layout,
            new_size: usize,
        ) -> Elsewhere {
            let _ = (heap, block, layout, new_size);
            Elsewhere::Unknown
        }

        /// Notes what came of a block that was to be moved outside of the lock.
        fn note_moved(&self, heap: &mut Heap, moved: Moved) {
            let _ = (heap, moved);
        }

        /// Whether a block is one in use elsewhere.
        fn is_live_elsewhere(&self, heap: &Heap, block: *mut u8) -> bool {
            let _ = (heap, block);
            false
        }

        /// Whether a pointer leads to memory of the allocator's of which [`has`](Self::has) does not know.
        fn has_elsewhere(&self, heap: &Heap, ptr: *mut u8) -> bool {
            self.is_live_elsewhere(heap, ptr)
        }

        /// What is wrong with a pointer that was not accepted as that of a block elsewhere, if it leads there.
        fn fault_elsewhere(&self, heap: &Heap, block: *mut u8, action: Action) -> Option<Fault> {
            let _ = (heap, block, action);
            None
        }

        /// Whether so many bytes more may be in use.
        #[inline(always)]
        fn may_serve(&self, heap: &Heap, bytes: usize) -> bool {
            let _ = (heap, bytes);
            true
        }

        /// A block or a run of the heap's was given back or taken: what is free may go back to the system.
        #[inline(always)]
        fn note_visit(&self, heap: &mut Heap) {
            let _ = heap;
        }

        /// A cache has come to the heap, as in [`note_visit`](Self::note_visit). Returns whether so much less is in use
        /// than the last time that memory went back to the system: then caches are to give back what they have, and
        /// this is to be noted once more.
        #[inline(always)]
        fn note_cache(&self, heap: &mut Heap) -> bool {
            let _ = heap;
            false
        }

        /// Gives everything back to the system that is free and can be given back. Returns how many bytes that were.
        fn trim(&self, heap: &mut Heap) -> usize {
            let _ = heap;
            0
        }

        /// How many bytes there are in all, where the first heap has so many. Without the lock.
        fn arena_bytes(&self, first: usize) -> usize {
            first
        }

        /// Adds what lies elsewhere to the figures of the heap.
        fn add_to_stats(&self, heap: &Heap, stats: &mut Stats) {
            let _ = (heap, stats);
        }

        /// What may be had from the system, and is, if there is no fixed arena.
        fn growth_limit(&self, heap: &Heap) -> Option<GrowthLimit> {
            let _ = heap;
            None
        }

        /// Checks what lies elsewhere.
        fn audit_elsewhere(&self, heap: &Heap) -> Result<(), AuditError> {
            let _ = heap;
            Ok(())
        }
    }

    /// A source whose memory is handed over at run time.
    pub trait RunTimeSource: Source {
        /// Notes the memory that the heap was given. To be called once, with the heap's lock.
        fn note_region(&self, start: usize, len: usize);
    }
}

/// Gives back what is free in a heap, in whole pages. Returns how many bytes of that were in memory.
///
/// # Safety
///
/// - Whole pages of the heap's region are the system's memory, private and anonymous.
#[cfg(all(feature = "std", unix))]
unsafe fn give_back_all(heap: &mut Heap) -> usize {
    let mut given_back = 0;
    heap.give_back(mapping::page(), mapping::page(), |start, bytes| {
        // SAFETY: the caller's contract; what the heap gives back is nobody's.
        unsafe { mapping::discard_counted(start, bytes, &mut given_back) }
    });
    given_back
}

/// What became of a block elsewhere that was to change its size.
pub enum Elsewhere {
    /// It is not known there.
    Unknown,
    /// As for a block of the heap's.
    Known(Resized),
    /// It is to be moved by whoever asks, outside of the lock, and then [noted](sealed::Source::note_moved).
    ToMove(ToMove),
}

/// Pages that a block elsewhere had, to be given back to the system outside of the lock: that takes time in proportion
/// to their number.
#[must_use]
pub struct Leftover {
    start: *mut u8,
    bytes: usize,
    /// How many bytes at the beginning are not known to be zero.
    dirty: usize,
    /// Whether they can serve as a block's again.
    is_usable: bool,
}

impl Leftover {
    /// Nothing is left over.
    #[cfg_attr(
        not(all(feature = "std", unix)),
        allow(dead_code, reason = "other sources have no pages of their own")
    )]
    pub(crate) const NOTHING: Self =
        Self { start: core::ptr::null_mut(), bytes: 0, dirty: 0, is_usable: false };

    /// Gives them back. Returns those that the system does not take, if they can be used again; it has taken what they
    /// contain then, if it takes that.
    pub(crate) fn settle(self) -> Option<Self> {
        let Self { start, bytes, dirty, is_usable } = self;
        #[cfg(all(feature = "std", unix))]
        // SAFETY: they were mapped for a block, or for a heap, which nobody uses any more.
        if bytes > 0 && unsafe { !mapping::try_unmap(start, bytes) } {
            // SAFETY: as above.
            let is_zero = unsafe { mapping::discard(start, bytes) };
            let stayed = Self { dirty: if is_zero { 0 } else { dirty }, ..self };
            return Some(stayed).filter(|_| is_usable);
        }
        let _ = (start, bytes, dirty, is_usable);
        None
    }
}

/// A block with pages of its own that are to become more or fewer, and may move.
#[cfg_attr(not(all(feature = "std", unix)), allow(dead_code, reason = "other sources move nothing"))]
pub struct ToMove {
    start: *mut u8,
    bytes: usize,
    new_bytes: usize,
    /// The most bytes that there are meanwhile, no fewer than before and afterwards.
    most: usize,
    /// Whether it is to be in huge pages then.
    huge_pages: bool,
}

impl ToMove {
    /// Does it. Nobody else knows the block meanwhile.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn run(self) -> Moved {
        let Self { start, bytes, new_bytes, most, huge_pages } = self;
        let mut stays = false;
        // SAFETY: the pages were mapped for blocks, whose owner waits for this.
        let to = unsafe {
            let through = if huge_pages { most } else { new_bytes };
            let moved = mapping::remap_through(start, bytes, new_bytes, through);
            let to = moved.or_else(|| {
                // A program can make several mappings of a block, and what is kept may be of several.
                let is_longer = new_bytes > bytes && mapping::CAN_MOVE;
                let copy = if is_longer { mapping::copy_to_more(start, bytes, new_bytes) } else { None };
                let (to, is_unmapped) = copy?;
                stays = !is_unmapped;
                Some((to, new_bytes))
            });
            if let (Some((start, bytes)), true) = (to, huge_pages) {
                mapping::prefer_huge_pages(start.as_ptr(), bytes);
            }
            to
        };
        Moved { start, bytes, new_bytes, most, to, stays }
    }

    /// Other sources move nothing.
    #[cfg(not(all(feature = "std", unix)))]
    pub(crate) fn run(self) -> Moved {
        let Self { start, bytes, new_bytes, most, .. } = self;
        Moved { start, bytes, new_bytes, most, to: None, stays: false }
    }
}

/// What came of that.
#[cfg_attr(not(all(feature = "std", unix)), allow(dead_code, reason = "other sources move nothing"))]
pub struct Moved {
    start: *mut u8,
    bytes: usize,
    new_bytes: usize,
    most: usize,
    /// Where it is, and the bytes of its pages.
    to: Option<(NonNull<u8>, usize)>,
    /// Whether it has moved, and the system did not take the old pages.
    stays: bool,
}

impl Moved {
    /// What that is for whoever asked. If the system refuses to take pages away, the block has them all, and that is
    /// enough.
    pub(crate) fn outcome(&self) -> Resized {
        let stays = NonNull::new(self.start).filter(|_| self.new_bytes <= self.bytes);
        self.to.map(|(start, _)| start).or(stays).map_or(Resized::Refused, Resized::Done)
    }
}
