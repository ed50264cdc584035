//! The trait `Allocator`: that of the crate allocator-api2, and the unstable one that it mirrors, by the same code.

/// Implements the `Allocator` that is in scope, for all that can be one.
macro_rules! implement_allocator {
    () => {
        use crate::arena::shared::Shared;
        use crate::arena::{Arena, blocks};
        #[cfg(all(feature = "std", unix))]
        use crate::cache::ThreadCached;
        use crate::locked::Locked;
        use crate::source::Source;
        #[cfg(not(all(feature = "std", unix)))]
        use crate::uncached::ThreadCached;
        use core::alloc::Layout;
        use core::ptr::NonNull;
        use lock_api::RawMutex;

        // Blocks lie in the memory that the arena holds, which stays where it is when the arena moves, and as long
        // as the arena is not dropped. It cannot be cloned.
        implement_allocator!([M] Arena<M>, |arena| arena);
        // Blocks may lie in the allocator itself: it cannot be moved as long as it is borrowed.
        implement_allocator!([S: Source, R: RawMutex] &Locked<S, R>, |locked| &Shared(*locked));
        // One that threads have caches of must never be dropped or moved, which safe code cannot be asked to promise
        // otherwise: that it lies in static memory does not say that it is a static.
        implement_allocator!([S: Source + 'static] &'static ThreadCached<S>, |cached| &Shared(*cached));
    };
    ([$($parameters:tt)*] $allocator:ty, |$this:ident| $blocks:expr) => {
        // SAFETY: blocks do not overlap, and are valid as long as a copy of the allocator is there, as said above.
        unsafe impl<$($parameters)*> Allocator for $allocator {
            #[inline]
            fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                let $this = self;
                blocks::allocate($blocks, layout).ok_or(AllocError)
            }

            #[inline]
            fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                let $this = self;
                blocks::allocate_zeroed($blocks, layout).ok_or(AllocError)
            }

            #[inline]
            unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
                let $this = self;
                // SAFETY: the caller's contract is the same, here and below.
                unsafe { blocks::deallocate($blocks, block, layout) }
            }

            #[inline]
            unsafe fn grow(
                &self,
                block: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, AllocError> {
                let $this = self;
                // SAFETY: as above.
                unsafe { blocks::resize($blocks, block, old, new) }.ok_or(AllocError)
            }

            #[inline]
            unsafe fn grow_zeroed(
                &self,
                block: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, AllocError> {
                let $this = self;
                // SAFETY: as above.
                unsafe { blocks::grow_zeroed($blocks, block, old, new) }.ok_or(AllocError)
            }

            #[inline]
            unsafe fn shrink(
                &self,
                block: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, AllocError> {
                let $this = self;
                // SAFETY: as above.
                unsafe { blocks::shrink($blocks, block, old, new) }.ok_or(AllocError)
            }
        }
    };
}

#[cfg(feature = "allocator-api2")]
mod on_any_rust {
    use allocator_api2::alloc::{AllocError, Allocator};
    implement_allocator!();
}

#[cfg(feature = "nightly")]
mod on_nightly {
    use core::alloc::{AllocError, Allocator};
    implement_allocator!();
}
