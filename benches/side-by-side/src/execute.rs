//! Runs operations on an allocator: the loop that is timed, and the calls inside it.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use bench_common::clock;

use crate::operation::Operation;

/// One byte is written per page of this size, so that large blocks are really there.
const PAGE: usize = 4096;
/// Operations between two looks at the clock: few enough for an O(n) allocator, too many to cost
/// anything.
const STRETCH: usize = 1024;

/// A block that the loop holds, or an empty slot.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    address: *mut u8,
    size: u32,
    align_log2: u8,
}

impl Slot {
    const EMPTY: Self = Self { address: null_mut(), size: 0, align_log2: 0 };

    /// The layout that the block was allocated with.
    #[must_use]
    pub fn layout(&self) -> Layout {
        layout(self.size, self.align_log2)
    }

    /// Where the block is; null in an empty slot.
    #[must_use]
    pub fn address(&self) -> *mut u8 {
        self.address
    }

    /// Bytes in the block.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size as usize
    }
}

fn layout(size: u32, align_log2: u8) -> Layout {
    // SAFETY: a power of two of at most `MAX_ALIGN_LOG2`, and a size that cannot overflow when
    // rounded up to it.
    unsafe { Layout::from_size_align_unchecked(size as usize, 1 << align_log2) }
}

/// Something that looks at single calls of the allocator.
pub trait Observer {
    /// Makes the call and returns its result.
    fn around<T>(&mut self, call: impl FnOnce() -> T) -> T;
}

/// Nobody looks.
pub(crate) struct Unobserved;

impl Observer for Unobserved {
    #[inline(always)]
    fn around<T>(&mut self, call: impl FnOnce() -> T) -> T {
        call()
    }
}

/// The allocator refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// The blocks of one run of one sequence.
#[derive(Debug)]
pub struct Blocks {
    slots: Vec<Slot>,
}

impl Blocks {
    /// Makes room for the slots of a sequence.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self { slots: vec![Slot::EMPTY; slots] }
    }

    /// The block in a slot.
    #[must_use]
    pub fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    /// Performs one operation and writes to the memory it yields.
    ///
    /// # Errors
    ///
    /// If the allocator refuses; the slot is then as it was before.
    ///
    /// # Safety
    ///
    /// The operations so far were performed in order on the same allocator, and pass
    /// [`crate::operation::examine`].
    #[inline(always)]
    pub unsafe fn perform<A: GlobalAlloc>(
        &mut self,
        allocator: &A,
        operation: Operation,
    ) -> Result<(), Refused> {
        // SAFETY: forwarded.
        unsafe { self.perform_observed(allocator, operation, &mut Unobserved) }
    }

    /// As [`Blocks::perform`], with an observer around the call of the allocator.
    ///
    /// # Errors
    ///
    /// As [`Blocks::perform`].
    ///
    /// # Safety
    ///
    /// As for [`Blocks::perform`].
    #[inline(always)]
    pub unsafe fn perform_observed<A: GlobalAlloc>(
        &mut self,
        allocator: &A,
        operation: Operation,
        observer: &mut impl Observer,
    ) -> Result<(), Refused> {
        let slot = &mut self.slots[operation.slot() as usize];
        match operation {
            Operation::Allocate { size, align_log2, zeroed, .. } => {
                let layout = layout(size, align_log2);
                // SAFETY: the size is not zero, as `examine` checks.
                let address = observer.around(|| unsafe {
                    if zeroed { call_alloc_zeroed(allocator, layout) } else { call_alloc(allocator, layout) }
                });
                if address.is_null() {
                    return Err(Refused);
                }
                // SAFETY: the block has that many bytes.
                unsafe { touch(address, 0, size as usize) };
                *slot = Slot { address, size, align_log2 };
            }
            Operation::Reallocate { size, .. } => {
                // SAFETY: the slot is live and the size is not zero, as `examine` checks.
                let address = observer.around(|| unsafe {
                    call_realloc(allocator, slot.address, slot.layout(), size as usize)
                });
                if address.is_null() {
                    return Err(Refused);
                }
                if size > slot.size {
                    // SAFETY: the block now has that many bytes.
                    unsafe { touch(address, slot.size as usize, size as usize) };
                }
                slot.address = address;
                slot.size = size;
            }
            Operation::Free { .. } => {
                // SAFETY: the slot is live, as `examine` checks.
                observer.around(|| unsafe { call_dealloc(allocator, slot.address, slot.layout()) });
                slot.address = null_mut();
            }
        }
        Ok(())
    }

    /// Performs operations until they are through, one is refused, or the deadline passes.
    ///
    /// # Safety
    ///
    /// As for [`Blocks::perform`].
    #[inline(never)]
    pub unsafe fn run<A: GlobalAlloc>(
        &mut self,
        allocator: &A,
        operations: &[Operation],
        deadline: Instant,
    ) -> Progress {
        let start = clock::of_thread();
        let mut done = 0;
        let mut end = End::Completed;
        'all: for stretch in operations.chunks(STRETCH) {
            for (index, &operation) in stretch.iter().enumerate() {
                // SAFETY: forwarded.
                if unsafe { self.perform(allocator, operation) }.is_err() {
                    done += index;
                    end = End::Refused;
                    break 'all;
                }
            }
            done += stretch.len();
            if Instant::now() > deadline && done < operations.len() {
                end = End::OutOfTime;
                break;
            }
        }
        Progress { done, elapsed: clock::of_thread() - start, end }
    }

    /// Frees whatever is still live, unless the deadline passes before that.
    ///
    /// # Safety
    ///
    /// All live blocks are the allocator's.
    pub unsafe fn free_all<A: GlobalAlloc>(&mut self, allocator: &A, deadline: Instant) -> End {
        for stretch in self.slots.chunks_mut(STRETCH) {
            for slot in stretch.iter_mut().filter(|slot| !slot.address.is_null()) {
                // SAFETY: the slot is live, with this layout.
                unsafe { allocator.dealloc(slot.address, slot.layout()) };
                *slot = Slot::EMPTY;
            }
            if Instant::now() > deadline {
                return End::OutOfTime;
            }
        }
        End::Completed
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All operations were performed.
    Completed,
    /// The allocator refused a request.
    Refused,
    /// The deadline passed.
    OutOfTime,
}

