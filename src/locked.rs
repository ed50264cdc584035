//! `Locked`: a heap behind a mutex, as a `GlobalAlloc`: its public face, and allocation.

use crate::heap::{AuditError, Heap, Resized};
use crate::raw_lock::SpinThenSleep;
use crate::source::{Source, clear};
use crate::stats::{MapCell, Stats};
use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr::NonNull;
use lock_api::{Mutex, MutexGuard, RawMutex};

mod figures;
#[cfg(all(feature = "std", unix))]
mod growing;
#[cfg(feature = "std")]
mod overflow;
mod refused;
mod regions;
mod release;
#[cfg(all(feature = "std", unix))]
mod report;
mod resize;
#[cfg(test)]
mod tests;
#[cfg(feature = "std")]
mod watermark;
#[cfg(feature = "std")]
use overflow::Overflow;
pub(crate) use refused::Survey;
#[cfg(feature = "std")]
use refused::is_in_distress;
#[cfg(feature = "std")]
use watermark::Watermark;

/// A free-list heap behind a mutex: the drop-in global allocator.
///
/// ```
/// use mem_alloc_rust::{FreeList, Locked};
///
/// #[global_allocator]
/// static A: Locked<FreeList> = Locked::new();
///
/// fn main() {
///     let squares: Vec<u64> = (0..1000).map(|n| n * n).collect();
///     println!("{} bytes live, sum {}", A.live_bytes(), squares.iter().sum::<u64>());
///     assert!(A.live_bytes() >= size_of_val(&squares[..]) && A.peak_bytes() >= A.live_bytes());
///     A.audit().unwrap();
/// }
/// ```
///
/// - `S` is where the memory comes from: [`FreeList`](crate::FreeList), an arena of a fixed size in the
///   static itself; [`Region`](crate::Region) or [`Regions`](crate::Regions), memory handed over at run time; or, with
///   `std`, `Growing`, memory of the system's, and `OrSystem` around any of these.
/// - `R` is the lock: a [`lock_api::RawMutex`] that keeps to [what follows](#the-lock). The default spins and,
///   with `std`, then sleeps; a kernel gives one that masks interrupts.
///
/// [Choosing](crate::choosing) says which source and which lock are for whom.
///
/// It may be moved before it is used. Moving it later takes the arena along, so that blocks which were
/// allocated before must not be used or given back any more; a `static` never moves.
///
/// A signal handler that interrupted it must not use it: with `std`, the default lock ends the program over
/// that with one sentence. A child process that was forked while another thread used it cannot allocate; that
/// of a `ThreadCached` can.
///
/// # The lock
///
/// A lock of your own is called in every allocation and release. So `lock`, `try_lock` and `unlock` must not
///
/// - allocate or release memory, not even now and then, if the program's global allocator is this one;
/// - call what may do so: print, touch a thread-local with a destructor, take part in tracing;
/// - unwind: that is undefined behaviour in a [`GlobalAlloc`];
/// - be taken by an interrupt or signal handler on the thread that has it, unless it masks those.
///
/// **parking_lot's `RawMutex` does not qualify**, although it implements the trait: a thread that has to wait is
/// entered into a table, which it allocates. That goes well until two threads meet for the first time; then the
/// allocation waits for the very lock under which it would be served, or recurs until the stack is at its end.
/// spin's mutexes qualify, and so does a lock over an operating system's futex.
///
/// A lock that masks interrupts:
///
/// ```
/// use core::sync::atomic::{AtomicBool, Ordering};
/// use mem_alloc_rust::lock_api::{GuardNoSend, RawMutex};
/// use mem_alloc_rust::{FreeList, Locked};
///
/// # mod interrupts {
/// #     use core::sync::atomic::{AtomicBool, Ordering};
/// #     pub static ENABLED: AtomicBool = AtomicBool::new(true);
/// #     pub fn disable() -> bool { ENABLED.swap(false, Ordering::Relaxed) }
/// #     pub fn restore(enabled: bool) { ENABLED.store(enabled, Ordering::Relaxed) }
/// # }
/// pub struct Masking {
///     is_locked: AtomicBool,
///     were_enabled: AtomicBool,
/// }
///
/// // SAFETY: whoever sets `is_locked` is the only holder until `unlock`.
/// unsafe impl RawMutex for Masking {
///     const INIT: Self = Self { is_locked: AtomicBool::new(false), were_enabled: AtomicBool::new(false) };
///     type GuardMarker = GuardNoSend;
///
///     fn lock(&self) {
///         while !self.try_lock() {
///             core::hint::spin_loop();
///         }
///     }
///
///     fn try_lock(&self) -> bool {
///         let were_enabled = interrupts::disable();
///         let is_mine = !self.is_locked.swap(true, Ordering::Acquire);
///         if is_mine {
///             self.were_enabled.store(were_enabled, Ordering::Relaxed);
///         } else {
///             interrupts::restore(were_enabled);
///         }
///         is_mine
///     }
///
///     unsafe fn unlock(&self) {
///         let were_enabled = self.were_enabled.load(Ordering::Relaxed);
///         self.is_locked.store(false, Ordering::Release);
///         interrupts::restore(were_enabled);
///     }
/// }
///
/// #[global_allocator]
/// static A: Locked<FreeList, Masking> = Locked::new();
///
/// fn main() {
///     let numbers = vec![1, 2, 3];
///     assert!(A.stats().live_bytes >= size_of_val(&numbers[..]));
///     assert!(interrupts::ENABLED.load(Ordering::Relaxed));
/// }
/// ```
///
/// # Exhaustion
///
/// A request that no free span can hold gets null, as [`GlobalAlloc`] wants: `try_reserve` returns an error,
/// and `Vec::push` ends the program with std's message.
///
/// With the feature `std` there is one exception: **while a thread panics, it is served by `System`**, but
/// for small requests that a free slot of a run serves at once. Std needs some 35 MB to print one backtrace
/// with symbols and keeps much of it; a program whose arena cannot hold that would hang in its own panic, and
/// one whose arena just can would have no memory left after a panic that was caught. With `RUST_BACKTRACE=1` the same
/// goes for what would be refused to a thread that takes or writes a call stack, which std does under a lock.
///
/// # Misuse
///
/// A `dealloc` or `realloc` of a pointer that is outside of the arena or misaligned ends the program with one
/// exact sentence, and so does one of what is free already, where that is seen (the repository's `SECURITY.md` says
/// when); see [`Fault`](crate::Fault) and [`set_fault_hook`](crate::set_fault_hook). As long as blocks of `System` are
/// in use, a pointer outside of the arena is taken for one of those.
pub struct Locked<S: Source, R: RawMutex = SpinThenSleep> {
    heap: Mutex<R, Heap>,
    #[cfg(feature = "std")]
    overflow: Overflow,
    #[cfg(feature = "std")]
    watermark: Watermark,
    /// Behind the heap, because it may contain the arena.
    pub(crate) source: S,
}

