//! Threads that perform a script by turns: each step on the thread whose it was, so that its cache gets what it got, and all of
//! them in order.
//!
//! A thread begins with its first step and ends with its last one. Nobody has a turn while one begins or ends.

use super::Plan;
use super::outcome::Outcome;
use super::player::{Measured, Player};
use crate::script::{Action, Step};
use crate::trouble::Trouble;
use std::collections::BTreeMap;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle, Thread};

/// Whose turn it is when it is no thread's of the script, but of the one that begins and ends them.
const CONDUCTOR: u64 = u64::MAX;

/// All threads of the script are to end.
const OVER: u64 = u64::MAX - 1;

/// How often a thread looks whether it is its turn before it sleeps: less than a wake-up takes.
const LOOKS: u32 = 100;

/// A thread of a script needs little of a stack.
const STACK: usize = 128 << 10;

/// Lets a player perform the steps that `next` yields. Each thread of the script is one of its own.
///
/// # Errors
///
/// What `next` says, or a thread cannot begin.
pub(super) fn perform<A: Measured + Sync>(
    player: Player<'_, A>,
    plan: Plan,
    next: impl FnMut() -> Result<Option<Step>, Trouble> + Send,
) -> Result<Outcome, Trouble> {
    let stage = Stage {
        turn: AtomicU64::new(CONDUCTOR),
        conductor: thread::current(),
        state: Mutex::new(State {
            next,
            player,
            threads: BTreeMap::new(),
            wanted: None,
            ended: None,
            outcome: None,
        }),
    };
    thread::scope(|scope| {
        let outcome = conduct(&stage, scope, plan);
        // All others have been waiting, with what their caches have.
        stage.turn.store(OVER, Ordering::Release);
        stage.lock().threads.values().for_each(Thread::unpark);
        outcome
    })
}

/// What all threads look at.
struct Stage<'a, A: Measured, N> {
    /// Whose turn it is; only that thread changes it.
    turn: AtomicU64,
    conductor: Thread,
    /// Locked by whoever has the turn.
    state: Mutex<State<'a, A, N>>,
}

struct State<'a, A: Measured, N> {
    next: N,
    player: Player<'a, A>,
    /// The threads that have begun and not ended.
    threads: BTreeMap<u32, Thread>,
    /// The thread that is to begin, or whose turn it is.
    wanted: Option<u32>,
    /// The thread that has done its last step.
    ended: Option<u32>,
    /// Why the performance is over.
    outcome: Option<Result<(), Trouble>>,
}

impl<'a, A: Measured, N: FnMut() -> Result<Option<Step>, Trouble>> Stage<'a, A, N> {
    fn lock(&self) -> MutexGuard<'_, State<'a, A, N>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn; false if all is over.
    fn wait(&self, number: u64) -> bool {
        for _ in 0..LOOKS {
            match self.turn.load(Ordering::Acquire) {
                turn if turn == number => return true,
                OVER => return false,
                _ => spin_loop(),
            }
        }
        loop {
            match self.turn.load(Ordering::Acquire) {
                turn if turn == number => return true,
                OVER => return false,
                _ => thread::park(),
            }
        }
    }

    /// Gives the turn to a thread.
    fn pass(&self, number: u64, thread: &Thread) {
        self.turn.store(number, Ordering::Release);
        thread.unpark();
    }

    /// A thread of the script, from its first step to its last.
    fn play(&self, number: u32, plan: Plan) {
        while self.wait(number.into()) {
            let mut state = self.lock();
            state.take_turn(number, plan);
            let other = state.wanted.filter(|_| state.ended.is_none() && state.outcome.is_none());
            let heir = other.and_then(|other| Some((other, state.threads.get(&other)?.clone())));
            let is_last = state.ended.is_some();
            drop(state);
            match heir {
                Some((other, thread)) => self.pass(other.into(), &thread),
                None => self.pass(CONDUCTOR, &self.conductor),
            }
            if is_last {
                return;
            }
        }
    }
}

