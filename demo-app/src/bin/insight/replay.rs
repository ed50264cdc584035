//! Performing a script again, on an arena of a given size.

#[allow(unsafe_code, reason = "memory for arenas")]
mod arena;
mod child;
mod outcome;
mod picture;
#[allow(unsafe_code, reason = "calls of an allocator")]
mod player;
mod turns;

pub(crate) use child::{PROCESS, serve};
pub(crate) use outcome::{Figures, HEADER, Outcome, Refused, Verdict};

use crate::script::Script;
use crate::trouble::Trouble;
use arena::LockedArena;
pub(crate) use arena::STRETCH;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

/// The smallest and the largest arena, in bytes: what `FreeList` takes, and what one heap manages.
pub(crate) const ARENA_LIMITS: (u64, u64) = (256, (4 << 30) - (8 << 10));

/// The largest arena that `FreeList` can have.
pub(crate) const LARGEST_STATIC: u64 = 512 << 20;

/// An allocator that a script is performed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Allocator {
    /// `Locked<FreeList<N>>`: one lock, no caches.
    Locked,
    /// `ThreadCached<FreeList<N>>`: a cache for each thread.
    ThreadCached,
}

impl Allocator {
    /// The line that a program has it with.
    pub(crate) fn line(self, arena: u64) -> String {
        let name = self.name();
        let size = crate::bytes::literal(arena);
        format!("static A: {name}<FreeList<{size}>> = {name}::new();")
    }

    /// The type's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Locked => "Locked",
            Self::ThreadCached => "ThreadCached",
        }
    }
}

/// How far a script is to be performed, and what is to be told then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Bytes of the arena, a multiple of 8.
    pub(crate) arena: u64,
    /// Where in [2 MiB](STRETCH) the arena begins: a multiple of 128, as a `FreeList` does.
    pub(crate) place: u64,
    /// Bytes of a block that is taken before the first step and kept, if they are not none: another environment or
    /// another file's name has a program ask for a little more, and moves what comes after.
    pub(crate) beforehand: u64,
    /// The last event that is performed; all, if there are fewer.
    pub(crate) events: u64,
    /// Cells of the arena's picture.
    pub(crate) cells: usize,
}

impl Plan {
    /// All of a script, without a picture, in an arena that begins with such a stretch.
    pub(crate) fn all(arena: u64) -> Self {
        Self { arena, place: 0, beforehand: 0, events: u64::MAX, cells: 0 }
    }
}

/// How many replays can go on at one time.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// What performs scripts. Keeps memory for arenas from one time to the next, as many as were used at one time.
#[derive(Default)]
pub(crate) struct Replayer {
    arenas: Vec<LockedArena>,
}

impl Replayer {
    /// Performs a script, and says what came of it.
    ///
    /// # Errors
    ///
    /// There is no memory for the arena, the trace cannot be read again, or the process that has the caches fails.
    pub(crate) fn replay(
        &mut self,
        script: &Script,
        allocator: Allocator,
        plan: Plan,
    ) -> Result<Outcome, Trouble> {
        perform(&mut self.arenas(1)[0], script, allocator, plan)
    }

    /// Whether each of several plans completes a script. As many are performed at a time as there are processors.
    ///
    /// # Errors
    ///
    /// As for [`replay`](Self::replay).
    pub(crate) fn each_completes(
        &mut self,
        script: &Script,
        allocator: Allocator,
        plans: &[Plan],
    ) -> Result<Vec<bool>, Trouble> {
        let arenas = self.arenas(processors().min(plans.len()));
        let mut completes = Vec::new();
        for plans in plans.chunks(processors()) {
            let outcomes = thread::scope(|scope| {
                let begin = |(&plan, arena)| scope.spawn(move || perform(arena, script, allocator, plan));
                let replays: Vec<_> = plans.iter().zip(arenas.iter_mut()).map(begin).collect();
                let wait = |replay: ScopedJoinHandle<'_, _>| {
                    replay.join().unwrap_or_else(|panic| resume_unwind(panic))
                };
                replays.into_iter().map(wait).collect::<Result<Vec<_>, Trouble>>()
            })?;
            completes.extend(outcomes.iter().map(|outcome| outcome.refused.is_none()));
        }
        Ok(completes)
    }

    /// So many arenas at least.
    fn arenas(&mut self, count: usize) -> &mut [LockedArena] {
        self.arenas.resize_with(self.arenas.len().max(count), LockedArena::default);
        &mut self.arenas
    }
}

fn perform(
    arena: &mut LockedArena,
    script: &Script,
    allocator: Allocator,
    plan: Plan,
) -> Result<Outcome, Trouble> {
    match allocator {
        Allocator::Locked => perform_locked(arena, script, plan),
        Allocator::ThreadCached => child::replay(script, plan),
    }
}

/// Without caches it does not matter which thread asks.
fn perform_locked(arena: &mut LockedArena, script: &Script, plan: Plan) -> Result<Outcome, Trouble> {
    let allocator = arena.allocator(plan.arena, plan.place)?;
    let mut player = player::Player::new(&allocator, plan.beforehand);
    script.visit(|step| {
        if player.events() == plan.events && step.unpack().is_event {
            return ControlFlow::Break(());
        }
        player.perform(&step.unpack())
    })?;
    Ok(player.outcome(plan))
}

#[cfg(test)]
#[allow(unsafe_code, reason = "compares with an allocator that is called by hand")]
mod tests;