/// Whether this thread may be one that `is_in_distress`, or a watermark may be set. Two loads and two comparisons, as
/// long as there is nothing of the kind.
#[inline(always)]
pub(crate) fn is_disturbed() -> bool {
    #[cfg(feature = "std")]
    return std::thread::panicking() || crate::attention::is_wanted();
    #[cfg(not(feature = "std"))]
    false
}

/// Notes where a heap's blocks lie, before it hands out the first one.
///
/// Not under the heap's lock: the dynamic linker has one of its own, and there are programs that allocate while
/// they have that.
pub(crate) fn note_arena((start, end): (usize, usize)) {
    #[cfg(all(feature = "std", unix))]
    crate::raw_lock::preserving_errno(|| crate::static_memory::note_arena(start, end - start));
    #[cfg(not(all(feature = "std", unix)))]
    let _ = (start, end);
}

/// What a new block has to contain.
#[derive(Clone, Copy)]
pub(crate) enum Contents {
    Any,
    Zeroes,
}

impl Contents {
    /// The pointer to a block that was just found, with these contents; so many of its bytes are not known to be zero.
    ///
    /// # Safety
    ///
    /// - The block comes from that source, holds that many bytes, and nobody has its pointer yet.
    pub(crate) unsafe fn put_into(self, block: NonNull<u8>, dirty: usize, source: &impl Source) -> *mut u8 {
        if matches!(self, Self::Zeroes) {
            // SAFETY: the caller's contract.
            unsafe { source.clear(block, dirty) };
        }
        block.as_ptr()
    }
}