/// How far a run got.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Operations performed.
    pub done: usize,
    /// Processor time they took.
    pub elapsed: Duration,
    /// Why it stopped.
    pub end: End,
}

/// Writes the first byte of `from..to` and one byte per page after it.
///
/// # Safety
///
/// The block at `address` has at least `to` bytes, and `from < to`.
#[inline(always)]
pub(crate) unsafe fn touch(address: *mut u8, from: usize, to: usize) {
    let mut offset = from;
    while offset < to {
        // SAFETY: less than `to`. Volatile, because the optimiser may not drop it.
        unsafe { address.add(offset).write_volatile(1) };
        offset += PAGE;
    }
}

// The calls are never inlined into the loop: a program reaches its global allocator through one
// call, too. What lies behind that call may be inlined into it.

/// # Safety
///
/// As for `GlobalAlloc::alloc`.
#[inline(never)]
pub(crate) unsafe fn call_alloc<A: GlobalAlloc>(allocator: &A, layout: Layout) -> *mut u8 {
    // SAFETY: forwarded.
    unsafe { allocator.alloc(layout) }
}

/// # Safety
///
/// As for `GlobalAlloc::alloc_zeroed`.
#[inline(never)]
unsafe fn call_alloc_zeroed<A: GlobalAlloc>(allocator: &A, layout: Layout) -> *mut u8 {
    // SAFETY: forwarded.
    unsafe { allocator.alloc_zeroed(layout) }
}

/// # Safety
///
/// As for `GlobalAlloc::dealloc`.
#[inline(never)]
pub(crate) unsafe fn call_dealloc<A: GlobalAlloc>(allocator: &A, block: *mut u8, layout: Layout) {
    // SAFETY: forwarded.
    unsafe { allocator.dealloc(block, layout) }
}

/// # Safety
///
/// As for `GlobalAlloc::realloc`.
#[inline(never)]
pub(crate) unsafe fn call_realloc<A: GlobalAlloc>(
    allocator: &A,
    block: *mut u8,
    layout: Layout,
    new_size: usize,
) -> *mut u8 {
    // SAFETY: forwarded.
    unsafe { allocator.realloc(block, layout, new_size) }
}

#[cfg(test)]
mod tests {
    use std::alloc::System;

    use super::*;

    #[test]
    fn a_run_reports_how_far_it_got() {
        let operations = [
            Operation::allocate(0, 100),
            Operation::Reallocate { slot: 0, size: 10_000 },
            Operation::allocate(1, 1),
            Operation::Free { slot: 0 },
        ];
        let mut blocks = Blocks::new(2);
        let deadline = Instant::now() + Duration::from_secs(60);
        // SAFETY: the operations are consistent and all blocks are the system's.
        unsafe {
            let progress = blocks.run(&System, &operations, deadline);
            assert_eq!((progress.done, progress.end), (4, End::Completed));
            assert!(!blocks.slot(1).address().is_null());
            assert_eq!(blocks.free_all(&System, deadline), End::Completed);
        }
        assert!(blocks.slot(1).address().is_null());
    }
}
