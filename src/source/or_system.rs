//! An arena that overflows to the operating system's allocator.

use super::{Elsewhere, Leftover, Moved, Outside, sealed};
use crate::fault::{Action, Fault};
use crate::heap::{AuditError, Heap, RegionError};
use crate::refusal::{GrowthLimit, Memory};
use crate::stats::Stats;
use core::alloc::Layout;
use core::ptr::NonNull;

/// What another source cannot serve comes from [`std::alloc::System`]: a fast arena rather than a hard bound.
///
/// Blocks of the two are told apart by their address when they come back.
///
/// ```
/// use mem_alloc_rust::{FreeList, Locked, OrSystem};
///
/// #[global_allocator]
/// static A: Locked<OrSystem<FreeList>> = Locked::new();
///
/// fn main() {
///     let larger_than_the_arena = vec![1u8; 2 << 20];
///     assert_eq!(larger_than_the_arena.last(), Some(&1));
///     // The figures are those of the arena alone.
///     assert!(A.stats().peak_bytes < 1 << 20);
/// }
/// ```
#[derive(Debug)]
#[repr(transparent)]
pub struct OrSystem<S>(S);

impl<S: sealed::Source> sealed::Source for OrSystem<S> {
    #[allow(clippy::declare_interior_mutable_const, reason = "the initial value of statics")]
    const INIT: Self = Self(S::INIT);

    const UNCLEARED: usize = S::UNCLEARED;
    const MEMORY: Memory = S::MEMORY;
    const OVERFLOWS_TO_SYSTEM: bool = true;
    const HAS_ELSEWHERE: bool = S::HAS_ELSEWHERE;
    const ELSEWHERE_FROM: usize = S::ELSEWHERE_FROM;
    const HAS_CAP: bool = S::HAS_CAP;

    fn supply(&self, heap: &mut Heap) -> Result<(), RegionError> {
        self.0.supply(heap)
    }

    #[inline(always)]
    fn rebase(&self, heap: &mut Heap) {
        self.0.rebase(heap);
    }

    #[inline(always)]
    fn is_at_home(&self, heap: &Heap) -> bool {
        self.0.is_at_home(heap)
    }

    fn has(&self, address: usize) -> bool {
        self.0.has(address)
    }

    fn outside(&self) -> Option<&Outside> {
        self.0.outside()
    }

    unsafe fn usable_size_elsewhere(&self, heap: &Heap, block: *mut u8) -> Option<usize> {
        // SAFETY: the caller's contract.
        unsafe { self.0.usable_size_elsewhere(heap, block) }
    }

    fn alloc_elsewhere(&self, heap: &mut Heap, layout: Layout) -> Option<(NonNull<u8>, usize)> {
        self.0.alloc_elsewhere(heap, layout)
    }

    fn prefers_heap(&self, heap: &Heap, layout: Layout, is_zeroed: bool) -> bool {
        self.0.prefers_heap(heap, layout, is_zeroed)
    }

    #[inline]
    unsafe fn clear(&self, block: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's contract.
        unsafe { self.0.clear(block, bytes) };
    }

    unsafe fn dealloc_elsewhere(&self, heap: &mut Heap, block: *mut u8) -> Option<Leftover> {
        // SAFETY: the caller's contract.
        unsafe { self.0.dealloc_elsewhere(heap, block) }
    }

    unsafe fn note_stayed(&self, heap: &mut Heap, leftover: Leftover) {
        // SAFETY: the caller's contract.
        unsafe { self.0.note_stayed(heap, leftover) };
    }

    unsafe fn resize_elsewhere(
        &self,
        heap: &mut Heap,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> Elsewhere {
        // SAFETY: the caller's contract.
        unsafe { self.0.resize_elsewhere(heap, block, layout, new_size) }
    }

    fn note_moved(&self, heap: &mut Heap, moved: Moved) {
        self.0.note_moved(heap, moved);
    }

    fn is_live_elsewhere(&self, heap: &Heap, block: *mut u8) -> bool {
        self.0.is_live_elsewhere(heap, block)
    }

    #[inline(always)]
    fn may_serve(&self, heap: &Heap, bytes: usize) -> bool {
        self.0.may_serve(heap, bytes)
    }

    #[inline(always)]
    fn note_visit(&self, heap: &mut Heap) {
        self.0.note_visit(heap);
    }

    #[inline(always)]
    fn note_cache(&self, heap: &mut Heap) -> bool {
        self.0.note_cache(heap)
    }

    fn trim(&self, heap: &mut Heap) -> usize {
        self.0.trim(heap)
    }

    fn arena_bytes(&self, first: usize) -> usize {
        self.0.arena_bytes(first)
    }

    fn add_to_stats(&self, heap: &Heap, stats: &mut Stats) {
        self.0.add_to_stats(heap, stats);
    }

    fn has_elsewhere(&self, heap: &Heap, ptr: *mut u8) -> bool {
        self.0.has_elsewhere(heap, ptr)
    }

    fn fault_elsewhere(&self, heap: &Heap, block: *mut u8, action: Action) -> Option<Fault> {
        self.0.fault_elsewhere(heap, block, action)
    }

    fn growth_limit(&self, heap: &Heap) -> Option<GrowthLimit> {
        self.0.growth_limit(heap)
    }

    fn audit_elsewhere(&self, heap: &Heap) -> Result<(), AuditError> {
        self.0.audit_elsewhere(heap)
    }
}

impl<S: sealed::RunTimeSource> sealed::RunTimeSource for OrSystem<S> {
    fn note_region(&self, start: usize, len: usize) {
        self.0.note_region(start, len);
    }
}
