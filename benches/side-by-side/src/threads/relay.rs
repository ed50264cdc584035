//! Threads that end and have a successor: what one has is passed on to the next.

use std::sync::mpsc::{Sender, channel};
use std::thread::{self, Scope};

use super::Task;
use super::client::Failure;
use super::start_line::{Elapsed, StartLine};

/// Runs one relay per baton, all at the same time: a thread does `live` once, starts its successor, and ends. The first
/// thread of each relay lives once more before, with `warm_up`, which does not count.
///
/// Returns the batons after so many lives, or after the life in which the task's deadline passed.
pub(super) fn run<A: Sync, B: Send>(
    task: &Task<'_, A>,
    batons: Vec<B>,
    lives: usize,
    warm_up: impl Fn(&mut B) -> Result<(), Failure> + Sync,
    live: impl Fn(&mut B) -> Result<(), Failure> + Sync,
) -> Result<(Vec<B>, Elapsed), Failure> {
    let line = StartLine::new(batons.len());
    let (goal, arrivals) = channel();
    let is_late = || task.is_late();
    let course = Course { live, is_late };
    thread::scope(|scope| {
        for mut baton in batons {
            let (goal, line, course, warm_up) = (goal.clone(), &line, &course, &warm_up);
            scope.spawn(move || {
                let prepared = warm_up(&mut baton);
                line.wait();
                match prepared {
                    Ok(()) => course.start(scope, Leg { baton, lives, goal }),
                    Err(failure) => report(&goal, Err(failure)),
                }
            });
        }
        drop(goal);
        let running = line.give_signal();
        let batons: Result<Vec<B>, Failure> = arrivals.iter().collect();
        Ok((batons?, running.stop()))
    })
}

/// What all relays have in common.
struct Course<Live, IsLate> {
    live: Live,
    is_late: IsLate,
}

/// The rest of one relay.
struct Leg<B> {
    baton: B,
    lives: usize,
    goal: Sender<Result<B, Failure>>,
}

impl<Live, IsLate> Course<Live, IsLate> {
    /// Starts the next thread of a relay.
    fn start<'scope, B>(&'scope self, scope: &'scope Scope<'scope, '_>, leg: Leg<B>)
    where
        B: Send + 'scope,
        Live: Fn(&mut B) -> Result<(), Failure> + Sync,
        IsLate: Fn() -> bool + Sync,
    {
        let Leg { mut baton, lives, goal } = leg;
        scope.spawn(move || match (self.live)(&mut baton) {
            Ok(()) if lives > 1 && !(self.is_late)() => {
                self.start(scope, Leg { baton, lives: lives - 1, goal });
            }
            Ok(()) => report(&goal, Ok(baton)),
            Err(failure) => report(&goal, Err(failure)),
        });
    }
}

/// Nobody listens any more after the first failure, which is enough.
fn report<B>(goal: &Sender<Result<B, Failure>>, result: Result<B, Failure>) {
    let _ = goal.send(result);
}
