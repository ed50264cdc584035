//! Random sequences of operations over regions of any size, order and distance, run against a shadow that knows every
//! live byte and every span of memory.
//!
//! A *span* is what regions that touch come to. After each step: no block lies across the end of a span, none overlaps
//! another, what is in them is what was written, the allocator audits itself, and what was refused could not have been
//! had. In the end everything is freed, and each span is one free block.

use crate::random_sequences::config;
use mem_alloc_rust::{Locked, RegionError, Regions};
use proptest::collection::vec;
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout};
use std::ops::Range;

/// Sequences per test, if all are run.
const CASES: u32 = 2000;

/// Operations in a sequence, at most.
const LENGTH: usize = 250;

/// So many regions are cut out of one buffer.
const MOST_REGIONS: usize = 8;

/// Bytes of a header, and of the longest page.
const HEADER: usize = 4;
const PAGE: usize = 4224;

/// What memory contains that the allocator must not touch.
const RED: u8 = 0xA5;

#[derive(Clone, Debug)]
enum Operation {
    Alloc {
        size: usize,
        align: usize,
        zeroed: bool,
    },
    /// A live block is named by its rank among them, modulo their number.
    Free {
        which: usize,
    },
    Realloc {
        which: usize,
        new_size: usize,
    },
    /// Of the regions that are left, one is named like that, too.
    AddRegion {
        which: usize,
    },
    /// Memory that overlaps a region that was added, by its rank, moved and lengthened by so much.
    AddOverlapping {
        which: usize,
        before: usize,
        len: usize,
    },
}

struct Block {
    pointer: *mut u8,
    layout: Layout,
    number: usize,
}

impl Block {
    fn addresses(&self) -> Range<usize> {
        self.pointer.addr()..self.pointer.addr() + self.layout.size()
    }

    fn expected(&self, offset: usize) -> u8 {
        (self.number.wrapping_mul(41) ^ offset.wrapping_mul(29) ^ (offset >> 8)) as u8
    }

    fn fill_from(&self, offset: usize) {
        for offset in offset..self.layout.size() {
            // SAFETY: the byte is one of the block's, which is in use.
            unsafe { self.pointer.add(offset).write(self.expected(offset)) };
        }
    }

    fn byte(&self, offset: usize) -> u8 {
        // SAFETY: as above, and it was written or is zero.
        unsafe { self.pointer.add(offset).read() }
    }

    fn is_intact_in(&self, mut offsets: Range<usize>) -> bool {
        offsets.all(|offset| self.byte(offset) == self.expected(offset))
    }
}

/// An allocator and all that is known of it.
struct Shadow {
    allocator: Box<Locked<Regions<{ MOST_REGIONS - 1 }>>>,
    /// Cut into regions and gaps. It is a buffer of words, so that where it begins does not depend on luck.
    memory: Vec<u64>,
    /// Offsets of the regions that are not added yet, and of those that are.
    left: Vec<Range<usize>>,
    added: Vec<Range<usize>>,
    blocks: Vec<Block>,
    numbers: usize,
}

type Outcome = Result<(), TestCaseError>;

macro_rules! check {
    ($condition:expr, $($what:tt)*) => {
        if !$condition {
            return Err(TestCaseError::fail(format!($($what)*)));
        }
    };
}

impl Shadow {
    /// Regions, each with the gap in front of it.
    fn new(regions: &[(usize, usize)]) -> Self {
        let mut end = 0;
        let mut left = Vec::new();
        for &(gap, len) in regions {
            left.push(end + gap..end + gap + len);
            end += gap + len;
        }
        let memory = vec![u64::from_ne_bytes([RED; 8]); end / 8 + 2];
        let allocator = Box::default();
        Self { allocator, memory, left, added: Vec::new(), blocks: Vec::new(), numbers: 0 }
    }

    fn at(&mut self, offset: usize) -> *mut u8 {
        self.memory.as_mut_ptr().cast::<u8>().wrapping_add(offset)
    }

