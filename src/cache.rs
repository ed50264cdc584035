//! `ThreadCached`: a [`Locked`] heap with a cache of small blocks for each thread in front of it.
//!
//! A thread owns runs, pages of slots of one size, and serves itself from them without the lock and without an atomic
//! read-modify-write: an allocation clears a bit, a release sets it. What was freed just now, blocks with headers, and
//! slots of other threads' runs go to lists first, and come from there: up to 996 bytes, an allocation takes 24
//! instructions and a release 63. Runs are handed over, and lists filled and emptied, under the lock. Before a
//! request is refused, the allocator takes back what all caches have, those of other threads included: *an
//! allocation fails only if it would fail with every cache empty.*
//!
//! What a thread frees that is another's goes from list to list: to the depot when a list is full, and from there to
//! whoever asks for that size, the owner among others; neither takes the lock. What the depot does not take waits for
//! its owner (*strays*). It comes back into its run when the heap or the run's owner gets it.
//!
//! (Per-thread caches over a shared heap are an old idea: Bonwick and Adams, *Magazines and vmem*, 2001; tcmalloc.
//! Threads that own pages are mimalloc's: Leijen, Zorn and de Moura, 2019. Taking them back while their owners run
//! is done with the asymmetric barrier of `cache/barrier.rs`.)

mod audit;
mod barrier;
mod class;
mod depot;
mod drain;
mod figures;
mod growing;
mod home;
mod lists;
mod membership;
mod place;
mod pressure;
mod regions;
mod release;
mod report;
mod resize;
mod runs;
mod slot;
mod strays;
mod take;
#[cfg(test)]
mod tests;
mod trial;
mod virtual_thread;

use crate::fault::{self, Action, Fault};
use crate::heap::{Heap, InUse, RegionError};
use crate::locked::{Contents, Locked, Survey, is_disturbed};
use crate::raw_lock::SpinThenSleep;
use crate::size::GRANULE;
use crate::source::{RunTimeSource, Source};
use crate::stats::{CacheStats, MapCell, Stats};
use crate::sync::atomic::AtomicBool;
use crate::sync::unless_explored;
use class::{Class, LARGEST_SMALL_PAYLOAD};
use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use depot::Depot;
use drain::{Afterwards, give_back_list, give_back_unneeded, raise_outside};
use lists::{FullList, Lists, Looked};
use lock_api::MutexGuard;
use pressure::Pressure;
use slot::Slot;
use strays::Strays;
use trial::Call;
pub use virtual_thread::VirtualThread;

