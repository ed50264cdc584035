//! A static arena, in the allocator itself.

#[cfg(all(feature = "std", unix))]
use super::give_back_all;
use super::{clear, sealed};
use crate::heap::{Heap, RegionError};
use crate::refusal::Memory;
use crate::size::GRANULE;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

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

/// The smallest and the largest [`FreeList`] arena, in bytes. When the compiler evaluates a static, it has the value in
/// memory twice, with a bit for each byte: `docs/choosing.md` has the measurements.
const ARENA_LIMITS: (usize, usize) = (256, 512 << 20);

/// A free list over a static arena of `SIZE` bytes, 1 MiB by default: the memory a program can use is decided
/// at build time.
///
/// `SIZE` is a multiple of 8 from 256 bytes to 512 MiB; anything else does not compile. Use it as
/// [`Locked<FreeList>`](crate::Locked) or `Locked<FreeList<{ 64 << 20 }>>`.
///
/// ```compile_fail,E0080
/// # use mem_alloc_rust::{FreeList, Locked};
/// // error: the arena of a FreeList<SIZE> needs at least 256 bytes
/// static A: Locked<FreeList<100>> = Locked::new();
/// ```
///
/// The compiler needs two and a quarter times as much memory, and seconds if that is hundreds of megabytes:
/// [Choosing](crate::choosing#what-a-large-arena-costs-the-compiler) has a table. What is larger than 512 MiB is for
/// `Growing`, which costs it nothing, or, where there is no such source, for [`Regions`](crate::Regions) over memory
/// that the linker script or the boot loader provides.
///
/// ```compile_fail,E0080
/// # use mem_alloc_rust::{FreeList, Locked};
/// // error: the arena of a FreeList<SIZE> can have at most 512 MiB, …
/// static A: Locked<FreeList<{ 1 << 30 }>> = Locked::new();
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
// (C, so that the arena is at its beginning.)
#[repr(C, align(128))]
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
        let mut this = <Self as sealed::Source>::INIT;
        clear(&mut this);
        this
    }

    pub(crate) const fn start(&self) -> *mut u8 {
        self.arena.get().cast()
    }
}

impl<const SIZE: usize> sealed::Source for FreeList<SIZE> {
    #[allow(clippy::declare_interior_mutable_const, reason = "the initial value of statics")]
    const INIT: Self = {
        assert!(SIZE >= ARENA_LIMITS.0, "the arena of a FreeList<SIZE> needs at least 256 bytes");
        assert!(
            SIZE <= ARENA_LIMITS.1,
            "the arena of a FreeList<SIZE> can have at most 512 MiB, because compiling it takes more than twice that \
             memory; take Growing<CAP> instead, or where there is no std or no Unix, Regions with add_region over \
             memory that the linker script or the boot loader provides"
        );
        assert!(SIZE % GRANULE == 0, "the SIZE of a FreeList<SIZE> is a multiple of 8 bytes");
        Self { arena: UnsafeCell::new(MaybeUninit::uninit()) }
    };

    const UNCLEARED: usize = SIZE;

    const MEMORY: Memory = Memory::Arena(SIZE, ARENA_LIMITS.1);

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

    #[cfg(all(feature = "std", unix))]
    fn trim(&self, heap: &mut Heap) -> usize {
        // SAFETY: whole pages of a static or of what the program allocates are private and anonymous, once they were
        // written; nothing else is to be trimmed (`Locked::trim`).
        unsafe { give_back_all(heap) }
    }
}

impl<const SIZE: usize> core::fmt::Debug for FreeList<SIZE> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FreeList<{SIZE}>")
    }
}
