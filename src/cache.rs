//! `ThreadCached`: a [`Locked`] heap with a cache of small blocks for each thread in front of it.
//!
//! An allocation or a release of up to 7,932 bytes is served from the thread's own cache without the lock and
//! without an atomic read-modify-write; up to 988 bytes, in some 30 instructions. Caches are filled and
//! emptied in batches, under the lock. Before a request is refused, the allocator takes back what all caches
//! have, those of other threads included: *an allocation fails only if it would fail with every cache empty.*
//!
//! (Per-thread caches over a shared heap are an old idea: Bonwick and Adams, *Magazines and vmem*, 2001;
//! tcmalloc. Taking them back while their owners run is done with the asymmetric barrier of
//! `cache/barrier.rs`.)

mod barrier;
mod class;
mod depot;
mod drain;
mod home;
mod lists;
mod membership;
mod place;
mod pressure;
mod slot;
#[cfg(test)]
mod tests;

use crate::fault::{self, Action, Fault};
use crate::heap::{AuditError, Heap, InUse, RegionError, Resized, copy};
use crate::locked::{Contents, Locked, is_panicking};
use crate::raw_lock::SpinThenSleep;
use crate::size::GRANULE;
use crate::source::{RunTimeSource, Source};
use crate::stats::Stats;
use class::{Class, LARGEST_SMALL_PAYLOAD};
use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr::NonNull;
use depot::Depot;
use drain::{empty, give_back_all, raise_outside};
use lists::Lists;
use lock_api::MutexGuard;
use pressure::Pressure;
use slot::Slot;

/// How many threads can have a cache at one time. Others use the lock.
const SLOTS: usize = 64;

/// A [`Locked`] heap with a cache for each thread: the drop-in global allocator of a program with threads.
///
/// ```
/// use mem_alloc_rust::{FreeList, ThreadCached};
///
/// #[global_allocator]
/// static A: ThreadCached<FreeList<{ 16 << 20 }>> = ThreadCached::new();
///
/// fn main() {
///     let sums = std::thread::scope(|scope| {
///         let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || (0..1000).map(|m| n * m).collect::<Vec<_>>().len())).collect();
///         threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
///     });
///     println!("{sums} numbers, {} bytes live", A.stats().live_bytes);
/// }
/// ```
///
/// Same arena, sizes, policies and diagnostics as `Locked`; in addition:
///
/// - A cache keeps at most 1/32 of the arena, at most 1 MiB. Blocks that are on their way from threads that
///   free them to threads that allocate them are at most as much once more.
/// - When a thread ends, its cache goes back to the heap. If there is little in it, it goes to the next
///   thread that begins, as it is: up to eight of them, with at most a quarter of what one thread may keep in
///   each.
/// - An allocation fails only if it would fail with every cache empty. See also [`drain`](Self::drain) and
///   [`flush_thread`](Self::flush_thread).
/// - A child process that was forked, by whichever thread and whatever the others were doing, can allocate
///   and release at once.
/// - Up to 64 threads have a cache at one time. Others, and threads that are about to end, use the lock. Now
///   and then the others ask for one again.
/// - One allocator of a process has caches: the first one used that lies in static memory. Any other is a
///   `Locked` in effect. It must be neither moved nor dropped after its first use, and a library that has it
///   must not be unloaded.
/// - A `pthread_atfork` handler of somebody else's must neither allocate, nor wait for a lock under which
///   another thread may.
/// - A signal handler that interrupted the allocator must neither allocate nor release nor fork. That is
///   seen, and ends the program with one sentence ([`Fault::Reentry`]), except in what `System` serves:
///   `OrSystem`, and panics.
/// - A filter that forbids `membarrier` must be installed before the first allocation, or the program ends at
///   the first drain.
/// - [`Stats::peak_bytes`] counts blocks in caches as live.
/// - A cached block that is freed again is told from one in use by a number in its payload, and looked for in
///   all caches before the program is ended.
pub struct ThreadCached<S: Source> {
    slots: [Slot; SLOTS],
    depot: Depot,
    pressure: Pressure,
    locked: Locked<S>,
}

impl<S: Source> ThreadCached<S> {
    /// An allocator that has used nothing of its memory yet. All zero bytes.
    pub const fn new() -> Self {
        Self {
            slots: [const { Slot::new() }; SLOTS],
            depot: Depot::new(),
            pressure: Pressure::new(),
            locked: Locked::new(),
        }
    }

