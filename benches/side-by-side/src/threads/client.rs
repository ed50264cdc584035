//! A thread's way to the allocator: makes the calls, counts them, and watches them if that is wanted.

use std::alloc::{GlobalAlloc, Layout};
use std::fmt;
use std::ptr::NonNull;

use bench_common::Latencies;

use crate::clock::Clock;
use crate::execute::{Observer, Unobserved, call_alloc, call_dealloc};

/// All blocks are aligned to this.
const ALIGN: usize = 8;
/// No workload asks for less: an owner's mark fits.
pub(super) const SMALLEST: u32 = size_of::<Mark>() as u32;

/// What an allocator did that ends the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It refused a request in spite of a generous arena.
    Refused,
    /// It gave a wrong answer.
    Wrong(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::Wrong(what) => write!(f, "wrong: {what}"),
        }
    }
}

/// What the owner writes into its block: nobody else's block has the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    address: u64,
    size: u64,
}

impl Mark {
    /// So that no address that an allocator itself writes looks like a mark.
    const KEY: u64 = 0x5EED_0B10_C0FF_EE5A;
}

/// A block in use; who has it owns it.
#[derive(Debug)]
pub(super) struct Block {
    address: NonNull<u8>,
    size: u32,
}

// SAFETY: the memory belongs to whoever has the value.
unsafe impl Send for Block {}

impl Block {
    fn layout(size: u32) -> Layout {
        // SAFETY: a power of two, and a size far from overflowing.
        unsafe { Layout::from_size_align_unchecked(size as usize, ALIGN) }
    }

    fn mark(&self) -> Mark {
        Mark { address: self.address.addr().get() as u64 ^ Mark::KEY, size: u64::from(self.size) }
    }

    fn write_mark(&self) {
        // SAFETY: the block is live, aligned, and not smaller than a mark. Volatile, because the optimiser may not drop
        // it.
        unsafe { self.address.cast::<Mark>().write_volatile(self.mark()) };
    }

    fn has_mark(&self) -> bool {
        // SAFETY: the block is live and aligned, and the mark was written when it was allocated.
        unsafe { self.address.cast::<Mark>().read_volatile() == self.mark() }
    }
}

/// What is done around calls; one kind for all calls of a run, and one value per thread.
pub(super) trait Watch: Observer + Send {
    /// Whether marks are looked at.
    const CHECKS: bool;

    /// A watch that has seen nothing. It takes all memory that it needs here.
    fn new() -> Self;

    /// Forgets what it saw.
    fn forget(&mut self);
}

/// For throughput.
impl Watch for Unobserved {
    const CHECKS: bool = false;

    fn new() -> Self {
        Self
    }

    fn forget(&mut self) {}
}

/// Checks every block that is freed.
pub(super) struct Checks;

impl Observer for Checks {
    fn around<T>(&mut self, call: impl FnOnce() -> T) -> T {
        call()
    }
}

impl Watch for Checks {
    const CHECKS: bool = true;

    fn new() -> Self {
        Self
    }

    fn forget(&mut self) {}
}

/// Times every call.
pub(super) struct Stopwatch {
    /// What the calls took.
    pub(super) ticks: Latencies,
}

impl Observer for Stopwatch {
    #[inline(always)]
    fn around<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let (result, ticks) = Clock::time(call);
        self.ticks.record(ticks);
        result
    }
}

impl Watch for Stopwatch {
    const CHECKS: bool = false;

    fn new() -> Self {
        Self { ticks: Latencies::new() }
    }

    fn forget(&mut self) {
        self.ticks.clear();
    }
}

/// One thread's calls.
pub(super) struct Client<'a, A, W> {
    allocator: &'a A,
    /// What saw the calls.
    pub(super) watch: W,
    /// How many there were.
    pub(super) calls: u64,
}

impl<'a, A: GlobalAlloc, W: Watch> Client<'a, A, W> {
    /// A client that has made no calls.
    pub(super) fn new(allocator: &'a A) -> Self {
        Self { allocator, watch: W::new(), calls: 0 }
    }

    /// Begins anew: what came before was for warming up.
    pub(super) fn restart(&mut self) {
        self.watch.forget();
        self.calls = 0;
    }

    /// Allocates a block of at least [`SMALLEST`] bytes, and writes into it.
    #[inline(always)]
    pub(super) fn alloc(&mut self, size: u32) -> Result<Block, Failure> {
        debug_assert!(size >= SMALLEST, "a mark does not fit into {size} bytes");
        let layout = Block::layout(size);
        // SAFETY: the size is not zero.
        let address = self.watch.around(|| unsafe { call_alloc(self.allocator, layout) });
        self.calls += 1;
        let block = Block { address: NonNull::new(address).ok_or(Failure::Refused)?, size };
        if W::CHECKS && !address.addr().is_multiple_of(ALIGN) {
            return Err(Failure::Wrong("a block is not aligned as requested"));
        }
        block.write_mark();
        Ok(block)
    }

    /// Frees a block, whoever allocated it.
    #[inline(always)]
    pub(super) fn free(&mut self, block: Block) -> Result<(), Failure> {
        if W::CHECKS && !block.has_mark() {
            return Err(Failure::Wrong("a live block was overwritten"));
        }
        // SAFETY: the block was allocated with this layout, and its owner gives it up.
        self.watch.around(|| unsafe {
            call_dealloc(self.allocator, block.address.as_ptr(), Block::layout(block.size));
        });
        self.calls += 1;
        Ok(())
    }
}
