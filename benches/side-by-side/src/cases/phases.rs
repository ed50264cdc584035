//! A phase of one size, freed, then one of a larger size: how much of what a fresh heap serves is
//! served?

use std::alloc::GlobalAlloc;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};
use fastrand::Rng;
use indicatif::ProgressBar;

use super::block::Block;
use super::{ARENA, Case, Found, ask};
use crate::allocators::{Allocator, Visitor};

/// Sizes of the first phase, the largest first: who is too slow for one is so for those below it.
pub const FIRST: [u32; 7] = [11_000, 4100, 1500, 500, 180, 60, 20];
/// By how many percent the sizes of the second phase are larger.
pub const INCREASES: [u32; 6] = [1, 4, 10, 30, 75, 160];

/// Of the arena, the first phase fills as much, or what fits.
const FILLED: usize = ARENA / 16 * 15;

/// In which order the first phase is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// As it was allocated.
    FrontToBack,
    /// The other way round.
    BackToFront,
    /// At random.
    Random,
}

impl Order {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 3] = [Self::FrontToBack, Self::BackToFront, Self::Random];

    /// The name in tables and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FrontToBack => "front-to-back",
            Self::BackToFront => "back-to-front",
            Self::Random => "random",
        }
    }
}

/// One cell of the grid.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// Bytes of a block of the first phase; 0 if there is none.
    pub first: u32,
    /// Bytes of a block of the second phase.
    pub second: u32,
    /// In which order the first phase is freed.
    pub order: Order,
    /// Sizes from half to one and a half of the given one, instead of all the same.
    #[arg(long)]
    pub mixed: bool,
}

impl Case for Phases {
    const COMMAND: &'static str = "phase";
    const MEMORY: (usize, bool) = (ARENA, true);

    fn arguments(&self) -> Vec<String> {
        let mut arguments =
            vec![self.first.to_string(), self.second.to_string(), self.order.name().to_owned()];
        arguments.extend(self.mixed.then(|| "--mixed".to_owned()));
        arguments
    }
}

impl Visitor for Phases {
    type Output = Found;

    /// Returns the bytes that the second phase is served until the first refusal.
    fn visit<A: GlobalAlloc + Sync>(self, allocator: &A) -> Found {
        let deadline = Instant::now() + Self::PATIENCE;
        self.perform(allocator, deadline)
            .map_or(Found::TooSlow, |(_, bytes)| Found::Numbers(vec![bytes as f64]))
    }
}

impl Phases {
    /// None if the time runs out.
    fn perform<A: GlobalAlloc>(self, allocator: &A, deadline: Instant) -> Option<(Vec<Block>, usize)> {
        if self.first > 0 {
            let mut random = Rng::with_seed(0x5EED_000E);
            let (mut blocks, _) = self.fill(allocator, self.first, FILLED, &mut random, deadline)?;
            match self.order {
                // The last one is freed first below.
                Order::FrontToBack => blocks.reverse(),
                Order::BackToFront => {}
                Order::Random => random.shuffle(&mut blocks),
            }
            while let Some(block) = blocks.pop() {
                block.free(allocator);
                if is_late(blocks.len(), deadline) {
                    return None;
                }
            }
        }
        // The same sizes whatever was before.
        self.fill(allocator, self.second, usize::MAX, &mut Rng::with_seed(0x5EED_000F), deadline)
    }

    fn fill<A: GlobalAlloc>(
        self,
        allocator: &A,
        size: u32,
        limit: usize,
        random: &mut Rng,
        deadline: Instant,
    ) -> Option<(Vec<Block>, usize)> {
        let (mut blocks, mut bytes) = (Vec::new(), 0);
        while bytes < limit {
            let size = if self.mixed { size / 2 + random.u32(..=size) } else { size };
            let Some(block) = Block::new(allocator, size as usize, 8) else { break };
            bytes += block.size();
            blocks.push(block);
            if is_late(blocks.len(), deadline) {
                return None;
            }
        }
        Some((blocks, bytes))
    }
}

fn is_late(steps: usize, deadline: Instant) -> bool {
    steps.is_multiple_of(64) && Instant::now() > deadline
}

/// One cell of the grid, and what each allocator serves in it.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Which one.
    pub case: Phases,
    /// Share of what a fresh heap serves, in the order in which the allocators were given; none if
    /// the time ran out or the process broke down.
    pub shares: Vec<Option<f64>>,
}

/// Measures the whole grid, or every third cell of it.
///
/// # Errors
///
/// If a child cannot be started, or says something strange.
pub fn run(allocators: &[Allocator], quick: bool, progress: &ProgressBar) -> Result<Vec<Cell>> {
    let kinds = Order::ALL.into_iter().flat_map(|order| [(order, false), (order, true)]);
    let cells: Vec<Phases> = kinds
        .flat_map(|(order, mixed)| {
            let pairs = FIRST.into_iter().flat_map(|first| INCREASES.map(|increase| (first, increase)));
            pairs.map(move |(first, increase)| Phases {
                first,
                second: (first * (100 + increase)).div_ceil(100),
                order,
                mixed,
            })
        })
        .step_by(if quick { 3 } else { 1 })
        .collect();
    progress.set_length((cells.len() * allocators.len()) as u64);
    let mut columns = Vec::new();
    for &allocator in allocators {
        progress.set_message(allocator.name());
        columns.push(column(allocator, &cells, progress)?);
    }
    let of_cell = |(index, case)| Cell { case, shares: columns.iter().map(|column| column[index]).collect() };
    Ok(cells.into_iter().enumerate().map(of_cell).collect())
}

/// One allocator's shares, cell by cell.
fn column(allocator: Allocator, cells: &[Phases], progress: &ProgressBar) -> Result<Vec<Option<f64>>> {
    let mut fresh: Vec<(Phases, Found)> = Vec::new();
    let mut given_up: Vec<(Order, bool)> = Vec::new();
    let mut shares = Vec::new();
    for &case in cells {
        progress.inc(1);
        let kind = (case.order, case.mixed);
        if given_up.contains(&kind) {
            shares.push(None);
            continue;
        }
        let without = Phases { first: 0, order: Order::FrontToBack, ..case };
        let known = fresh.iter().find(|(case, _)| *case == without).map(|(_, found)| found.clone());
        let of_fresh = match known {
            Some(found) => found,
            None => {
                let found = ask(allocator, &without)?;
                fresh.push((without, found.clone()));
                found
            }
        };
        let found = ask(allocator, &case)?;
        if found == Found::TooSlow || of_fresh == Found::TooSlow {
            given_up.push(kind);
        }
        shares.push(found.number(0).zip(of_fresh.number(0)).map(|(served, fresh)| served / fresh));
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::super::perform;
    use super::*;

    #[test]
    fn a_second_phase_is_served() {
        for order in Order::ALL {
            for (first, mixed) in [(0, false), (3000, false), (3000, true)] {
                let found = perform(Allocator::Ours, Phases { first, second: 4000, order, mixed }).unwrap();
                assert!(found.number(0).unwrap() > 1e6, "{found:?}");
            }
        }
    }
}