    /// The addresses of the spans, and how many regions each is made of.
    fn spans(&self) -> Vec<(Range<usize>, usize)> {
        let start = self.memory.as_ptr().addr();
        let mut regions = self.added.clone();
        regions.sort_by_key(|region| region.start);
        let mut spans: Vec<(Range<usize>, usize)> = Vec::new();
        for region in regions {
            let region = start + region.start..start + region.end;
            match spans.last_mut() {
                Some((span, count)) if span.end == region.start => {
                    (span.end, *count) = (region.end, *count + 1)
                }
                _ => spans.push((region, 1)),
            }
        }
        spans
    }

    fn apply(&mut self, operation: &Operation) -> Outcome {
        match *operation {
            Operation::Alloc { size, align, zeroed } => {
                let Ok(layout) = Layout::from_size_align(size.max(1), align) else { return Ok(()) };
                // SAFETY: the layout is not of zero bytes.
                let pointer = unsafe {
                    if zeroed { self.allocator.alloc_zeroed(layout) } else { self.allocator.alloc(layout) }
                };
                if pointer.is_null() {
                    return self.check_refusal(layout, None);
                }
                let block = Block { pointer, layout, number: self.numbers };
                self.numbers += 1;
                check!(
                    !zeroed || (0..layout.size()).all(|offset| block.byte(offset) == 0),
                    "the block is not zero"
                );
                block.fill_from(0);
                self.admit(block)
            }
            Operation::Free { which } => {
                let Some(rank) = which.checked_rem(self.blocks.len()) else { return Ok(()) };
                let block = self.blocks.swap_remove(rank);
                check!(
                    block.is_intact_in(0..block.layout.size()),
                    "the contents of #{} have changed",
                    block.number
                );
                // SAFETY: the block is in use, and was allocated for that layout.
                unsafe { self.allocator.dealloc(block.pointer, block.layout) };
                Ok(())
            }
            Operation::Realloc { which, new_size } => {
                let Some(rank) = which.checked_rem(self.blocks.len()) else { return Ok(()) };
                let old = self.blocks.swap_remove(rank);
                let Ok(layout) = Layout::from_size_align(new_size.max(1), old.layout.align()) else {
                    return Ok(());
                };
                check!(
                    old.is_intact_in(0..old.layout.size()),
                    "the contents of #{} have changed",
                    old.number
                );
                // SAFETY: as above, and the size is not zero.
                let pointer = unsafe { self.allocator.realloc(old.pointer, old.layout, layout.size()) };
                if pointer.is_null() {
                    check!(old.is_intact_in(0..old.layout.size()), "a refusal has changed #{}", old.number);
                    let pointer = old.pointer.addr();
                    self.blocks.push(old);
                    return self.check_refusal(layout, Some(pointer));
                }
                let kept = old.layout.size().min(layout.size());
                let block = Block { pointer, layout, number: old.number };
                check!(
                    block.is_intact_in(0..kept),
                    "the first {kept} bytes of #{} were not kept",
                    old.number
                );
                block.fill_from(kept);
                self.admit(block)
            }
            Operation::AddRegion { which } => {
                let Some(rank) = which.checked_rem(self.left.len()) else { return Ok(()) };
                let region = self.left.swap_remove(rank);
                let (start, len) = (self.at(region.start), region.len());
                // SAFETY: the memory is one buffer, which lives as long as the allocator, and is not used otherwise.
                match unsafe { self.allocator.add_region(start, len) } {
                    Ok(()) => self.added.push(region),
                    Err(error) => {
                        check!(error == RegionError::TooSmall { len } && len < 48, "{len} bytes: {error}")
                    }
                }
                Ok(())
            }
            Operation::AddOverlapping { which, before, len } => {
                let Some(rank) = which.checked_rem(self.added.len()) else { return Ok(()) };
                let region = self.added[rank].clone();
                let from = region.start.saturating_sub(before);
                let to = (from + len).clamp(region.start + 1, self.memory.len() * 8);
                let stats = self.allocator.stats();
                let start = self.at(from);
                // SAFETY: what is refused is not touched.
                let outcome = unsafe { self.allocator.add_region(start, to - from) };
                check!(outcome == Err(RegionError::Overlaps), "{from}..{to} beside {region:?}: {outcome:?}");
                check!(self.allocator.stats() == stats, "a refused region has changed the figures");
                Ok(())
            }
        }
    }

