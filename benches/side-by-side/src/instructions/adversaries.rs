//! Sequences that look for the worst single call, and typical ones to compare with.

use anyhow::Result;
use fastrand::Rng;

use crate::operation::{Operation, Sequence};
use crate::workloads::{Requests, Sizes, random_actions};

/// A sequence over an arena of a given size. Refusals are part of some of them.
pub struct Adversary {
    /// What is performed; the name tells it from the others.
    pub sequence: Sequence,
    /// Bytes of the arena.
    pub arena: usize,
    /// What it tries.
    pub description: &'static str,
}

/// Timed calls per sequence, roughly: each costs a dump.
const CALLS: usize = 500;
/// Enough for the sequences that do not want to fill the arena.
const ROOMY: usize = 16 << 20;
/// Small enough to be filled quickly.
const TIGHT: usize = 1 << 20;

/// Every sequence.
///
/// # Errors
///
/// If one contradicts itself.
pub fn all() -> Result<Vec<Adversary>> {
    let plans: [(&str, &str, usize, Plan); 9] = [
        (
            "typical",
            "random actions up to 1,000 bytes",
            ROOMY,
            random_actions(Requests::plain(Sizes::up_to(1000)), true, CALLS),
        ),
        ("pairs", "one block of 64 bytes, allocated and freed again and again", ROOMY, pairs()),
        ("burst", "blocks of 64 bytes, freed newest first", ROOMY, burst()),
        (
            "shattered",
            "free blocks of all sizes between live ones; requests of all sizes and alignments",
            ROOMY,
            shattered(),
        ),
        ("coalesce", "blocks of all sizes between two free neighbours are freed", ROOMY, coalesce()),
        ("flush", "many small blocks are freed, then a large one is wanted", TIGHT, flush()),
        ("crowd", "a full arena whose free blocks are all slightly too small", TIGHT, crowd()),
        ("full", "requests to an arena that is full of small holes", TIGHT, full()),
        ("resize", "growth in place, growth by moving, shrinking", ROOMY, resize()),
    ];
    plans
        .into_iter()
        .map(|(name, description, arena, (setup, timed))| {
            let sequence = Sequence::new(name, setup, timed)?;
            Ok(Adversary { sequence, arena, description })
        })
        .collect()
}

/// Setup and timed operations.
type Plan = (Vec<Operation>, Vec<Operation>);

fn free(slot: u32) -> Operation {
    Operation::Free { slot }
}

/// Allocates a block per size, each followed by a small one that keeps it from its neighbours. Even
/// slots are the blocks.
fn fenced(sizes: impl IntoIterator<Item = u32>) -> Vec<Operation> {
    /// A fence.
    const FENCE: u32 = 16;
    sizes
        .into_iter()
        .zip((0..).step_by(2))
        .flat_map(|(size, slot)| [Operation::allocate(slot, size), Operation::allocate(slot + 1, FENCE)])
        .collect()
}

/// The even slots below a bound, in random order.
fn shuffled_even(below: u32, random: &mut Rng) -> Vec<u32> {
    let mut slots: Vec<u32> = (0..below).step_by(2).collect();
    random.shuffle(&mut slots);
    slots
}

/// Sizes of all magnitudes from 16 bytes to 64 KiB.
fn sizes_of_all_magnitudes(count: u32) -> impl Iterator<Item = u32> {
    let mut random = Rng::with_seed(0x5EED_0005);
    (0..count).map(move |index| {
        let magnitude = 16 << (index % 12);
        random.u32(magnitude..2 * magnitude)
    })
}

fn pairs() -> Plan {
    (Vec::new(), [Operation::allocate(0, 64), free(0)].repeat(CALLS / 2))
}

fn burst() -> Plan {
    let blocks = CALLS as u32 / 4;
    let mut timed: Vec<Operation> = (0..blocks).map(|slot| Operation::allocate(slot, 64)).collect();
    timed.extend((0..blocks).rev().map(free));
    (Vec::new(), timed.repeat(2))
}

fn shattered() -> Plan {
    const BLOCKS: u32 = 300;
    let mut random = Rng::with_seed(0x5EED_0006);
    let mut setup = fenced(sizes_of_all_magnitudes(BLOCKS));
    let even = shuffled_even(2 * BLOCKS, &mut random);
    setup.extend(even.iter().map(|&slot| free(slot)));
    let mut timed: Vec<Operation> = std::iter::zip(&even, sizes_of_all_magnitudes(BLOCKS))
        .map(|(&slot, size)| Operation::Allocate { slot, size, align_log2: random.u8(0..=12), zeroed: false })
        .collect();
    timed.extend(shuffled_even(2 * BLOCKS, &mut random).into_iter().map(free));
    (setup, timed)
}

