//! How large an arena has to be, and what it is needed for.

use crate::replay::{ARENA_LIMITS, Allocator, Figures, HEADER, Plan, Replayer};
use crate::script::Script;
use crate::search::{self, Range};
use crate::trouble::Trouble;

/// The search is right to the peak over this.
const RESOLUTION: u64 = 1024;

/// The search gives up at this multiple of the peak, and this many bytes more.
const LARGEST: (u64, u64) = (8, 64 << 10);

/// The margin of a program with one thread over the smallest arena, in thousandths: what another run may do otherwise.
const MARGIN: u64 = 50;

/// The same with threads, of which one run was recorded.
const MARGIN_OF_ONE_RUN_WITH_THREADS: u64 = 100;

/// The smallest arena for a trace, and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Smallest {
    /// Bytes of the arena.
    pub(crate) arena: u64,
    /// What they are for, when the program has most.
    pub(crate) parts: Parts,
}

/// What an arena is used for when what the program asked for is at its peak. All together they are the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Bytes that the program asked for.
    pub(crate) asked: u64,
    /// Four for each block that has a header; the map of the arena's pages, and what alignment costs at its ends.
    pub(crate) headers: u64,
    /// What blocks and slots are longer than what was asked for.
    pub(crate) rounding: u64,
    /// What is free where it is of no use now: holes, free slots and pages' beginnings, and what is needed at another time, as
    /// by a block that moves while it grows.
    pub(crate) fragmentation: u64,
    /// What is in threads' caches.
    pub(crate) caches: u64,
}

impl Parts {
    /// Takes an arena apart.
    pub(crate) fn new(arena: u64, figures: &Figures) -> Self {
        let headers = HEADER * figures.headers + (arena - figures.usable);
        let rounding = figures.capacity - figures.asked;
        let caches = figures.cached();
        let fragmentation = arena - figures.asked - headers - rounding - caches;
        Self { asked: figures.asked, headers, rounding, fragmentation, caches }
    }

    /// All but what the program asked for.
    pub(crate) fn overhead(&self) -> u64 {
        self.headers + self.rounding + self.fragmentation + self.caches
    }
}

/// Searches for the smallest arena that completes a script. `note` is told of each size that is tried.
///
/// # Errors
///
/// No arena is enough, or a replay fails.
pub(crate) fn smallest(
    replayer: &mut Replayer,
    script: &Script,
    allocator: Allocator,
    guess: Option<u64>,
    mut note: impl FnMut(u64),
) -> Result<Smallest, Trouble> {
    let peak = script.peak_bytes;
    let lower = peak.max(ARENA_LIMITS.0);
    let upper = peak.saturating_mul(LARGEST.0).saturating_add(LARGEST.1).min(ARENA_LIMITS.1);
    let step = (peak / RESOLUTION).next_power_of_two().max(8);
    let guess = guess.unwrap_or(peak + peak / 12 + 512);
    let mut peak_event = 0;
    let found = search::smallest(Range { lower, guess, upper, step }, |arena| {
        note(arena);
        let outcome = replayer.replay(script, allocator, Plan::all(arena))?;
        if outcome.refused.is_none() {
            peak_event = outcome.peak_event;
        }
        Ok(outcome.refused.is_none())
    })?;
    let arena = found.ok_or(Trouble::NotEnough { peak, largest: upper })?;
    let at_the_peak = Plan { events: peak_event, ..Plan::all(arena) };
    let outcome = replayer.replay(script, allocator, at_the_peak)?;
    Ok(Smallest { arena, parts: Parts::new(arena, &outcome.figures) })
}

/// What to give a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recommendation {
    /// Bytes of the arena.
    pub(crate) arena: u64,
    /// How much more that is than the largest of the smallest arenas, in thousandths.
    pub(crate) margin: u64,
    /// By how much the smallest arenas differ, in thousandths of the largest.
    pub(crate) spread: u64,
}

/// Recommends an arena, from the smallest one of each run. `completes` is asked whether an arena completes all runs.
///
/// The margin is what runs differ by, and 5 % at least; 10 % if there are threads and one run.
///
/// # Errors
///
/// What `completes` says.
pub(crate) fn recommend<E>(
    smallest: &[u64],
    has_threads: bool,
    mut completes: impl FnMut(u64) -> Result<bool, E>,
) -> Result<Recommendation, E> {
    let (least, most) =
        smallest.iter().fold((u64::MAX, 0), |(least, most), &arena| (least.min(arena), most.max(arena)));
    let spread = ((most - least.min(most)) * 1000).div_ceil(most.max(1));
    let wanted =
        if has_threads && smallest.len() == 1 { MARGIN_OF_ONE_RUN_WITH_THREADS } else { MARGIN.max(spread) };
    let mut arena = round(most + most * wanted / 1000);
    // (A larger arena may lay blocks out worse.)
    while !completes(arena)? {
        arena = round(arena + arena / 100 + 8);
    }
    let margin = (arena - most) * 1000 / most.max(1);
    Ok(Recommendation { arena, margin, spread })
}

/// A round number of bytes, in steps of a 512th at most, and of 8 at least.
fn round(arena: u64) -> u64 {
    let step = ((arena / 1024).next_power_of_two()).clamp(8, 64 << 10);
    arena.next_multiple_of(step)
}

#[cfg(test)]
mod tests;
