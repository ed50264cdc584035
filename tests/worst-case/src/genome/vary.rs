//! New genomes: from nothing, from one, from two.

use super::{Genome, Order, Selection, Size, Sizes, Step};
use crate::random::Random;

/// Arenas, and how many of a hundred genomes have each: the larger, the longer a run takes.
const ARENAS: [(usize, usize); 5] =
    [(64 << 10, 40), (256 << 10, 15), (1 << 20, 35), (16 << 20, 9), (256 << 20, 1)];

/// More steps than these do not help.
const MOST_STEPS: usize = 14;

/// Blocks of a phase, where it is not as many as the arena has room for.
const MOST_BLOCKS: usize = 20_000;

/// Blocks of a phase in the largest arena take more bytes than this, so that a run does not take
/// seconds.
const LEAST_IN_LARGEST: usize = 512;

impl Genome {
    /// A genome of a few steps: blocks come, some of them go, and calls are tried.
    #[must_use]
    pub fn random(random: &mut Random) -> Self {
        let mut lot = random.below(100);
        let mut arena = ARENAS[0].0;
        for (bytes, share) in ARENAS {
            arena = bytes;
            if lot < share {
                break;
            }
            lot -= share;
        }
        let mut genome = Self { arena, steps: Vec::new() };
        for _ in 0..random.between(1, 3) {
            genome.steps.push(genome.fill(random));
            if random.percent(80) {
                genome.steps.push(genome.free(random));
            }
            if random.percent(30) {
                genome.steps.push(genome.step(random));
            }
        }
        genome.steps.push(tried(random));
        genome.repaired()
    }