fn coalesce() -> Plan {
    const TRIPLES: u32 = 300;
    let mut random = Rng::with_seed(0x5EED_0007);
    let sizes: Vec<u32> = sizes_of_all_magnitudes(3 * TRIPLES).collect();
    // Left, middle, right, fence.
    let mut setup: Vec<Operation> = Vec::new();
    for (triple, sizes) in (0..TRIPLES).zip(sizes.chunks(3)) {
        let first = 4 * triple;
        setup.extend((first..).zip(sizes).map(|(slot, &size)| Operation::allocate(slot, size)));
        setup.push(Operation::allocate(first + 3, 16));
    }
    let mut triples: Vec<u32> = (0..TRIPLES).collect();
    random.shuffle(&mut triples);
    setup.extend(triples.iter().flat_map(|triple| [free(4 * triple), free(4 * triple + 2)]));
    random.shuffle(&mut triples);
    (setup, triples.iter().map(|triple| free(4 * triple + 1)).collect())
}

fn flush() -> Plan {
    const SMALL: u32 = 48;
    const LARGE: u32 = 600_000;
    const BLOCKS: u32 = 12_000;
    let mut random = Rng::with_seed(0x5EED_0008);
    // A fifth of the arena stays in use at its start; the rest is cut into small blocks.
    let mut setup = vec![Operation::allocate(0, 200_000)];
    setup.extend((1..=BLOCKS).map(|slot| Operation::allocate(slot, SMALL)));
    let mut slots: Vec<u32> = (1..=BLOCKS).collect();
    random.shuffle(&mut slots);
    let (untimed, timed) = slots.split_at(slots.len() - CALLS);
    setup.extend(untimed.iter().map(|&slot| free(slot)));
    let mut timed: Vec<Operation> = timed.iter().map(|&slot| free(slot)).collect();
    timed.push(Operation::allocate(1, LARGE));
    timed.push(free(1));
    (setup, timed)
}

fn crowd() -> Plan {
    // Blocks of 4,100 to 4,240 bytes are free; 4,340 are wanted, which a coarse size class may hold
    // to be the same.
    const BLOCKS: u32 = 200;
    let mut random = Rng::with_seed(0x5EED_0009);
    let mut setup = fenced((0..BLOCKS).map(|_| random.u32(4100..=4240)));
    let filler = 2 * BLOCKS;
    setup.extend((filler..filler + 20_000).map(|slot| Operation::allocate(slot, 64)));
    setup.extend(shuffled_even(2 * BLOCKS, &mut random).into_iter().map(free));
    let wanted = filler + 20_000;
    (setup, (wanted..wanted + CALLS as u32 / 5).map(|slot| Operation::allocate(slot, 4340)).collect())
}

fn full() -> Plan {
    const BLOCKS: u32 = 40_000;
    let mut random = Rng::with_seed(0x5EED_000A);
    let mut setup = fenced((0..BLOCKS / 2).map(|_| random.u32(16..=128)));
    setup.extend(shuffled_even(BLOCKS, &mut random).into_iter().map(free));
    let wanted = |(slot, size)| Operation::allocate(slot, size);
    (setup, (BLOCKS..).zip((0..CALLS as u32 / 2).map(|index| 200 + index * 7)).map(wanted).collect())
}

fn resize() -> Plan {
    const BLOCKS: u32 = 150;
    let mut random = Rng::with_seed(0x5EED_000B);
    let mut setup: Vec<Operation> =
        (0..2 * BLOCKS).map(|slot| Operation::allocate(slot, random.u32(16..=256))).collect();
    setup.extend((0..BLOCKS).map(|pair| free(2 * pair + 1)));
    let odd_ones = || (0..BLOCKS).map(|pair| 2 * pair);
    let mut timed: Vec<Operation> = Vec::new();
    for (smallest, largest) in [(257, 300), (300, 900), (16, 64), (64, 256)] {
        timed.extend(
            odd_ones().map(|slot| Operation::Reallocate { slot, size: random.u32(smallest..=largest) }),
        );
    }
    (setup, timed)
}