/// How many threads can have a cache at one time. Others use the lock.
const SLOTS: usize = unless_explored((Heap::LAST_OWNER - Heap::FIRST_OWNER + 1) as usize, 4);

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
///         let count = |n| (0..1000).map(|m| n * m).collect::<Vec<_>>().len();
///         let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || count(n))).collect();
///         threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
///     });
///     println!("{sums} numbers, {} bytes live, {} at most", A.stats().live_bytes, A.peak_bytes());
///     assert!(sums == 4000 && A.peak_bytes() >= A.live_bytes());
///     A.audit().unwrap();
/// }
/// ```
///
/// Same arena, sizes, policies and diagnostics as `Locked`; in addition:
///
/// - On its lists a cache keeps 1/128 of what is free, and half a page for each size that it has a run for;
///   all together keep 1/64, and one at most 1 MiB. Of many, one keeps 1/256 less 16 KiB nevertheless, up
///   to 128 KiB, as long as all together have no more than 1/8. (In a `Growing`, no more counts as free than is in use,
///   or 64 MiB for each of up to 16 caches.) The runs that it takes slots from, and those that became empty,
///   are of four times as many bytes at most, where a long one that it takes slots from (16 KiB, in an arena
///   of 64 MiB or more, or a `Growing`) counts as a usual one (4,224 bytes): what of it was never used is
///   only reserved. Other runs of its own have slots in use: what is free in them is where the heap would
///   have it, too, but for this thread only. It gives back what it did not need for a while, and everything
///   before a request is refused. Blocks that are on their way from threads that free them to threads that
///   allocate them are at most as much once more as one cache may keep, and so is what waits for the thread
///   that owns it. A cache keeps nothing where memory is short, and where its thread comes to the lock nearly
///   as often as without it: many sizes where little is free. It begins again some 16,000 calls later at the
///   earliest. [`caches`](Self::caches) tells what they have.
/// - Cached is what is no larger than 32 KiB and lies at a multiple of no more than its size, or, up to 768 bytes,
///   of 128. A `realloc` to such a size takes what the cache has, and copies; it comes to the lock where there is
///   nothing, and there a block may grow where it is.
/// - When a thread ends, its cache goes back to the heap. If there is little in it, it goes to the next
///   thread that begins, as it is: up to eight of them, with at most a quarter of what one thread may keep in
///   each.
/// - An allocation fails only if it would fail with every cache empty. See also [`drain`](Self::drain) and
///   [`flush_thread`](Self::flush_thread).
/// - A child process that was forked, by whichever thread and whatever the others were doing, can allocate
///   and release at once; unless that was before the first allocation had returned, and another thread made one, too.
/// - Up to 64 threads have a cache at one time. Others, and threads that are about to end, use the lock. Now
///   and then the others ask for one again.
/// - One allocator of a process has caches: the first one used that lies in static memory. Any other is a
///   `Locked` in effect, as is one in a box (but for one in an `Arena` over static memory, which is not told from a
///   static), and as all are where more than sixteen arenas lie in static memory before. It must be neither moved nor
///   dropped after its first use, which is by `GlobalAlloc` or by a `&'static` to it. A library that has it stays
///   loaded when it is unloaded.
/// - A `pthread_atfork` handler of somebody else's must neither allocate, nor wait for a lock under which
///   another thread may.
/// - A signal handler that interrupted the allocator must neither allocate nor release nor fork. That is
///   seen, and ends the program with one sentence ([`Fault::Reentry`]), except in what `System` serves:
///   `OrSystem`, and panics.
/// - A filter that forbids `membarrier` must be installed before the first allocation, or the program ends at
///   the first drain.
/// - [`live_bytes`](Self::live_bytes), [`peak_bytes`](Self::peak_bytes) and [`Stats::peak_bytes`] count what is in
///   caches as in use; [`Stats::live_bytes`] does not.
/// - A cached block that is freed again is told from one in use by a number in its payload, and looked for in
///   all caches before the program is ended.
pub struct ThreadCached<S: Source> {
    slots: [Slot; SLOTS],
    depot: Depot,
    strays: Strays,
    pressure: Pressure,
    /// It has been found out that this allocator can have no caches.
    is_not_static: AtomicBool,
    locked: Locked<S>,
}

impl<S: Source> ThreadCached<S> {
    /// An allocator that has used nothing of its memory yet. All zero bytes.
    pub const fn new() -> Self {
        Self {
            slots: [const { Slot::new() }; SLOTS],
            depot: Depot::new(),
            strays: Strays::new(),
            pressure: Pressure::new(),
            is_not_static: AtomicBool::new(false),
            locked: Locked::new(),
        }
    }

    /// Gives what the calling thread's cache has back to the heap.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    ///
    /// fn main() {
    ///     drop((0..1000).map(|n| Box::new(n)).collect::<Vec<_>>());
    ///     let before = A.caches();
    ///     // Before a thread sleeps for long. What is on its way to other threads stays.
    ///     A.flush_thread();
    ///     assert!(A.caches().bytes < before.bytes);
    /// }
    /// ```
    pub fn flush_thread(&self) {
        if let Some(slot) = self.own_slot() {
            let mut heap = self.heap();
            let empty = |lists: &mut Lists| {
                let may_own_runs = lists.runs.may_be();
                let outcome = self.empty(lists, &mut heap);
                if may_own_runs {
                    lists.runs.start(&mut heap);
                }
                outcome
            };
            // SAFETY: this thread is the owner, outside of its gate, and has the lock.
            let outcome = unsafe { slot.with_lock(empty) };
            drop(self.without_many_strays(raise_outside(heap, outcome)));
        }
    }

    /// Gives what all threads' caches have back to the heap. Takes a system call and waits for threads that
    /// are just in their caches, but for no lock that they hold.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    ///
    /// fn main() {
    ///     std::thread::spawn(|| drop((0..1000).map(|n| Box::new(n)).collect::<Vec<_>>())).join().unwrap();
    ///     A.drain();
    ///     assert_eq!(A.caches().bytes, 0);
    /// }
    /// ```
    pub fn drain(&self) {
        drop(self.drain_into(self.heap(), Afterwards::Awake));
    }

