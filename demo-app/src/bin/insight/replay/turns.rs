//! Threads that perform a script by turns: each step with the cache of the thread whose it was, and all of them in
//! order.
//!
//! They are virtual: one thread of the system plays all of them, so that a turn costs some nanoseconds and not a
//! wake-up. The allocator cannot tell the difference. A thread begins with its first step, and ends when the trace says
//! so: one that waits for more work to the end of the program keeps its cache as long.

use super::Plan;
use super::outcome::Outcome;
use super::player::{self, Measured, Player};
use crate::script::{Action, Step};
use crate::trouble::Trouble;
use mem_alloc_rust::VirtualThread;
use rustc_hash::FxHashMap;

/// Lets a player perform the steps that `next` yields.
///
/// # Errors
///
/// What `next` says.
pub(super) fn perform<A: Measured>(
    player: Player<'_, A>,
    plan: Plan,
    next: impl FnMut() -> Result<Option<Step>, Trouble>,
) -> Result<Outcome, Trouble> {
    let mut stage = Stage { player, plan, next };
    let mut threads: FxHashMap<u32, VirtualThread> = FxHashMap::default();
    let mut number = None;
    loop {
        let end = match number {
            Some(number) => {
                let thread = threads.entry(number).or_insert_with(player::begin_thread);
                thread.play(|| stage.take_turn(Some(number)))?
            }
            None => stage.take_turn(None)?,
        };
        match end {
            End::Turn(other) => number = Some(other),
            End::Thread(ended) => {
                threads.remove(&ended);
                number = number.filter(|&number| number != ended);
            }
            // The others have been waiting, with what their caches have.
            End::Script => return Ok(stage.player.outcome(plan)),
        }
    }
}

struct Stage<'a, A: Measured, N> {
    player: Player<'a, A>,
    plan: Plan,
    next: N,
}

/// How a turn ends.
enum End {
    /// The next step is that thread's.
    Turn(u32),
    /// That thread ends.
    Thread(u32),
    /// There is no further step, or one was refused.
    Script,
}

impl<A: Measured, N: FnMut() -> Result<Option<Step>, Trouble>> Stage<'_, A, N> {
    /// Performs the steps of one thread, up to another's first, a thread's end or the end of all.
    fn take_turn(&mut self, number: Option<u32>) -> Result<End, Trouble> {
        while let Some(step) = (self.next)()? {
            match step.action {
                Action::Thread(other) if Some(other) != number => return Ok(End::Turn(other)),
                Action::Thread(_) => continue,
                Action::ThreadEnd(ended) => return Ok(End::Thread(ended)),
                _ => {}
            }
            if step.is_event && self.player.events() == self.plan.events {
                break;
            }
            if self.player.perform(&step).is_break() {
                break;
            }
        }
        Ok(End::Script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_a_cache_from_its_first_step_to_its_end() {
        let allocate =
            |block, size| Step::event(Action::Allocate { block, size, align_log2: 3, is_zeroed: false });
        let turn = |number| Step::no_event(Action::Thread(number));
        let end = |number| Step::no_event(Action::ThreadEnd(number));
        // Three threads; the third one ends in between, and the second one in another's turn. The first one does not.
        let steps = [
            turn(0),
            allocate(0, 100),
            allocate(1, 100),
            turn(1),
            allocate(2, 50),
            turn(2),
            allocate(3, 10),
            end(2),
            turn(1),
            Step::event(Action::Release { block: 2 }),
            turn(0),
            end(1),
            Step::event(Action::Reallocate { block: 0, size: 200 }),
        ];
        // The only test that has caches: an allocator of a process has.
        let (allocator, start) = crate::replay::arena::thread_cached(4 << 20, 0).unwrap();
        let mut caches = Vec::new();
        let mut rest = steps.iter();
        let outcome = perform(Player::on(allocator, start, 0), Plan::all(4 << 20), || {
            caches.push(allocator.caches().threads);
            Ok(rest.next().copied())
        })
        .unwrap();
        assert_eq!((outcome.events, outcome.refused, outcome.figures.asked), (6, None, 310));
        assert_eq!((outcome.peak_asked, outcome.peak_event), (310, 6));
        // Before each step. What threads that ended have left is counted by nobody.
        assert_eq!(caches, [0, 0, 1, 1, 1, 2, 2, 3, 2, 2, 2, 2, 1, 1]);
    }
}
