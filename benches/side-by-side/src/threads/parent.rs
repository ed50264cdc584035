//! The parent's side: starts one child per measurement, round after round.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::ProgressBar;

use super::{Answer, Reading, THREADS, Workload};
use crate::allocators::Allocator;
use crate::clock::Clock;
use crate::own_process;
use bench_common::statistics::Spread;

/// What came out for one allocator on one row: medians over the rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Million calls per second.
    pub throughput: Spread,
    /// Processor time per call, in nanoseconds.
    pub processor: f64,
    /// What single calls took, in nanoseconds: p99, p99.9, and the longest.
    pub latency: [f64; 3],
    /// Bytes that the process needed for the run.
    pub memory: Option<f64>,
}

/// How one allocator fared on one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The numbers.
    Measured(Summary),
    /// A request was refused in spite of a generous arena.
    Refused,
    /// The check found a wrong answer, or the process broke down.
    Wrong(String),
}

impl Outcome {
    /// The numbers, if there are any.
    #[must_use]
    pub fn summary(&self) -> Option<&Summary> {
        match self {
            Self::Measured(summary) => Some(summary),
            _ => None,
        }
    }

    /// Million calls per second, if that was measured.
    #[must_use]
    pub fn throughput(&self) -> Option<f64> {
        self.summary().map(|summary| summary.throughput.median)
    }
}

/// One workload with one number of threads.
#[derive(Clone, Debug)]
pub struct Row {
    /// The workload.
    pub workload: Workload,
    /// Number of threads, or of pairs.
    pub threads: usize,
    /// In the order in which the allocators were given.
    pub outcomes: Vec<Outcome>,
}

/// Measures every workload with every number of threads on every allocator.
///
/// `child` is the command that makes this program call [`super::perform`] and print the answer; it is given what to
/// perform.
///
/// # Errors
///
/// If a child cannot be started, or says something strange.
pub fn run(
    workloads: &[Workload],
    allocators: &[Allocator],
    rounds: usize,
    child: impl Fn(Allocator, Workload, usize, super::Purpose) -> Vec<OsString>,
    progress: &ProgressBar,
) -> Result<Vec<Row>> {
    use super::Purpose::{Check, Measure};
    let clock = Clock::calibrate();
    progress.set_length((workloads.len() * THREADS.len() * allocators.len() * (rounds + 1)) as u64);
    let mut rows = Vec::new();
    for &workload in workloads {
        for threads in THREADS {
            progress.set_message(format!("{}, {threads}", workload.name()));
            let answer = |allocator: Allocator, purpose| {
                progress.inc(1);
                ask(&child(allocator, workload, threads, purpose))
                    .with_context(|| format!("{} on {}", workload.name(), allocator.name()))
            };
            let mut lanes = Vec::new();
            for &allocator in allocators {
                lanes.push(Lane::new(answer(allocator, Check)?));
            }
            for round in 0..rounds {
                for index in 0..lanes.len() {
                    // The order rotates, so that nobody always runs behind the same neighbour.
                    let index = (index + round) % lanes.len();
                    if lanes[index].dropped_out.is_none() {
                        lanes[index].add(answer(allocators[index], Measure)?);
                    }
                }
            }
            let outcomes = lanes.into_iter().map(|lane| lane.finish(clock)).collect();
            rows.push(Row { workload, threads, outcomes });
        }
    }
    Ok(rows)
}

/// A child that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Starts a child and reads its answer. A child that breaks down is a wrong answer of the allocator's.
fn ask(arguments: &[OsString]) -> Result<Answer> {
    match own_process::run(arguments, LIMIT)? {
        Ok(text) => Answer::parse(&text),
        Err(failure) => Ok(Answer::Wrong(failure.to_string())),
    }
}

/// One allocator during the rounds of one row.
struct Lane {
    readings: Vec<Reading>,
    dropped_out: Option<Outcome>,
}

impl Lane {
    /// Begins with the answer to the check.
    fn new(answer: Answer) -> Self {
        let mut lane = Self { readings: Vec::new(), dropped_out: None };
        lane.add(answer);
        lane
    }

    fn add(&mut self, answer: Answer) {
        match answer {
            Answer::Measured(reading) => self.readings.push(reading),
            Answer::Right => (),
            Answer::Refused => self.dropped_out = Some(Outcome::Refused),
            Answer::Wrong(what) => self.dropped_out = Some(Outcome::Wrong(what)),
        }
    }

    /// One wrong round spoils all.
    fn finish(self, clock: Clock) -> Outcome {
        self.dropped_out.unwrap_or_else(|| {
            let summary = summarise(&self.readings, clock);
            summary.map_or_else(|| Outcome::Wrong("no rounds".to_owned()), Outcome::Measured)
        })
    }
}

fn summarise(readings: &[Reading], clock: Clock) -> Option<Summary> {
    let spread = |value: &dyn Fn(&Reading) -> f64| Spread::of(readings.iter().map(value));
    let latency = |index: usize| spread(&|reading| clock.nanoseconds(reading.ticks[index]));
    let memory: Option<Vec<f64>> =
        readings.iter().map(|reading| reading.memory.map(|bytes| bytes as f64)).collect();
    Some(Summary {
        throughput: spread(&|reading| reading.calls as f64 / reading.wall * 1e3)?,
        processor: spread(&|reading| reading.processor / reading.calls as f64)?.median,
        latency: [latency(0)?.median, latency(1)?.median, latency(2)?.median],
        memory: memory.and_then(|bytes: Vec<f64>| Spread::of(bytes)).map(|spread| spread.median),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(wall: f64) -> Answer {
        Answer::Measured(Reading {
            calls: 1000,
            wall,
            processor: 2.0 * wall,
            ticks: [0.0; 3],
            memory: Some(8),
        })
    }

    #[test]
    fn the_median_round_counts() {
        let mut lane = Lane::new(Answer::Right);
        for wall in [1e6, 4e6, 2e6] {
            lane.add(reading(wall));
        }
        let outcome = lane.finish(Clock::calibrate());
        let summary = outcome.summary().unwrap();
        assert_eq!((summary.throughput.median, summary.processor), (0.5, 4000.0));
        assert_eq!(summary.memory, Some(8.0));
    }

    #[test]
    fn one_wrong_round_spoils_all() {
        let mut lane = Lane::new(Answer::Right);
        lane.add(reading(1e6));
        lane.add(Answer::Wrong("broken".to_owned()));
        assert_eq!(lane.finish(Clock::calibrate()), Outcome::Wrong("broken".to_owned()));
    }
}
