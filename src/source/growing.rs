//! Memory from the operating system, as much as is needed, up to a cap.

mod cap;
mod fall;
mod further;
mod kept;
mod own_pages;
mod pace;
mod span;
mod stayed;
mod table;

use super::{Elsewhere, Leftover, Moved, Outside, sealed};
use crate::fault::{Action, Fault};
use crate::heap::{AuditError, Heap, RegionError};
use crate::mapping;
use crate::refusal::{GrowthLimit, Memory};
use crate::size::GRANULE;
use crate::stats::Stats;
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use further::Further;
use kept::Kept;
use own_pages::clear_large;
use pace::Pace;
use span::{HUGE_PAGE, init, reserve};
use stayed::Stayed;
use table::Table;

/// Requests of so many bytes get pages of their own.
const OWN_PAGES_FROM: usize = 1 << 20;

/// Blocks are in huge pages as long as there are fewer that have pages of their own. Each is a mapping of its own then,
/// where others are one with their neighbours, and a process has 65,530 mappings at most (Linux, unless it is told
/// otherwise).
const MOST_IN_HUGE_PAGES: usize = 1 << 14;

/// The least cap, and the least that is reserved, in bytes.
const LEAST_CAP: usize = 64 << 10;

/// Memory from the operating system as it is needed, up to a cap of `CAP` bytes.
///
/// ```
/// use mem_alloc_rust::{Growing, ThreadCached};
///
/// #[global_allocator]
/// static A: ThreadCached<Growing<{ 3 << 30 }>> = ThreadCached::new();
///
/// fn main() {
///     let larger_than_any_arena_by_default = vec![1u8; 64 << 20];
///     assert!(A.committed_bytes() > larger_than_any_arena_by_default.len());
///     drop(larger_than_any_arena_by_default);
///     assert!(A.committed_bytes() < 8 << 20);
/// }
/// ```
///
/// - The static is small, whatever the cap. At the first request address space is reserved, up to 4 GiB, which costs
///   nothing, and counts for nothing where overcommitting is off. Memory is committed in steps of an eighth as it is
///   needed, and never beyond the cap: the cap bounds all that the allocator has from the system, its own bookkeeping
///   included. Where address space is limited (`ulimit -v`), half of it is reserved at most.
/// - Requests of 1 MiB and more get pages of their own, which grow without being copied where the system can do that
///   (Linux), and go back when they are freed; what may not go back yet (below) serves such requests, and so does what
///   is free and in memory otherwise. With all that is in use, pages that wait are to be no more than a sixteenth more
///   than that was at most; what is more goes back, 8 MiB at a time. All of it counts towards the cap.
/// - What is full to 4 GiB is followed by further spans, each with a heap of its own: so far do 32-bit sizes and
///   positions reach, which keep blocks small. Their blocks are in no thread's cache.
/// - When memory in use has fallen by a sixteenth (1 MiB at least), free stretches of a 128th of that and more go back
///   to the system, in a second as much as there is and 256 MiB at most, so that a program that frees and allocates in
///   turn does not pay each time. [`trim`](crate::Locked::trim) gives back everything now.
/// - The cap can be changed [while the program runs](crate::Locked::set_cap), and by the environment variable
///   `MEM_ALLOC_RUST_CAP` (bytes, or with a suffix `K`, `M`, `G` or `T`), which is read once, at the first request, and
///   not in a program that has more rights than who has started it. With less than 64 KiB nothing is served.
/// - When the system refuses, the request is refused, nothing is lost, and a later one may succeed. A child process
///   that was forked has all of it.
///
/// With `true` for `HUGE_PAGES` what lies beyond the first 16 MiB, and blocks of 2 MiB and more that have pages of
/// their own, also if they grow to that, are in huge pages where the system gives them on request (Linux). No more than
/// 16,384 blocks are: each may be one of the 65,530 mappings that a process may have. See [choosing](crate::choosing)
/// for what they cost and gain.
///
/// On Unix, with `std`. The bound in time that a fixed arena has is not that of a growing one: a request may take
/// system calls.
pub struct Growing<const CAP: usize = { usize::MAX }, const HUGE_PAGES: bool = false> {
    /// The cap in bytes, as long as somebody has set it; else it is `CAP`.
    cap: AtomicUsize,
    is_cap_set: AtomicBool,
    /// What is in use that is not the first heap's.
    outside: Outside,
    /// The addresses of the first heap's span; both are zero as long as there is none. The end is written last.
    span: (AtomicUsize, AtomicUsize),
    /// Whether there is more committed than the cap allows, because it was lowered.
    is_beyond_cap: AtomicBool,
    /// Touched by whoever has the heap's lock.
    state: UnsafeCell<State>,
}

