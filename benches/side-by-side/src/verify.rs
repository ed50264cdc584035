//! The untimed pass that checks answers, so that a broken allocator cannot win.

use std::alloc::GlobalAlloc;
use std::fmt;
use std::ops::Range;
use std::time::Instant;

use crate::allocators::Visitor;
use crate::execute::{Blocks, End};
use crate::operation::{Operation, Sequence};

/// Something an allocator did that it must not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misbehaviour {
    /// Index of the operation, counted over both parts of the sequence.
    pub index: usize,
    /// What happened.
    pub what: &'static str,
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {}: {}", self.index, self.what)
    }
}

/// What the verification of one allocator on one sequence found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every answer was right.
    Right,
    /// Every answer was right as far as the time allowed.
    RightSoFar,
    /// A request was refused in spite of a generous arena.
    Refused,
    /// An answer was wrong.
    Wrong(Misbehaviour),
}

/// Performs a sequence twice with checks: alignment, bounds, zeros, and a pattern at both ends of
/// every block.
pub struct Verify<'a> {
    /// What is performed.
    pub sequence: &'a Sequence,
    /// Where blocks have to lie, if the allocator is bound to an arena.
    pub bounds: Option<Range<usize>>,
    /// When to stop.
    pub deadline: Instant,
}

/// Bytes of the pattern at each end.
const END: usize = 8;

impl Visitor for Verify<'_> {
    type Output = Verdict;

    fn visit<A: GlobalAlloc + Sync>(self, allocator: &A) -> Verdict {
        let mut blocks = Blocks::new(self.sequence.extent.slots);
        // The second time the heap is no longer fresh.
        for _ in 0..2 {
            let verdict = self.check_all(allocator, &mut blocks);
            if verdict != Verdict::Right {
                return verdict;
            }
            // SAFETY: all live blocks came from this allocator, which has made no mistake so far.
            if unsafe { blocks.free_all(allocator, self.deadline) } != End::Completed {
                return Verdict::RightSoFar;
            }
        }
        Verdict::Right
    }
}

enum Problem {
    Refused,
    Wrong(&'static str),
}

impl Verify<'_> {
    fn check_all<A: GlobalAlloc>(&self, allocator: &A, blocks: &mut Blocks) -> Verdict {
        let operations = self.sequence.setup.iter().chain(&self.sequence.timed);
        for (index, &operation) in operations.enumerate() {
            if index % 256 == 0 && Instant::now() > self.deadline {
                return Verdict::RightSoFar;
            }
            match self.check_one(allocator, blocks, operation) {
                Ok(()) => {}
                Err(Problem::Refused) => return Verdict::Refused,
                Err(Problem::Wrong(what)) => return Verdict::Wrong(Misbehaviour { index, what }),
            }
        }
        Verdict::Right
    }

    fn check_one<A: GlobalAlloc>(
        &self,
        allocator: &A,
        blocks: &mut Blocks,
        operation: Operation,
    ) -> Result<(), Problem> {
        let slot = operation.slot();
        let old_size = blocks.slot(slot).size();
        if !matches!(operation, Operation::Allocate { .. }) {
            let address = blocks.slot(slot).address();
            // SAFETY: the slot is live; the block has `old_size` bytes.
            if !unsafe { carries_pattern(address, old_size, slot, 0..old_size) } {
                return Err(Problem::Wrong("a live block was overwritten"));
            }
        }
        // SAFETY: the operations come in order from a checked sequence.
        unsafe { blocks.perform(allocator, operation) }.map_err(|_| Problem::Refused)?;
        let block = blocks.slot(slot);
        if matches!(operation, Operation::Free { .. }) {
            return Ok(());
        }
        let (address, size) = (block.address(), block.size());
        if !(address as usize).is_multiple_of(block.layout().align()) {
            return Err(Problem::Wrong("a block is not aligned as requested"));
        }
        if let Some(bounds) = &self.bounds {
            let first = address as usize;
            if !bounds.contains(&first) || bounds.end - first < size {
                return Err(Problem::Wrong("a block lies outside the arena"));
            }
        }
        let contents_are_right = match operation {
            // SAFETY: the block is live; `perform` wrote one byte per page, the first of them at
            // offset 0.
            Operation::Allocate { zeroed: true, .. } => unsafe { is_zero_but_touched(address, size) },
            // SAFETY: the block is live. A grown block was touched only beyond its old bytes.
            Operation::Reallocate { .. } => unsafe { carries_pattern(address, old_size, slot, 0..size) },
            _ => true,
        };
        if !contents_are_right {
            return Err(Problem::Wrong("a zeroed or resized block has wrong contents"));
        }
        // SAFETY: the block is live and has `size` bytes.
        unsafe { write_pattern(address, size, slot) };
        Ok(())
    }
}