impl<S: Source, R: RawMutex> Locked<S, R> {
    /// An allocator that has used nothing of its memory yet. All zero bytes, if the lock is.
    pub const fn new() -> Self {
        let mut this = Self {
            heap: Mutex::new(Heap::new()),
            #[cfg(feature = "std")]
            overflow: Overflow::new(),
            #[cfg(feature = "std")]
            watermark: Watermark::none(),
            source: S::INIT,
        };
        clear(&mut this.source);
        this
    }

    /// Counts blocks and bytes; holds the lock for a time in proportion to the number of
    /// blocks. Does not allocate.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.survey(&mut stats);
        stats
    }

    /// Writes the figures of a heap that is locked, and of what lies elsewhere, into some that are all zero.
    pub(crate) fn count(&self, heap: &Heap, stats: &mut Stats) {
        stats.peak_bytes = heap.peak_bytes();
        heap.count(stats);
        self.source.add_to_stats(heap, stats);
        #[cfg(feature = "std")]
        self.overflow.add_to_stats(stats);
    }

    /// Checks every invariant of the heap; holds the lock for a time in proportion to the number of blocks.
    /// Does not allocate.
    ///
    /// # Errors
    ///
    /// The first violation found; see [`Heap::audit`].
    pub fn audit(&self) -> Result<(), AuditError> {
        self.audit_beside(&self.heap(), || Ok(0))
    }

    /// Checks a heap that is locked, while so many runs that are not the heap's have room, and what lies elsewhere.
    pub(crate) fn audit_beside(
        &self,
        heap: &Heap,
        owned_with_room: impl FnOnce() -> Result<u32, AuditError>,
    ) -> Result<(), AuditError> {
        heap.audit_beside(owned_with_room).and_then(|()| self.source.audit_elsewhere(heap))
    }

    /// Gives memory that is free back to the operating system now, and returns how many bytes that were, by which the
    /// program is smaller then: whole pages in free blocks, and what was used behind the last block. It stays part of
    /// the arena, and is had again when it is used. Holds the lock for a time in proportion to the number of free
    /// blocks of a page and more.
    ///
    /// Nothing is given back where this is not the system's memory that nobody else has: a
    /// [`Region`](crate::Region), and without `std`. (A `FreeList` that was put into memory shared with other
    /// processes, or that is a file's, must not be trimmed: there, what is given back does not become zero.)
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{FreeList, Locked};
    ///
    /// static A: Locked<FreeList<{ 16 << 20 }>> = Locked::new();
    /// let layout = Layout::new::<[u8; 8 << 20]>();
    /// // SAFETY: the layout is of more than no bytes, and the block is given back once.
    /// unsafe {
    ///     let block = A.alloc(layout);
    ///     block.write_bytes(1, layout.size());
    ///     A.dealloc(block, layout);
    /// }
    /// // Where memory can be given back, these eight megabytes are, but for a page at either end.
    /// let given_back = A.trim();
    /// assert!(given_back > 7 << 20 || cfg!(not(all(unix, feature = "std"))));
    /// assert_eq!(A.trim(), 0);
    /// ```
    pub fn trim(&self) -> usize {
        self.source.trim(&mut self.heap())
    }

    /// Draws the arena: divides it into as many stretches as there are `cells`, and writes into each what it looks
    /// like. Holds the lock for a time in proportion to the number of blocks. Does not allocate. Of a `Growing` it is
    /// the first span, as far as that is committed, and of `Regions` the first region.
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{FreeList, Locked, MapCell};
    ///
    /// static A: Locked<FreeList<{ 64 << 10 }>> = Locked::new();
    /// // SAFETY: the layout is of more than no bytes.
    /// unsafe { A.alloc(Layout::new::<[u8; 20_000]>()) };
    /// let mut map = [MapCell::default(); 4];
    /// A.map(&mut map);
    /// assert!(map[0].used_percent > 95 && map[3].used_percent == 0);
    /// ```
    pub fn map(&self, cells: &mut [MapCell]) {
        self.heap().map(cells);
    }

    /// Draws the arena: divides it into as many stretches as there are `cells`, and writes into each the
    /// share of its bytes that is in use, in percent. Does not allocate. [`map`](Self::map) tells more.
    ///
    /// ```
    /// use core::alloc::{GlobalAlloc, Layout};
    /// use mem_alloc_rust::{FreeList, Locked};
    ///
    /// static A: Locked<FreeList<{ 64 << 10 }>> = Locked::new();
    /// for _ in 0..10 {
    ///     // SAFETY: the layout is of more than no bytes.
    ///     unsafe { A.alloc(Layout::new::<[u8; 1000]>()) };
    /// }
    /// let mut cells = [0; 4];
    /// A.occupancy(&mut cells);
    /// assert_eq!(cells, [62, 0, 0, 0]);
    /// ```
    pub fn occupancy(&self, cells: &mut [u8]) {
        self.heap().occupancy(cells);
    }

    #[inline(always)]
    pub(crate) fn heap(&self) -> MutexGuard<'_, R, Heap> {
        let mut heap = self.heap.lock();
        if !self.source.is_at_home(&heap) {
            self.source.rebase(&mut heap);
        }
        heap
    }

    /// As [`heap`](Self::heap), where it need not be fast.
    #[inline(never)]
    fn heap_out_of_line(&self) -> MutexGuard<'_, R, Heap> {
        self.heap()
    }

    /// The heap, locked by a guard that was forgotten.
    ///
    /// # Safety
    ///
    /// - This thread has the lock, and no other guard of it.
    #[cfg(all(feature = "std", unix))]
    pub(crate) unsafe fn remembered_guard(&self) -> MutexGuard<'_, R, Heap> {
        // SAFETY: the caller's contract.
        unsafe { self.heap.make_guard_unchecked() }
    }

    /// The heap, if nobody else is at it now, and it knows where its memory is.
    #[inline(always)]
    pub(crate) fn try_heap(&self) -> Option<MutexGuard<'_, R, Heap>> {
        self.heap.try_lock().filter(|heap| self.source.is_at_home(heap))
    }

    /// An allocation with the lock held.
    #[inline(always)]
    fn alloc_in(&self, mut heap: MutexGuard<'_, R, Heap>, layout: Layout) -> *mut u8 {
        if S::HAS_CAP && !self.source.may_serve(&heap, layout.size()) {
            return self.refused(heap, layout, Contents::Any, self);
        }
        match heap.alloc_fast(layout) {
            Some(slot) => slot.as_ptr(),
            None => self.alloc_otherwise(heap, layout),
        }
    }

    /// An allocation that is not of a slot of a run that has room.
    #[inline(never)]
    fn alloc_otherwise(&self, mut heap: MutexGuard<'_, R, Heap>, layout: Layout) -> *mut u8 {
        if is_disturbed() {
            drop(heap);
            return self.alloc_slow(layout, Contents::Any);
        }
        let found = if S::HAS_ELSEWHERE {
            self.find(&mut heap, layout, Contents::Any).map(|(block, _)| block)
        } else {
            heap.alloc_otherwise(layout)
        };
        match found {
            Some(block) => block.as_ptr(),
            None => self.refused(heap, layout, Contents::Any, self),
        }
    }

    /// An allocation while somebody else is at the heap, or of zeroes that no slot is there for, or of a thread that
    /// may have something else to do, or to be served by the system.
    #[inline(never)]
    fn alloc_slow(&self, layout: Layout, contents: Contents) -> *mut u8 {
        if is_disturbed() && !self.goes_on(layout.size()) {
            return self.overflow(layout, contents, self);
        }
        let mut heap = self.heap_out_of_line();
        let Some((block, dirty)) = self.find(&mut heap, layout, contents) else {
            return self.refused(heap, layout, contents, self);
        };
        drop(heap);
        // SAFETY: the block was found for this request.
        unsafe { contents.put_into(block, dirty, &self.source) }
    }

    /// Without std, nothing takes a thread off the usual way.
    #[cfg(not(feature = "std"))]
    fn goes_on(&self, _: usize) -> bool {
        true
    }

    /// A block of the heap's or from elsewhere that is to contain that, and how many bytes at its beginning are not
    /// known to be zero.
    #[inline(always)]
    pub(crate) fn find(
        &self,
        heap: &mut Heap,
        layout: Layout,
        contents: Contents,
    ) -> Option<(NonNull<u8>, usize)> {
        if !S::HAS_ELSEWHERE {
            return heap.alloc_to_clear(layout);
        }
        self.find_anywhere(heap, layout, contents)
    }

    /// As [`find`](Self::find), for sources with blocks elsewhere.
    #[inline(never)]
    fn find_anywhere(
        &self,
        heap: &mut Heap,
        layout: Layout,
        contents: Contents,
    ) -> Option<(NonNull<u8>, usize)> {
        if !heap.is_initialized() || !self.source.may_serve(heap, layout.size()) {
            return None;
        }
        let is_zeroed = matches!(contents, Contents::Zeroes);
        if layout.size() >= S::ELSEWHERE_FROM && !self.source.prefers_heap(heap, layout, is_zeroed) {
            return self.source.alloc_elsewhere(heap, layout).or_else(|| heap.alloc_to_clear(layout));
        }
        let found = heap.alloc_to_clear(layout).or_else(|| self.source.alloc_elsewhere(heap, layout));
        self.source.note_visit(heap);
        found
    }

    /// Whether a block is one of the heap's, and not of the system's.
    #[cold]
    #[inline(never)]
    pub(crate) fn has(&self, block: *mut u8) -> bool {
        let heap = self.heap_out_of_line();
        heap.is_live(block) || (S::HAS_ELSEWHERE && self.source.is_live_elsewhere(&heap, block))
    }
}

