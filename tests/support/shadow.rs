//! A heap and its shadow: every operation is carried out on both, and every answer of the heap is checked.

use super::live_block::LiveBlock;
use super::memory::{Memory, RegionShape};
use super::operation::{Operation, Step};
use super::{census, fit};
use mem_alloc_rust::{Fault, Heap, RegionError, Stats};
use std::alloc::Layout;
use std::fmt;
use std::ptr::NonNull;

/// What a heap did wrong, and how it got there.
pub(crate) struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A heap over memory of its own, and everything that is known about it.
///
/// The fields are open to a test that takes all of it back to an earlier state.
pub(crate) struct Shadow {
    pub(crate) heap: Heap,
    pub(crate) memory: Memory,
    /// The blocks in use, in the order of their addresses.
    pub(crate) live: Vec<LiveBlock>,
    /// All operations that were carried out.
    pub(crate) history: Vec<Step>,
    /// The most bytes that were live after a step; the heap's own peak may be higher, because a block that
    /// moves is there twice.
    pub(crate) peak: usize,
}

impl Shadow {
    /// A heap over a region of that shape. If the region is too small, the heap has none and has to refuse
    /// everything.
    pub(crate) fn new(shape: RegionShape) -> Result<Self, Failure> {
        let mut shadow = Self {
            heap: Heap::new(),
            memory: Memory::new(shape),
            live: Vec::new(),
            history: Vec::new(),
            peak: 0,
        };
        let start = shadow.memory.start();
        // SAFETY: the memory lives as long as the heap, is as zero as the shape says, and is used by the heap
        // only.
        let outcome = unsafe { shadow.heap.init(start, shape.len, shape.zeroed) };
        let expected = match shape.usable_bytes() {
            Some(_) => Ok(()),
            None => Err(RegionError::TooSmall { len: shape.len }),
        };
        if outcome != expected {
            return Err(shadow.failure(format!("`init` gave {outcome:?} instead of {expected:?}")));
        }
        let arena = shadow.heap.stats().arena_bytes;
        if arena != shape.usable_bytes().unwrap_or(0) {
            return Err(shadow.failure(format!("the arena has {arena} bytes")));
        }
        shadow.check()?;
        Ok(shadow)
    }

    /// Carries the operation out and checks everything that may not have changed, and what had to. An
    /// operation without meaning, on a block where there is none or for a layout that Rust forbids, does
    /// nothing.
    pub(crate) fn apply(&mut self, operation: Operation) -> Result<(), Failure> {
        let outcome = match operation {
            Operation::Alloc { size, align } | Operation::AllocZeroed { size, align } => {
                let Ok(layout) = Layout::from_size_align(size, align) else {
                    return Ok(());
                };
                self.begin(operation, self.history.len());
                self.allocate(layout, matches!(operation, Operation::AllocZeroed { .. }))
            }
            Operation::Free { which } => {
                let Some(rank) = which.checked_rem(self.live.len()) else {
                    return Ok(());
                };
                self.begin(operation, self.live[rank].number);
                self.free(rank)
            }
            Operation::Realloc { which, new_size } => {
                let Some(rank) = which.checked_rem(self.live.len()) else {
                    return Ok(());
                };
                let block = self.live[rank];
                let Ok(new_layout) = Layout::from_size_align(new_size, block.layout.align()) else {
                    return Ok(());
                };
                self.begin(operation, block.number);
                self.resize(rank, new_layout)
            }
        };
        outcome.map_err(|what| self.failure(what))?;
        self.check()?;
        Ok(())
    }

