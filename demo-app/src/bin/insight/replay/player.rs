//! The hands of a replay: each step as a call of an allocator.

use super::Plan;
use super::arena::Borrowing;
use super::outcome::{Figures, HEADER, Outcome, Refused};
use super::picture::Picture;
use crate::script::{Action, Step};
use mem_alloc_rust::{Locked, Region, Stats, ThreadCached, VirtualThread};
use std::alloc::{GlobalAlloc, Layout};
use std::ops::ControlFlow;
use std::ptr::NonNull;

/// What a replay asks of an allocator beside memory.
pub(super) trait Measured: GlobalAlloc {
    /// Bytes in use or in caches, and the most there ever were.
    fn live_and_peak_bytes(&self) -> (usize, usize);
    /// The figures, when what is in caches was taken back.
    fn stats_without_caches(&self) -> Stats;
    /// Bytes of a block that can be used.
    ///
    /// # Safety
    ///
    /// - The block is one of the allocator's, and in use.
    unsafe fn capacity(&self, block: NonNull<u8>) -> Option<usize>;
}

impl Measured for Locked<Region> {
    fn live_and_peak_bytes(&self) -> (usize, usize) {
        (self.live_bytes(), self.peak_bytes())
    }

    fn stats_without_caches(&self) -> Stats {
        self.stats()
    }

    unsafe fn capacity(&self, block: NonNull<u8>) -> Option<usize> {
        // SAFETY: the caller's contract.
        unsafe { self.usable_size(block.as_ptr()) }
    }
}

impl Measured for ThreadCached<Region> {
    fn live_and_peak_bytes(&self) -> (usize, usize) {
        (self.live_bytes(), self.peak_bytes())
    }

    fn stats_without_caches(&self) -> Stats {
        self.drain();
        self.stats()
    }

    unsafe fn capacity(&self, block: NonNull<u8>) -> Option<usize> {
        // SAFETY: the caller's contract.
        unsafe { self.usable_size(block.as_ptr()) }
    }
}

/// A thread that has done nothing yet.
pub(super) fn begin_thread() -> VirtualThread {
    // SAFETY: the process that replays with caches forks no other, and has no signal handlers.
    unsafe { VirtualThread::new() }
}

/// Performs steps on one allocator, in any order: what makes no sense, as the release of a block that is not live, is
/// left out.
pub(super) struct Player<'a, A: Measured> {
    allocator: &'a A,
    /// Where the arena begins.
    start: u64,
    /// Bytes of the block that is taken before the first step, until it is.
    beforehand: u64,
    /// The blocks that are live, by their numbers.
    blocks: Vec<Option<Held>>,
    /// What the traced program was refused in the end, and has here, and what was taken beforehand.
    unnumbered: Vec<Held>,
    asked: u64,
    events: u64,
    peak_asked: u64,
    peak_event: u64,
    refused: Option<Refused>,
}

/// A block that is live: it came from the player's allocator for that layout, and was not given back since.
#[derive(Clone, Copy)]
struct Held {
    start: NonNull<u8>,
    layout: Layout,
}

impl<'a> Player<'a, Locked<Region>> {
    /// A player that has done nothing yet.
    pub(super) fn new(arena: &'a Borrowing<'_>, beforehand: u64) -> Self {
        Self::on(arena, arena.start(), beforehand)
    }
}

impl<'a, A: Measured> Player<'a, A> {
    /// A player that has done nothing yet, on an allocator whose arena begins at that address. Whichever thread comes
    /// first takes a block of so many bytes beforehand.
    pub(super) fn on(allocator: &'a A, start: u64, beforehand: u64) -> Self {
        Self {
            allocator,
            start,
            beforehand,
            blocks: Vec::new(),
            unnumbered: Vec::new(),
            asked: 0,
            events: 0,
            peak_asked: 0,
            peak_event: 0,
            refused: None,
        }
    }

    /// Events that were performed.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Performs a step. Breaks if the allocator refuses what it must serve.
    pub(super) fn perform(&mut self, step: &Step) -> ControlFlow<()> {
        self.events += u64::from(step.is_event);
        let served = self.take_beforehand().and_then(|()| self.act(step));
        if self.asked > self.peak_asked {
            (self.peak_asked, self.peak_event) = (self.asked, self.events);
        }
        match served {
            Ok(()) => ControlFlow::Continue(()),
            Err(refused) => {
                self.refused = Some(refused);
                ControlFlow::Break(())
            }
        }
    }

    fn take_beforehand(&mut self) -> Result<(), Refused> {
        let bytes = std::mem::take(&mut self.beforehand);
        if bytes > 0 {
            let held = self.ask(bytes, 3, false)?;
            self.unnumbered.push(held);
        }
        Ok(())
    }

    fn act(&mut self, step: &Step) -> Result<(), Refused> {
        match step.action {
            Action::Thread(_) | Action::ThreadEnd(_) => Ok(()),
            Action::Allocate { block, size, align_log2, is_zeroed } => {
                self.allocate(block, size, align_log2, is_zeroed)
            }
            Action::Release { block } => {
                self.release(block);
                Ok(())
            }
            Action::Reallocate { block, size } => self.reallocate(block, size),
            Action::Refused { size, align_log2 } => {
                let served = self.attempt(size, align_log2, step.is_required);
                if step.is_required { served } else { Ok(()) }
            }
            Action::RefusedReallocation { block, size } if step.is_required => self.reallocate(block, size),
            Action::RefusedReallocation { block, size } => {
                self.attempt_to_resize(block, size);
                Ok(())
            }
        }
    }

