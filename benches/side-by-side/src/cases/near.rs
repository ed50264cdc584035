//! Threads that fill an arena, go down to a share of what fitted, and then allocate and free at
//! that level. Afterwards the heap is filled, and requests to it are timed one by one: what does a
//! refusal cost?

use std::alloc::GlobalAlloc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::Result;
use bench_common::statistics::Spread;
use bench_common::{Latencies, clock};
use clap::Args;
use fastrand::Rng;
use indicatif::ProgressBar;

use super::block::Block;
use super::{ARENA, Case, Found, ask};
use crate::allocators::{Allocator, Visitor};
use crate::clock::Clock;

/// Numbers of threads.
pub const THREADS: [usize; 2] = [1, 8];
/// How much of what fits is kept live, in thousandths.
pub const LEVELS: [usize; 3] = [900, 990, 999];
/// Operations of all threads together.
pub const OPERATIONS: usize = 800_000;
/// Requests that are timed one by one.
pub const TIMED: usize = 20_000;

/// The heap counts as full after so many refusals.
const MISSES: usize = 20;

/// One measurement.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near {
    /// How many threads share the arena.
    pub threads: usize,
    /// Thousandths of what fits that are live.
    pub level: usize,
    /// Sizes of all magnitudes from 16 bytes to 8 KiB instead of 16 to 255 bytes.
    #[arg(long)]
    pub mixed: bool,
}

impl Case for Near {
    const COMMAND: &'static str = "near-once";
    const MEMORY: (usize, bool) = (ARENA, true);

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![self.threads.to_string(), self.level.to_string()];
        arguments.extend(self.mixed.then(|| "--mixed".to_owned()));
        arguments
    }
}

/// What the numbers of this case are, in their order.
pub const NUMBERS: [&str; 7] = [
    "ns_per_operation",
    "refusals_per_thousand_requests",
    "success_median_ns",
    "success_p99_ns",
    "refusal_median_ns",
    "refusal_p99_ns",
    "refused_share_when_full",
];

impl Visitor for Near {
    type Output = Found;

    /// Returns [`NUMBERS`].
    fn visit<A: GlobalAlloc + Sync>(self, allocator: &A) -> Found {
        let stopwatch = Clock::calibrate();
        let deadline = Instant::now() + Self::PATIENCE;
        let operations = OPERATIONS / self.threads;
        let barrier = Barrier::new(self.threads + 1);
        let [done, requests, refusals] = std::array::from_fn(|_| AtomicUsize::new(0));
        let gang = Gang::new(self.threads);
        let (nanoseconds, timed) = thread::scope(|scope| {
            let client = |number: usize| {
                let mut client = Client {
                    allocator,
                    mixed: self.mixed,
                    random: Rng::with_seed(number as u64),
                    live: Vec::with_capacity(ARENA / 16),
                    bytes: 0,
                    deadline,
                };
                client.fill_with(&gang);
                barrier.wait();
                let level = client.bytes / 1000 * self.level;
                client.sink_to(level);
                barrier.wait();
                let counts = client.work(level, operations);
                for (total, count) in [&done, &requests, &refusals].into_iter().zip(counts) {
                    total.fetch_add(count, Ordering::Relaxed);
                }
                barrier.wait();
                // The others' blocks stay where they are meanwhile.
                let timed = (number == 0).then(|| client.time_requests());
                barrier.wait();
                timed
            };
            let threads: Vec<_> =
                (0..self.threads).map(|number| scope.spawn(move || client(number))).collect();
            barrier.wait();
            barrier.wait();
            let before = clock::of_process();
            barrier.wait();
            let elapsed = clock::of_process() - before;
            barrier.wait();
            let timed = threads.into_iter().filter_map(|thread| thread.join().expect("nobody panics"));
            (elapsed.as_nanos() as f64, timed.collect::<Vec<_>>())
        });
        let [done, requests, refusals] = [done, requests, refusals].map(|count| count.into_inner() as f64);
        let Some([served, refused]) = timed.into_iter().next() else { return Found::TooSlow };
        if done == 0.0 || requests == 0.0 {
            return Found::TooSlow;
        }
        let mut numbers = vec![nanoseconds / done, 1000.0 * refusals / requests];
        let share = refused.len() as f64 / (served.len() + refused.len()).max(1) as f64;
        for ticks in [&served, &refused] {
            let at = |share| ticks.percentile(share).map_or(f64::NAN, |ticks| stopwatch.nanoseconds(ticks));
            numbers.extend([at(0.5), at(0.99)]);
        }
        numbers.push(share);
        Found::Numbers(numbers)
    }
}

