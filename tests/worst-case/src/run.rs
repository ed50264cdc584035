//! Carries out a genome and keeps the most expensive call of each kind.

use crate::arena::Arena;
use crate::bounds::bound;
use crate::count::Count;
use crate::engine::{Engine, Way};
use crate::genome::{Genome, Order, Selection, Size, Sizes, Step};
use crate::random::Random;
use anyhow::{Context, Result, ensure};
use mem_alloc_rust::{Locked, Region};
use std::alloc::{GlobalAlloc, Layout};
use std::fmt;

/// After so many calls a run ends: some genomes would take minutes.
const MOST_CALLS: u64 = 20_000_000;

/// Kinds of calls, each of which is searched for its own worst case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Goal {
    /// An allocation that is served, at an alignment of at most 8.
    Alloc,
    /// One at a larger alignment.
    AlignedAlloc,
    /// A release.
    Free,
    /// A change of size after which the block lies where it lay.
    ResizeInPlace,
    /// One after which it lies elsewhere.
    ResizeMoved,
    /// An allocation that is refused, at an alignment of at most 8.
    Refusal,
    /// One at a larger alignment.
    AlignedRefusal,
    /// A change of size that is refused.
    ResizeRefusal,
    /// An allocation or a change of size that was served by the last step before it would have been refused: what was
    /// kept for later has become what it needs.
    LastStep,
}

impl Goal {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Alloc,
        Self::AlignedAlloc,
        Self::Free,
        Self::ResizeInPlace,
        Self::ResizeMoved,
        Self::Refusal,
        Self::AlignedRefusal,
        Self::ResizeRefusal,
        Self::LastStep,
    ];

    /// Whether the call came to the last step before a refusal.
    #[must_use]
    pub fn has_last_step(self) -> bool {
        matches!(self, Self::Refusal | Self::AlignedRefusal | Self::ResizeRefusal | Self::LastStep)
    }

    /// Whether the call asks for memory.
    fn asks(self) -> bool {
        self != Self::Free
    }

    /// The name in tables and of files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alloc => "alloc",
            Self::AlignedAlloc => "aligned-alloc",
            Self::Free => "free",
            Self::ResizeInPlace => "realloc-in-place",
            Self::ResizeMoved => "realloc-moved",
            Self::Refusal => "alloc-refused",
            Self::AlignedRefusal => "aligned-alloc-refused",
            Self::ResizeRefusal => "realloc-refused",
            Self::LastStep => "last-step",
        }
    }
}

/// A call, as far as it helps to understand what was expensive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The number of its step, from 1 on, or 0 before there was one.
    pub step: usize,
    /// Its number within the step, from 1 on.
    pub number: u64,
    /// The size asked for, or that of the block released.
    pub size: usize,
    /// Its alignment.
    pub align: usize,
    /// What it came to.
    pub count: Count,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, number, size, align, count } = self;
        write!(f, "{} instructions, step {step} call {number}, {size} bytes at {align}", count.instructions)
    }
}

/// The most expensive call of each kind, and how many there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worst {
    calls: [Option<Call>; Goal::ALL.len()],
    /// All calls.
    pub made: u64,
    /// The sum of their counts.
    pub total: Count,
}

impl Worst {
    /// The most expensive call of a kind.
    #[must_use]
    pub fn of(&self, goal: Goal) -> Option<Call> {
        self.calls[goal as usize]
    }

    /// How many instructions that was; 0 if there was no such call.
    #[must_use]
    pub fn instructions(&self, goal: Goal) -> u64 {
        self.of(goal).map_or(0, |call| call.count.instructions)
    }

    fn note(&mut self, goal: Goal, call: Call) {
        let worst = &mut self.calls[goal as usize];
        if worst.is_none_or(|worst| worst.count.instructions < call.count.instructions) {
            *worst = Some(call);
        }
    }
}

/// Carries out one genome after the other.
pub struct Runner {
    /// Kept from one run to the next.
    arena: Option<Arena>,
    most_instructions: u64,
}

impl Default for Runner {
    fn default() -> Self {
        Self { arena: None, most_instructions: u64::MAX }
    }
}

impl Runner {
    /// A runner for searches: a run ends after the call with which there were so many instructions.
    /// What an expensive call was is known by then, and thousands more like it would only take
    /// time.
    #[must_use]
    pub fn limited_to(most_instructions: u64) -> Self {
        Self { arena: None, most_instructions }
    }

