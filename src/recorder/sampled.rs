//! The wrapper that keeps a sample.

use super::{profile, samples};
use crate::raw_lock::preserving_errno;
use core::alloc::{GlobalAlloc, Layout};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// An allocator that keeps a sample of what is in use, with who asked for it: one allocation per 512 KiB in the mean.
///
/// That is cheap enough to be left on in production: a call costs a subtraction or a look at one byte. On demand the sample is written as a heap
/// profile, which the tool `insight` of the repository's `demo-app` turns into a flame graph, a report, or pprof's format.
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
/// All `Sampled` allocators of a process share one sample. Up to 65,536 blocks are in it. A child that was forked goes on with its
/// parent's.
#[derive(Debug)]
pub struct Sampled<A> {
    inner: A,
    interval: usize,
}

impl<A> Sampled<A> {
    /// Bytes from one allocation of the sample to the next, in the mean: 512 KiB.
    ///
    /// ```
    /// use mem_alloc_rust::watch::Sampled;
    /// use std::alloc::System;
    ///
    /// assert_eq!(Sampled::<System>::INTERVAL, 524_288);
    /// ```
    pub const INTERVAL: usize = 512 << 10;

    /// Keeps a sample of what that allocator serves.
    pub const fn new(inner: A) -> Self {
        Self::with_interval(inner, Self::INTERVAL)
    }

    /// The same with so many bytes from one allocation of the sample to the next, in the mean: one or more.
    ///
    /// ```
    /// use mem_alloc_rust::watch::Sampled;
    /// use std::alloc::System;
    ///
    /// #[global_allocator]
    /// static A: Sampled<System> = Sampled::with_interval(System, 1);
    ///
    /// fn main() -> std::io::Result<()> {
    ///     // Each allocation is in the sample, with its call site.
    ///     let kept: Vec<Box<u64>> = (0..100).map(Box::new).collect();
    ///     assert!(A.write_profile(&std::fs::File::create("/dev/null")?).is_ok());
    ///     drop(kept);
    ///     Ok(())
    /// }
    /// ```
    pub const fn with_interval(inner: A, interval: usize) -> Self {
        assert!(interval > 0, "an interval has at least one byte");
        Self { inner, interval }
    }

    /// The allocator that is watched.
    pub const fn inner(&self) -> &A {
        &self.inner
    }

    /// Writes what of the sample is in use now as a heap profile: in the format of [`trace`](crate::trace), with
    /// [`Note::Sample`](crate::trace::Note::Sample) in front of each allocation.
    ///
    /// Allocates nothing and takes no lock of the allocator's, so that a signal handler may call it. Other threads go on meanwhile.
    /// (It asks the dynamic linker for the program's libraries, which has a lock of its own: a handler that interrupts `dlopen`
    /// waits for itself.)
    ///
    /// # Errors
    ///
    /// What the system says when it writes.
    pub fn write_profile(&self, file: &impl AsFd) -> io::Result<()> {
        let descriptor = file.as_fd().as_raw_fd();
        let mut outcome = Ok(());
        preserving_errno(|| outcome = profile::write(descriptor, self.interval));
        outcome.map_err(io::Error::from_raw_os_error)
    }
}

impl<A: Default> Default for Sampled<A> {
    fn default() -> Self {
        Self::new(A::default())
    }
}

// SAFETY: the wrapped allocator does it all; the sample is of what it was asked for and what it returned.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Sampled<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        let block = unsafe { self.inner.alloc(layout) };
        if !block.is_null() {
            samples::count(block, layout.size(), layout.align(), self.interval);
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        let block = unsafe { self.inner.alloc_zeroed(layout) };
        if !block.is_null() {
            samples::count(block, layout.size(), layout.align(), self.interval);
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let _ = samples::release(block);
        // SAFETY: the caller's contract.
        unsafe { self.inner.dealloc(block, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Before: afterwards another thread may have a block of the sample in that place.
        let sample = samples::release(block);
        // SAFETY: the caller's contract.
        let new_block = unsafe { self.inner.realloc(block, layout, new_size) };
        if !new_block.is_null() {
            samples::count(new_block, new_size, layout.align(), self.interval);
        } else if let Some(sample) = sample {
            samples::restore(&sample);
        }
        new_block
    }
}