    /// Puts a block among the live ones, if it may be where it is.
    fn admit(&mut self, block: Block) -> Outcome {
        let Range { start, end } = block.addresses();
        check!(start % block.layout.align().max(8) == 0, "{start:#x} is misaligned");
        let spans = self.spans();
        let is_inside = spans.iter().any(|(span, _)| span.start <= start && end <= span.end);
        check!(is_inside, "{start:#x}..{end:#x} is not inside of one of {spans:x?}");
        let overlapped = self.blocks.iter().find(|other| {
            let other = other.addresses();
            other.start < end && start < other.end
        });
        check!(overlapped.is_none(), "{start:#x}..{end:#x} is in use");
        self.blocks.push(block);
        Ok(())
    }

    /// A refused request fits neither into the largest free block that the figures tell of, nor into what is free
    /// between blocks by the shadow's own account; `moving` is the address of a block that was to have another size.
    fn check_refusal(&self, layout: Layout, moving: Option<usize>) -> Outcome {
        let stats = self.allocator.stats();
        if layout.align() <= 8 {
            let most = stats.largest_free_bytes.saturating_sub(HEADER);
            check!(
                layout.size() > most,
                "{} bytes were refused, and {most} are free: {stats:?}",
                layout.size()
            );
        }
        // Runs with slots in use at both ends, a map of pages in the middle, and the maps of former times.
        let spans = self.spans();
        for (span, regions) in spans {
            let lost = 2 * PAGE + layout.align() + regions * 64 + span.len() / 1000;
            let mut taken: Vec<_> = self
                .blocks
                .iter()
                .map(Block::addresses)
                .filter(|block| span.contains(&block.start))
                .collect();
            taken.push(span.end..span.end);
            taken.sort_by_key(|block| block.start);
            let mut free_from = span.start;
            for block in taken {
                let free = block.start.saturating_sub(free_from);
                check!(
                    free < 2 * layout.size() + lost,
                    "{layout:?} was refused, and {free} bytes are free ({moving:?})"
                );
                free_from = block.end;
            }
        }
        Ok(())
    }

    /// What has to be true after every step.
    fn check(&self) -> Outcome {
        if let Err(violation) = self.allocator.audit() {
            return Err(TestCaseError::fail(violation.to_string()));
        }
        let stats = self.allocator.stats();
        check!(self.allocator.arena_bytes() == stats.arena_bytes, "the arena is read as another one");
        let figures = (self.allocator.live_bytes(), self.allocator.peak_bytes());
        check!(
            figures == (stats.live_bytes, stats.peak_bytes),
            "{figures:?} without the lock, {stats:?} with it"
        );
        check!(stats.live_bytes <= stats.peak_bytes && stats.live_blocks == self.blocks.len(), "{stats:?}");
        for block in &self.blocks {
            let size = block.layout.size();
            check!(self.allocator.is_in_arena(block.pointer), "#{} is not in the arena", block.number);
            // SAFETY: the block is in use.
            let usable = unsafe { self.allocator.usable_size(block.pointer) };
            check!(
                usable.is_some_and(|usable| usable >= size),
                "{usable:?} of #{} may be used",
                block.number
            );
            let edges =
                block.is_intact_in(0..size.min(8)) && block.is_intact_in(size.saturating_sub(8)..size);
            check!(edges, "the contents of #{} have changed", block.number);
        }
        Ok(())
    }

    /// All memory that was not handed over is as it was.
    fn check_red_zones(&mut self) -> Outcome {
        let mut offset = 0;
        let mut added = self.added.clone();
        added.sort_by_key(|region| region.start);
        let bytes = self.memory.len() * 8;
        for region in added.into_iter().chain(std::iter::once(bytes..bytes)) {
            let zone = self.at(offset);
            // SAFETY: these bytes of the buffer are initialised, and nobody else's.
            let is_red = (0..region.start - offset).all(|byte| unsafe { zone.add(byte).read() } == RED);
            check!(is_red, "memory in front of {region:?} has changed");
            let last = (region.start - offset > 0).then(|| self.at(region.start - 1));
            check!(
                last.is_none_or(|last| !self.allocator.is_in_arena(last)),
                "memory in front of {region:?} is known"
            );
            offset = region.end;
        }
        Ok(())
    }