// SAFETY: the state is only touched under the heap's lock, and what it points to is the allocator's own.
unsafe impl<const CAP: usize, const HUGE_PAGES: bool> Sync for Growing<CAP, HUGE_PAGES> {}
// SAFETY: as above; none of it belongs to a thread.
unsafe impl<const CAP: usize, const HUGE_PAGES: bool> Send for Growing<CAP, HUGE_PAGES> {}

/// All zero bytes in the beginning.
struct State {
    /// The span of the first heap.
    first: (*mut u8, usize),
    is_environment_read: bool,
    /// Blocks with pages of their own, and the bytes of all of these.
    table: Table,
    mapped: usize,
    /// Bytes of blocks that are moved just now, before or afterwards, whichever is more.
    pending: usize,
    /// Pages that a block had, and that are kept for the next one. With what is in use they are to be no more than the
    /// most that was in use of late, and a share; see [`State::bound_kept`].
    kept: Kept,
    most_in_use: usize,
    /// Those that the system did not take back.
    stayed: Stayed,
    further: Further,
    pace: Pace,
    /// The most that was in use since something was given back.
    mark: usize,
    /// Something was given back because less is in use, and caches have not been told.
    has_fallen: bool,
    /// They have been: what they gave back may have been all that whole runs were kept for, so that more can go back
    /// than is told by what is in use.
    are_caches_told: bool,
    /// How many more visits pass before the pace, which refused, is asked again.
    pause: u8,
}

/// How much more may be had from the system.
#[derive(Clone, Copy)]
struct Budget {
    left: usize,
    huge_pages: bool,
}

impl Budget {
    fn less(self, bytes: usize) -> Self {
        Self { left: self.left.saturating_sub(bytes), ..self }
    }

    /// Lets a heap have all of it.
    fn limit(self, heap: &mut Heap) {
        heap.set_limits(heap.committed_bytes() + self.left, heap.live_bytes().saturating_add(self.left));
    }
}

impl State {
    const fn new() -> Self {
        Self {
            first: (null_mut(), 0),
            is_environment_read: false,
            table: Table::new(),
            mapped: 0,
            pending: 0,
            kept: Kept::new(),
            most_in_use: 0,
            stayed: Stayed::new(),
            further: Further::new(),
            pace: Pace::new(),
            mark: 0,
            has_fallen: false,
            are_caches_told: false,
            pause: 0,
        }
    }

    /// Bytes that the allocator has from the system.
    fn committed(&self, heap: &Heap) -> usize {
        heap.committed_bytes()
            + self.further.committed_bytes()
            + self.table.own_bytes()
            + self.mapped
            + self.pending
            + self.kept.bytes()
            + self.stayed.bytes()
    }

    /// Bytes of blocks with pages of their own.
    fn in_own_pages(&self) -> usize {
        self.mapped + self.pending
    }

    /// Whether a block with pages of its own, so many bytes, is to be in huge ones. It is not noted.
    fn wants_huge_pages(&self, bytes: usize) -> bool {
        mapping::HAS_HUGE_PAGES && bytes >= HUGE_PAGE && self.table.count() < MOST_IN_HUGE_PAGES
    }

    /// Whether a large block is better the heap's: what is free and in memory serves first, pages that are kept, and
    /// then what the heap has. So a program that goes from large blocks to small ones, or back, has no more in memory
    /// than it used at a time.
    fn prefers_heap(&self, heap: &Heap, layout: Layout, is_zeroed: bool) -> bool {
        if layout.align() <= mapping::page() && self.kept.has(layout.size()) {
            return false;
        }
        // What is not in memory after all takes no more than new pages do, unless it is cleared.
        heap.used_place(layout)
            .is_some_and(|(start, bytes)| !is_zeroed || mapping::is_resident(start, bytes, 2))
    }

    /// Bytes in use that are not the first heap's.
    fn outside(&self) -> usize {
        self.in_own_pages() + self.further.live_bytes()
    }
}

impl<const CAP: usize, const HUGE_PAGES: bool> Growing<CAP, HUGE_PAGES> {
    #[allow(clippy::declare_interior_mutable_const, reason = "the initial value of statics")]
    const NEW: Self = {
        assert!(CAP >= LEAST_CAP, "the CAP of a Growing<CAP> is at least 64 KiB");
        Self {
            cap: AtomicUsize::new(0),
            is_cap_set: AtomicBool::new(false),
            is_beyond_cap: AtomicBool::new(false),
            outside: Outside::NEW,
            span: (AtomicUsize::new(0), AtomicUsize::new(0)),
            state: UnsafeCell::new(State::new()),
        }
    };