// SAFETY: blocks come from the heap, which hands out spans that do not overlap and keeps them until they come
// back, or from the system's allocator. The layouts are fitted by `BlockSize::for_payload` and
// `alignment_gap`. Nothing here unwinds: there is no panic on any path of the heap, and faults end in
// `fault::raise`, which no panic leaves.
unsafe impl<S: Source, R: RawMutex> GlobalAlloc for Locked<S, R> {
    // The fast paths are leaf functions: whatever may call goes there as the last thing it does, and takes
    // the lock along.
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.try_heap() {
            Some(heap) => self.alloc_in(heap, layout),
            None => self.alloc_slow(layout, Contents::Any),
        }
    }

    // It has to be as long as `alloc`. Where the compiler inlines all calls of this function and not those of `alloc`,
    // rustc 1.95 crashes: it makes a call for zeroed memory of one of `alloc` and what clears the block, and has
    // deleted the function by then. `tests/footprint` compiles a program of that kind.
    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let heap = self.try_heap().filter(|heap| !S::HAS_CAP || self.source.may_serve(heap, layout.size()));
        let Some(slot) = heap.and_then(|mut heap| heap.alloc_fast(layout)) else {
            return self.alloc_slow(layout, Contents::Zeroes);
        };
        // SAFETY: the slot holds that many bytes, and nobody has its pointer yet.
        unsafe { slot.write_bytes(0, layout.size()) };
        slot.as_ptr()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe {
            match self.try_heap() {
                Some(heap) => self.dealloc_in(heap, block, layout),
                None => self.dealloc_contended(block, layout),
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if is_disturbed()
            && new_size > layout.size()
            && !self.goes_on(new_size - layout.size())
            && self.has(block)
        {
            // SAFETY: the caller's contract, and the block lies in the arena.
            return unsafe { self.realloc_refused(block, layout, new_size) };
        }
        // SAFETY: as for `dealloc`.
        let resized = unsafe { self.resize(self.heap(), block, layout, new_size).1 };
        if let Resized::Done(block) = resized {
            return block.as_ptr();
        }
        // SAFETY: the caller's contract; that is what came of it.
        unsafe { self.realloc_elsewhere(resized, block, layout, new_size) }
    }
}

impl<S: Source, R: RawMutex> Default for Locked<S, R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Source, R: RawMutex> fmt::Debug for Locked<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The figures are taken before anything is formatted: formatting may allocate, and would wait for the
        // lock forever.
        let stats = self.stats();
        f.debug_struct("Locked").field("stats", &stats).finish_non_exhaustive()
    }
}