    /// Carries out a genome in a new allocator.
    ///
    /// # Errors
    ///
    /// If there is no memory for the arena, or calls cannot be counted.
    pub fn run(&mut self, genome: &Genome, way: Way) -> Result<Worst> {
        let (mut worst, mut suspects) = self.run_once(genome, way, Vec::new())?;
        if !suspects.is_empty() {
            // What was free before each of them is seen when all is done once more.
            (_, suspects) = self.run_once(genome, Way::Uncounted, suspects)?;
        }
        suspects.iter().for_each(|suspect| worst.note(suspect.goal(), suspect.call));
        Ok(worst)
    }

    /// The most expensive calls but suspects, and these. If there are some already, sees what is free before each of
    /// them.
    fn run_once(
        &mut self,
        genome: &Genome,
        way: Way,
        suspects: Vec<Suspect>,
    ) -> Result<(Worst, Vec<Suspect>)> {
        if self.arena.as_ref().is_none_or(|arena| arena.bytes() != genome.arena) {
            self.arena = Some(Arena::new(genome.arena)?);
        }
        let arena = self.arena.as_mut().context("there is an arena now")?;
        arena.clear();
        let allocator: Locked<Region> = Locked::new();
        let engine = Engine::new(&allocator, way);
        // The first call of all asks the C library whether there are threads, which is not to be
        // counted. SAFETY: the layout is not of zero bytes, and there is no memory yet.
        let refused = unsafe { allocator.alloc(Layout::new::<u64>()) };
        ensure!(refused.is_null(), "an allocator without memory serves a request");
        // SAFETY: nothing else uses the arena as long as the allocator is used, which ends with
        // this call.
        unsafe { allocator.init(arena.start(), arena.bytes()) }.context("the arena is refused")?;
        let mut state = State::new(engine, genome.arena, self.most_instructions);
        state.suspects = suspects;
        for (number, step) in genome.steps.iter().enumerate() {
            if state.is_over() {
                break;
            }
            state.step = number + 1;
            state.number = 0;
            state.carry_out(step)?;
        }
        Ok((state.worst, state.suspects))
    }
}

/// A call that was served and took more than it may, unless it came to the last step before a refusal.
#[derive(Clone, Copy)]
struct Suspect {
    goal: Goal,
    call: Call,
    /// The most that could be asked for before the call, if that is known.
    largest_free: Option<usize>,
}

impl Suspect {
    /// What kind of call it was after all. A block that is larger than what was asked for by its alignment, and two
    /// granules, holds it wherever it lies.
    fn goal(&self) -> Goal {
        let certain = self.call.size + self.call.align + 16;
        let is_last_step = self.largest_free.is_some_and(|free| free < certain);
        if is_last_step { Goal::LastStep } else { self.goal }
    }
}

/// A live block.
#[derive(Clone, Copy)]
struct Block {
    address: *mut u8,
    size: usize,
    group: u32,
    align_log2: u8,
    /// Whether it is about to be released.
    leaves: bool,
}

impl Block {
    fn layout(&self) -> Layout {
        layout(self.size, self.align_log2)
    }
}

/// A layout of a size and alignment, the former less if it would be none.
fn layout(size: usize, align_log2: u8) -> Layout {
    let align = 1usize << align_log2.min(40);
    Layout::from_size_align(size.min(isize::MAX as usize - align), align).unwrap_or(Layout::new::<u64>())
}

struct State<'a> {
    engine: Engine<'a>,
    arena: usize,
    most_instructions: u64,
    /// By age.
    blocks: Vec<Block>,
    groups: u32,
    /// The size that was found by [`Step::Measure`].
    largest: usize,
    /// Some sizes of blocks that were released.
    freed: Vec<usize>,
    step: usize,
    number: u64,
    worst: Worst,
    /// In the order of their calls, and before how many of them it was seen what is free.
    suspects: Vec<Suspect>,
    seen: usize,
}

/// No more suspects than these are looked at in one run, the most expensive ones: to see what is free takes time.
const MOST_SUSPECTS: usize = 4;

impl<'a> State<'a> {
    fn new(engine: Engine<'a>, arena: usize, most_instructions: u64) -> Self {
        Self {
            engine,
            arena,
            most_instructions,
            blocks: Vec::new(),
            groups: 0,
            largest: arena / 2,
            freed: Vec::new(),
            step: 0,
            number: 0,
            worst: Worst::default(),
            suspects: Vec::new(),
            seen: 0,
        }
    }

