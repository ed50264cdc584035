//! All threads of a run begin at one moment, from which on the time counts.

use std::alloc::GlobalAlloc;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::client::{Client, Failure, Watch};
use bench_common::clock;

/// Where threads wait until all of them have prepared.
pub(super) struct StartLine {
    ready: Barrier,
    go: Barrier,
}

impl StartLine {
    /// For so many threads, and the one that gives the signal.
    pub(super) fn new(threads: usize) -> Self {
        Self { ready: Barrier::new(threads + 1), go: Barrier::new(threads + 1) }
    }

    /// For a thread that has prepared. To be called even if preparing failed: the others wait.
    pub(super) fn wait(&self) {
        self.ready.wait();
        self.go.wait();
    }

    /// Gives the signal when all threads are there. The clocks are read before, while nobody can run.
    pub(super) fn give_signal(&self) -> Running {
        self.ready.wait();
        let running = Running { wall: Instant::now(), processor: clock::of_process() };
        self.go.wait();
        running
    }
}

/// A run that counts.
pub(super) struct Running {
    wall: Instant,
    processor: Duration,
}

impl Running {
    /// Stops the clocks.
    pub(super) fn stop(&self) -> Elapsed {
        Elapsed { wall: self.wall.elapsed(), processor: clock::of_process() - self.processor }
    }
}

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elapsed {
    /// Time from the signal to the last thread's end.
    pub(super) wall: Duration,
    /// Processor time of all threads.
    pub(super) processor: Duration,
}

/// What a run did.
#[derive(Debug)]
pub(super) struct Finish<W> {
    /// Calls of all threads.
    pub(super) calls: u64,
    /// What they took.
    pub(super) elapsed: Elapsed,
    /// What watched the calls, thread by thread.
    pub(super) watches: Vec<W>,
}

impl<W> Finish<W> {
    /// Sums up what all threads did.
    pub(super) fn new<'a, A>(elapsed: Elapsed, clients: impl IntoIterator<Item = Client<'a, A, W>>) -> Self
    where
        A: GlobalAlloc + 'a,
        W: Watch,
    {
        let mut finish = Self { calls: 0, elapsed, watches: Vec::new() };
        for client in clients {
            finish.calls += client.calls;
            finish.watches.push(client.watch);
        }
        finish
    }
}

/// What a thread that panicked is taken for: nothing here panics by itself, so it was the allocator.
pub(super) fn joined<T>(result: std::thread::Result<Result<T, Failure>>) -> Result<T, Failure> {
    result.unwrap_or(Err(Failure::Wrong("it panicked")))
}