    /// The state, which whoever has the heap may touch: the two are under one lock.
    ///
    /// # Safety
    ///
    /// - There is no other reference to it: it is asked for once by whoever has the heap, and not kept.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "the heap is behind a lock, and stands for that")]
    unsafe fn state(&self, _: &Heap) -> &mut State {
        // SAFETY: the caller's contract.
        unsafe { &mut *self.state.get() }
    }

    /// The cap in bytes.
    pub(crate) fn cap(&self) -> usize {
        if self.is_cap_set.load(Ordering::Acquire) { self.cap.load(Ordering::Relaxed) } else { CAP }
    }

    fn store_cap(&self, bytes: usize) {
        self.cap.store(bytes, Ordering::Relaxed);
        // Who asks for the cap need not have the lock.
        self.is_cap_set.store(true, Ordering::Release);
    }

    /// Sets the cap. What is free goes back if there is more than that.
    pub(crate) fn set_cap(&self, heap: &mut Heap, bytes: usize) {
        self.store_cap(bytes);
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        if state.committed(heap) > bytes {
            self.trim_all(state, heap);
        }
        self.settle_limits(state, heap);
    }

    /// Bytes that the allocator has from the system.
    pub(crate) fn committed_bytes(&self, heap: &Heap) -> usize {
        // SAFETY: the heap is here.
        unsafe { self.state(heap) }.committed(heap)
    }

    /// What the cap leaves, in whole pages.
    fn budget(&self, state: &State, heap: &Heap) -> Budget {
        let left = self.cap().saturating_sub(state.committed(heap));
        Budget { left: left - left % mapping::page(), huge_pages: HUGE_PAGES }
    }

    /// Notes the peak before something changes that is not the first heap's.
    fn note_peak(&self, heap: &mut Heap) {
        self.outside.note_peak(heap);
        heap.reset_peak();
    }

    /// Lets the first heap have what the cap leaves.
    fn settle_limits(&self, state: &mut State, heap: &mut Heap) {
        state.bound_kept(heap);
        let (cap, left) = (self.cap(), self.budget(state, heap).left);
        let elsewhere = state.committed(heap) - heap.committed_bytes();
        heap.set_limits(heap.committed_bytes() + left, cap.saturating_sub(elsewhere));
        self.outside.set_live(state.outside());
        self.is_beyond_cap.store(state.committed(heap) > cap, Ordering::Relaxed);
    }

    /// Whether so many bytes more may be in use though more is committed than the cap allows.
    #[cold]
    #[inline(never)]
    fn may_serve_beyond_cap(&self, heap: &Heap, bytes: usize) -> bool {
        // SAFETY: the heap is here.
        let in_use = heap.live_bytes() + unsafe { self.state(heap) }.outside();
        in_use.saturating_add(bytes) <= self.cap()
    }
}

impl<const CAP: usize, const HUGE_PAGES: bool> sealed::Source for Growing<CAP, HUGE_PAGES> {
    #[allow(clippy::declare_interior_mutable_const, reason = "the initial value of statics")]
    const INIT: Self = Self::NEW;

    const MEMORY: Memory = Memory::Growing(LEAST_CAP);
    const HAS_ELSEWHERE: bool = true;
    const ELSEWHERE_FROM: usize = OWN_PAGES_FROM;
    const HAS_CAP: bool = true;

    fn supply(&self, heap: &mut Heap) -> Result<(), RegionError> {
        const NO_MEMORY: RegionError = RegionError::TooSmall { len: 0 };
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        if !core::mem::replace(&mut state.is_environment_read, true)
            && !self.is_cap_set.load(Ordering::Relaxed)
        {
            if let Some(bytes) = cap::from_environment() {
                self.store_cap(bytes);
            }
        }
        let Budget { left, .. } = self.budget(state, heap);
        let (start, len) = reserve(left, LEAST_CAP).ok_or(NO_MEMORY)?;
        let committed = mapping::whole_pages(Heap::least_committed(len)).filter(|&bytes| bytes <= len);
        // SAFETY: the span was just reserved, and is used for this heap if that takes it. Nobody sees it if not.
        unsafe {
            let is_committed = committed.is_some_and(|bytes| mapping::commit(start, bytes));
            let outcome = match committed {
                Some(committed) if is_committed => init(heap, start, len, committed, HUGE_PAGES),
                _ => Err(NO_MEMORY),
            };
            if outcome.is_err() {
                mapping::unmap(start, len);
                return outcome;
            }
        }
        state.first = (start, len);
        self.span.0.store(start.addr(), Ordering::Relaxed);
        self.span.1.store(start.addr() + len, Ordering::Release);
        self.settle_limits(state, heap);
        Ok(())
    }