    /// Counts blocks and bytes; holds the lock for a time in proportion to the number of blocks. Does not allocate.
    ///
    /// Nothing is drained: what caches have is told apart. Takes a system call, and waits for threads that are just in
    /// their caches, as [`caches`](Self::caches) does.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    ///
    /// fn main() {
    ///     drop((0..1000).map(|n| Box::new(n)).collect::<Vec<_>>());
    ///     let stats = A.stats();
    ///     assert!(stats.cached_bytes + stats.held_bytes > 0);
    ///     assert_eq!(stats, A.stats(), "nothing is changed by looking");
    ///     // What is read without the lock cannot tell the two apart.
    ///     assert_eq!(A.live_bytes(), stats.live_bytes + stats.cached_bytes + stats.held_bytes);
    /// }
    /// ```
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.survey(&mut stats);
        stats
    }

    /// Draws the arena; see [`Locked::map`]. What caches have counts as in use. Drains nothing.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, MapCell, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    ///
    /// fn main() {
    ///     let _half = vec![1u8; 512 << 10];
    ///     let mut map = [MapCell::default(); 32];
    ///     A.map(&mut map);
    ///     assert!(map.iter().filter(|cell| cell.used_percent == 100).count() >= 15);
    /// }
    /// ```
    pub fn map(&self, cells: &mut [MapCell]) {
        self.with_closed_gates(|heap| heap.map(cells));
    }

    /// Counts what is in caches, in less time than [`stats`](Self::stats). Takes a system call and waits for threads
    /// that are just in theirs.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    ///
    /// fn main() {
    ///     drop((0..1000).map(|n| Box::new(n)).collect::<Vec<_>>());
    ///     let caches = A.caches();
    ///     assert!(caches.are_available);
    ///     assert_eq!(caches.threads, 1);
    ///     // Some of what was freed is kept, and little beside what is free.
    ///     assert!(caches.bytes > 0 && caches.bytes <= A.stats().free_bytes / 32);
    /// }
    /// ```
    pub fn caches(&self) -> CacheStats {
        let _heap = self.heap();
        self.close_all();
        let threads = || self.occupied().filter(|slot| !slot.is_left());
        // SAFETY: this thread has the lock and has closed the gates.
        let in_caches = self.occupied().map(|slot| unsafe { slot.with_closed_gate(|lists| lists.bytes()) });
        // SAFETY: this thread has the lock.
        let bytes = in_caches.sum::<usize>() + self.depot.bytes() + unsafe { self.strays.bytes() };
        let stats = CacheStats { are_available: home::is_ready(self), threads: threads().count(), bytes };
        self.open_all();
        stats
    }

    /// Gives memory that is free back to the operating system now, after [draining](Self::drain), and returns how many
    /// bytes that were; see [`Locked::trim`].
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList<{ 16 << 20 }>> = ThreadCached::new();
    ///
    /// fn main() {
    ///     drop((0..100_000).map(|n| Box::new(n)).collect::<Vec<_>>());
    ///     // Where memory can be given back, most of these megabytes are.
    ///     assert!(A.trim() > 1 << 20 || cfg!(not(unix)));
    /// }
    /// ```
    pub fn trim(&self) -> usize {
        let mut heap = self.drain_into(self.heap(), Afterwards::Awake);
        self.locked.source.trim(&mut heap)
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

    /// The heap, locked, if the calling thread has a cache that is asleep and does not wake now.
    #[inline(always)]
    fn heap_if_asleep(&self, call: Call, layout: Layout) -> Option<Guard<'_>> {
        let slot = self.own_slot().filter(|slot| !slot.is_awake())?;
        // SAFETY: this thread is the owner, and only it can wake its cache.
        unsafe { slot.notice_sleep() };
        let mut heap = self.locked.heap();
        (!self.wakes_in_time(slot, call, class_serving(layout), &mut heap)).then_some(heap)
    }

    /// Whether the calling thread has a cache that is asleep and stays so for this call.
    #[inline(always)]
    fn rests(&self) -> bool {
        // SAFETY: the slot is this thread's, or nobody's.
        unsafe { home::slot().rests(self.identity()) }
    }

    /// Whether the calling thread's cache takes anything, now that it has come to the heap's lock for the sake of a
    /// block, of a class unless it is too large.
    fn wakes_in_time(&self, slot: &Slot, call: Call, class: Option<Class>, heap: &mut Heap) -> bool {
        if self.is_too_much_in_use(heap) {
            return false;
        }
        // SAFETY: this thread is the owner, outside of its gate, and has the lock.
        unsafe { slot.wake_in_time((call, class), &self.pressure, heap, |heap| self.budget(heap)) }
    }

    /// Whether more is in use than the cap allows. No cache is awake then: it would serve what is to be refused.
    #[inline(always)]
    fn is_too_much_in_use(&self, heap: &Heap) -> bool {
        S::HAS_CAP && !self.locked.source.may_serve(heap, 0)
    }

    /// Notes that the calling thread has come to the heap's lock for the sake of a class. Now and then its
    /// cache and the depot are looked over, and what nobody needed goes back; all of it if the cache is of no use: then
    /// it falls asleep.
    fn visit(&self, slot: &Slot, lists: &mut Lists, class: Class, heap: &mut Heap) -> Result<(), Fault> {
        let mut outcome = Ok(());
        let budget = self.budget(heap);
        self.depot.allow(budget);
        let looked = lists.visit(class, budget, self.pressure.served_per_visit(), |unneeded| {
            outcome = outcome.and(give_back_unneeded(heap, &self.strays, unneeded));
        });
        if let Some(Looked { renewed, is_of_use }) = looked {
            let mut give_back = |list: FullList| {
                outcome = outcome.and_then(|()| give_back_list(lists, heap, &self.strays, list.first))
            };
            // SAFETY: this thread has the lock.
            unsafe {
                self.depot.look_over(&mut give_back);
                self.depot.take_oldest(renewed).into_iter().for_each(give_back);
            }
            if !is_of_use {
                outcome = outcome.and_then(|()| self.give_back_lists(lists, heap));
                outcome = outcome.and(self.take_back_runs(lists, heap));
                lists.fall_asleep(heap);
                slot.note_asleep();
                if self.depot.bytes() == 0 && !self.occupied().any(Slot::is_awake) {
                    self.pressure.note_all_asleep();
                }
            }
        }
        let source = &self.locked.source;
        if source.note_cache(heap) {
            // So much less is in use that what is kept here may be all that whole runs are kept for.
            outcome = outcome.and_then(|()| self.give_back_lists(lists, heap));
            source.note_cache(heap);
        }
        outcome
    }

    /// The heap, for a release or a change of size of a block that must not be in a cache: that would be a
    /// second release.
    #[inline]
    fn unless_cached<'a>(
        &self,
        heap: Guard<'a>,
        block: *mut u8,
        layout: Layout,
        action: Action,
    ) -> Guard<'a> {
        if self.pressure.may_have_blocks() && self.is_keyed_and_cached(&heap, block) {
            drop(heap);
            fault::raise(Fault::AlreadyFree { action, address: block.addr(), bytes: layout.size() })
        }
        heap
    }

    /// Whether a block that looks like one in use has the key of a cached one, and is in a cache. To be called with the
    /// lock.
    #[inline(never)]
    fn is_keyed_and_cached(&self, heap: &Heap, block: *mut u8) -> bool {
        let class = heap.keyed(block).and_then(|in_use| match in_use {
            InUse::Block(tag) => Class::of(tag),
            InUse::Slot(slot) => Some(Class::of_slot(slot)),
        });
        class.is_some_and(|class| self.is_cached(class, block))
    }
}

