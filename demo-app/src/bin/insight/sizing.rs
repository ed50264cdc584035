//! How large an arena has to be, and what it is needed for.

use crate::replay::{ARENA_LIMITS, Allocator, Figures, HEADER, Plan, Replayer, STRETCH, processors};
use crate::script::Script;
use crate::search::{self, Range};
use crate::trouble::Trouble;
use serde::Serialize;

/// The search is right to the peak over this.
const RESOLUTION: u64 = 1024;

/// The search gives up at this multiple of the peak, and this many bytes and twice the largest alignment more.
const LARGEST: (u64, u64) = (8, 64 << 10);

/// Arenas that are larger than the smallest by so many percent are tried, too. Other runs of a program are as if its
/// arena were a little different: where some of these are not enough, an arena of about that size is not to be relied
/// on.
const LARGER: [u64; 12] = [1, 2, 3, 4, 6, 8, 10, 12, 15, 18, 21, 25];

/// An arena is enough if it completes a script wherever in its page it begins, which is for the linker to decide; these
/// places are tried. Where blocks are aligned to more than a page, the page matters, too: see [`trial`]. (Each with
/// caches in a process of its own, so that where the kernel puts it is another one each time, too.)
const PLACES: [u64; 6] = [0, 1664, 3328, 896, 2560, 128];

/// At each place but the first, a block of its number over this, in bytes, is taken beforehand, unless the search is
/// not right to as much: an arena is enough if it completes a script whose blocks are moved by a little, too, as they
/// are in another environment.
const PLACE_OVER_BEFOREHAND: u64 = 16;

/// The margin of a program with one thread over the smallest arena, in thousandths: what another run may do otherwise.
const MARGIN: u64 = 50;

/// The same with threads, of which one run was recorded. (Four threads of one program that build maps, each its own,
/// needed from an eighth less to a quarter more in five later runs.)
const MARGIN_OF_ONE_RUN_WITH_THREADS: u64 = 250;

/// The smallest arena for a trace, and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Smallest {
    /// Bytes of the arena.
    pub(crate) arena: u64,
    /// All larger arenas that were tried complete the trace from this size on. It is the same unless large blocks need
    /// luck to find a place, so that some larger arena does not complete it.
    pub(crate) reliable: u64,
    /// What they are for, when the program has most.
    pub(crate) parts: Parts,
}

/// What an arena is used for when what the program asked for is at its peak. All together they are the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Parts {
    /// Bytes that the program asked for.
    pub(crate) asked: u64,
    /// Four for each block that has a header; the map of the arena's pages, and what alignment costs at its ends.
    pub(crate) headers: u64,
    /// What blocks and slots are longer than what was asked for.
    pub(crate) rounding: u64,
    /// What is free where it is of no use now: holes, free slots and pages' beginnings, and what is needed at another
    /// time, as by a block that moves while it grows.
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
    let upper =
        peak.saturating_mul(LARGEST.0).saturating_add(LARGEST.1).saturating_add(2 * most_align(script));
    let upper = upper.min(ARENA_LIMITS.1);
    let step = (peak / RESOLUTION).next_power_of_two().max(8);
    let guess = guess.unwrap_or(peak + peak / 12 + 512);
    let mut peak_event = 0;
    let found = search::smallest(Range { lower, guess, upper, step }, |arena| {
        note(arena);
        // Most of those that are too small are so at any place.
        let outcome = replayer.replay(script, allocator, Plan::all(arena))?;
        if outcome.refused.is_some() {
            return Ok(false);
        }
        peak_event = outcome.peak_event;
        complete(&trials(script, arena)[1..], replayer, script, allocator)
    })?;
    let arena = found.ok_or(Trouble::NotEnough { peak, largest: upper })?;
    let reliable = reliable(arena, step, |arenas| {
        arenas.iter().for_each(|&arena| note(arena));
        let plan = |(number, &arena)| trial(script, arena, number % PLACES.len());
        let plans: Vec<Plan> = arenas.iter().enumerate().map(plan).collect();
        replayer.each_completes(script, allocator, &plans)
    })?;
    let at_the_peak = Plan { events: peak_event, ..Plan::all(arena) };
    let outcome = replayer.replay(script, allocator, at_the_peak)?;
    Ok(Smallest { arena, reliable, parts: Parts::new(arena, &outcome.figures) })
}

