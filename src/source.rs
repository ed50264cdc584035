//! Where a heap's memory comes from: a static arena, or a region that the caller hands over at run time.

use crate::heap::{Heap, RegionError};
use crate::size::GRANULE;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of the arena where nothing else is said: 1 MiB.
///
/// ```
/// use core::alloc::{GlobalAlloc, Layout};
/// use mem_alloc_rust::{DEFAULT_ARENA, FreeList, Locked};
///
/// static A: Locked<FreeList> = Locked::new();
/// // SAFETY: the layouts are of more than no bytes.
/// unsafe {
///     assert!(A.alloc(Layout::new::<[u8; DEFAULT_ARENA]>()).is_null(), "the heap needs some of it itself");
///     assert!(!A.alloc(Layout::new::<[u8; DEFAULT_ARENA - 512]>()).is_null());
/// }
/// ```
pub const DEFAULT_ARENA: usize = 1 << 20;

/// The smallest and the largest [`FreeList`] arena, in bytes.
const ARENA_LIMITS: (usize, usize) = (256, 1 << 30);

/// Where the memory of a [`Locked`](crate::Locked) allocator comes from.
///
/// Sealed: the sources are [`FreeList`], [`Region`] and, with `std`, `OrSystem` around either.
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

pub(crate) mod sealed {
    use super::{Heap, RegionError};

    pub trait Source {
        /// A source that has claimed nothing yet; all zero bytes.
        #[allow(clippy::declare_interior_mutable_const, reason = "the initial value of statics")]
        const INIT: Self;

        /// Whether the operating system serves what the arena cannot.
        const OVERFLOWS_TO_SYSTEM: bool = false;

        /// Hands the source's memory to a heap that has none.
        fn supply(&self, heap: &mut Heap) -> Result<(), RegionError>;

        /// Tells the heap where its memory is, in case that it lies in `self` and `self` was moved.
        fn rebase(&self, heap: &mut Heap);

        /// Whether the heap knows where its memory is.
        fn is_at_home(&self, heap: &Heap) -> bool;

        /// Whether an address is one of the source's memory. Asked without the heap's lock.
        fn has(&self, address: usize) -> bool;
    }

    /// A source whose memory is handed over at run time.
    pub trait RunTimeSource: Source {
        /// Notes the memory that the heap was given. To be called once, with the heap's lock.
        fn note_region(&self, start: usize, len: usize);
    }
}

/// A free list over a static arena of `SIZE` bytes, 1 MiB by default: the memory a program can use is decided
/// at build time.
///
/// `SIZE` is a multiple of 8 from 256 bytes to 1 GiB; anything else does not compile. Use it as
/// [`Locked<FreeList>`](crate::Locked) or `Locked<FreeList<{ 64 << 20 }>>`.
///
/// ```compile_fail
/// # use mem_alloc_rust::{FreeList, Locked};
/// // error: the arena of a FreeList<SIZE> needs at least 256 bytes
/// static A: Locked<FreeList<100>> = Locked::new();
/// ```
///
/// ```
/// use core::alloc::{GlobalAlloc, Layout};
/// use mem_alloc_rust::{FreeList, Locked};
///
/// static A: Locked<FreeList<4096>> = Locked::new();
/// // SAFETY: the layouts are of more than no bytes, and the block is given back once.
/// unsafe {
///     let layout = Layout::new::<[u8; 3000]>();
///     let block = A.alloc(layout);
///     assert!(!block.is_null());
///     assert!(A.alloc(layout).is_null(), "another one does not fit, and nothing grows");
///     A.dealloc(block, layout);
/// }
/// ```
///
/// Its initial value is all zero bytes, so that the arena lies in `.bss`: it does not make the program's file
/// larger, and a page that is never used takes no memory.
#[repr(align(128))]
pub struct FreeList<const SIZE: usize = DEFAULT_ARENA> {
    /// Beside the heap and not inside of it: a `&mut Heap` must not cover bytes that were handed out.
    /// Zero in the beginning; callers may leave bytes of their blocks uninitialised.
    arena: UnsafeCell<MaybeUninit<[u8; SIZE]>>,
}

// SAFETY: the arena is only reached through a heap that it was handed to, and the heap is behind a lock.
unsafe impl<const SIZE: usize> Sync for FreeList<SIZE> {}

impl<const SIZE: usize> FreeList<SIZE> {
    /// The arena, all zero.
    pub(crate) const fn new() -> Self {
        const {
            assert!(SIZE >= ARENA_LIMITS.0, "the arena of a FreeList<SIZE> needs at least 256 bytes");
            assert!(
                SIZE <= ARENA_LIMITS.1,
                "the arena of a FreeList<SIZE> can have at most 1 GiB; hand larger regions to a Heap or a Region at run time"
            );
            assert!(SIZE % GRANULE == 0, "the SIZE of a FreeList<SIZE> is a multiple of 8 bytes");
        }
        Self { arena: UnsafeCell::new(MaybeUninit::new([0; SIZE])) }
    }

    pub(crate) const fn start(&self) -> *mut u8 {
        self.arena.get().cast()
    }
}

impl<const SIZE: usize> sealed::Source for FreeList<SIZE> {
    #[allow(clippy::declare_interior_mutable_const, reason = "the initial value of statics")]
    const INIT: Self = Self::new();

    fn supply(&self, heap: &mut Heap) -> Result<(), RegionError> {
        // SAFETY: the arena is this source's own and reached through its heap only; a heap without memory has
        // handed out nothing, so every byte is still zero.
        unsafe { heap.init(self.start(), SIZE, true) }
    }

