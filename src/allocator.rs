//! `FreeListAllocator`: the smallest way in, an allocator that is called by hand over the crate's own 1 MiB
//! arena.

use crate::fault;
use crate::heap::{AuditError, Blocks, Heap};
use crate::source::{DEFAULT_ARENA, FreeList};
use crate::stats::Stats;
use core::alloc::Layout;
use core::fmt;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, Ordering};
use spin::mutex::SpinMutex;

/// The one static arena. It takes part in a program only if `FreeListAllocator` does.
static ARENA: FreeList<DEFAULT_ARENA> = FreeList::new();

/// Whether an allocator owns [`ARENA`] now.
static OWNED: SpinMutex<bool> = SpinMutex::new(false);

/// Whether an allocator ever owned [`ARENA`], so that it may no longer be zero. Only the owner asks, and only
/// the owner writes.
static USED: AtomicBool = AtomicBool::new(false);

/// What came of [`FreeListAllocator::init`].
///
/// ```
/// use mem_alloc_rust::{InitOutcome, create_allocator};
///
/// let (mut first, mut second) = (create_allocator(), create_allocator());
/// // SAFETY: nothing was ever allocated from the arena.
/// unsafe {
///     assert_eq!(first.init(), InitOutcome::Ready);
///     assert_eq!(first.init(), InitOutcome::AlreadyReady);
///     assert_eq!(second.init(), InitOutcome::ArenaInUse);
///     drop(first);
///     assert!(second.init().is_ready());
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitOutcome {
    /// The allocator owns the arena now.
    Ready,
    /// The allocator owned the arena before; nothing changed.
    AlreadyReady,
    /// Another allocator owns the arena. This one stays empty, and its `alloc` gives null; `init` can be
    /// called again after the other one was dropped.
    ArenaInUse,
}

impl InitOutcome {
    /// Whether the allocator can be used.
    pub fn is_ready(self) -> bool {
        self != Self::ArenaInUse
    }
}

impl fmt::Display for InitOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "the allocator owns the static arena now",
            Self::AlreadyReady => "the allocator owns the static arena already",
            Self::ArenaInUse => "another allocator owns the static arena; this one stays empty",
        })
    }
}

/// Creates an allocator that owns nothing yet; see [`FreeListAllocator::init`].
///
/// ```
/// use mem_alloc_rust::create_allocator;
/// use core::alloc::Layout;
/// fn main() {
///     let mut allocator = create_allocator();
///     unsafe {
///         allocator.init();
///         let layout = Layout::new::<i32>();
///         let ptr = allocator.alloc(layout);
///         if !ptr.is_null() {
///             *(ptr as *mut i32) = 42;
///             println!("Value: {}", *(ptr as *mut i32));
///             # assert_eq!(*(ptr as *mut i32), 42);
///             allocator.dealloc(ptr);
///         }
///     }
/// }
/// ```
pub const fn create_allocator() -> FreeListAllocator {
    FreeListAllocator { heap: Heap::new() }
}

/// A free-list allocator over the crate's own static arena of 1 MiB, called by hand and by one owner at a
/// time.
///
/// ```
/// use core::alloc::Layout;
/// use mem_alloc_rust::create_allocator;
///
/// let mut allocator = create_allocator();
/// let layout = Layout::new::<[u8; 60]>();
/// // SAFETY: nothing else was allocated from the arena. The block holds what is written to it, and is given back once.
/// unsafe {
///     assert!(allocator.alloc(layout).is_null(), "the arena is not its own yet");
///     assert!(allocator.init().is_ready());
///     let block = allocator.alloc_zeroed(layout);
///     assert_eq!(block.read(), 0);
///     block.write(7);
///     let block = allocator.realloc(block, layout, 6000);
///     assert_eq!(block.read(), 7);
///     assert!(allocator.is_in_arena(block) && allocator.usable_size(block) >= 6000);
///     assert_eq!(allocator.stats().live_bytes, allocator.live_bytes());
///     allocator.dealloc(block);
/// }
/// assert!(allocator.live_bytes() == 0 && allocator.peak_bytes() > 6000);
/// allocator.reset_peak();
/// assert_eq!(allocator.peak_bytes(), 0);
/// allocator.audit().unwrap();
/// assert!(allocator.blocks().all(|(_, header)| header.is_free()));
/// assert_eq!(allocator.stats().live_blocks, 0);
/// ```
///
/// The value itself is the bookkeeping only, about 5 KiB, and may be moved. Dropping it gives the arena back
/// to the next allocator that calls `init`.
pub struct FreeListAllocator {
    heap: Heap,
}

