//! Threads that replay the same trace in one arena at the same time, in an order that is always the same.

use std::alloc::GlobalAlloc;
use std::sync::{Barrier, Condvar, Mutex};
use std::thread;

use crate::execute::Blocks;
use crate::operation::{Operation, Sequence};

/// Operations before the next thread has its turn.
pub(super) const OPERATIONS: usize = 64;

/// Whether all threads can replay the trace.
pub(super) fn replay<A: GlobalAlloc + Sync>(allocator: &A, trace: &Sequence, threads: usize) -> bool {
    let turns = Turns::new(threads);
    // A thread that ends gives its cache back or leaves it, and when it does so is the system's choice: all of them
    // stay to the end.
    let end = Barrier::new(threads);
    thread::scope(|scope| {
        for number in 0..threads {
            let (turns, end) = (&turns, &end);
            scope.spawn(move || {
                let mut blocks = Blocks::new(trace.extent.slots);
                for part in trace.timed.chunks(OPERATIONS) {
                    let goes_on = turns.take(number, || {
                        part.iter().all(|&operation| {
                            // SAFETY: a trace is consistent, and performed in order on one allocator until it refuses.
                            unsafe { blocks.perform(allocator, operation) }.is_ok()
                        })
                    });
                    if !goes_on {
                        break;
                    }
                }
                end.wait();
            });
        }
    });
    turns.all_completed()
}

/// Most bytes that so many threads have live at one time: less than all their peaks together, because they are not at
/// the same operation.
pub(super) fn peak_bytes(trace: &Sequence, threads: usize) -> usize {
    let mut sizes = vec![0; trace.extent.slots];
    let (mut live, mut peak) = (0, 0);
    for part in trace.timed.chunks(OPERATIONS) {
        let before = live;
        let mut most = live;
        for operation in part {
            let size = match *operation {
                Operation::Allocate { size, .. } | Operation::Reallocate { size, .. } => size as usize,
                Operation::Free { .. } => 0,
            };
            let old = std::mem::replace(&mut sizes[operation.slot() as usize], size);
            live = live + size - old;
            most = most.max(live);
        }
        // While one thread has its turn, those before it have had theirs.
        let of_all = |had_theirs: usize| had_theirs * live + most + (threads - 1 - had_theirs) * before;
        peak = peak.max(of_all(0)).max(of_all(threads - 1));
    }
    peak
}

/// Whose turn it is.
struct Turns {
    threads: usize,
    state: Mutex<State>,
    /// One per thread, so that only the next one wakes up.
    wake: Vec<Condvar>,
}

struct State {
    next: usize,
    refused: bool,
}

impl Turns {
    fn new(threads: usize) -> Self {
        let wake = std::iter::repeat_with(Condvar::new).take(threads).collect();
        Self { threads, state: Mutex::new(State { next: 0, refused: false }), wake }
    }

    /// Waits for the turn of a thread and uses it. False if its work failed, or that of any thread before.
    fn take(&self, number: usize, work: impl FnOnce() -> bool) -> bool {
        let state = self.state.lock().expect("no thread panics here");
        let waiting = |state: &mut State| state.next != number && !state.refused;
        let mut state = self.wake[number].wait_while(state, waiting).expect("no thread panics here");
        if !state.refused && !work() {
            state.refused = true;
            self.wake.iter().for_each(Condvar::notify_one);
        }
        state.next = (number + 1) % self.threads;
        self.wake[state.next].notify_one();
        !state.refused
    }

    fn all_completed(self) -> bool {
        !self.state.into_inner().expect("no thread panicked").refused
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::System;

    use super::*;
    use crate::operation::Operation;

    #[test]
    fn turns_go_round() {
        let turns = Turns::new(3);
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for number in [2, 0, 1] {
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    for _ in 0..2 {
                        turns.take(number, || {
                            order.lock().unwrap().push(number);
                            true
                        });
                    }
                });
            }
        });
        assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 0, 1, 2]);
        assert!(turns.all_completed());
    }

    #[test]
    fn one_refusal_ends_all() {
        let turns = Turns::new(2);
        let both = thread::scope(|scope| {
            let first = scope.spawn(|| turns.take(0, || false));
            let second = scope.spawn(|| turns.take(1, || true));
            (first.join().unwrap(), second.join().unwrap())
        });
        assert_eq!(both, (false, false));
        assert!(!turns.all_completed());
    }

    #[test]
    fn peaks_of_threads_meet_only_where_turns_end() {
        let at_the_end_of_a_turn = (0..64).map(|slot| Operation::allocate(slot, 10)).collect();
        let trace = Sequence::new("test", Vec::new(), at_the_end_of_a_turn).unwrap();
        assert_eq!(peak_bytes(&trace, 3), 3 * 640);
        let within_a_turn = vec![
            Operation::allocate(0, 10),
            Operation::Reallocate { slot: 0, size: 100 },
            Operation::Reallocate { slot: 0, size: 30 },
        ];
        let trace = Sequence::new("test", Vec::new(), within_a_turn).unwrap();
        assert_eq!(peak_bytes(&trace, 1), trace.extent.peak_bytes);
        assert_eq!(peak_bytes(&trace, 3), 30 + 30 + 100);
    }

    #[test]
    fn a_trace_is_completed_by_all_threads() {
        let timed = (0..100).map(|slot| Operation::allocate(slot, 40));
        let timed = timed.chain((0..100).map(|slot| Operation::Free { slot })).collect();
        let trace = Sequence::new("test", Vec::new(), timed).unwrap();
        assert!(replay(&System, &trace, 3));
    }
}