    #[inline(always)]
    fn rebase(&self, heap: &mut Heap) {
        // SAFETY: the arena moves with the source as a whole, and always to a multiple of 128.
        unsafe { heap.rebase(self.start()) }
    }

    #[inline(always)]
    fn is_at_home(&self, heap: &Heap) -> bool {
        heap.is_based_on(self.start())
    }

    fn has(&self, address: usize) -> bool {
        address.wrapping_sub(self.start().addr()) < SIZE
    }
}

/// A region of memory that is handed over at run time, with [`Locked::init`](crate::Locked::init).
///
/// ```
/// use core::alloc::{GlobalAlloc, Layout};
/// use mem_alloc_rust::{Locked, Region, RegionError};
///
/// static A: Locked<Region> = Locked::new();
///
/// let memory = Box::leak(vec![0u64; 1000].into_boxed_slice());
/// let (start, len) = (memory.as_mut_ptr().cast(), size_of_val(memory));
/// // SAFETY: the memory is leaked, and nothing else uses it. The layout is of more than no bytes.
/// unsafe {
///     let layout = Layout::new::<[u64; 10]>();
///     assert!(A.alloc(layout).is_null(), "there is no memory yet");
///     A.init(start, len).unwrap();
///     assert!(!A.alloc(layout).is_null());
///     assert_eq!(A.init(start, len), Err(RegionError::AlreadyInitialized));
/// }
/// ```
#[derive(Debug)]
pub struct Region {
    start: AtomicUsize,
    /// Behind the region; zero as long as there is none. Written after the start.
    end: AtomicUsize,
}

/// A source whose memory is handed over at run time: [`Region`], or `OrSystem` around it. Sealed.
///
/// ```
/// use mem_alloc_rust::{Locked, Region, RegionError, RunTimeSource};
///
/// /// Gives an allocator a leaked buffer.
/// fn give_buffer<S: RunTimeSource>(allocator: &Locked<S>, granules: usize) -> Result<(), RegionError> {
///     let buffer = Box::leak(vec![0u64; granules].into_boxed_slice());
///     // SAFETY: the buffer is leaked, and nothing else uses it.
///     unsafe { allocator.init(buffer.as_mut_ptr().cast(), size_of_val(buffer)) }
/// }
///
/// let allocator = Locked::<Region>::new();
/// give_buffer(&allocator, 128).unwrap();
/// assert!(allocator.stats().arena_bytes > 1000);
/// ```
pub trait RunTimeSource: Source + sealed::RunTimeSource {}

impl<S: Source + sealed::RunTimeSource> RunTimeSource for S {}

impl sealed::Source for Region {
    #[allow(clippy::declare_interior_mutable_const, reason = "the initial value of statics")]
    const INIT: Self = Self { start: AtomicUsize::new(0), end: AtomicUsize::new(0) };

    fn supply(&self, heap: &mut Heap) -> Result<(), RegionError> {
        // Until the user calls `init` there is nothing to supply.
        let _ = heap;
        Err(RegionError::TooSmall { len: 0 })
    }

    #[inline(always)]
    fn rebase(&self, heap: &mut Heap) {
        // The region stays where it is when the allocator moves.
        let _ = heap;
    }

    #[inline(always)]
    fn is_at_home(&self, _: &Heap) -> bool {
        true
    }

    fn has(&self, address: usize) -> bool {
        let end = self.end.load(Ordering::Acquire);
        (self.start.load(Ordering::Relaxed)..end).contains(&address)
    }
}

impl sealed::RunTimeSource for Region {
    fn note_region(&self, start: usize, len: usize) {
        self.start.store(start, Ordering::Relaxed);
        self.end.store(start + len, Ordering::Release);
    }
}

/// What another source cannot serve comes from [`std::alloc::System`]: a fast arena rather than a hard bound.
///
/// Blocks of the two are told apart by their address when they come back.
///
/// ```
/// use mem_alloc_rust::{FreeList, Locked, OrSystem};
///
/// #[global_allocator]
/// static A: Locked<OrSystem<FreeList>> = Locked::new();
///
/// fn main() {
///     let larger_than_the_arena = vec![1u8; 2 << 20];
///     assert_eq!(larger_than_the_arena.last(), Some(&1));
///     // The figures are those of the arena alone.
///     assert!(A.stats().peak_bytes < 1 << 20);
/// }
/// ```
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct OrSystem<S>(S);

#[cfg(feature = "std")]
impl<S: sealed::Source> sealed::Source for OrSystem<S> {
    #[allow(clippy::declare_interior_mutable_const, reason = "the initial value of statics")]
    const INIT: Self = Self(S::INIT);

    const OVERFLOWS_TO_SYSTEM: bool = true;

    fn supply(&self, heap: &mut Heap) -> Result<(), RegionError> {
        self.0.supply(heap)
    }

    #[inline(always)]
    fn rebase(&self, heap: &mut Heap) {
        self.0.rebase(heap);
    }

    #[inline(always)]
    fn is_at_home(&self, heap: &Heap) -> bool {
        self.0.is_at_home(heap)
    }

    fn has(&self, address: usize) -> bool {
        self.0.has(address)
    }
}

#[cfg(feature = "std")]
impl<S: sealed::RunTimeSource> sealed::RunTimeSource for OrSystem<S> {
    fn note_region(&self, start: usize, len: usize) {
        self.0.note_region(start, len);
    }
}

impl<const SIZE: usize> core::fmt::Debug for FreeList<SIZE> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FreeList<{SIZE}>")
    }
}
