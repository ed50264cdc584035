//! The wrapper that keeps a sample.

use super::{profile, sample_table, samples};
use crate::raw_lock::preserving_errno;
use core::alloc::{GlobalAlloc, Layout};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// An allocator that keeps a sample of what is in use, with who asked for it: one allocation per 512 KiB in the mean.
///
/// That is cheap enough to be left on in production: an allocation costs a subtraction more, a release a look at one
/// byte for the block's page. A sample costs a look at the call stack, some microseconds. On demand the sample is
/// written as a heap profile, which the tool `insight` of the repository's `demo-app` turns into a flame graph, a
/// report, or pprof's format.
///
/// ```
/// use mem_alloc_rust::watch::Sampled;
/// use mem_alloc_rust::{Growing, ThreadCached};
///
/// #[global_allocator]
/// static A: Sampled<ThreadCached<Growing>> = Sampled::new(ThreadCached::new());
///
/// fn main() -> std::io::Result<()> {
///     let cache: Vec<Vec<u8>> = (0..100).map(|_| vec![1; 100_000]).collect();
///     // When somebody asks for it, by a signal or a request.
///     let path = std::env::temp_dir().join(format!("{}.heap", std::process::id()));
///     A.write_profile(&std::fs::File::create(&path)?)?;
///     assert!(path.metadata()?.len() > 65_536, "a chunk about the program, and one with the sample");
///     # std::fs::remove_file(path)?;
///     drop(cache);
///     assert!(A.inner().live_bytes() < 10_000_000);
///     Ok(())
/// }
/// ```
///
/// `INTERVAL` is how many bytes it is from one allocation of the sample to the next, in the mean. Where a
/// process has several with different intervals, a thread counts down for all of them together, and the sample is
/// right for none. With an interval of 1 each allocation is in it:
///
/// ```
/// use mem_alloc_rust::watch::Sampled;
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Sampled<System, 1> = Sampled::new(System);
///
/// fn main() -> std::io::Result<()> {
///     // Each allocation is in the sample, with its call site.
///     let kept: Vec<Box<u64>> = (0..100).map(Box::new).collect();
///     assert!(A.write_profile(&std::fs::File::create("/dev/null")?).is_ok());
///     drop(kept);
///     Ok(())
/// }
/// ```
///
/// All `Sampled` allocators of a process share one sample. Some 100,000 blocks can be in it: at the usual interval,
/// that is 50 GiB in use. What has no place any more is in no profile, which a sentence on stderr says
/// once. A child that was forked goes on with its parent's.
// The interval is a part of the type because a field that is not zero would put a static arena into the program's file.
#[derive(Debug)]
pub struct Sampled<A, const INTERVAL: usize = { 512 << 10 }> {
    inner: A,
}

impl<A, const INTERVAL: usize> Sampled<A, INTERVAL> {
    /// Keeps a sample of what that allocator serves. An interval of zero does not compile:
    ///
    /// ```compile_fail,E0080
    /// use mem_alloc_rust::watch::Sampled;
    /// use std::alloc::System;
    ///
    /// static A: Sampled<System, 0> = Sampled::new(System);
    /// ```
    pub const fn new(inner: A) -> Self {
        const { assert!(INTERVAL > 0, "an interval has at least one byte") };
        Self { inner }
    }

    /// The allocator that is watched.
    pub const fn inner(&self) -> &A {
        &self.inner
    }

    /// Writes what of the sample is in use now as a heap profile: in the format of [`trace`](crate::trace), with
    /// [`Note::Sample`](crate::trace::Note::Sample) in front of each allocation.
    ///
    /// Allocates nothing and takes no lock of the allocator's, so that a signal handler may call it, also on the 8 KiB
    /// of stack that std gives one. Other threads go on meanwhile. (It asks the dynamic linker for the program's
    /// libraries, which has a lock of its own: a handler that interrupts `dlopen` waits for itself.)
    ///
    /// # Errors
    ///
    /// What the system says when it writes.
    pub fn write_profile(&self, file: &impl AsFd) -> io::Result<()> {
        let descriptor = file.as_fd().as_raw_fd();
        let mut outcome = Ok(());
        preserving_errno(|| outcome = profile::write(descriptor, INTERVAL));
        outcome.map_err(io::Error::from_raw_os_error)
    }
}

impl<A: Default, const INTERVAL: usize> Default for Sampled<A, INTERVAL> {
    fn default() -> Self {
        Self::new(A::default())
    }
}

impl<A: GlobalAlloc, const INTERVAL: usize> Sampled<A, INTERVAL> {
    /// An allocation whose turn it is. (The layout is passed by value: a closure would have it written to the stack, on
    /// the short way, too.)
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::alloc`].
    #[cold]
    #[inline(never)]
    unsafe fn allocate_due(&self, layout: Layout, is_zeroed: bool) -> *mut u8 {
        samples::take_back(layout.size());
        // SAFETY: the caller's contract.
        let block =
            unsafe { if is_zeroed { self.inner.alloc_zeroed(layout) } else { self.inner.alloc(layout) } };
        if !block.is_null() {
            samples::take(block, layout.size(), layout.align(), INTERVAL);
        }
        block
    }

    /// A release of a block that may be in the sample.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate(&self, block: *mut u8, layout: Layout) {
        let _ = sample_table::release(block);
        // SAFETY: the caller's contract.
        unsafe { self.inner.dealloc(block, layout) };
    }

    /// A `realloc` whose turn it is, or of a block that may be in the sample.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`].
    #[cold]
    #[inline(never)]
    unsafe fn reallocate(&self, block: *mut u8, layout: Layout, new_size: usize, is_due: bool) -> *mut u8 {
        if is_due {
            samples::take_back(new_size);
        }
        // Before: afterwards another thread may have a block of the sample in that place.
        let sample = sample_table::release(block);
        // SAFETY: the caller's contract.
        let new_block = unsafe { self.inner.realloc(block, layout, new_size) };
        match sample {
            Some(sample) if new_block.is_null() => sample_table::insert(&sample),
            _ if is_due && !new_block.is_null() => {
                samples::take(new_block, new_size, layout.align(), INTERVAL);
            }
            _ => {}
        }
        new_block
    }
}

// SAFETY: the wrapped allocator does it all; the sample is of what it was asked for and what it returned.
unsafe impl<A: GlobalAlloc, const INTERVAL: usize> GlobalAlloc for Sampled<A, INTERVAL> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if samples::is_due(layout.size()) {
            // SAFETY: the caller's contract.
            return unsafe { self.allocate_due(layout, false) };
        }
        // SAFETY: the caller's contract.
        unsafe { self.inner.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if samples::is_due(layout.size()) {
            // SAFETY: the caller's contract.
            return unsafe { self.allocate_due(layout, true) };
        }
        // SAFETY: the caller's contract.
        unsafe { self.inner.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if sample_table::may_have(block) {
            // SAFETY: the caller's contract.
            return unsafe { self.deallocate(block, layout) };
        }
        // SAFETY: the caller's contract.
        unsafe { self.inner.dealloc(block, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let is_due = samples::is_due(new_size);
        if is_due || sample_table::may_have(block) {
            // SAFETY: the caller's contract.
            return unsafe { self.reallocate(block, layout, new_size, is_due) };
        }
        // SAFETY: the caller's contract.
        unsafe { self.inner.realloc(block, layout, new_size) }
    }
}
