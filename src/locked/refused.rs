//! What becomes of a request that the heap refused.

use super::{Contents, Locked, note_arena};
use crate::heap::Heap;
#[cfg(feature = "std")]
use crate::raw_lock::Backoff;
use crate::refusal::{self, GrowthLimit, Refusal};
use crate::source::Source;
use crate::stats::Stats;
use core::alloc::Layout;
use lock_api::{MutexGuard, RawMutex};

/// Whether this thread panics, or tells of a refusal, and is served by the system therefore.
pub(super) fn is_in_distress() -> bool {
    #[cfg(feature = "std")]
    return std::thread::panicking() || crate::attention::is_telling();
    #[cfg(not(feature = "std"))]
    false
}

/// Waits until the report of what another thread was refused is written, if that is just being done: the program may
/// end as soon as this thread gets null. For some seconds at most, in which the names for a call stack are found.
#[cfg(feature = "std")]
#[inline(never)]
fn wait_until_told() {
    const MOST_PAUSES: u32 = 6000;
    let (mut backoff, mut left) = (Backoff::new(), MOST_PAUSES);
    while left > 0 && refusal::is_being_told() {
        backoff.pause();
        left -= 1;
    }
}

/// An allocator that can be looked at as a whole, for what is told of a refusal.
pub(crate) trait Survey {
    /// Writes its figures into some that are all zero, and returns what it may have from the system, if that is not
    /// fixed. To be called without the lock.
    fn survey(&self, stats: &mut Stats) -> Option<GrowthLimit>;
}

impl<S: Source, R: RawMutex> Survey for Locked<S, R> {
    fn survey(&self, stats: &mut Stats) -> Option<GrowthLimit> {
        let heap = self.heap_out_of_line();
        self.count(&heap, stats);
        self.source.growth_limit(&heap)
    }
}

impl<S: Source, R: RawMutex> Locked<S, R> {
    /// The way of a request that the heap refused: the heap may not have its memory yet, or be exhausted. `whole` is
    /// the allocator that was asked: this one, or one in front of it.
    #[cold]
    #[inline(never)]
    pub(crate) fn refused(
        &self,
        mut heap: MutexGuard<'_, R, Heap>,
        layout: Layout,
        contents: Contents,
        whole: &impl Survey,
    ) -> *mut u8 {
        if !heap.is_initialized() && self.source.supply(&mut heap).is_ok() {
            let bounds = heap.bounds();
            drop(heap);
            note_arena(bounds);
            return self.alloc_slow(layout, contents);
        }
        drop(heap);
        self.overflow(layout, contents, whole)
    }

    /// What becomes of a request that the arena cannot serve: the system serves it, or it is refused, and that is told.
    #[cold]
    #[inline(never)]
    pub(crate) fn overflow(&self, layout: Layout, contents: Contents, whole: &impl Survey) -> *mut u8 {
        let asks_system = S::OVERFLOWS_TO_SYSTEM || is_in_distress();
        #[cfg(feature = "std")]
        let asks_system = asks_system || refusal::is_in_call_stack();
        #[cfg(feature = "std")]
        if asks_system {
            let block = self.overflow.alloc(layout, contents);
            if !block.is_null() {
                return block;
            }
        }
        let _ = contents;
        if refusal::is_wanted() {
            let mut refusal = Refusal::of(layout);
            refusal.growth = whole.survey(&mut refusal.stats);
            refusal.judge(S::MEMORY, asks_system);
            refusal::tell(&refusal);
        }
        #[cfg(feature = "std")]
        wait_until_told();
        core::ptr::null_mut()
    }
}
