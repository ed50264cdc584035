//! `Arena`: a heap that is a value, for collections that take an allocator: one owner, no lock, dropped as a whole.

mod allocator;
mod blocks;
mod borrowed;
#[cfg(feature = "alloc")]
mod boxed;
#[cfg(all(feature = "std", unix))]
mod mapped;
mod shared;

pub use borrowed::Borrowed;
#[cfg(feature = "alloc")]
pub use boxed::Boxed;
#[cfg(all(feature = "std", unix))]
pub use mapped::Mapped;

use crate::fault::{self, Fault};
use crate::heap::{AuditError, Heap, RegionError};
#[cfg(feature = "alloc")]
use crate::size::MAX_REGION;
use crate::stats::Stats;
use blocks::{Blocks, moved};
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;

/// Why there is no arena of so many bytes.
///
/// ```
/// use mem_alloc_rust::{Arena, ArenaError, RegionError};
///
/// assert_eq!(Arena::boxed(8).unwrap_err(), ArenaError::Region(RegionError::TooSmall { len: 8 }));
/// let error = Arena::boxed(usize::MAX).unwrap_err();
/// assert!(matches!(error, ArenaError::Region(RegionError::TooLarge { .. })), "{error}");
/// let error = ArenaError::OutOfMemory { len: 4096 };
/// assert_eq!(error.to_string(), "there are no 4096 bytes of memory for an arena");
/// ```
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArenaError {
    /// A heap cannot manage so many bytes.
    Region(RegionError),
    /// The global allocator, or the system, has no such memory.
    OutOfMemory {
        /// Bytes that were asked for.
        len: usize,
    },
}

#[cfg(feature = "alloc")]
impl fmt::Display for ArenaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(error) => error.fmt(f),
            Self::OutOfMemory { len } => write!(f, "there are no {len} bytes of memory for an arena"),
        }
    }
}

#[cfg(feature = "alloc")]
impl core::error::Error for ArenaError {}

#[cfg(feature = "alloc")]
impl From<RegionError> for ArenaError {
    fn from(error: RegionError) -> Self {
        Self::Region(error)
    }
}

/// Refuses what no heap could manage, before memory is asked for.
#[cfg(feature = "alloc")]
fn check_len(len: usize) -> Result<(), RegionError> {
    match len {
        0 => Err(RegionError::TooSmall { len }),
        1..=MAX_REGION => Ok(()),
        _ => Err(RegionError::TooLarge { len }),
    }
}

/// A heap of its own for some values: an allocator for collections that take one, with the feature `allocator-api2`
/// (on any Rust), and with `nightly` for those of `std`.
///
/// ```
/// use allocator_api2::vec::Vec;
/// use mem_alloc_rust::Arena;
///
/// let arena = Arena::boxed(64 << 10)?;
/// let mut squares = Vec::new_in(&arena);
/// squares.extend((0..1000u32).map(|n| n * n));
/// assert!(arena.stats().live_bytes >= 4000);
/// // What does not fit is refused, and the arena goes on.
/// assert!(squares.try_reserve(1 << 20).is_err());
/// squares.push(1_000_000);
/// # Ok::<(), mem_alloc_rust::ArenaError>(())
/// ```
///
/// - [`Arena::over`] takes a buffer that is borrowed, `Arena::boxed` one from the global allocator (`alloc`), and
///   `Arena::mapped` one from the operating system (`std`, Unix). `M` is what holds it.
/// - `&Arena` is the allocator of several values, which cannot outlive it. The arena itself can be the allocator of
///   one value, which may go where it likes, to another thread for example, and takes the memory with it when it is
///   dropped. The arena's own 5 KiB then move with the value.
/// - The memory is given back as a whole when the arena is dropped, or used again from the start after a
///   [`reset`](Self::reset), be there values that were leaked or not. Destructors run when values are dropped, and not
///   with the arena.
/// - It belongs to one thread at a time and needs no lock. For several threads, and for other threads' values,
///   `&Locked` and `&'static ThreadCached` are allocators, too.
/// - A block grows, shrinks and is cleared where it lies, if it can. A layout of zero bytes takes no memory.
/// - A pointer that is given back to the wrong arena ends the program with one sentence; see
///   [`Fault`](crate::Fault).
///
/// An arena cannot be shared by threads, because it has no lock:
///
/// ```compile_fail,E0277
/// # use mem_alloc_rust::Arena;
/// let arena = Arena::boxed(4096).unwrap();
/// std::thread::scope(|scope| {
///     // error: `UnsafeCell<Heap>` cannot be shared between threads safely
///     scope.spawn(|| arena.stats());
/// });
/// ```
///
/// and what was allocated with `&Arena` cannot outlive it:
///
/// ```compile_fail,E0505
/// # use allocator_api2::boxed::Box;
/// # use mem_alloc_rust::Arena;
/// let arena = Arena::boxed(4096).unwrap();
/// let number = Box::new_in(7, &arena);
/// // error: cannot move out of `arena` because it is borrowed
/// drop(arena);
/// assert_eq!(*number, 7);
/// ```
///
/// Threads keep what they know of a `ThreadCached`, so that it has to be there as long as the program runs:
///
/// ```compile_fail,E0597
/// # use allocator_api2::boxed::Box;
/// # use mem_alloc_rust::{FreeList, ThreadCached};
/// let cached = ThreadCached::<FreeList>::new();
/// // error: `cached` does not live long enough
/// let number = Box::new_in(7, &cached);
/// ```
pub struct Arena<M> {
    heap: UnsafeCell<Heap>,
    /// Holds the memory, and gives it back when it is dropped.
    _memory: M,
}

