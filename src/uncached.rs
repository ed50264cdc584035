//! `ThreadCached` where there are no caches: without `std`, and on systems other than Unix. The same type, so that
//! a program need not tell the two apart.

use crate::heap::{AuditError, RegionError};
use crate::locked::Locked;
use crate::source::{Regions, RunTimeSource, Source};
use crate::stats::{CacheStats, MapCell, Stats};
use core::alloc::{GlobalAlloc, Layout};
use core::fmt;

/// A [`Locked`] heap with a cache for each thread, where the feature `std` is on and the system is a Unix. Here
/// it has none, and is a `Locked` in effect.
///
/// ```
/// use mem_alloc_rust::{CacheStats, FreeList, ThreadCached};
///
/// #[global_allocator]
/// static A: ThreadCached<FreeList<{ 16 << 20 }>> = ThreadCached::new();
///
/// fn main() {
///     let numbers = vec![1, 2, 3];
///     assert!(A.stats().live_bytes >= size_of_val(&numbers[..]));
///     assert!(A.is_in_arena(numbers.as_ptr().cast()) && A.peak_bytes() >= A.live_bytes());
///     A.reset_peak();
///     assert_eq!(A.peak_bytes(), A.live_bytes());
///     assert_eq!(A.caches(), CacheStats::default());
///     // These do nothing here.
///     A.flush_thread();
///     A.drain();
///     A.audit().unwrap();
/// }
/// ```
pub struct ThreadCached<S: Source> {
    locked: Locked<S>,
}

impl<S: Source> ThreadCached<S> {
    /// An allocator that has used nothing of its memory yet. All zero bytes.
    pub const fn new() -> Self {
        Self { locked: Locked::new() }
    }

    /// Does nothing: the calling thread has no cache.
    pub fn flush_thread(&self) {}

    /// Does nothing: there are no caches.
    pub fn drain(&self) {}

    /// Says that there are no caches.
    pub fn caches(&self) -> CacheStats {
        CacheStats::default()
    }

    /// As for [`Locked::stats`].
    pub fn stats(&self) -> Stats {
        self.locked.stats()
    }

    /// As for [`Locked::map`].
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, MapCell, ThreadCached};
    ///
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    /// let mut map = [MapCell::default(); 4];
    /// A.map(&mut map);
    /// assert_eq!(map.map(|cell| cell.used_percent), [0; 4]);
    /// ```
    pub fn map(&self, cells: &mut [MapCell]) {
        self.locked.map(cells);
    }

    /// As for [`Locked::live_bytes`].
    pub fn live_bytes(&self) -> usize {
        self.locked.live_bytes()
    }

    /// As for [`Locked::peak_bytes`].
    pub fn peak_bytes(&self) -> usize {
        self.locked.peak_bytes()
    }

    /// As for [`Locked::arena_bytes`].
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    /// // SAFETY: the layout is of more than no bytes.
    /// unsafe { A.alloc(Layout::new::<[u8; 1000]>()) };
    /// assert!(A.arena_bytes() > 1_000_000 && A.arena_bytes() == A.stats().arena_bytes);
    /// ```
    pub fn arena_bytes(&self) -> usize {
        self.locked.arena_bytes()
    }

    /// As for [`Locked::free_bytes`].
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    /// // SAFETY: the layout is of more than no bytes.
    /// unsafe { A.alloc(Layout::new::<[u8; 1000]>()) };
    /// assert_eq!(A.free_bytes(), A.arena_bytes() - A.live_bytes());
    /// ```
    pub fn free_bytes(&self) -> usize {
        self.locked.free_bytes()
    }

    /// As for [`Locked::reset_peak`].
    pub fn reset_peak(&self) {
        self.locked.reset_peak();
    }

    /// As for [`Locked::set_watermark`].
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    /// A.set_watermark(1000, |live_bytes| println!("{live_bytes} bytes are in use"));
    /// assert_eq!(A.live_bytes(), 0);
    /// ```
    #[cfg(feature = "std")]
    pub fn set_watermark(&self, bytes: usize, function: fn(usize)) {
        self.locked.set_watermark(bytes, function);
    }

    /// As for [`Locked::is_in_arena`].
    pub fn is_in_arena(&self, ptr: *const u8) -> bool {
        self.locked.is_in_arena(ptr)
    }

    /// As for [`Locked::usable_size`].
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    /// let layout = Layout::new::<[u8; 101]>();
    /// // SAFETY: the layout is of more than no bytes. The block is in use, and as long as it says.
    /// unsafe {
    ///     let block = A.alloc(layout);
    ///     let usable = A.usable_size(block).unwrap_or(layout.size());
    ///     assert!(usable >= layout.size());
    ///     block.write_bytes(1, usable);
    ///     A.dealloc(block, layout);
    /// }
    /// ```
    ///
    /// # Safety
    ///
    /// - As for [`Locked::usable_size`].
    pub unsafe fn usable_size(&self, block: *mut u8) -> Option<usize> {
        // SAFETY: the caller's contract is the same.
        unsafe { self.locked.usable_size(block) }
    }

    /// As for [`Locked::trim`].
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList<{ 16 << 20 }>> = ThreadCached::new();
    ///
    /// fn main() {
    ///     drop(std::hint::black_box(vec![1u8; 8 << 20]));
    ///     // Where memory can be given back, most of that is.
    ///     assert!(A.trim() > 7 << 20 || cfg!(not(all(unix, feature = "std"))));
    /// }
    /// ```
    pub fn trim(&self) -> usize {
        self.locked.trim()
    }

    /// As for [`Locked::audit`].
    ///
    /// # Errors
    ///
    /// As for [`Locked::audit`].
    pub fn audit(&self) -> Result<(), AuditError> {
        self.locked.audit()
    }
}