    /// Gives what the calling thread's cache has back to the heap.
    pub fn flush_thread(&self) {
        if let Some(slot) = self.own_slot() {
            let mut heap = self.heap();
            // SAFETY: this thread is the owner, outside of its gate, and has the lock.
            let outcome = unsafe { slot.with_lock(|lists| empty(lists, &mut heap)) };
            drop(raise_outside(heap, outcome));
        }
    }

    /// Gives what all threads' caches have back to the heap. Takes a system call and waits for threads that
    /// are just in their caches, but for no lock that they hold.
    pub fn drain(&self) {
        drop(self.drained());
    }

    /// Counts blocks and bytes after [draining](Self::drain); holds the lock for a time in proportion to the
    /// number of blocks. Does not allocate.
    pub fn stats(&self) -> Stats {
        self.drained().stats()
    }

    /// Checks every invariant of the heap after [draining](Self::drain); holds the lock for a time in
    /// proportion to the number of blocks. Does not allocate.
    ///
    /// # Errors
    ///
    /// The first violation found; see [`Heap::audit`].
    pub fn audit(&self) -> Result<(), AuditError> {
        self.drained().audit()
    }

    /// What slots know their allocator by.
    #[inline(always)]
    fn identity(&self) -> *const () {
        core::ptr::from_ref(self).cast()
    }