    fn has(&self, address: usize) -> bool {
        let end = self.span.1.load(Ordering::Acquire);
        (self.span.0.load(Ordering::Relaxed)..end).contains(&address)
    }

    fn outside(&self) -> Option<&Outside> {
        Some(&self.outside)
    }

    /// With less than the least cap nothing can be begun.
    fn arena_bytes(&self, _: usize) -> usize {
        let has_begun = self.span.1.load(Ordering::Relaxed) > 0;
        Some(self.cap()).filter(|&cap| cap >= LEAST_CAP || has_begun).unwrap_or(0)
    }

    unsafe fn usable_size_elsewhere(&self, heap: &Heap, block: *mut u8) -> Option<usize> {
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        let mapped = state.table.find(block.addr()).map(|(_, bytes)| bytes);
        // SAFETY: the caller's contract.
        mapped.or_else(|| unsafe { state.further.usable_size(block) })
    }

    fn alloc_elsewhere(&self, heap: &mut Heap, layout: Layout) -> Option<(NonNull<u8>, usize)> {
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        self.note_peak(heap);
        let is_large = layout.size() >= OWN_PAGES_FROM;
        let find = |state: &mut State, heap: &Heap| {
            if is_large {
                return self.map_block(state, heap, layout);
            }
            let budget = self.budget(state, heap);
            state.further.alloc(layout, budget)
        };
        let mut found = find(state, heap);
        if found.is_none() && self.make_room(state, heap) {
            if !is_large {
                found = heap.alloc_to_clear(layout);
            }
            found = found.or_else(|| find(state, heap));
        }
        if found.is_none() && is_large {
            // What is free in a further heap may be enough, as it may be in the first one.
            let budget = self.budget(state, heap);
            found = state.further.alloc(layout, budget);
        }
        self.settle_limits(state, heap);
        found
    }

    fn prefers_heap(&self, heap: &Heap, layout: Layout, is_zeroed: bool) -> bool {
        // SAFETY: the heap is here.
        unsafe { self.state(heap) }.prefers_heap(heap, layout, is_zeroed)
    }

    #[inline]
    unsafe fn clear(&self, block: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's contract. All memory was mapped here.
        unsafe {
            if bytes < OWN_PAGES_FROM { block.write_bytes(0, bytes) } else { clear_large(block, bytes) }
        };
    }

    unsafe fn dealloc_elsewhere(&self, heap: &mut Heap, block: *mut u8) -> Option<Leftover> {
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        self.note_peak(heap);
        let leftover = if let Some((start, bytes)) = state.table.remove(block.addr(), false) {
            let most = state.committed(heap);
            state.mapped -= bytes;
            let goes = self.is_beyond_cap.load(Ordering::Relaxed) || state.pace.allows(bytes, most);
            if goes || !state.kept.put(start, bytes) {
                Leftover { start, bytes, dirty: bytes, is_usable: true }
            } else {
                Leftover::NOTHING
            }
        } else {
            // SAFETY: the caller's contract.
            let (start, bytes) = unsafe { state.further.dealloc(block) }?;
            Leftover { start, bytes, dirty: bytes, is_usable: false }
        };
        self.settle_limits(state, heap);
        // Releases like this one are few, and take long anyhow.
        state.pause = 0;
        self.note_visit(heap);
        Some(leftover)
    }

    unsafe fn note_stayed(&self, heap: &mut Heap, leftover: Leftover) {
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        // SAFETY: the caller's contract; it was a block's.
        unsafe { state.stayed.put(leftover.start, leftover.bytes, leftover.dirty) };
        self.settle_limits(state, heap);
    }