    /// Changes a few things.
    pub fn mutate(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 3) {
            let at = random.below(self.steps.len());
            match random.below(10) {
                0 if self.steps.len() > 1 => drop(self.steps.remove(at)),
                1 | 2 if self.steps.len() < MOST_STEPS => {
                    let step = self.step(random);
                    self.steps.insert(at, step);
                }
                3 if self.steps.len() < MOST_STEPS => {
                    let step = self.steps[random.below(self.steps.len())].clone();
                    self.steps.insert(at, step);
                }
                4 if self.steps.len() > 1 => {
                    let other = random.below(self.steps.len());
                    self.steps.swap(at, other);
                }
                _ => self.change(at, random),
            }
        }
        *self = std::mem::replace(self, Self { arena: 0, steps: Vec::new() }).repaired();
    }

    /// The beginning of one genome and the end of another.
    #[must_use]
    pub fn crossed(&self, other: &Self, random: &mut Random) -> Self {
        let head = random.between(1, self.steps.len());
        let tail = random.below(other.steps.len());
        let mut steps = self.steps[..head].to_vec();
        steps.extend_from_slice(&other.steps[tail..]);
        steps.truncate(MOST_STEPS);
        Self { arena: self.arena, steps }.repaired()
    }

    /// Ends with calls that are tried, and takes no sizes that would make a run too long.
    fn repaired(mut self) -> Self {
        if self.arena > 16 << 20 {
            for step in &mut self.steps {
                if let Step::Fill { sizes, .. } = step
                    && sizes.least() < LEAST_IN_LARGEST
                {
                    *sizes = Sizes::Magnitudes(LEAST_IN_LARGEST, 64 << 10);
                }
            }
        }
        self
    }

    fn step(&self, random: &mut Random) -> Step {
        match random.below(16) {
            0..=2 => self.fill(random),
            3..=5 => self.free(random),
            6 => {
                Step::Resize { which: self.selection(random), sizes: self.sizes(random), seed: seed(random) }
            }
            7 => Step::Churn {
                count: random.magnitude(10, MOST_BLOCKS),
                sizes: self.sizes(random),
                align_log2: align_log2(random),
                seed: seed(random),
            },
            8 => Step::Measure,
            9 => tried(random),
            10 | 11 => Step::Alloc {
                size: self.one_size(random),
                align_log2: align_log2(random),
                zeroed: random.percent(10),
            },
            12 | 13 => Step::FreeOne { block: random.magnitude(1, MOST_BLOCKS) - 1 },
            _ => Step::ResizeOne { block: random.magnitude(1, MOST_BLOCKS) - 1, size: self.one_size(random) },
        }
    }

    fn fill(&self, random: &mut Random) -> Step {
        Step::Fill {
            count: if random.percent(40) { None } else { Some(random.magnitude(4, MOST_BLOCKS)) },
            sizes: self.sizes(random),
            align_log2: align_log2(random),
            zeroed: random.percent(5),
            fence: if random.percent(25) { Some(random.one_of(&[1, 8, 12, 16, 24, 64])) } else { None },
            seed: seed(random),
        }
    }

    fn free(&self, random: &mut Random) -> Step {
        let order = match random.below(8) {
            0 => Order::Oldest,
            1 => Order::Newest,
            2 => Order::Lowest,
            3 => Order::Highest,
            4 => Order::Stride(random.magnitude(2, 100_000)),
            _ => Order::Shuffled,
        };
        Step::Free { which: self.selection(random), order, seed: seed(random) }
    }

    fn selection(&self, random: &mut Random) -> Selection {
        let every = random.one_of(&[1, 1, 1, 2, 2, 3, 4, 7, 16, 50]);
        Selection {
            group: if random.percent(60) { Some(random.below(6)) } else { None },
            every: (every, random.below(every)),
            share: if random.percent(60) { 100 } else { random.between(1, 99) as u8 },
            sizes: random.percent(15).then(|| {
                let least = random.magnitude(1, self.arena / 2);
                (least, random.magnitude(least, self.arena))
            }),
        }
    }

    fn sizes(&self, random: &mut Random) -> Sizes {
        let most = (self.arena / 16).max(64);
        match random.below(10) {
            0..=3 => Sizes::Same(self.bytes(random, most)),
            4 | 5 => {
                let least = self.bytes(random, most);
                Sizes::Between(least, least + random.magnitude(1, least.max(8)))
            }
            6 | 7 => {
                let least = random.magnitude(1, most / 2);
                Sizes::Magnitudes(least, random.magnitude(least, most))
            }
            8 => Sizes::Ladder {
                first: self.bytes(random, most / 2),
                step: random.one_of(&[1, 4, 8, 16, 24, 64, 256]),
                count: random.magnitude(2, 256),
            },
            _ => {
                let size = self.bytes(random, most);
                let high = (size.max(16).ilog2() as u8).max(3);
                Sizes::Bits { size, low: random.between(3, high.into()) as u8, high }
            }
        }
    }

    /// A size at which something may change: one that the genome has already, a power of two, or
    /// any.
    fn bytes(&self, random: &mut Random, most: usize) -> usize {
        let known: Vec<usize> = self.steps.iter().filter_map(Step::size).collect();
        let near = |random: &mut Random, size: usize| match random.below(3) {
            0 => size,
            1 => (size + random.below(40)).saturating_sub(20),
            _ => (size + random.below(size / 8 + 1)).saturating_sub(size / 16),
        };
        let size = match random.below(10) {
            0..=3 if !known.is_empty() => {
                let size = random.one_of(&known);
                near(random, size)
            }
            4 | 5 => {
                let size = 1 << random.between(3, most.max(8).ilog2() as usize);
                near(random, size)
            }
            6 => random.between(1, 256),
            _ => random.magnitude(1, most),
        };
        size.clamp(1, self.arena)
    }

    fn one_size(&self, random: &mut Random) -> Size {
        match random.below(10) {
            0 => Size::Largest((random.below(64) as isize) * 8 - 128),
            1 => Size::Bytes(random.between(self.arena / 2, 2 * self.arena)),
            _ => Size::Bytes(self.bytes(random, self.arena)),
        }
    }

    /// Changes one thing of a step.
    fn change(&mut self, at: usize, random: &mut Random) {
        let mut step = self.steps[at].clone();
        let lot = random.below(6);
        match &mut step {
            Step::Fill { count, sizes, align_log2: align, zeroed, fence, seed: old } => match lot {
                0 => *count = nudged_count(*count, random),
                1 | 2 => self.nudge_sizes(sizes, random),
                3 => *align = align_log2(random),
                4 if random.percent(20) => *zeroed = !*zeroed,
                4 => {
                    *fence = if fence.is_some() { None } else { Some(random.one_of(&[1, 8, 12, 16, 24, 64])) }
                }
                _ => *old = seed(random),
            },
            Step::Free { which, order, seed: old } => match lot {
                0..=2 => *which = self.selection(random),
                3 => {
                    if let Step::Free { order: new, .. } = self.free(random) {
                        *order = new;
                    }
                }
                4 if which.share > 1 => which.share = random.between(which.share.into(), 100) as u8,
                _ => *old = seed(random),
            },
            Step::Resize { which, sizes, seed: old } => match lot {
                0 | 1 => *which = self.selection(random),
                2..=4 => self.nudge_sizes(sizes, random),
                _ => *old = seed(random),
            },
            Step::Churn { count, sizes, align_log2: align, seed: old } => match lot {
                0 => *count = nudged_count(Some(*count), random).unwrap_or(*count),
                1..=3 => self.nudge_sizes(sizes, random),
                4 => *align = align_log2(random),
                _ => *old = seed(random),
            },
            Step::Measure => step = self.step(random),
            Step::Alloc { size, align_log2: align, zeroed } => match lot {
                0..=3 => *size = self.nudged_size(*size, random),
                4 => *align = align_log2(random),
                _ => *zeroed = !*zeroed,
            },
            Step::FreeOne { block } => *block = nudged_block(*block, random),
            Step::ResizeOne { block, size } => match lot {
                0 | 1 => *block = nudged_block(*block, random),
                _ => *size = self.nudged_size(*size, random),
            },
            Step::Try { .. } => step = tried(random),
        }
        self.steps[at] = step;
    }

    fn nudge_sizes(&self, sizes: &mut Sizes, random: &mut Random) {
        let nudge = |size: &mut usize, random: &mut Random| {
            let more = random.one_of(&[1, 4, 8, 16, 64, *size / 16, *size / 3]);
            *size = if random.percent(50) { *size + more } else { size.saturating_sub(more) };
            *size = (*size).clamp(1, self.arena);
        };
        if random.percent(30) {
            *sizes = self.sizes(random);
            return;
        }
        match sizes {
            Sizes::Same(size) | Sizes::Bits { size, .. } => nudge(size, random),
            Sizes::Between(least, most) | Sizes::Magnitudes(least, most) => {
                nudge(if random.percent(50) { &mut *least } else { &mut *most }, random);
                *most = (*most).max(*least);
            }
            Sizes::Ladder { first, step, count } => {
                let which = random.below(3);
                nudge([first, step, count][which], random);
                *step = (*step).min(4096);
                *count = (*count).min(1024);
            }
        }
    }

    fn nudged_size(&self, size: Size, random: &mut Random) -> Size {
        let more = (random.below(64) as isize - 32) * random.one_of(&[1, 8, 64]);
        match size {
            _ if random.percent(30) => self.one_size(random),
            Size::Bytes(bytes) => Size::Bytes(bytes.saturating_add_signed(more).max(1)),
            Size::Largest(old) => Size::Largest(old + more),
        }
    }
}