    /// The calling thread's cache, if it is one of this allocator's. Ends the program if the thread is inside
    /// of it: then this is a signal handler that interrupted it there.
    fn own_slot(&self) -> Option<&'static Slot> {
        let slot = home::slot();
        if !slot.belongs_to(self.identity()) {
            return None;
        }
        if slot.is_entered() {
            fault::raise(Fault::Reentry);
        }
        Some(slot)
    }

    /// The heap, locked. The calling thread is outside of its cache then, so that waiting for all caches'
    /// owners is not waiting for itself.
    fn heap(&self) -> Guard<'_> {
        self.own_slot();
        self.locked.heap()
    }

    /// An allocation of a small block that the cache serves at once.
    #[inline(always)]
    fn alloc_fast(&self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.size() > LARGEST_SMALL_PAYLOAD || layout.align() > GRANULE {
            return None;
        }
        // SAFETY: the slot is this thread's, or nobody's.
        unsafe { home::slot().take(self.identity(), Class::serving_small(layout.size())) }
    }

    /// An allocation that is of no small block, or that the cache does not serve at once.
    #[inline(never)]
    fn alloc_slow(&self, layout: Layout, contents: Contents) -> *mut u8 {
        if is_panicking() {
            return self.locked.overflow(layout, contents);
        }
        if home::is_unknown() {
            self.register();
        }
        let slot_and_class =
            class_serving(layout).and_then(|class| Some((self.own_slot().or_else(|| self.join())?, class)));
        let mut heap = None;
        if let Some((slot, class)) = slot_and_class {
            let block = match self.take_or_lock(slot, class) {
                Ok(block) => Some(block),
                Err(mut guard) => {
                    let block = self.refill(slot, class, &mut guard);
                    heap = Some(guard);
                    block
                }
            };
            if let Some(block) = block {
                drop(heap);
                if matches!(contents, Contents::Zeroes) {
                    // SAFETY: the class holds that many bytes, and nobody has the block's address yet.
                    unsafe { block.write_bytes(0, layout.size()) };
                }
                return block.as_ptr();
            }
        }
        // Where memory is short, a small request is served to the byte.
        self.alloc_locked(heap.unwrap_or_else(|| self.heap()), layout, contents)
    }

    /// An allocation from the heap, after draining if need be.
    fn alloc_locked(&self, mut heap: Guard<'_>, layout: Layout, contents: Contents) -> *mut u8 {
        let mut found = heap.alloc_to_clear(layout);
        if found.is_none() {
            heap = match self.drained_for(heap, layout) {
                Ok(mut heap) => {
                    found = heap.alloc_to_clear(layout);
                    heap
                }
                Err(heap) => heap,
            };
        }
        let Some((block, dirty)) = found else { return self.locked.refused(heap, layout, contents) };
        drop(heap);
        if matches!(contents, Contents::Zeroes) {
            // SAFETY: the block holds that many bytes, and nobody has its pointer yet.
            unsafe { block.write_bytes(0, dirty) };
        }
        block.as_ptr()
    }

    /// Takes a block of a class from the calling thread's cache; where that has none, locks the heap.
    fn take_or_lock(&self, slot: &Slot, class: Class) -> Result<NonNull<u8>, Guard<'_>> {
        // SAFETY: the slot is this thread's.
        unsafe { slot.take_slowly(class) }.ok_or_else(|| self.heap())
    }

    /// Fills the calling thread's cache from the depot or from the heap, and takes a block of a class. Drains
    /// nothing; takes nothing for a cache that is asleep.
    fn refill(&self, slot: &Slot, class: Class, heap: &mut Heap) -> Option<NonNull<u8>> {
        let fill = |lists: &mut Lists| {
            // The lists need not be empty: perhaps the gate was closed a moment ago.
            if let Some(block) = lists.pop_either(class) {
                return Some(block);
            }
            if !self.is_awake(lists, heap) {
                return None;
            }
            // SAFETY: this thread has the lock.
            if let Some(list) = unsafe { self.depot.take(class) } {
                lists.adopt(class, list);
                return lists.pop(class);
            }
            heap.alloc_several(class.payload(), lists.next_refill(class), |block| {
                // SAFETY: the block was just handed out for the class.
                let has_room = unsafe { lists.push(class, block) };
                invariant!(has_room);
            });
            lists.pop(class)
        };
        // SAFETY: this thread is the owner, outside of its gate, and has the lock.
        unsafe { slot.with_lock(fill) }
    }

    /// Whether a cache takes anything, now that its owner has come to the heap's lock.
    fn is_awake(&self, lists: &mut Lists, heap: &Heap) -> bool {
        if !lists.is_awake() && lists.are_to_wake(&self.pressure) {
            lists.wake(Self::budget(heap));
            self.pressure.note_awake();
        }
        lists.is_awake()
    }

    /// A release that the cache does not take at once.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    #[inline(never)]
    unsafe fn dealloc_slow(&self, block: *mut u8, layout: Layout) {
        let slot = class_serving(layout).and_then(|_| self.own_slot().or_else(|| self.join()));
        let Some((slot, (class, cacheable))) = slot.and_then(|slot| Some((slot, slot.class_of(block)?)))
        else {
            let heap = self.heap_unless_cached(block, layout, Action::Free);
            // SAFETY: the caller's contract.
            return unsafe { self.locked.dealloc_in(heap, block, layout) };
        };
        // SAFETY: the slot is this thread's; the caller's contract.
        if unsafe { slot.put_slowly(class, cacheable) } {
            return;
        }
        let mut heap = self.heap();
        // The cache has a spare list, is asleep, or had the gate closed a moment ago.
        let mut full = None;
        let put = |lists: &mut Lists| {
            if !self.is_awake(lists, &heap) {
                return false;
            }
            full = lists.take_spare(class);
            // SAFETY: it is a block of this class, which nobody uses (contract).
            unsafe { lists.push_either(class, cacheable) }
        };
        // SAFETY: this thread is the owner, outside of its gate, and has the lock.
        let is_put = unsafe { slot.with_lock(put) };
        let outcome = match full {
            // SAFETY: this thread has the lock; the list was just taken off the cache.
            Some(full) if !unsafe { self.depot.put(class, full) } => give_back_all(&mut heap, full),
            _ => Ok(()),
        };
        let heap = raise_outside(heap, outcome);
        if !is_put {
            // The cache keeps none of this class. SAFETY: the caller's contract.
            unsafe { self.locked.dealloc_in(heap, block, layout) }
        }
    }

    /// The heap, for a release or a change of size of a block that must not be in a cache: that would be a
    /// second release.
    fn heap_unless_cached(&self, block: *mut u8, layout: Layout, action: Action) -> Guard<'_> {
        let heap = self.heap();
        let class = heap.keyed(block).and_then(|in_use| match in_use {
            InUse::Block(tag) => Class::of(tag),
            InUse::Slot(slot) => Some(Class::of_slot(slot)),
        });
        if let Some(class) = class
            && self.is_cached(class, block)
        {
            drop(heap);
            fault::raise(Fault::AlreadyFree { action, address: block.addr(), bytes: layout.size() })
        }
        heap
    }

    /// A change of size by the heap, after draining if need be.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`].
    #[inline(never)]
    unsafe fn realloc_locked(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let mut heap = self.heap_unless_cached(block, layout, Action::Realloc);
        // SAFETY: the caller's contract.
        let mut result = unsafe { heap.resize(block, layout, new_size) };
        if let (Resized::Refused, Ok(new_layout)) =
            (result, Layout::from_size_align(new_size, layout.align()))
        {
            heap = match self.drained_for(heap, new_layout) {
                Ok(mut heap) => {
                    // SAFETY: as above; what was refused is unchanged.
                    result = unsafe { heap.resize(block, layout, new_size) };
                    heap
                }
                Err(heap) => heap,
            };
        }
        drop(heap);
        match result {
            Resized::Done(block) => block.as_ptr(),
            // SAFETY: both hold the smaller of the two sizes, and do not overlap. The old one is given back
            // as the caller had it.
            Resized::MoveTo(target) => unsafe {
                copy(block, target.as_ptr(), layout.size().min(new_size));
                self.dealloc(block, layout);
                target.as_ptr()
            },
            // SAFETY: the heap knows the block; only growing can be refused.
            Resized::Refused => unsafe { self.locked.realloc_refused(block, layout, new_size) },
            // SAFETY: the caller's contract.
            Resized::Rejected => unsafe { self.locked.realloc_rejected(block, layout, new_size) },
        }
    }
}