impl<M> Arena<M> {
    /// An arena over the region of `len` bytes at `start`, which `memory` holds.
    ///
    /// # Safety
    ///
    /// - As for [`Heap::init`], as long as `memory` is not dropped. It may be moved.
    unsafe fn of(memory: M, start: *mut u8, len: usize, zeroed: bool) -> Result<Self, RegionError> {
        let mut heap = Heap::new();
        // SAFETY: the caller's contract. The memory is dropped with the heap.
        unsafe { heap.init(start, len, zeroed)? };
        Ok(Self { heap: UnsafeCell::new(heap), _memory: memory })
    }

    /// Does something with the engine.
    ///
    /// What is done must not come back here: nothing of the program's is called by it.
    #[inline(always)]
    fn with_heap<T>(&self, call: impl FnOnce(&mut Heap) -> T) -> T {
        // SAFETY: an arena is not `Sync`, so that no other thread is here, and what is done with the engine does not
        // come back: this is the only reference to it. The memory that it hands out lies outside of it.
        call(unsafe { &mut *self.heap.get() })
    }

    /// Counts blocks and bytes, in time in proportion to the number of blocks.
    ///
    /// ```
    /// use allocator_api2::boxed::Box;
    /// use mem_alloc_rust::Arena;
    ///
    /// let arena = Arena::boxed(4096).unwrap();
    /// let number = Box::new_in(7u64, &arena);
    /// assert_eq!(arena.stats().live_blocks, 1);
    /// drop(number);
    /// assert_eq!(arena.stats().live_blocks, 0);
    /// ```
    pub fn stats(&self) -> Stats {
        self.with_heap(|heap| heap.stats())
    }

    /// Checks every invariant of the heap, in time in proportion to the number of blocks.
    ///
    /// ```
    /// use mem_alloc_rust::Arena;
    ///
    /// assert_eq!(Arena::boxed(4096).unwrap().audit(), Ok(()));
    /// ```
    ///
    /// # Errors
    ///
    /// The first violation found; see [`Heap::audit`].
    pub fn audit(&self) -> Result<(), AuditError> {
        self.with_heap(|heap| heap.audit())
    }

    /// Takes everything back at once, for the next request that is to be served from the same memory: also what was
    /// leaked. Nobody can have any of it, because the arena is borrowed as long as there are values in it.
    ///
    /// Takes a constant time, and a step for each page of 4 KiB, or more, that was ever used. `peak_bytes` in the
    /// [`stats`](Self::stats) goes on counting from what it was.
    ///
    /// ```
    /// use allocator_api2::boxed::Box;
    /// use mem_alloc_rust::Arena;
    ///
    /// let mut arena = Arena::boxed(4096).unwrap();
    /// for request in 0..100 {
    ///     let answer: &mut [u8; 3000] = Box::leak(Box::new_in([request; 3000], &arena));
    ///     assert_eq!(answer[2999], request);
    ///     arena.reset();
    /// }
    /// assert_eq!(arena.stats().live_blocks, 0);
    /// ```
    ///
    /// ```compile_fail,E0502
    /// # use allocator_api2::boxed::Box;
    /// # use mem_alloc_rust::Arena;
    /// let mut arena = Arena::boxed(4096).unwrap();
    /// let number = Box::new_in(7, &arena);
    /// // error: cannot borrow `arena` as mutable because it is also borrowed as immutable
    /// arena.reset();
    /// assert_eq!(*number, 7);
    /// ```
    pub fn reset(&mut self) {
        // SAFETY: whoever has a value in the arena borrows it, or owns it; nobody does while this reference is in
        // use. A value that owns its arena hands out no such reference while it has blocks, because it could be
        // used to drop the arena as well.
        unsafe { self.heap.get_mut().reset() }
    }
}

impl<M> Blocks for Arena<M> {
    #[inline]
    fn alloc(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.with_heap(|heap| heap.alloc(layout))
    }

    #[inline]
    fn alloc_zeroed(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.with_heap(|heap| heap.alloc_zeroed(layout))
    }

    #[inline]
    unsafe fn dealloc(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's contract.
        if let Err(fault) = self.with_heap(|heap| unsafe { heap.dealloc(block.as_ptr()) }) {
            raise(fault, layout)
        }
    }

    #[inline]
    unsafe fn resize(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>> {
        if block.addr().get() % new.align() != 0 {
            // SAFETY: the caller's contract.
            return unsafe { moved(self, block, old, new) };
        }
        // It lies as if it had been asked for at the new alignment, and the heap looks at nothing else.
        let layout = Layout::from_size_align(old.size(), new.align()).ok()?;
        // SAFETY: the caller's contract.
        match self.with_heap(|heap| unsafe { heap.realloc(block.as_ptr(), layout, new.size()) }) {
            Ok(resized) => resized,
            Err(fault) => raise(fault, old),
        }
    }
}

/// Ends the program over a misuse. The engine is not in use any more: a hook may look at the arena.
#[cold]
fn raise(fault: Fault, layout: Layout) -> ! {
    fault::raise(fault.with_requested_bytes(layout.size()))
}

impl<M> fmt::Debug for Arena<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The figures are taken before anything is formatted: a formatter may use the arena.
        let stats = self.stats();
        f.debug_struct("Arena").field("stats", &stats).finish_non_exhaustive()
    }
}