impl Step {
    /// A size that the step asks for, if it names one.
    fn size(&self) -> Option<usize> {
        match self {
            Self::Fill { sizes, .. } | Self::Resize { sizes, .. } | Self::Churn { sizes, .. } => {
                Some(sizes.least())
            }
            Self::Alloc { size: Size::Bytes(size), .. } | Self::ResizeOne { size: Size::Bytes(size), .. } => {
                Some(*size)
            }
            _ => None,
        }
    }
}

impl Sizes {
    /// The least of them, or about that.
    fn least(&self) -> usize {
        match *self {
            Self::Same(size) | Self::Bits { size, .. } => size,
            Self::Between(least, _) | Self::Magnitudes(least, _) => least,
            Self::Ladder { first, .. } => first,
        }
    }
}

fn tried(random: &mut Random) -> Step {
    Step::Try { count: random.between(10, 80), seed: seed(random) }
}

fn seed(random: &mut Random) -> u64 {
    random.between(1, 9999) as u64
}

/// Mostly 8; what programs have; now and then what hardly any has.
fn align_log2(random: &mut Random) -> u8 {
    match random.below(20) {
        0..=11 => 3,
        12..=14 => 4,
        15 => 5,
        16 | 17 => 6,
        18 => 12,
        _ => random.between(0, 16) as u8,
    }
}

fn nudged_count(count: Option<usize>, random: &mut Random) -> Option<usize> {
    match count {
        _ if random.percent(20) => None,
        None => Some(random.magnitude(4, MOST_BLOCKS)),
        Some(count) => {
            let count = match random.below(4) {
                0 => count + 1,
                1 => count.saturating_sub(1),
                2 => count * 2,
                _ => count / 2,
            };
            Some(count.clamp(1, MOST_BLOCKS))
        }
    }
}

fn nudged_block(block: usize, random: &mut Random) -> usize {
    match random.below(4) {
        0 => block + 1,
        1 => block.saturating_sub(1),
        _ => random.magnitude(1, MOST_BLOCKS) - 1,
    }
}