fn pattern(slot: u32, offset: usize) -> u8 {
    (slot.wrapping_mul(0x9E37_79B1) >> 24) as u8 ^ offset as u8
}

/// The offsets that carry the pattern in a block of this size.
fn ends(size: usize) -> impl Iterator<Item = usize> {
    (0..size.min(END)).chain(size.saturating_sub(END).max(END)..size)
}

/// # Safety
///
/// The block has `size` bytes.
unsafe fn write_pattern(address: *mut u8, size: usize, slot: u32) {
    for offset in ends(size) {
        // SAFETY: less than `size`.
        unsafe { address.add(offset).write(pattern(slot, offset)) };
    }
}

/// Whether the pattern of a block of `size` bytes is there, as far as it falls into `visible`.
///
/// # Safety
///
/// The visible part is live.
unsafe fn carries_pattern(address: *const u8, size: usize, slot: u32, visible: Range<usize>) -> bool {
    ends(size)
        .filter(|offset| visible.contains(offset))
        // SAFETY: visible, hence live.
        .all(|offset| unsafe { address.add(offset).read() } == pattern(slot, offset))
}

/// # Safety
///
/// The block has `size` bytes, and one byte per page was written by the loop.
unsafe fn is_zero_but_touched(address: *const u8, size: usize) -> bool {
    (0..size)
        .filter(|offset| offset % 4096 != 0)
        // SAFETY: less than `size`.
        .all(|offset| unsafe { address.add(offset).read() } == 0)
}

#[cfg(test)]
mod tests {
    use std::alloc::{Layout, System};
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    fn verdict_on<A: GlobalAlloc + Sync>(allocator: &A, timed: Vec<Operation>) -> Verdict {
        let sequence = Sequence::new("test", Vec::new(), timed).unwrap();
        let verify =
            Verify { sequence: &sequence, bounds: None, deadline: Instant::now() + Duration::from_secs(60) };
        verify.visit(allocator)
    }

    /// Hands the same block out every time.
    struct Repeater(Cell<[u64; 64]>);

    // SAFETY: the test has one thread.
    unsafe impl Sync for Repeater {}

    // SAFETY: deliberately wrong; the block is large enough for what the test asks for.
    unsafe impl GlobalAlloc for Repeater {
        unsafe fn alloc(&self, _layout: Layout) -> *mut u8 {
            self.0.as_ptr().cast()
        }
        unsafe fn dealloc(&self, _ptr: *mut u8, _layout: Layout) {}
    }

    #[test]
    fn an_honest_allocator_is_right() {
        let timed = vec![
            Operation::allocate(0, 40),
            Operation::Allocate { slot: 1, size: 9000, align_log2: 6, zeroed: true },
            Operation::Reallocate { slot: 0, size: 5 },
            Operation::Reallocate { slot: 0, size: 6000 },
            Operation::Free { slot: 1 },
            Operation::Free { slot: 0 },
        ];
        assert_eq!(verdict_on(&System, timed), Verdict::Right);
    }

    #[test]
    fn overlapping_blocks_are_found_out() {
        let timed = vec![Operation::allocate(0, 40), Operation::allocate(1, 40), Operation::Free { slot: 0 }];
        let verdict = verdict_on(&Repeater(Cell::new([0; 64])), timed);
        assert_eq!(verdict, Verdict::Wrong(Misbehaviour { index: 2, what: "a live block was overwritten" }));
    }
}