    unsafe fn resize_elsewhere(
        &self,
        heap: &mut Heap,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> Elsewhere {
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        self.note_peak(heap);
        let new_layout = Layout::from_size_align(new_size, layout.align()).ok();
        let outcome = if let Some((start, bytes)) = state.table.find(block.addr()) {
            self.resize_mapped(state, heap, (start, bytes), new_layout)
        } else {
            let budget = self.budget(state, heap);
            // SAFETY: the caller's contract.
            let resized = unsafe { state.further.resize(block, layout, new_size, budget) };
            resized.map_or(Elsewhere::Unknown, Elsewhere::Known)
        };
        self.settle_limits(state, heap);
        outcome
    }

    fn note_moved(&self, heap: &mut Heap, moved: Moved) {
        let Moved { start, bytes, most, to, stays, .. } = moved;
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        state.pending -= most;
        if stays {
            // SAFETY: they were a block's, which is elsewhere now.
            unsafe { state.stayed.put(start, bytes, bytes) };
        }
        let (start, bytes) = to.map_or((start, bytes), |(to, bytes)| (to.as_ptr(), bytes));
        state.table.insert_held(start, bytes);
        state.mapped += bytes;
        self.settle_limits(state, heap);
        self.note_peak(heap);
    }

    fn is_live_elsewhere(&self, heap: &Heap, block: *mut u8) -> bool {
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        state.table.find(block.addr()).is_some() || state.further.is_live(block)
    }

    fn fault_elsewhere(&self, heap: &Heap, block: *mut u8, action: Action) -> Option<Fault> {
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        let address = block.addr();
        let is_inside =
            |(start, bytes): (*mut u8, usize)| (start.addr()..start.addr() + bytes).contains(&address);
        match state.further.with(address) {
            Some(heap) => Some(heap.fault_of(block, action)),
            None if !state.table.iter().any(is_inside) => None,
            None if address % GRANULE != 0 => Some(Fault::Misaligned { action, address }),
            None => Some(Fault::NotABlock { action, address, may_have_been_freed: false }),
        }
    }

    #[inline(always)]
    fn may_serve(&self, heap: &Heap, bytes: usize) -> bool {
        !self.is_beyond_cap.load(Ordering::Relaxed) || self.may_serve_beyond_cap(heap, bytes)
    }

    #[inline(always)]
    fn note_visit(&self, heap: &mut Heap) {
        self.look_for_fall(heap);
    }

    #[inline(always)]
    fn note_cache(&self, heap: &mut Heap) -> bool {
        self.look_for_fall_of_cache(heap)
    }

    fn trim(&self, heap: &mut Heap) -> usize {
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        let given_back = self.trim_all(state, heap);
        state.mark = 0;
        self.settle_limits(state, heap);
        given_back
    }

    fn add_to_stats(&self, heap: &Heap, stats: &mut Stats) {
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        stats.peak_bytes = self.outside.peak_with(stats.peak_bytes);
        state.further.iter().for_each(|heap| heap.count(stats));
        stats.live_bytes += state.mapped + state.pending;
        for (_, bytes) in state.table.iter() {
            stats.count_live(bytes, bytes);
        }
        // Those that are moved just now.
        stats.live_blocks += state.table.held();
        stats.largest_free_bytes = stats.largest_free_bytes.max(self.budget(state, heap).left);
        let not_free = stats.live_bytes + stats.held_bytes + stats.overhead_bytes;
        stats.arena_bytes = self.arena_bytes(0).max(not_free);
        stats.free_bytes = stats.arena_bytes - not_free;
        // The cap may be in the way of what a block could hold.
        stats.largest_free_bytes = stats.largest_free_bytes.min(stats.free_bytes);
    }

    fn growth_limit(&self, heap: &Heap) -> Option<GrowthLimit> {
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        Some(GrowthLimit { cap_bytes: self.cap(), committed_bytes: state.committed(heap) })
    }

    fn audit_elsewhere(&self, heap: &Heap) -> Result<(), AuditError> {
        let error = |violation| Err(AuditError { offset: 0, violation });
        // SAFETY: the heap is here.
        let state = unsafe { self.state(heap) };
        state.further.iter().try_for_each(Heap::audit)?;
        if state.table.iter().map(|(_, bytes)| bytes).sum::<usize>() != state.mapped {
            return error("the bytes of blocks with pages of their own are not what these add up to");
        }
        if state.table.iter().count() != state.table.count() {
            return error("the number of blocks with pages of their own is wrong");
        }
        Ok(())
    }
}

impl<const CAP: usize, const HUGE_PAGES: bool> Drop for Growing<CAP, HUGE_PAGES> {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        state.give_back_kept();
        // SAFETY: all of it was mapped here, and nobody uses a block of an allocator that is not there any more.
        unsafe {
            state.further.unmap_all();
            state.table.iter().for_each(|(start, bytes)| mapping::unmap(start, bytes));
            state.table.unmap();
            if state.first.1 > 0 {
                mapping::unmap(state.first.0, state.first.1);
            }
        }
    }
}

impl<const CAP: usize, const HUGE_PAGES: bool> fmt::Debug for Growing<CAP, HUGE_PAGES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Growing").field("cap", &self.cap()).finish_non_exhaustive()
    }
}