impl FreeListAllocator {
    /// Takes possession of the static arena. Two allocators never own it at once: the outcome says whether
    /// this one does.
    ///
    /// # Safety
    ///
    /// - Blocks of an allocator that owned the arena before and was dropped are not used any more.
    pub unsafe fn init(&mut self) -> InitOutcome {
        if self.heap.is_initialized() {
            return InitOutcome::AlreadyReady;
        }
        if core::mem::replace(&mut *OWNED.lock(), true) {
            return InitOutcome::ArenaInUse;
        }
        let zeroed = !USED.load(Ordering::Relaxed);
        USED.store(true, Ordering::Relaxed);
        // SAFETY: `OWNED` makes this heap the only one over the arena, and blocks of earlier owners are dead
        // (contract). Before the first owner the arena is as zero as every static.
        let result = unsafe { self.heap.init_without_runs(ARENA.start(), DEFAULT_ARENA, zeroed) };
        debug_assert_eq!(result, Ok(()), "the static arena is a valid region");
        InitOutcome::Ready
    }

    /// Allocates a block for `layout`. Null if there is no room, and before [`init`](Self::init).
    pub fn alloc(&mut self, layout: Layout) -> *mut u8 {
        or_null(self.heap.alloc(layout))
    }

    /// Like [`alloc`](Self::alloc), with all `layout.size()` bytes zero.
    pub fn alloc_zeroed(&mut self, layout: Layout) -> *mut u8 {
        or_null(self.heap.alloc_zeroed(layout))
    }

    /// Gives a block back. A pointer that cannot be that of a block in use ends the program; see
    /// [`Fault`](crate::Fault).
    ///
    /// # Safety
    ///
    /// - `ptr` came from this allocator and was not given back since.
    /// - Nobody uses the block's bytes any more.
    pub unsafe fn dealloc(&mut self, ptr: *mut u8) {
        // SAFETY: the caller's contract.
        if let Err(fault) = unsafe { self.heap.dealloc(ptr) } {
            fault::raise(fault)
        }
    }

    /// Changes a block's size to at least `new_size` bytes, keeping its contents up to the smaller of both
    /// sizes and its alignment. Returns its new address, or null if there is no room; the block is
    /// unchanged then. A pointer that cannot be that of a block in use ends the program.
    ///
    /// # Safety
    ///
    /// - `ptr` came from this allocator for `layout` and was not given back since.
    /// - Unless null was returned, the old pointer is dead.
    pub unsafe fn realloc(&mut self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's contract.
        match unsafe { self.heap.realloc(ptr, layout, new_size) } {
            Ok(block) => or_null(block),
            Err(fault) => fault::raise(fault),
        }
    }

    /// How many bytes of a block in use may be used: those that were asked for, and what rounding added. A pointer that
    /// cannot be that of a block in use ends the program. Takes constant time.
    ///
    /// # Safety
    ///
    /// - `ptr` came from this allocator and was not given back since.
    pub unsafe fn usable_size(&self, ptr: *mut u8) -> usize {
        // SAFETY: the caller's contract.
        unsafe { self.heap.usable_size(ptr) }.unwrap_or_else(|fault| fault::raise(fault))
    }

    /// Whether a pointer, which may be any, leads into the arena, where blocks can lie. Takes constant time.
    pub fn is_in_arena(&self, ptr: *const u8) -> bool {
        let (start, end) = self.heap.bounds();
        (start..end).contains(&ptr.addr())
    }

    /// Bytes of the blocks in use, in constant time; see [`Heap::live_bytes`].
    pub fn live_bytes(&self) -> usize {
        self.heap.live_bytes()
    }

    /// The most bytes that were in use, in constant time; see [`Heap::peak_bytes`].
    pub fn peak_bytes(&self) -> usize {
        self.heap.peak_bytes()
    }

    /// The peak begins anew, from what is in use now; see [`Heap::reset_peak`].
    pub fn reset_peak(&mut self) {
        self.heap.reset_peak();
    }

    /// Counts blocks and bytes.
    pub fn stats(&self) -> Stats {
        self.heap.stats()
    }

    /// All blocks from the lowest address up; see [`Heap::blocks`].
    pub fn blocks(&self) -> Blocks<'_> {
        self.heap.blocks()
    }

    /// Checks every invariant of the heap.
    ///
    /// # Errors
    ///
    /// The first violation found; see [`Heap::audit`].
    pub fn audit(&self) -> Result<(), AuditError> {
        self.heap.audit()
    }
}

impl Drop for FreeListAllocator {
    fn drop(&mut self) {
        if self.heap.is_initialized() {
            *OWNED.lock() = false;
        }
    }
}

impl fmt::Debug for FreeListAllocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreeListAllocator").field("heap", &self.heap).finish()
    }
}

fn or_null(block: Option<NonNull<u8>>) -> *mut u8 {
    block.map_or(null_mut(), NonNull::as_ptr)
}