impl<A: Measured, N: FnMut() -> Result<Option<Step>, Trouble>> State<'_, A, N> {
    /// Performs the steps of one thread, up to another's first, its own last or the end of all.
    fn take_turn(&mut self, number: u32, plan: Plan) {
        self.wanted = None;
        loop {
            let Some(step) = self.next_step(plan) else { return };
            if let Action::Thread(other) = step.action {
                if other == number {
                    continue;
                }
                if step.ends_thread {
                    // It has nothing to do that is known.
                    continue;
                }
                self.wanted = Some(other);
                return;
            }
            if self.player.perform(&step).is_break() {
                self.outcome = Some(Ok(()));
                return;
            }
            if step.ends_thread {
                self.ended = Some(number);
                return;
            }
        }
    }

    /// The next step, or none if the performance is over.
    fn next_step(&mut self, plan: Plan) -> Option<Step> {
        let step = match (self.next)() {
            Ok(step) => step,
            Err(trouble) => {
                self.outcome = Some(Err(trouble));
                return None;
            }
        };
        let is_over = |step: &Step| step.is_event && self.player.events() == plan.events;
        let step = step.filter(|step| !is_over(step));
        if step.is_none() {
            self.outcome = Some(Ok(()));
        }
        step
    }
}

/// Begins threads, and waits for the end of each.
fn conduct<'scope, 'env: 'scope, 'a: 'scope, A, N>(
    stage: &'env Stage<'a, A, N>,
    scope: &'scope Scope<'scope, 'env>,
    plan: Plan,
) -> Result<Outcome, Trouble>
where
    A: Measured + Sync,
    N: FnMut() -> Result<Option<Step>, Trouble> + Send + 'scope,
{
    let mut handles: BTreeMap<u32, ScopedJoinHandle<'scope, ()>> = BTreeMap::new();
    loop {
        stage.wait(CONDUCTOR);
        let mut state = stage.lock();
        if let Some(number) = state.ended.take() {
            state.threads.remove(&number);
            drop(state);
            // Until it is gone, its cache is: that is when the C library says so, and not when it has done its work.
            if let Some(handle) = handles.remove(&number) {
                let _ = handle.join();
            }
            state = stage.lock();
        }
        if state.outcome.is_none() && state.wanted.is_none() {
            // A step that is no thread's is none.
            while let Some(step) = state.next_step(plan) {
                if let (Action::Thread(number), false) = (step.action, step.ends_thread) {
                    state.wanted = Some(number);
                    break;
                }
            }
        }
        match state.outcome.take() {
            Some(Ok(())) => return Ok(state.player.outcome(plan)),
            Some(Err(trouble)) => return Err(trouble),
            None => {}
        }
        let Some(number) = state.wanted else { continue };
        let thread = match state.threads.get(&number) {
            Some(thread) => thread.clone(),
            None => {
                let builder = thread::Builder::new().stack_size(STACK);
                let handle = builder
                    .spawn_scoped(scope, move || stage.play(number, plan))
                    .map_err(|error| Trouble::NoThread { error })?;
                let thread = handle.thread().clone();
                handles.insert(number, handle);
                state.threads.insert(number, thread.clone());
                thread
            }
        };
        drop(state);
        stage.pass(number.into(), &thread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_done_by_its_thread_and_in_order() {
        use crate::replay::arena::LockedArena;
        // Three threads; the second one ends in between.
        let allocate =
            |block, size| Step::event(Action::Allocate { block, size, align_log2: 3, is_zeroed: false });
        let turn = |number| Step::no_event(Action::Thread(number));
        let last = |step: Step| Step { ends_thread: true, ..step };
        let steps = [
            turn(0),
            allocate(0, 100),
            turn(1),
            allocate(1, 50),
            turn(2),
            last(allocate(2, 10)),
            turn(1),
            last(Step::event(Action::Release { block: 1 })),
            turn(0),
            last(Step::event(Action::Reallocate { block: 0, size: 200 })),
        ];
        let mut arena = LockedArena::default();
        let allocator = arena.allocator(64 << 10).unwrap();
        let mut seen = Vec::new();
        let mut rest = steps.iter();
        let outcome = perform(Player::new(&allocator), Plan::all(64 << 10), || {
            seen.push(thread::current().id());
            Ok(rest.next().copied())
        })
        .unwrap();
        assert_eq!((outcome.events, outcome.refused, outcome.figures.asked), (5, None, 210));
        assert_eq!((outcome.peak_asked, outcome.peak_event), (210, 5));
        // Who asks for a step performs it, if it is one of its own.
        let conductor = thread::current().id();
        assert_eq!(seen[0], conductor);
        assert_eq!(seen[1], seen[2]);
        assert_eq!(seen[3], seen[4]);
        assert_ne!(seen[1], seen[3]);
        assert_eq!(seen[6], conductor, "the third thread is gone");
        assert_eq!(seen[7], seen[3]);
        assert_eq!(seen[9], seen[1]);
    }
}