    /// Adds what is left, frees everything, and asks for each span in one piece.
    fn finish(mut self) -> Outcome {
        while !self.left.is_empty() {
            self.apply(&Operation::AddRegion { which: 0 })?;
            self.check()?;
        }
        for block in &self.blocks {
            check!(
                block.is_intact_in(0..block.layout.size()),
                "the contents of #{} have changed",
                block.number
            );
        }
        while !self.blocks.is_empty() {
            self.apply(&Operation::Free { which: 0 })?;
            self.check()?;
        }
        // Regions that could not become one before have room for that now.
        self.apply(&Operation::Alloc { size: isize::MAX as usize / 2, align: 8, zeroed: false })?;
        self.check()?;
        let (stats, mut spans) = (self.allocator.stats(), self.spans());
        check!(stats.live_bytes == 0 && stats.live_blocks == 0, "everything was freed: {stats:?}");
        check!(stats.free_blocks == spans.len(), "{spans:?} are free: {stats:?}");
        spans.sort_by_key(|(span, _)| span.len());
        while let Some((span, regions)) = spans.pop() {
            let size = self.allocator.stats().largest_free_bytes - HEADER;
            self.apply(&Operation::Alloc { size, align: 1, zeroed: true })?;
            let block = self.blocks.last().map(Block::addresses).unwrap_or_default();
            let lost = span.len() / 2000 + 32 * regions + 64;
            check!(size + lost >= span.len(), "{size} bytes of {span:?} are free");
            check!(
                self.spans().iter().filter(|(span, _)| span.contains(&block.start)).count() == 1,
                "no block"
            );
        }
        self.check()?;
        self.check_red_zones()
    }
}

/// Regions that touch as often as not, with the gap in front of each.
fn regions(len: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<(usize, usize)>> {
    let gap = prop_oneof![3 => Just(0usize), 2 => 1..64usize, 1 => 64..5000usize];
    vec((gap, len), 1..=MOST_REGIONS)
}

fn operations(sizes: impl Strategy<Value = usize> + 'static) -> impl Strategy<Value = Vec<Operation>> {
    let sizes = sizes.boxed();
    let alignments = prop_oneof![
        6 => (0..=4u32).prop_map(|log2| 1usize << log2),
        1 => (5..=12u32).prop_map(|log2| 1usize << log2),
    ];
    let which = || any::<u8>().prop_map(usize::from);
    let operation = prop_oneof![
        8 => (sizes.clone(), alignments, any::<bool>())
            .prop_map(|(size, align, zeroed)| Operation::Alloc { size, align, zeroed }),
        4 => which().prop_map(|which| Operation::Free { which }),
        3 => (which(), sizes).prop_map(|(which, new_size)| Operation::Realloc { which, new_size }),
        1 => which().prop_map(|which| Operation::AddRegion { which }),
        1 => (which(), 0..300usize, 0..600usize)
            .prop_map(|(which, before, len)| Operation::AddOverlapping { which, before, len }),
    ];
    vec(operation, 0..LENGTH)
}

/// Runs a sequence to the end.
fn run(regions: &[(usize, usize)], operations: &[Operation]) -> Outcome {
    let mut shadow = Shadow::new(regions);
    for operation in operations {
        shadow.apply(operation)?;
        shadow.check()?;
    }
    shadow.check_red_zones()?;
    shadow.finish()
}

/// The seeds of sequences that once failed.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proptest-regressions/regions.txt");

proptest! {
    #![proptest_config(config(CASES, REGRESSIONS))]

    #[test]
    fn small_regions(regions in regions(0..600usize), operations in operations(0..200usize)) {
        run(&regions, &operations)?;
    }

    #[test]
    fn regions_of_some_pages(
        regions in regions(prop_oneof![1 => 0..100usize, 3 => 100..40_000usize]),
        operations in operations(prop_oneof![3 => 0..200usize, 1 => 0..20_000usize]),
    ) {
        run(&regions, &operations)?;
    }

    /// A few sizes, so that there are runs.
    #[test]
    fn regions_with_runs(
        regions in regions(20_000..100_000usize),
        operations in operations(prop_oneof![4 => Just(40usize), 4 => Just(200), 1 => 0..30_000usize]),
    ) {
        run(&regions, &operations)?;
    }
}
