//! The wrapper.

use super::{allocation, is_off, reallocation, release};
use core::alloc::{GlobalAlloc, Layout};

/// An allocator whose every call is written into the file that the environment variable `MEM_ALLOC_RUST_TRACE` names.
///
/// It wraps any [`GlobalAlloc`], `System` included, so that a program can be looked at before it adopts this crate:
///
/// ```
/// use mem_alloc_rust::watch::Traced;
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Traced<System> = Traced::new(System);
///
/// fn main() {
///     assert_eq!("traced".to_owned().len(), 6);
///     let _system: &System = A.inner();
/// }
/// ```
///
/// The tool `insight`, which is in the repository's `demo-app`, reads such files: `insight size FILE` says how large an
/// arena the program needs, `insight report FILE` who holds the memory. The format is documented in
/// [`trace`](crate::trace). The wrapped allocator's own methods are to be had by way of [`inner`](Self::inner):
/// `A.inner().stats()`.
///
/// # Environment
///
/// - `MEM_ALLOC_RUST_TRACE`: the file's path. `%p` in it becomes the process's number. Without it, nothing is recorded,
///   and a call costs one branch more. A file that is there is replaced, unless another process is writing it: then, as
///   for a program that a traced program starts, the process's number is appended to the name.
/// - `MEM_ALLOC_RUST_TRACE_CALL_SITES`: `frame-pointers` to record who asked, if the program was compiled with
///   `-C force-frame-pointers=yes`; `unwind` to find out without, which takes many times longer; `none`.
///
/// A program with the rights of another user (set-user-ID, or capabilities of its file) does not look at them.
///
/// # What is recorded
///
/// Every call from the program's first allocation on, with its thread, size, alignment and result, and a sequence
/// number. A program that aborts or is killed leaves a file that has all of it. A child that was forked is not
/// recorded, and one that was started by the system call itself and not by the C library's `fork` must not allocate.
/// What a thread allocates while it panics or tells of a refusal is left out: it is std's for a backtrace, and the
/// system serves it. When the disk is full, or the program closes the file, as one may that closes all descriptors, the
/// recording ends with a note in the file, and the program goes on.
///
/// The file grows by 4 to 10 bytes for each event, in steps of 64 KiB for each thread. The recorder allocates nothing.
#[derive(Debug, Default)]
pub struct Traced<A> {
    inner: A,
}

impl<A> Traced<A> {
    /// Watches that allocator.
    pub const fn new(inner: A) -> Self {
        Self { inner }
    }

    /// The allocator that is watched.
    pub const fn inner(&self) -> &A {
        &self.inner
    }
}

// What is recorded is apart, whole: a program's own functions stay as large as they are without the wrapper, so that
// the shortest way of an allocation is inlined into them as it is without.
impl<A: GlobalAlloc> Traced<A> {
    /// An allocation that is recorded.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::alloc`].
    #[cold]
    #[inline(never)]
    unsafe fn allocate(&self, layout: Layout, is_zeroed: bool) -> *mut u8 {
        // SAFETY: the caller's contract.
        let block =
            unsafe { if is_zeroed { self.inner.alloc_zeroed(layout) } else { self.inner.alloc(layout) } };
        allocation(block, layout, is_zeroed);
        block
    }

    /// A release that is recorded.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate(&self, block: *mut u8, layout: Layout) {
        release(block);
        // SAFETY: the caller's contract.
        unsafe { self.inner.dealloc(block, layout) };
    }

    /// A `realloc` that is recorded.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`].
    #[cold]
    #[inline(never)]
    unsafe fn reallocate(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's contract.
        let new_block = unsafe { self.inner.realloc(block, layout, new_size) };
        reallocation(block, new_block, layout, new_size);
        new_block
    }
}

// SAFETY: the wrapped allocator does it all; the recorder only looks at what it was asked for and what it returned.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Traced<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        unsafe { if is_off() { self.inner.alloc(layout) } else { self.allocate(layout, false) } }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        unsafe { if is_off() { self.inner.alloc_zeroed(layout) } else { self.allocate(layout, true) } }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { if is_off() { self.inner.dealloc(block, layout) } else { self.deallocate(block, layout) } }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's contract.
        unsafe {
            if is_off() {
                self.inner.realloc(block, layout, new_size)
            } else {
                self.reallocate(block, layout, new_size)
            }
        }
    }
}
