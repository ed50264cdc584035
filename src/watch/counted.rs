//! `Counted`: an allocator whose calls are counted.

use super::counter::Counter;
use super::counts::Counts;
use super::forbid::{self, Operation};
use super::slot::Slot;
#[cfg(feature = "std")]
use super::table;
use super::{threads, totals};
use core::alloc::{GlobalAlloc, Layout};

/// A global allocator whose calls are counted, by thread and for the process, and on which the guards of this module
/// act.
///
/// ```
/// use mem_alloc_rust::{FreeList, ThreadCached, watch::Counted};
///
/// #[global_allocator]
/// static A: Counted<ThreadCached<FreeList>> = Counted::new(ThreadCached::new());
///
/// fn main() {
///     let before = A.thread_counts();
///     let text = String::from("counted");
///     let after = A.thread_counts();
///     assert_eq!(after.alloc_calls - before.alloc_calls, 1);
///     assert_eq!(after.live_bytes - before.live_bytes, text.capacity() as isize);
///     // Of all threads, from before `main` on.
///     let counts = A.counts();
///     assert!(counts.alloc_calls >= after.alloc_calls && counts.peak_bytes >= text.len());
///     // The allocator itself is as it was.
///     assert!(A.inner().live_bytes() >= counts.live_bytes as usize);
/// }
/// ```
///
/// What it costs, and how it counts, is told [above](super#what-it-costs). The counts are the program's, not an
/// allocator's: with two `Counted` in a program, or one around the other, both count into the same.
///
/// A signal handler that allocates while its thread is being counted may get a count of its own lost.
pub struct Counted<A> {
    inner: A,
}

impl<A> Counted<A> {
    /// Counts the calls of that allocator.
    pub const fn new(inner: A) -> Self {
        Self { inner }
    }

    /// The allocator that is counted.
    pub const fn inner(&self) -> &A {
        &self.inner
    }

    /// What all threads counted since the process began, those that have ended included.
    ///
    /// Calls, bytes and blocks are exact, but for calls that other threads are just in. The peak is exact as long as
    /// one thread has allocated. From then on, it may be wrong by 16 KiB for each thread at that moment, in either
    /// direction: so much may become live or be released on a thread before others know. A request of less than that
    /// counts for the peak, though it is refused, if a function that is told of refusals releases something.
    pub fn counts(&self) -> Counts {
        totals::counts()
    }

    /// What the calling thread counted since it began.
    ///
    /// A block counts for the thread that makes the call: one that releases what another allocated has fewer live
    /// bytes, and fewer than none perhaps. Without the feature `std`, and on systems other than Unix, these are the
    /// process's.
    ///
    /// When a thread's C library ends it, after the destructors of its thread-locals, it has nothing of its own any
    /// more, and gets zeros; what it still does counts for the process.
    pub fn thread_counts(&self) -> Counts {
        threads::thread_counts()
    }
}

impl<A: GlobalAlloc> Counted<A> {
    /// The way through `alloc` and `alloc_zeroed`.
    #[inline(always)]
    fn allocate(&self, layout: Layout, contents: Contents) -> *mut u8 {
        let slot = threads::slot();
        let bytes = layout.size() as isize;
        let live = slot.live_bytes.get();
        if live.checked_add(bytes).is_none_or(|live| live > slot.above.get()) {
            return self.allocate_attentively(layout, contents);
        }
        // Counted before, because little need be kept for after then, and taken back if it is refused.
        slot.live_bytes.add_to(live, bytes);
        slot.requested_bytes.add(bytes);
        contents.calls(slot).add(1);
        let block = self.call(layout, contents);
        if block.is_null() {
            take_back(bytes, |slot| contents.calls(slot));
        }
        block
    }

    #[inline(always)]
    fn call(&self, layout: Layout, contents: Contents) -> *mut u8 {
        // SAFETY: the layout is the caller's of `alloc` or `alloc_zeroed`, whose contract is the same.
        unsafe {
            match contents {
                Contents::Any => self.inner.alloc(layout),
                Contents::Zeroes => self.inner.alloc_zeroed(layout),
            }
        }
    }

