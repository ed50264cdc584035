//! A region that the caller hands over at run time.

use super::{Source, sealed};
use crate::refusal::Memory;
use core::sync::atomic::{AtomicUsize, Ordering};

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

    const MEMORY: Memory = Memory::Regions;

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