    /// Checks every live byte, frees every block, and asks for the whole arena in one piece.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.check_figures()?;
        // From below, from above, or from the middle, where a block is freed between all kinds of neighbours.
        // What is chosen does not depend on the operations, so that leaving some out does not change
        // it.
        let RegionShape { len, misalignment, .. } = self.memory.shape();
        let order = (len + misalignment) % 3;
        while let Some(last) = self.live.len().checked_sub(1) {
            self.apply(Operation::Free { which: [0, last, last / 2][order] })?;
        }
        self.check_figures()?;
        let stats = self.heap.stats();
        let one_block = usize::from(self.heap.is_initialized());
        if (stats.live_bytes, stats.free_blocks, stats.largest_free_bytes)
            != (0, one_block, stats.arena_bytes)
        {
            return Err(self.failure(format!("after everything was freed: {stats:?}")));
        }
        if let Some(usable) = self.memory.shape().usable_bytes() {
            let size = usable - super::HEADER;
            self.apply(Operation::AllocZeroed { size, align: 1 })?;
            if self.live.is_empty() {
                return Err(self.failure("the whole arena cannot be had in one block"));
            }
        }
        Ok(())
    }

    fn begin(&mut self, operation: Operation, block: usize) {
        self.history.push(Step { operation, block, refused: false });
    }

    fn note_refusal(&mut self) {
        if let Some(step) = self.history.last_mut() {
            step.refused = true;
        }
    }

    fn allocate(&mut self, layout: Layout, zeroed: bool) -> Result<(), String> {
        let answer = if zeroed { self.heap.alloc_zeroed(layout) } else { self.heap.alloc(layout) };
        let Some(pointer) = answer else {
            self.note_refusal();
            return match fit::span_for(&self.heap, layout) {
                Some(span) => Err(format!("refused, though it fits {span:?}")),
                None => Ok(()),
            };
        };
        let block = LiveBlock { number: self.history.len() - 1, pointer: pointer.as_ptr(), layout };
        self.admit(block)?;
        if zeroed && !block.is_zero() {
            return Err("the block is not zero".into());
        }
        block.fill_from(0);
        Ok(())
    }

    fn free(&mut self, rank: usize) -> Result<(), String> {
        let block = self.live.remove(rank);
        if !block.is_intact() {
            return Err(format!("the contents of #{} have changed", block.number));
        }
        // SAFETY: the block is live, and nobody uses its bytes any more.
        let first = unsafe { self.heap.dealloc(block.pointer) };
        if let Err(fault) = first {
            return Err(format!("free #{}: {fault}", block.number));
        }
        self.expect_dead(block)
    }

    /// Frees a block once more right after it was given back, which the heap has to notice.
    fn expect_dead(&mut self, block: LiveBlock) -> Result<(), String> {
        // SAFETY: the heap promises to tell a pointer that it was just given, without touching memory.
        match unsafe { self.heap.dealloc(block.pointer) } {
            Err(Fault::AlreadyFree { address, .. }) if address == block.start() => Ok(()),
            other => Err(format!("a second free of #{} gave {other:?}", block.number)),
        }
    }

    fn resize(&mut self, rank: usize, new_layout: Layout) -> Result<(), String> {
        let old = self.live[rank];
        let kept = old.size().min(new_layout.size());
        if !old.is_intact() {
            return Err(format!("the contents of #{} have changed", old.number));
        }
        // SAFETY: the block is live and was allocated, or last resized, for this layout.
        let answer = unsafe { self.heap.realloc(old.pointer, old.layout, new_layout.size()) };
        match answer {
            Err(fault) => Err(format!("realloc #{}: {fault}", old.number)),
            Ok(None) => {
                self.note_refusal();
                match fit::span_for_resized(&self.heap, old, new_layout) {
                    Some(span) => Err(format!("refused, though it fits {span:?}")),
                    None if old.is_intact() => Ok(()),
                    None => Err("a refusal changed the block's contents".into()),
                }
            }
            Ok(Some(pointer)) => {
                self.live.remove(rank);
                self.move_to(pointer, new_layout, old, kept)
            }
        }
    }

    /// Takes note that `old` is now at `pointer`, with its first `kept` bytes as they were.
    fn move_to(
        &mut self,
        pointer: NonNull<u8>,
        layout: Layout,
        old: LiveBlock,
        kept: usize,
    ) -> Result<(), String> {
        let block = LiveBlock { number: old.number, pointer: pointer.as_ptr(), layout };
        self.admit(block)?;
        if !block.is_intact_in(0..kept) {
            return Err(format!("the first {kept} bytes were not kept"));
        }
        block.fill_from(kept);
        // Where the block moved a little way, its old header may lie among its contents now.
        let within = block.start()..block.end() + super::HEADER;
        if within.contains(&old.start()) { Ok(()) } else { self.expect_dead(old) }
    }

    /// Puts a block among the live ones, if it may be where it is.
    fn admit(&mut self, block: LiveBlock) -> Result<(), String> {
        let (region, len) = (self.memory.start().addr(), self.memory.shape().len);
        if block.start() % block.layout.align().max(super::GRANULE) != 0 {
            return Err(format!("{:#x} is misaligned", block.start()));
        }
        if block.start() < region || block.size() > len || block.end() > region + len {
            return Err(format!("{:#x} is outside of the region", block.start()));
        }
        let rank = self.live.partition_point(|other| other.start() < block.start());
        let left = rank.checked_sub(1).map(|rank| self.live[rank]);
        let overlapped =
            left.filter(|left| left.end() > block.start()).or(self.live.get(rank).copied().filter(|right| {
                // A block of zero bytes has an address of its own, too.
                block.end() > right.start() || block.start() == right.start()
            }));
        if let Some(other) = overlapped {
            return Err(format!("the block overlaps #{}", other.number));
        }
        self.live.insert(rank, block);
        Ok(())
    }

    /// What has to be true after every step. The heap is only looked at.
    fn check(&mut self) -> Result<Stats, Failure> {
        if let Err(violation) = self.heap.audit() {
            return Err(self.failure(format_args!("audit: {violation}")));
        }
        let figures = census::count(&self.heap, &self.live).map_err(|what| self.failure(what))?;
        self.peak = self.peak.max(figures.live_bytes);
        let what = if let Some(block) = self.live.iter().find(|block| !block.edges_are_intact()) {
            format!("the contents of #{} have changed", block.number)
        } else if !self.memory.red_zones_are_intact() {
            "bytes outside of the region have changed".into()
        } else {
            return Ok(figures);
        };
        Err(self.failure(what))
    }

    /// Compares the heap's figures with its blocks.
    pub(crate) fn check_figures(&mut self) -> Result<(), Failure> {
        let mut stats = self.heap.stats();
        let figures = self.check()?;
        if !(self.peak..=stats.arena_bytes).contains(&stats.peak_bytes) {
            return Err(self.failure(format!("the peak is {} and was {}", stats.peak_bytes, self.peak)));
        }
        stats.peak_bytes = 0;
        // How many slots a run has, nobody outside of the heap knows.
        if stats.free_bytes != census::bytes(&stats.free_by_size) + stats.free_slot_bytes {
            return Err(self.failure(format!("what is free does not add up: {stats:?}")));
        }
        stats.free_bytes += stats.overhead_bytes;
        (stats.overhead_bytes, stats.free_slot_bytes) = (0, 0);
        if let Err(what) = census::check_sizes(&self.heap, &stats) {
            return Err(self.failure(what));
        }
        (stats.live_by_size, stats.free_by_size) = (figures.live_by_size, figures.free_by_size);
        if stats != figures {
            return Err(self.failure(format!("{stats:?}, but {figures:?}")));
        }
        Ok(())
    }

    fn failure(&self, what: impl fmt::Display) -> Failure {
        let steps: Vec<_> = self.history.iter().map(Step::to_string).collect();
        Failure(format!("{what}\nin {:?}\nafter: {}", self.memory.shape(), steps.join("; ")))
    }
}
