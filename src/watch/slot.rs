//! What one thread counts, and between which bounds it does so without a look at anything else.

use super::counter::Counter;
use super::counts::Counts;
#[cfg(feature = "std")]
use super::table;
use super::{exempt, totals};
#[cfg(all(feature = "std", unix))]
use core::sync::atomic::{AtomicBool, Ordering};

/// How far live bytes of a thread may be from what the process knows of them.
///
/// Small enough that a handful of threads together are off by less than a usual arena's rounding, and large enough that
/// a program that allocates and releases one buffer over and over does not come here, unless it is so large that to
/// fill it takes far longer.
#[cfg(all(feature = "std", unix))]
const UNPUBLISHED: isize = 16 << 10;
/// Where there is one slot, there is nothing to publish.
#[cfg(not(all(feature = "std", unix)))]
const UNPUBLISHED: isize = isize::MAX;

/// The counters of a thread.
///
/// Live bytes between `below` and `above` are the common case, in which a call is counted and nothing else; the two are
/// set such that whatever asks for more attention is outside of them.
///
/// The first cache line is what a call writes; two lines, because processors fetch them in pairs.
#[repr(C, align(128))]
pub(super) struct Slot {
    pub(super) live_bytes: Counter,
    /// With more live bytes than this, an allocation is not a common case.
    pub(super) above: Counter,
    /// With fewer live bytes than this, a release is not a common case.
    pub(super) below: Counter,
    /// The most live bytes before a release: at any other moment, there may be more live now. So no allocation looks at
    /// it.
    pub(super) peak_bytes: Counter,
    pub(super) requested_bytes: Counter,
    pub(super) alloc_calls: Counter,
    pub(super) dealloc_calls: Counter,
    pub(super) realloc_calls: Counter,
    pub(super) alloc_zeroed_calls: Counter,
    pub(super) refusals: Counter,
    /// The live bytes that the process knows of.
    published: Counter,
    /// The most live bytes that this thread may have.
    limit: Counter,
    /// What is an error now; see [`super::forbid`].
    pub(super) forbidden: Counter,
    pub(super) violations: Counter,
    /// A thread has it.
    #[cfg(all(feature = "std", unix))]
    is_taken: AtomicBool,
}

impl Slot {
    /// Of no thread: every call is an uncommon case.
    pub(super) const fn new() -> Self {
        Self {
            live_bytes: Counter::new(0),
            above: Counter::new(isize::MIN),
            below: Counter::new(isize::MAX),
            peak_bytes: Counter::new(0),
            requested_bytes: Counter::new(0),
            alloc_calls: Counter::new(0),
            dealloc_calls: Counter::new(0),
            realloc_calls: Counter::new(0),
            alloc_zeroed_calls: Counter::new(0),
            refusals: Counter::new(0),
            published: Counter::new(0),
            limit: Counter::new(isize::MAX),
            forbidden: Counter::new(0),
            violations: Counter::new(0),
            #[cfg(all(feature = "std", unix))]
            is_taken: AtomicBool::new(false),
        }
    }

    /// Takes a slot that no thread has. What is counted in it stays, so that sums over all slots never go back.
    #[cfg(all(feature = "std", unix))]
    pub(super) fn take(&self) -> bool {
        if self.is_taken.load(Ordering::Relaxed) || self.is_taken.swap(true, Ordering::Acquire) {
            return false;
        }
        self.peak_bytes.set(self.live_bytes.get());
        self.limit.set(isize::MAX);
        self.forbidden.set(0);
        true
    }

    /// Leaves it to another thread.
    #[cfg(all(feature = "std", unix))]
    pub(super) fn leave(&self) {
        self.is_taken.store(false, Ordering::Release);
    }

    /// What is counted, with the peak as it is by now.
    pub(super) fn counts(&self) -> Counts {
        let calls = |counter: &Counter| counter.get() as usize;
        let begun = self.alloc_calls.get().wrapping_add(self.alloc_zeroed_calls.get());
        Counts {
            alloc_calls: calls(&self.alloc_calls),
            alloc_zeroed_calls: calls(&self.alloc_zeroed_calls),
            realloc_calls: calls(&self.realloc_calls),
            dealloc_calls: calls(&self.dealloc_calls),
            refusals: calls(&self.refusals),
            requested_bytes: calls(&self.requested_bytes),
            live_blocks: begun.wrapping_sub(self.dealloc_calls.get()),
            live_bytes: self.live_bytes.get(),
            peak_bytes: self.peak().max(0) as usize,
        }
    }

    /// The most live bytes since the peak was last begun anew.
    pub(super) fn peak(&self) -> isize {
        self.peak_bytes.get().max(self.live_bytes.get())
    }

    /// Whether so many more bytes are within the limit.
    pub(super) fn has_room_for(&self, more: isize) -> bool {
        let limit = self.limit.get();
        limit == isize::MAX || more <= limit.saturating_sub(self.live_bytes.get()) || exempt::is_exempt()
    }

    pub(super) fn limit(&self) -> isize {
        self.limit.get()
    }

    pub(super) fn set_limit(&self, limit: isize) {
        self.limit.set(limit);
        self.settle();
    }

    /// Notes that live bytes became more or less by so many, in a call that is not a common case.
    pub(super) fn change_live(&self, by: isize) {
        let before = self.live_bytes.add_shared(by);
        if by < 0 {
            self.peak_bytes.raise_shared(before);
        }
    }

    /// Tells the process of live bytes, if it knows too little of them, and sets the bounds anew.
    pub(super) fn settle(&self) {
        let live = self.live_bytes.get();
        let unpublished = live.wrapping_sub(self.published.get());
        if unpublished.unsigned_abs() >= UNPUBLISHED.unsigned_abs() {
            totals::publish(unpublished);
            self.published.set(live);
        }
        loop {
            let is_watched = is_watched();
            self.set_bounds(is_watched);
            // Who starts watching says so first, and widens the bounds of all threads then. Either that is seen here,
            // or what was set here is overwritten there.
            if is_watched == self::is_watched() {
                return;
            }
        }
    }

    fn set_bounds(&self, is_watched: bool) {
        let (forbids_allocations, forbids_releases) = super::forbid::what(self.forbidden.get());
        let published = self.published.get();
        let above = if is_watched || forbids_allocations {
            isize::MIN
        } else {
            published.saturating_add(UNPUBLISHED).min(self.limit.get())
        };
        let below =
            if is_watched || forbids_releases { isize::MAX } else { published.saturating_sub(UNPUBLISHED) };
        self.above.set_in_order(above);
        self.below.set_in_order(below);
    }

    /// Makes each call an uncommon case until the owner sets the bounds anew. Called by whichever thread.
    #[cfg(feature = "std")]
    pub(super) fn call_attention(&self) {
        self.above.set_in_order(isize::MIN);
        self.below.set_in_order(isize::MAX);
    }
}

/// Whether blocks are looked at one by one.
fn is_watched() -> bool {
    #[cfg(feature = "std")]
    return table::is_in_use();
    #[cfg(not(feature = "std"))]
    false
}