    /// What came of it, if that was all.
    pub(super) fn outcome(&self, plan: Plan) -> Outcome {
        // Before anything is taken back from caches.
        let (live_and_cached, peak) = self.allocator.live_and_peak_bytes();
        let stats = self.allocator.stats_without_caches();
        let mut picture = Picture::new(self.start, plan);
        let mut figures = Figures {
            usable: stats.arena_bytes as u64,
            asked: self.asked,
            live_and_cached: live_and_cached as u64,
            live: stats.live_bytes as u64,
            peak: peak as u64,
            free: stats.free_bytes as u64,
            largest_free: stats.largest_free_bytes as u64,
            free_blocks: stats.free_blocks as u64,
            ..Figures::default()
        };
        for held in self.blocks.iter().flatten().chain(&self.unnumbered) {
            // SAFETY: what is held is in use.
            let capacity = unsafe { self.allocator.capacity(held.start) }.unwrap_or(held.layout.size());
            figures.blocks += 1;
            figures.capacity += capacity as u64;
            // A slot is as long as a number of granules; a block is, too, but has its header in the first four bytes.
            let header = if capacity % 8 == 4 { HEADER } else { 0 };
            figures.headers += u64::from(header > 0);
            picture.add(held.start.addr().get() as u64 - header, capacity as u64 + header);
        }
        Outcome {
            events: self.events,
            refused: self.refused,
            peak_asked: self.peak_asked,
            peak_event: self.peak_event,
            figures,
            cells: picture.cells(),
        }
    }

    fn allocate(&mut self, block: u32, size: u64, align_log2: u8, is_zeroed: bool) -> Result<(), Refused> {
        self.release(block);
        let held = self.ask(size, align_log2, is_zeroed)?;
        let number = block as usize;
        if self.blocks.len() <= number {
            self.blocks.resize(number + 1, None);
        }
        self.blocks[number] = Some(held);
        self.asked += held.layout.size() as u64;
        Ok(())
    }

    fn ask(&self, size: u64, align_log2: u8, is_zeroed: bool) -> Result<Held, Refused> {
        let refused = Refused { bytes: size, align: 1 << align_log2.min(63), former_bytes: None };
        let layout = layout(size, align_log2).ok_or(refused)?;
        // SAFETY: the layout is of more than no bytes.
        let start = unsafe {
            if is_zeroed { self.allocator.alloc_zeroed(layout) } else { self.allocator.alloc(layout) }
        };
        Ok(Held { start: NonNull::new(start).ok_or(refused)?, layout })
    }

    fn release(&mut self, block: u32) {
        if let Some(held) = self.blocks.get_mut(block as usize).and_then(Option::take) {
            self.asked -= held.layout.size() as u64;
            // SAFETY: what was held came from this allocator for that layout, and is given back once.
            unsafe { self.allocator.dealloc(held.start.as_ptr(), held.layout) };
        }
    }

    fn reallocate(&mut self, block: u32, size: u64) -> Result<(), Refused> {
        let Some(Some(held)) = self.blocks.get_mut(block as usize) else { return Ok(()) };
        let former = held.layout.size();
        let align = held.layout.align();
        let refused = Refused { bytes: size, align: align as u64, former_bytes: Some(former as u64) };
        let layout = layout(size, align.trailing_zeros() as u8).ok_or(refused)?;
        // SAFETY: what is held came from this allocator for that layout. The new size is more than none, and not too
        // large for the alignment.
        let start = unsafe { self.allocator.realloc(held.start.as_ptr(), held.layout, layout.size()) };
        let start = NonNull::new(start).ok_or(refused)?;
        *held = Held { start, layout };
        self.asked = self.asked - former as u64 + layout.size() as u64;
        Ok(())
    }

    /// Asks for what the traced program was refused. What is served is given back at once, unless it is to stay.
    fn attempt(&mut self, size: u64, align_log2: u8, stays: bool) -> Result<(), Refused> {
        let held = self.ask(size, align_log2, false)?;
        if stays {
            self.asked += held.layout.size() as u64;
            self.unnumbered.push(held);
        } else {
            // SAFETY: it was allocated just now for that layout, and is kept nowhere.
            unsafe { self.allocator.dealloc(held.start.as_ptr(), held.layout) };
        }
        Ok(())
    }

    fn attempt_to_resize(&mut self, block: u32, size: u64) {
        let Some(Some(held)) = self.blocks.get(block as usize) else { return };
        let former = held.layout.size() as u64;
        let is_served = self.reallocate(block, size).is_ok();
        if is_served {
            // It becomes what it was, which is shorter and so not refused.
            let _ = self.reallocate(block, former);
        }
    }
}

/// The layout of a request; one of zero bytes is served like one of one. `None` if no allocator could serve it.
fn layout(size: u64, align_log2: u8) -> Option<Layout> {
    let align = 1usize.checked_shl(align_log2.into())?;
    Layout::from_size_align(usize::try_from(size.max(1)).ok()?, align).ok()
}