    fn carry_out(&mut self, step: &Step) -> Result<()> {
        match *step {
            Step::Fill { count, ref sizes, align_log2, zeroed, fence, seed } => {
                self.fill(count, sizes, align_log2, zeroed, fence, seed)
            }
            Step::Free { ref which, order, seed } => self.free(which, order, seed),
            Step::Resize { ref which, ref sizes, seed } => self.resize(which, sizes, seed),
            Step::Churn { count, ref sizes, align_log2, seed } => {
                let mut random = Random::seeded(seed);
                for index in 0..count {
                    if self.is_over() {
                        break;
                    }
                    if !self.blocks.is_empty() {
                        let at = random.below(self.blocks.len());
                        let block = self.blocks.swap_remove(at);
                        self.dealloc(block)?;
                    }
                    let size = sizes.size(index, &mut random);
                    self.keep(size, align_log2, false, 0)?;
                }
                Ok(())
            }
            Step::Measure => self.measure(),
            Step::Alloc { size, align_log2, zeroed } => {
                let size = self.bytes(size);
                self.keep(size, align_log2, zeroed, 0).map(drop)
            }
            Step::FreeOne { block } => {
                if self.blocks.is_empty() {
                    return Ok(());
                }
                let block = self.blocks.remove(block % self.blocks.len());
                self.dealloc(block)
            }
            Step::ResizeOne { block, size } => {
                if self.blocks.is_empty() {
                    return Ok(());
                }
                let size = self.bytes(size);
                self.realloc(block % self.blocks.len(), size).map(drop)
            }
            Step::Try { count, seed } => self.try_calls(count, seed),
        }
    }

    fn is_over(&self) -> bool {
        let are_all_seen = self.seen > 0 && self.seen == self.suspects.len();
        self.worst.made >= MOST_CALLS
            || self.worst.total.instructions >= self.most_instructions
            || are_all_seen
    }

    fn bytes(&self, size: Size) -> usize {
        match size {
            Size::Bytes(bytes) => bytes.max(1),
            Size::Largest(more) => self.largest.saturating_add_signed(more).max(1),
        }
    }

    fn note(&mut self, goal: Goal, layout: Layout, count: Count) {
        let call =
            Call { step: self.step, number: self.number, size: layout.size(), align: layout.align(), count };
        self.worst.total += count;
        if !goal.asks() || count.instructions <= bound(goal) {
            return self.worst.note(goal, call);
        }
        self.suspects.push(Suspect { goal, call, largest_free: None });
        if self.suspects.len() > MOST_SUSPECTS {
            let instructions = |at: &usize| self.suspects[*at].call.count.instructions;
            let cheapest = (0..self.suspects.len()).min_by_key(instructions);
            cheapest.map(|at| self.suspects.remove(at));
        }
    }

    fn count_call(&mut self) {
        self.number += 1;
        self.worst.made += 1;
        if let Some(suspect) = self.suspects.get_mut(self.seen)
            && (suspect.call.step, suspect.call.number) == (self.step, self.number)
        {
            suspect.largest_free = Some(self.engine.largest_free());
            self.seen += 1;
        }
    }

    /// Allocates a block; null if that is refused.
    fn alloc(&mut self, layout: Layout, zeroed: bool) -> Result<*mut u8> {
        self.count_call();
        let (block, count) = self.engine.alloc(layout, zeroed)?;
        let goal = match (block.is_null(), layout.align() > 8) {
            (false, false) => Goal::Alloc,
            (false, true) => Goal::AlignedAlloc,
            (true, false) => Goal::Refusal,
            (true, true) => Goal::AlignedRefusal,
        };
        self.note(goal, layout, count);
        Ok(block)
    }

    /// Allocates a block and keeps it, if it is served.
    fn keep(&mut self, size: usize, align_log2: u8, zeroed: bool, group: u32) -> Result<bool> {
        let address = self.alloc(layout(size, align_log2), zeroed)?;
        if !address.is_null() {
            self.blocks.push(Block { address, size, group, align_log2, leaves: false });
        }
        Ok(!address.is_null())
    }

    /// Releases a block that was taken out of `blocks`.
    fn dealloc(&mut self, block: Block) -> Result<()> {
        /// How many sizes are remembered.
        const REMEMBERED: usize = 64;
        self.count_call();
        // SAFETY: the block is live, and forgotten here.
        let count = unsafe { self.engine.dealloc(block.address, block.layout())? };
        self.note(Goal::Free, block.layout(), count);
        if self.freed.len() < REMEMBERED {
            self.freed.push(block.size);
        } else if self.worst.made.is_multiple_of(7) {
            self.freed[self.worst.made as usize % REMEMBERED] = block.size;
        }
        Ok(())
    }