/// Threads that fill a heap in step: otherwise those that run first would have it all.
struct Gang {
    barrier: Barrier,
    misses: AtomicUsize,
}

impl Gang {
    /// Requests of a thread before all wait for each other.
    const STRIDE: usize = 16;

    fn new(threads: usize) -> Self {
        Self { barrier: Barrier::new(threads), misses: AtomicUsize::new(0) }
    }

    /// Whether that was enough: all threads get the same answer.
    fn is_done(&self, misses: usize) -> bool {
        self.misses.fetch_add(misses, Ordering::Relaxed);
        self.barrier.wait();
        let is_done = self.misses.load(Ordering::Relaxed) >= MISSES;
        self.barrier.wait();
        is_done
    }
}

/// A thread and its blocks.
struct Client<'a, A> {
    allocator: &'a A,
    mixed: bool,
    random: Rng,
    live: Vec<Block>,
    bytes: usize,
    deadline: Instant,
}

impl<A: GlobalAlloc> Client<'_, A> {
    fn draw(&mut self) -> usize {
        if self.mixed {
            let least = 16 << self.random.u32(..9);
            least + self.random.usize(..least)
        } else {
            self.random.usize(16..256)
        }
    }

    fn request(&mut self, bytes: usize) -> bool {
        let block = Block::new(self.allocator, bytes, 8);
        self.bytes += block.as_ref().map_or(0, Block::size);
        let is_served = block.is_some();
        self.live.extend(block);
        is_served
    }

    fn free_one(&mut self) {
        if !self.live.is_empty() {
            let block = self.live.swap_remove(self.random.usize(..self.live.len()));
            self.bytes -= block.size();
            block.free(self.allocator);
        }
    }

    fn is_late(&self, steps: usize) -> bool {
        steps.is_multiple_of(64) && Instant::now() > self.deadline
    }

    fn fill(&mut self) {
        let mut misses = 0;
        while misses < MISSES && !self.is_late(self.live.len() + misses) {
            let bytes = self.draw();
            misses += usize::from(!self.request(bytes));
        }
    }

    fn fill_with(&mut self, gang: &Gang) {
        loop {
            let mut misses = 0;
            for step in 0..Gang::STRIDE {
                let bytes = self.draw();
                misses += usize::from(!self.request(bytes));
                if self.is_late(step) {
                    misses = MISSES;
                }
            }
            if gang.is_done(misses) {
                break;
            }
        }
    }

    fn sink_to(&mut self, level: usize) {
        while self.bytes > level && !self.is_late(self.live.len()) {
            self.free_one();
        }
    }

    /// Returns operations, requests and refusals.
    fn work(&mut self, level: usize, operations: usize) -> [usize; 3] {
        let (mut done, mut requests, mut refusals) = (0, 0, 0);
        while done < operations && !self.is_late(requests) {
            let bytes = self.draw();
            while self.bytes + bytes > level && !self.live.is_empty() {
                self.free_one();
                done += 1;
            }
            let is_served = self.request(bytes);
            (done, requests) = (done + 1, requests + 1);
            if !is_served {
                refusals += 1;
                self.free_one();
                done += 1;
            }
        }
        [done, requests, refusals]
    }

    /// Fills the heap and asks on: after each refusal one block is freed. Returns ticks of
    /// successes and of refusals.
    fn time_requests(&mut self) -> [Latencies; 2] {
        let [mut served, mut refused] = [Latencies::new(), Latencies::new()];
        self.deadline = Instant::now() + Near::PATIENCE;
        self.fill();
        for requests in 0..TIMED {
            if self.is_late(requests) {
                break;
            }
            let bytes = self.draw();
            let (is_served, ticks) = Clock::time(|| self.request(bytes));
            if is_served {
                served.record(ticks);
            } else {
                refused.record(ticks);
                self.free_one();
            }
        }
        [served, refused]
    }
}