/// The ways in which an arena has to complete a script.
fn trials(script: &Script, arena: u64) -> [Plan; PLACES.len()] {
    std::array::from_fn(|number| trial(script, arena, number))
}

/// One of them, by its number: where the arena begins, in its page, and, if blocks of the script are aligned to more
/// than that, spread over as much; and what is taken beforehand.
fn trial(script: &Script, arena: u64, number: usize) -> Plan {
    let stretch = (most_align(script) * number as u64 / PLACES.len() as u64) & !4095;
    let beforehand = (PLACES[number] / PLACE_OVER_BEFOREHAND).min(script.peak_bytes / RESOLUTION);
    Plan { place: PLACES[number] + stretch, beforehand, ..Plan::all(arena) }
}

/// The largest alignment that was asked for, as far as it is looked at.
fn most_align(script: &Script) -> u64 {
    (1 << script.most_align_log2.min(63)).min(STRETCH as u64)
}

/// Whether an arena completes a script, wherever in its page it begins and whatever is taken beforehand.
///
/// # Errors
///
/// A replay fails.
pub(crate) fn completes(
    replayer: &mut Replayer,
    script: &Script,
    allocator: Allocator,
    arena: u64,
) -> Result<bool, Trouble> {
    complete(&trials(script, arena), replayer, script, allocator)
}

/// Whether a script is completed in each of some ways.
fn complete(
    trials: &[Plan],
    replayer: &mut Replayer,
    script: &Script,
    allocator: Allocator,
) -> Result<bool, Trouble> {
    for plans in trials.chunks(processors()) {
        if replayer.each_completes(script, allocator, plans)?.contains(&false) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The size from which on all larger arenas that are tried are enough. `are_enough` is asked about all of them at once.
fn reliable<E>(
    smallest: u64,
    step: u64,
    are_enough: impl FnOnce(&[u64]) -> Result<Vec<bool>, E>,
) -> Result<u64, E> {
    let mut reliable = smallest;
    let mut is_reliable = true;
    let larger = LARGER.map(|percent| (smallest + smallest * percent / 100).next_multiple_of(step));
    for (arena, is_enough) in larger.into_iter().zip(are_enough(&larger)?) {
        match (is_enough, is_reliable) {
            (true, true) => {}
            (true, false) => (reliable, is_reliable) = (arena, true),
            (false, _) => is_reliable = false,
        }
    }
    // (What is not reliable that far above the smallest is made so by the margin.)
    Ok(if is_reliable { reliable } else { smallest + smallest * LARGER[LARGER.len() - 1] / 100 })
}

/// What to give a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recommendation {
    /// Bytes of the arena.
    pub(crate) arena: u64,
    /// How much more that is than the largest of the reliable arenas, in thousandths.
    pub(crate) margin: u64,
    /// By how much the reliable arenas differ, in thousandths of the largest.
    pub(crate) spread: u64,
}

/// Recommends an arena, from the reliable one of each run. `completes` is asked whether an arena completes all runs.
///
/// The margin is what runs differ by, and 5 % at least; 25 % if there are threads and one run.
///
/// # Errors
///
/// What `completes` says.
pub(crate) fn recommend<E>(
    reliable: &[u64],
    has_threads: bool,
    mut completes: impl FnMut(u64) -> Result<bool, E>,
) -> Result<Recommendation, E> {
    let (least, most) =
        reliable.iter().fold((u64::MAX, 0), |(least, most), &arena| (least.min(arena), most.max(arena)));
    let spread = ((most - least.min(most)) * 1000).div_ceil(most.max(1));
    let wanted =
        if has_threads && reliable.len() == 1 { MARGIN_OF_ONE_RUN_WITH_THREADS } else { MARGIN.max(spread) };
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
