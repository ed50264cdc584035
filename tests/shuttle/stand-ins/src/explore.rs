//! Running a scenario again and again, each time with other turns of its threads.

use crate::execution::{self, Stores};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};
use std::cell::UnsafeCell;
use std::ops::Deref;

/// The same schedules in each run, so that whatever fails does so again. `SHUTTLE_RANDOM_SEED` takes its place.
const SEED: u64 = 0x6D61_7275_7374;

/// Most of an execution's steps, so that threads that wait for each other forever are found.
const MOST_STEPS: usize = 1_000_000;

const STACK: usize = 256 << 10;

/// A static of which each execution has a new one.
pub struct Fresh<T> {
    value: UnsafeCell<T>,
    new: T,
}

// SAFETY: `renew` is called before the execution's threads are there (contract).
unsafe impl<T: Sync> Sync for Fresh<T> {}

impl<T> Fresh<T> {
    pub const fn new(value: T, new: T) -> Self {
        Self { value: UnsafeCell::new(value), new }
    }

    /// Makes the value a new one.
    ///
    /// # Safety
    ///
    /// - Nobody is at it. To forget the old one does no harm, and the bytes of a new one are one.
    unsafe fn renew(&self) {
        // SAFETY: the caller's contract.
        unsafe { self.value.get().copy_from_nonoverlapping(&raw const self.new, 1) };
    }
}

impl<T> Deref for Fresh<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: nobody has a `&mut` to it but `renew`.
        unsafe { &*self.value.get() }
    }
}

/// How a scenario is explored.
#[derive(Clone, Copy, Debug)]
pub struct Exploration {
    pub stores: Stores,
    pub has_membarrier: bool,
    /// How many executions there are of each scheduler.
    pub times: usize,
}

impl Exploration {
    fn run<T: Sync>(
        self,
        scheduler: impl Scheduler + 'static,
        fresh: &'static Fresh<T>,
        scenario: fn(&'static T),
    ) -> usize {
        let mut config = Config::new();
        config.stack_size = STACK;
        config.silence_warnings = true;
        config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
        Runner::new(scheduler, config).run(move || {
            execution::begin(self.stores, self.has_membarrier);
            // SAFETY: the threads of the last execution are over, and this one is the first. An allocator has no
            // destructor, and a constant's bytes are what it is initialised by.
            unsafe { fresh.renew() };
            crate::thread_end::at_end();
            scenario(fresh);
        })
    }

    /// Runs a scenario so many times with turns by chance, and so many times with a few changes of turn at moments by
    /// chance, which finds what takes a long wait of one thread.
    pub fn explore<T: Sync>(self, fresh: &'static Fresh<T>, scenario: fn(&'static T)) {
        let random = self.run(RandomScheduler::new_from_seed(SEED, self.times), fresh, scenario);
        let by_priority = self.run(PctScheduler::new_from_seed(SEED, 4, self.times), fresh, scenario);
        println!("{} executions", random + by_priority);
    }
}