/// One row: what each allocator found, medians over the rounds.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which measurement.
    pub case: Near,
    /// In the order in which the allocators were given.
    pub found: Vec<Found>,
}

/// Measures everything, round after round, the allocators in turn.
///
/// # Errors
///
/// If a child cannot be started, or says something strange.
pub fn run(allocators: &[Allocator], rounds: usize, progress: &ProgressBar) -> Result<Vec<Row>> {
    let mut cases = Vec::new();
    for threads in THREADS {
        for mixed in [false, true] {
            cases.extend(LEVELS.map(|level| Near { threads, level, mixed }));
        }
    }
    progress.set_length((cases.len() * rounds * allocators.len()) as u64);
    let mut rows = Vec::new();
    for case in cases {
        let mut found = vec![Vec::new(); allocators.len()];
        for round in 0..rounds {
            for index in 0..allocators.len() {
                // The order rotates, so that nobody always runs behind the same neighbour.
                let index = (index + round) % allocators.len();
                progress.set_message(format!("{} threads, {}", case.threads, allocators[index].name()));
                progress.inc(1);
                // Who was too slow once is not asked again.
                if found[index].last() != Some(&Found::TooSlow) {
                    found[index].push(ask(allocators[index], &case)?);
                }
            }
        }
        rows.push(Row { case, found: found.into_iter().map(median).collect() });
    }
    Ok(rows)
}

/// Number by number; who does not come to an end in one round has no numbers.
fn median(rounds: Vec<Found>) -> Found {
    let numbers = |found: &Found| match found {
        Found::Numbers(numbers) => Ok(numbers.clone()),
        other => Err(other.clone()),
    };
    let rounds: Vec<Vec<f64>> = match rounds.iter().map(numbers).collect() {
        Ok(rounds) => rounds,
        Err(other) => return other,
    };
    let of_all = |index: usize| {
        let values = rounds.iter().map(|numbers| numbers[index]).filter(|number| number.is_finite());
        Spread::of(values).map_or(f64::NAN, |spread| spread.median)
    };
    Found::Numbers((0..NUMBERS.len()).map(of_all).collect())
}

#[cfg(test)]
mod tests {
    use super::super::perform;
    use super::*;

    #[test]
    fn refusals_are_timed_beside_successes() {
        let found = perform(Allocator::Ours, Near { threads: 2, level: 990, mixed: false }).unwrap();
        let Found::Numbers(numbers) = found else { panic!("{found:?}") };
        assert_eq!(numbers.len(), NUMBERS.len());
        assert!(numbers[0] > 0.0 && (0.0..=1.0).contains(&numbers[6]));
        assert!(numbers.iter().all(|number| number.is_finite()), "{numbers:?}");
    }

    #[test]
    fn medians_are_taken_number_by_number() {
        let round = |first: f64, second: f64| {
            Found::Numbers([first, second].into_iter().chain([0.0; NUMBERS.len() - 2]).collect())
        };
        let found = median(vec![round(1.0, f64::NAN), round(3.0, 5.0), round(2.0, 4.0)]);
        assert_eq!((found.number(0), found.number(1)), (Some(2.0), Some(4.5)));
        assert_eq!(median(vec![round(1.0, 1.0), Found::TooSlow]), Found::TooSlow);
    }
}