    /// The same where something is to be done besides.
    #[cold]
    #[inline(never)]
    fn allocate_attentively(&self, layout: Layout, contents: Contents) -> *mut u8 {
        let slot = threads::join();
        let bytes = layout.size() as isize;
        if !is_admitted(slot, Operation::Allocation(layout.size()), bytes) {
            return core::ptr::null_mut();
        }
        let block = self.call(layout, contents);
        let (Ok(counting) | Err(counting)) = slot;
        if block.is_null() {
            counting.refusals.add_shared(1);
            return block;
        }
        counting.change_live(bytes);
        counting.requested_bytes.add_shared(bytes);
        contents.calls(counting).add_shared(1);
        settle(slot, bytes);
        #[cfg(feature = "std")]
        if table::is_in_use() {
            table::insert(block, layout.size(), slot.ok(), None);
        }
        block
    }

    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    // Its arguments are in the order in which the caller of `dealloc` has them: on the common way, too, there is less
    // to move then.
    #[cold]
    #[inline(never)]
    unsafe fn dealloc_attentively(block: *mut u8, layout: Layout, this: &Self) {
        let slot = threads::join();
        let bytes = layout.size() as isize;
        // Forbidden or not, a release cannot fail.
        is_admitted(slot, Operation::Release(layout.size()), 0);
        let (Ok(counting) | Err(counting)) = slot;
        counting.change_live(-bytes);
        counting.dealloc_calls.add_shared(1);
        settle(slot, -bytes);
        // Before the block is anybody else's.
        #[cfg(feature = "std")]
        if table::is_in_use() {
            table::remove(block);
        }
        // SAFETY: the caller's contract.
        unsafe { this.inner.dealloc(block, layout) }
    }

    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`].
    #[cold]
    #[inline(never)]
    unsafe fn realloc_attentively(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let slot = threads::join();
        let growth = (new_size as isize).wrapping_sub(layout.size() as isize);
        if !is_admitted(slot, Operation::Reallocation(layout.size(), new_size), growth) {
            return core::ptr::null_mut();
        }
        #[cfg(feature = "std")]
        let listed = if table::is_in_use() { table::remove(block) } else { None };
        // SAFETY: the caller's contract.
        let resized = unsafe { self.inner.realloc(block, layout, new_size) };
        let is_refused = resized.is_null();
        #[cfg(feature = "std")]
        if let Some(entry) = listed {
            // It is the block that it was, in another place perhaps.
            let (block, bytes) = if is_refused { (block, layout.size()) } else { (resized, new_size) };
            table::insert(block, bytes, slot.ok(), Some(entry));
        }
        let (Ok(counting) | Err(counting)) = slot;
        if is_refused {
            counting.refusals.add_shared(1);
            return resized;
        }
        counting.change_live(growth);
        counting.requested_bytes.add_shared(growth.max(0));
        counting.realloc_calls.add_shared(1);
        settle(slot, growth);
        resized
    }
}

/// What a new block shall contain.
#[derive(Clone, Copy)]
enum Contents {
    Any,
    Zeroes,
}

impl Contents {
    /// Where such calls are counted.
    #[inline(always)]
    fn calls(self, slot: &Slot) -> &Counter {
        match self {
            Self::Any => &slot.alloc_calls,
            Self::Zeroes => &slot.alloc_zeroed_calls,
        }
    }
}

/// The calling thread's slot, or else the one of all threads that have none.
type Joined = Result<&'static Slot, &'static Slot>;

/// Whether a call may go on: it is not forbidden, or may be all the same, and is within the limit.
fn is_admitted(slot: Joined, operation: Operation, growth: isize) -> bool {
    let Ok(own) = slot else { return true };
    forbid::check(own, operation);
    let has_room = growth <= 0 || own.has_room_for(growth);
    if !has_room {
        own.refusals.add_shared(1);
    }
    has_room
}

/// What is to be done after an uncommon call.
fn settle(slot: Joined, change: isize) {
    match slot {
        Ok(own) => own.settle(),
        Err(_) => totals::publish(change),
    }
}

/// Counts a refusal instead of what was expected: so many bytes more, by such a call.
#[cold]
#[inline(never)]
fn take_back(growth: isize, calls: impl FnOnce(&Slot) -> &Counter) {
    // The same again: had it been kept for this, every call would have saved a register.
    let slot = threads::slot();
    // (Not by `change_live`: what was refused is no peak.)
    slot.live_bytes.add_shared(-growth);
    slot.requested_bytes.add_shared(-growth.max(0));
    calls(slot).add_shared(-1);
    slot.refusals.add_shared(1);
}

// SAFETY: every call is passed on to an allocator that keeps the contract, as it came, or gets null, which is always
// allowed. Nothing here unwinds: nothing panics, and a violation ends in `forbid::check`, which no panic leaves.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counted<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.allocate(layout, Contents::Any)
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.allocate(layout, Contents::Zeroes)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let slot = threads::slot();
        let bytes = layout.size() as isize;
        let live = slot.live_bytes.get();
        if live.wrapping_sub(bytes) < slot.below.get() {
            // SAFETY: the caller's contract.
            return unsafe { Self::dealloc_attentively(block, layout, self) };
        }
        let before = slot.live_bytes.add_to(live, -bytes);
        slot.peak_bytes.raise(before);
        slot.dealloc_calls.add(1);
        // SAFETY: the caller's contract.
        unsafe { self.inner.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let slot = threads::slot();
        let growth = (new_size as isize).wrapping_sub(layout.size() as isize);
        let live = slot.live_bytes.get().checked_add(growth);
        if live.is_none_or(|live| live > slot.above.get() || live < slot.below.get()) {
            // SAFETY: the caller's contract.
            return unsafe { self.realloc_attentively(block, layout, new_size) };
        }
        // Counted before, as an allocation is.
        let before = slot.live_bytes.add(growth);
        if growth < 0 {
            slot.peak_bytes.raise(before);
        } else {
            slot.requested_bytes.add(growth);
        }
        slot.realloc_calls.add(1);
        // SAFETY: the caller's contract.
        let resized = unsafe { self.inner.realloc(block, layout, new_size) };
        if resized.is_null() {
            take_back(growth, |slot| &slot.realloc_calls);
        }
        resized
    }
}

impl<A: core::fmt::Debug> core::fmt::Debug for Counted<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let counts = self.counts();
        f.debug_struct("Counted").field("counts", &counts).field("inner", &self.inner).finish()
    }
}