impl<S: RunTimeSource> ThreadCached<S> {
    /// As for [`Locked::init`].
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{Region, ThreadCached};
    ///
    /// static A: ThreadCached<Region> = ThreadCached::new();
    /// let memory = Box::leak(vec![0u64; 1000].into_boxed_slice());
    /// // SAFETY: the memory is leaked, and nothing else uses it. The layout is of more than no bytes.
    /// unsafe {
    ///     A.init(memory.as_mut_ptr().cast(), size_of_val(memory)).unwrap();
    ///     assert!(!A.alloc(Layout::new::<[u64; 10]>()).is_null());
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Locked::init`].
    ///
    /// # Safety
    ///
    /// - As for [`Locked::init`].
    pub unsafe fn init(&self, start: *mut u8, len: usize) -> Result<(), RegionError> {
        // SAFETY: the caller's contract is the same.
        unsafe { self.locked.init(start, len) }
    }
}

impl<const OTHERS: usize> ThreadCached<Regions<OTHERS>> {
    /// As for [`Locked::add_region`].
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{Regions, ThreadCached};
    ///
    /// static A: ThreadCached<Regions> = ThreadCached::new();
    /// let memory = Box::leak(vec![0u64; 1000].into_boxed_slice());
    /// // SAFETY: the memory is leaked, and used by nothing else. The layout is of more than no bytes.
    /// unsafe {
    ///     A.add_region(memory.as_mut_ptr().cast(), size_of_val(memory)).unwrap();
    ///     assert!(!A.alloc(Layout::new::<[u64; 800]>()).is_null());
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Locked::add_region`].
    ///
    /// # Safety
    ///
    /// - As for [`Locked::add_region`].
    pub unsafe fn add_region(&self, start: *mut u8, len: usize) -> Result<(), RegionError> {
        // SAFETY: the caller's contract is the same.
        unsafe { self.locked.add_region(start, len) }
    }
}

// SAFETY: everything is passed on to an allocator.
unsafe impl<S: Source> GlobalAlloc for ThreadCached<S> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the same.
        unsafe { self.locked.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.locked.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.locked.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.locked.realloc(block, layout, new_size) }
    }
}

impl<S: Source> Default for ThreadCached<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Source> fmt::Debug for ThreadCached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadCached").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FreeList;

    #[test]
    fn it_serves_without_caches() {
        static A: ThreadCached<FreeList<4096>> = ThreadCached::new();
        let layout = Layout::new::<[u64; 5]>();
        // SAFETY: the layouts are of more than no bytes, and the block is given back once.
        unsafe {
            let block = A.realloc(A.alloc_zeroed(layout), layout, 100);
            assert!(!block.is_null());
            assert_eq!(block.cast::<[u64; 5]>().read(), [0; 5]);
            assert_eq!((A.stats().live_blocks, A.caches()), (1, CacheStats::default()));
            A.dealloc(block, Layout::from_size_align(100, 8).unwrap());
        }
        A.drain();
        A.flush_thread();
        A.audit().unwrap();
        assert_eq!(A.stats().free_blocks, 1);
    }
}