/// The class that serves such a request, if the caches do.
#[inline(always)]
fn class_serving(layout: Layout) -> Option<Class> {
    Class::serving(layout.size(), layout.align())
}

/// Whether the caches serve such a request.
#[inline(always)]
fn is_for_caches(layout: Layout) -> bool {
    Class::is_there_for(layout.size(), layout.align())
}

/// The heap, locked.
type Guard<'a> = MutexGuard<'a, SpinThenSleep, Heap>;

impl<S: RunTimeSource> ThreadCached<S> {
    /// Hands the allocator the region of `len` bytes at `start`, of any alignment. Until then every request
    /// gets null.
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

// SAFETY: blocks come from the heap and from caches of its blocks, each of which is in one place at a time:
// in use, in one cache, or the heap's. Classes hold what they serve. Nothing here unwinds.
unsafe impl<S: Source> GlobalAlloc for ThreadCached<S> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.alloc_fast(layout) {
            Some(block) => block.as_ptr(),
            None => self.alloc_otherwise(layout),
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
                Self::dealloc_otherwise(block, layout, self);
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if is_disturbed() && !self.locked.goes_on(new_size.saturating_sub(layout.size())) {
            // SAFETY: the caller's contract.
            return unsafe { self.realloc_panicking(block, layout, new_size) };
        }
        if layout.size().max(new_size) <= LARGEST_SMALL_PAYLOAD && layout.align() <= GRANULE {
            let class = Class::serving_small(new_size);
            let len = layout.size().min(new_size);
            // SAFETY: the slot is this thread's, or nobody's; the caller's contract.
            unsafe {
                if let Some((moved, is_left)) = home::slot().resize(self.identity(), block, class, len) {
                    if is_left {
                        self.dealloc_slow(block, layout);
                    }
                    return moved.as_ptr();
                }
            }
        }
        // SAFETY: the caller's contract.
        unsafe { self.realloc_otherwise(block, layout, new_size) }
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