/// The class that serves such a request, if the caches do.
fn class_serving(layout: Layout) -> Option<Class> {
    Class::serving(layout.size()).filter(|_| layout.align() <= GRANULE)
}

/// The heap, locked.
type Guard<'a> = MutexGuard<'a, SpinThenSleep, Heap>;

impl<S: RunTimeSource> ThreadCached<S> {
    /// Hands the allocator the region of `len` bytes at `start`, of any alignment. Until then every request
    /// gets null.
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

// SAFETY: blocks come from the heap and from caches of its blocks, each of which is in one place at a time:
// in use, in one cache, or the heap's. Classes hold what they serve. Nothing here unwinds.
unsafe impl<S: Source> GlobalAlloc for ThreadCached<S> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.alloc_fast(layout) {
            Some(block) => block.as_ptr(),
            None => self.alloc_slow(layout, Contents::Any),
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(block) = self.alloc_fast(layout) else { return self.alloc_slow(layout, Contents::Zeroes) };
        // SAFETY: the class holds that many bytes, and nobody has the block's address yet.
        unsafe { block.write_bytes(0, layout.size()) };
        block.as_ptr()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the slot is this thread's, or nobody's; the caller's contract.
        unsafe {
            if !home::slot().give(self.identity(), block) {
                self.dealloc_slow(block, layout)
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if is_panicking() {
            // SAFETY: the caller's contract.
            return unsafe { self.locked.realloc(block, layout, new_size) };
        }
        // Larger blocks change their size where they are, if they can.
        let is_small = layout.size().max(new_size) <= LARGEST_SMALL_PAYLOAD && layout.align() <= GRANULE;
        let own_slot = if is_small { self.own_slot() } else { None };
        let target = match own_slot.and_then(|slot| Some((slot, slot.class_of(block)?.0))) {
            Some((_, class)) if class.suits(new_size) => return block,
            Some((slot, _)) => {
                let class = Class::serving_small(new_size);
                self.take_or_lock(slot, class)
                    .map_or_else(|mut heap| self.refill(slot, class, &mut heap), Some)
            }
            // No block of a cache's size, or a misuse.
            None => None,
        };
        let Some(target) = target.map(NonNull::as_ptr) else {
            // SAFETY: the caller's contract.
            return unsafe { self.realloc_locked(block, layout, new_size) };
        };
        // SAFETY: both blocks hold the smaller of the two sizes and do not overlap; the old one is given back
        // as the caller had it.
        unsafe {
            target.copy_from_nonoverlapping(block, layout.size().min(new_size));
            self.dealloc(block, layout);
        }
        target
    }
}

impl<S: Source> Default for ThreadCached<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Source> fmt::Debug for ThreadCached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The figures are taken before anything is formatted, because formatting may allocate.
        let stats = self.stats();
        f.debug_struct("ThreadCached").field("stats", &stats).finish_non_exhaustive()
    }
}
