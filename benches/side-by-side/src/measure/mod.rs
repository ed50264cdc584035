//! Time per operation: rounds interleaved over all allocators, each in a process that keeps its
//! heap.
//!
//! The program starts itself anew for every allocator ([`race`] is the parent's side, [`serve`] and
//! [`check`] are the child's): so everybody's heap is fresh when a workload begins, that of the
//! general class too, and nobody's is reset afterwards.

mod child;
mod history;
mod parent;
mod reading;

use std::time::Duration;

use bench_common::statistics::Spread;

pub use child::{check, serve};
pub use history::{BLOCKS as HISTORY_BLOCKS, LIVE as HISTORY_LIVE, TRACES as HISTORY_TRACES};
pub use parent::run as race;
pub use reading::Answer;

/// Operations of a round, at least: a shorter workload is performed several times.
pub const ROUND: usize = 50_000;

/// How much effort is spent.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Measured rounds per workload and allocator, after one that is not counted.
    pub rounds: usize,
    /// An allocator that needs longer than this for one round of a workload is cut off and not
    /// asked again.
    pub patience: Duration,
}

/// What a heap served before the first round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// Nothing.
    None,
    /// A churn of small blocks, and programs.
    Eventful,
}

impl Past {
    /// Both, in the order of the tables.
    pub const ALL: [Self; 2] = [Self::None, Self::Eventful];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "alone",
            Self::Eventful => "after a history",
        }
    }
}

/// What a child is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Perform the workload with checks, twice on one heap.
    Check,
    /// Perform rounds on a heap with a past.
    Measure(Past),
}

impl Purpose {
    /// The name on a child's command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Measure(past) => past.name(),
        }
    }

    /// The purpose of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = Past::ALL.map(Self::Measure).into_iter().chain([Self::Check]);
        all.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// What came out for one allocator on one workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nanoseconds per operation over the rounds.
    Time(Spread),
    /// Cut off; nanoseconds per operation so far, if the timed part was reached.
    TooSlow(Option<f64>),
    /// A request was refused in spite of a generous arena.
    Refused,
    /// The check found a wrong answer, or the process broke down.
    Wrong(String),
}

impl Outcome {
    /// The median, if the workload was completed.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        match self {
            Self::Time(spread) => Some(spread.median),
            _ => None,
        }
    }
}

/// A row of the tables: one workload on heaps with one past, one outcome per allocator.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name of the workload.
    pub workload: String,
    /// Family of the workload.
    pub family: &'static str,
    /// What the heaps served before.
    pub past: Past,
    /// Number of timed operations.
    pub operations: usize,
    /// In the order in which the allocators were given.
    pub outcomes: Vec<Outcome>,
}