    /// Changes the size of one of the blocks; false if that is refused.
    fn realloc(&mut self, at: usize, size: usize) -> Result<bool> {
        self.count_call();
        let block = self.blocks[at];
        let new_layout = layout(size, block.align_log2);
        // SAFETY: the block is live; its new size is less than that of any object.
        let (address, count) =
            unsafe { self.engine.realloc(block.address, block.layout(), new_layout.size())? };
        if address.is_null() {
            self.note(Goal::ResizeRefusal, new_layout, count);
            return Ok(false);
        }
        if !is_copied_in_pieces(block.address, address, block.size.min(size)) {
            let goal = if address == block.address { Goal::ResizeInPlace } else { Goal::ResizeMoved };
            self.note(goal, new_layout, count);
        }
        self.blocks[at] = Block { address, size: new_layout.size(), ..block };
        Ok(true)
    }

    fn fill(
        &mut self,
        count: Option<usize>,
        sizes: &Sizes,
        align_log2: u8,
        zeroed: bool,
        fence: Option<usize>,
        seed: u64,
    ) -> Result<()> {
        let mut random = Random::seeded(seed);
        let group = self.groups;
        self.groups += 1 + u32::from(fence.is_some());
        for index in 0..count.unwrap_or(usize::MAX) {
            let size = sizes.size(index, &mut random);
            if self.is_over() || !self.keep(size, align_log2, zeroed, group)? {
                break;
            }
            if let Some(fence) = fence
                && !self.keep(fence.max(1), 3, false, group + 1)?
            {
                break;
            }
        }
        Ok(())
    }

    /// The positions of the blocks that are selected, by age.
    fn select(&self, which: &Selection, random: &mut Random) -> Vec<usize> {
        let group = which.group.map(|group| group as u32 % self.groups.max(1));
        let (every, from) = which.every;
        let of_group =
            (0..self.blocks.len()).filter(|&at| group.is_none_or(|group| self.blocks[at].group == group));
        let of_turn = of_group.skip(from).step_by(every.max(1));
        let by_lot = of_turn.filter(|_| which.share >= 100 || random.percent(which.share.into()));
        by_lot
            .filter(|&at| {
                which.sizes.is_none_or(|(least, most)| (least..=most).contains(&self.blocks[at].size))
            })
            .collect()
    }

    fn free(&mut self, which: &Selection, order: Order, seed: u64) -> Result<()> {
        let mut random = Random::seeded(seed);
        let mut selected = self.select(which, &mut random);
        match order {
            Order::Oldest => {}
            Order::Newest => selected.reverse(),
            Order::Lowest => selected.sort_by_key(|&at| self.blocks[at].address),
            Order::Highest => selected.sort_by_key(|&at| std::cmp::Reverse(self.blocks[at].address)),
            Order::Shuffled => random.shuffle(&mut selected),
            Order::Stride(stride) => selected = strided(&selected, stride),
        }
        for at in selected {
            if self.is_over() {
                break;
            }
            self.blocks[at].leaves = true;
            self.dealloc(self.blocks[at])?;
        }
        self.blocks.retain(|block| !block.leaves);
        Ok(())
    }

    fn resize(&mut self, which: &Selection, sizes: &Sizes, seed: u64) -> Result<()> {
        let mut random = Random::seeded(seed);
        let selected = self.select(which, &mut random);
        for (index, at) in selected.into_iter().enumerate() {
            if self.is_over() {
                break;
            }
            let size = sizes.size(index, &mut random);
            self.realloc(at, size)?;
        }
        Ok(())
    }

    fn measure(&mut self) -> Result<()> {
        let (mut served, mut refused) = (0, self.arena + 1);
        while refused - served > 1 {
            let size = served + (refused - served) / 2;
            if self.keep(size, 3, false, 0)? {
                served = size;
                let block = self.blocks.pop().context("the block was kept")?;
                self.dealloc(block)?;
            } else {
                refused = size;
            }
        }
        self.largest = served;
        Ok(())
    }

    fn try_calls(&mut self, count: usize, seed: u64) -> Result<()> {
        let mut random = Random::seeded(seed);
        for _ in 0..count {
            if self.is_over() {
                break;
            }
            let size = self.candidate(&mut random);
            let lot = random.below(10);
            if lot < 4 || self.blocks.is_empty() {
                let align_log2 = random.one_of(&[3, 3, 3, 3, 4, 5, 6, 7, 12]);
                if self.keep(size, align_log2, random.percent(5), 0)? {
                    let block = self.blocks.pop().context("the block was kept")?;
                    self.dealloc(block)?;
                }
                continue;
            }
            let at = random.below(self.blocks.len());
            let before = self.blocks[at];
            if lot < 7 {
                self.dealloc(before)?;
                let address = self.alloc(before.layout(), false)?;
                if address.is_null() {
                    self.blocks.swap_remove(at);
                } else {
                    self.blocks[at].address = address;
                }
            } else {
                let size = if random.percent(50) { size } else { before.size + random.magnitude(1, 64) };
                if self.realloc(at, size)? {
                    self.realloc(at, before.size)?;
                }
            }
        }
        Ok(())
    }

