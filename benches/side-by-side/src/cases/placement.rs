//! Where strings come to lie that are built one after the other, on a fresh heap and on one that
//! served the same work before. It decides how fast the program is that sorts and reads them.

use std::alloc::{GlobalAlloc, Layout};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use fastrand::Rng;
use indicatif::ProgressBar;

use super::block::Block;
use super::{Case, Found, ask};
use crate::allocators::{Allocator, Visitor};
use crate::execute::call_alloc;

/// Times that the work is done.
pub const RUNS: usize = 3;
/// Strings of a run.
pub const STRINGS: usize = 200_000;
/// When strings are looked at: built letter by letter, made from others in sorted order, and split
/// off one large string.
pub const STAGES: [&str; 3] = ["built", "upper case", "split"];

/// Letters of a string in the end.
const LENGTH: usize = 5;
/// Bytes of a cache line.
const LINE: usize = 64;
/// More than enough, and not touched.
const MEMORY: usize = 256 << 20;

/// The work, all runs of it.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {}

impl Case for Placement {
    const COMMAND: &'static str = "place";
    const MEMORY: (usize, bool) = (MEMORY, false);
    const LIMIT: Duration = Duration::from_secs(10);

    fn arguments(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Visitor for Placement {
    type Output = Found;

    /// Returns two numbers per run and stage: the share of strings within a line of the one before,
    /// and lines per string.
    fn visit<A: GlobalAlloc + Sync>(self, allocator: &A) -> Found {
        let mut random = Rng::with_seed(0x5EED_0010);
        let mut numbers = Vec::new();
        for _ in 0..RUNS {
            let mut words = Strings::new(allocator);
            for _ in 0..STRINGS {
                words.build(&mut random);
            }
            numbers.extend(words.placement());
            words.sort();
            let upper = words.copy();
            numbers.extend(upper.placement());
            let joined = Block::new(allocator, upper.strings.len() * (LENGTH + 1), 1);
            let split = upper.copy();
            numbers.extend(split.placement());
            // As locals of a function are dropped: the last one first.
            split.free();
            joined.into_iter().for_each(|block| block.free(allocator));
            upper.free();
            words.free();
        }
        Found::Numbers(numbers)
    }
}

/// A vector of strings, and all that it takes from the allocator.
struct Strings<'a, A> {
    allocator: &'a A,
    /// Where a program keeps the strings' addresses.
    table: Option<Block>,
    strings: Vec<([u8; LENGTH], Block)>,
}

impl<'a, A: GlobalAlloc> Strings<'a, A> {
    fn new(allocator: &'a A) -> Self {
        Self { allocator, table: None, strings: Vec::new() }
    }

    /// Lets the table grow by doubling, if it is full.
    fn push(&mut self, text: [u8; LENGTH], block: Block) {
        const SMALLEST: usize = 4 * size_of::<String>();
        let bytes = (self.strings.len() + 1) * size_of::<String>();
        match &mut self.table {
            Some(table) if table.size() < bytes => {
                let larger = 2 * table.size();
                assert!(table.resize(self.allocator, larger), "there is memory enough");
            }
            Some(_) => {}
            None => self.table = Block::new(self.allocator, SMALLEST, 8),
        }
        self.strings.push((text, block));
    }

    /// Grows a string letter by letter, cuts it off, and gives back what it does not need.
    fn build(&mut self, random: &mut Rng) {
        let letters = 3 + random.usize(..9);
        let text = std::array::from_fn(|_| random.u8(b'a'..=b'z'));
        let mut block = string(self.allocator, 8);
        if letters > block.size() {
            assert!(block.resize(self.allocator, 16), "there is memory enough");
        }
        assert!(block.resize(self.allocator, letters.min(LENGTH)), "there is memory enough");
        self.push(text, block);
    }

    /// Sorts by content, and drops what is there twice.
    fn sort(&mut self) {
        self.strings.sort_by_key(|(text, _)| *text);
        let mut once: Vec<([u8; LENGTH], Block)> = Vec::with_capacity(self.strings.len());
        for (text, block) in self.strings.drain(..) {
            if once.last().is_some_and(|(last, _)| *last == text) {
                block.free(self.allocator);
            } else {
                once.push((text, block));
            }
        }
        self.strings = once;
    }

    /// A string for each of these, in a vector that is as large as it has to be.
    fn copy(&self) -> Self {
        let bytes = self.strings.len() * size_of::<String>();
        let mut copy = Self::new(self.allocator);
        copy.table = Block::new(self.allocator, bytes, 8);
        for (text, _) in &self.strings {
            copy.push(*text, string(self.allocator, LENGTH));
        }
        copy
    }

    /// Share within a line of the one before, and lines per string.
    fn placement(&self) -> [f64; 2] {
        let addresses: Vec<usize> = self.strings.iter().map(|(_, block)| block.address().addr()).collect();
        let near = addresses.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= LINE).count();
        let mut lines: Vec<usize> = addresses.iter().map(|address| address / LINE).collect();
        lines.sort_unstable();
        lines.dedup();
        [near, lines.len()].map(|count| count as f64 / addresses.len() as f64)
    }

    fn free(self) {
        self.strings.into_iter().for_each(|(_, block)| block.free(self.allocator));
        self.table.into_iter().for_each(|block| block.free(self.allocator));
    }
}

/// A block of letters: aligned to one byte, as those of a `String` are.
fn string<A: GlobalAlloc>(allocator: &A, bytes: usize) -> Block {
    let layout = Layout::array::<u8>(bytes).expect("a few bytes");
    // SAFETY: there are some bytes.
    let block = unsafe { Block::taken(call_alloc(allocator, layout), layout) };
    let block = block.expect("there is memory enough");
    // SAFETY: the block has that byte.
    unsafe { block.address().write_volatile(b'a') };
    block
}

/// Asks every allocator.
///
/// # Errors
///
/// If a child cannot be started, or says something strange.
pub fn run(allocators: &[Allocator], progress: &ProgressBar) -> Result<Vec<Found>> {
    progress.set_length(allocators.len() as u64);
    let ask = |&allocator: &Allocator| {
        progress.set_message(allocator.name());
        progress.inc(1);
        ask(allocator, &Placement {})
    };
    allocators.iter().map(ask).collect()
}

#[cfg(test)]
mod tests {
    use super::super::perform;
    use super::*;

    #[test]
    fn there_are_two_numbers_per_run_and_stage() {
        let Found::Numbers(numbers) = perform(Allocator::Ours, Placement {}).unwrap() else { panic!() };
        assert_eq!(numbers.len(), 2 * RUNS * STAGES.len());
        assert!(numbers.iter().all(|&number| (0.0..=2.0).contains(&number)));
    }
}