    /// A size that the state suggests: about that of a block, or of one that was released, or any.
    fn candidate(&self, random: &mut Random) -> usize {
        let near = |size: usize, random: &mut Random| match random.below(3) {
            0 => size,
            1 => (size + random.below(48)).saturating_sub(16),
            _ => size + random.below(size / 8 + 1),
        };
        let size = match random.below(8) {
            0..=2 if !self.freed.is_empty() => {
                let size = random.one_of(&self.freed);
                near(size, random)
            }
            3 | 4 if !self.blocks.is_empty() => {
                let size = self.blocks[random.below(self.blocks.len())].size;
                near(size, random)
            }
            5 => near(self.largest, random),
            _ => random.magnitude(1, self.arena),
        };
        size.max(1)
    }
}

impl Sizes {
    /// The size of the block of that number.
    fn size(&self, index: usize, random: &mut Random) -> usize {
        let size = match *self {
            Self::Same(size) => size,
            Self::Between(least, most) => random.between(least, most),
            Self::Magnitudes(least, most) => random.magnitude(least, most),
            Self::Ladder { first, step, count } => first + index % count.max(1) * step,
            Self::Bits { size, low, high } => {
                size ^ 1 << (usize::from(low) + index % usize::from(high - low + 1))
            }
        };
        size.max(1)
    }
}

/// All of them once, so many further each time. (Where that comes back too early, it goes on one
/// further.)
fn strided(selected: &[usize], stride: usize) -> Vec<usize> {
    let length = selected.len();
    let mut seen = vec![false; length];
    let mut at = 0;
    let mut order = Vec::with_capacity(length);
    while order.len() < length {
        while seen[at] {
            at = (at + 1) % length;
        }
        seen[at] = true;
        order.push(selected[at]);
        at = (at + stride) % length;
    }
    order
}

/// Whether the allocator copies a block piece by piece, for the sake of processors that are slow where a target lies
/// hardly above its source modulo a page. The loop is part of the copying, and in proportion to the size; but
/// for it, the call is like one whose target lies elsewhere.
fn is_copied_in_pieces(from: *mut u8, to: *mut u8, bytes: usize) -> bool {
    let ahead = to.addr().wrapping_sub(from.addr()) % 4096;
    bytes > 2048 && (1..32).contains(&ahead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::beside_another_thread;

    fn run(text: &str, way: Way) -> Worst {
        Runner::default().run(&text.parse().unwrap(), way).unwrap()
    }

    #[test]
    fn each_kind_of_call_is_noted_as_what_it_is() {
        let worst = run(
            "arena 65536\nalloc 100\nalloc 100 align 64\nresize block 0 to 50\n\
             resize block 0 to 500\nresize block 0 to 70000\nalloc 70000\nalloc 70000 align 64\nfree block 0\n",
            Way::Rewritten,
        );
        let steps = Goal::ALL.map(|goal| worst.of(goal).map(|call| call.step));
        assert_eq!(steps, [1, 2, 8, 3, 4, 6, 7, 5].map(Some));
        assert_eq!((worst.made, worst.total.foreign_calls), (8, 0));
    }

    #[test]
    fn a_stride_comes_by_everything_once() {
        let selected: Vec<usize> = (0..12).collect();
        for stride in [1, 5, 6, 8, 12, 100] {
            let mut order = strided(&selected, stride);
            order.sort_unstable();
            assert_eq!(order, selected);
        }
        assert_eq!(strided(&selected, 5)[..4], [0, 5, 10, 3]);
        assert!(strided(&[], 3).is_empty());
    }

    #[test]
    fn a_run_can_be_repeated() {
        let mut random = Random::seeded(4);
        let mut runner = Runner::default();
        beside_another_thread(|| {
            for _ in 0..30 {
                let genome = Genome::random(&mut random);
                let first = runner.run(&genome, Way::Rewritten).unwrap();
                assert_eq!(runner.run(&genome, Way::Rewritten).unwrap(), first, "{genome}");
            }
        });
    }
}
