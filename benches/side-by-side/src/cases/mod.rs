//! What a program gets from a heap with a bound, and from one that it has used before: longer
//! stories than [`crate::workloads`].
//!
//! - [`phases`]: blocks of one size, all freed, then others: how much of the heap is left to them?
//! - [`creep`]: a program that keeps its heap more than half full for long: what is refused?
//! - [`near`]: time per operation when hardly anything is free, and what a refusal costs.
//! - [`placement`]: where blocks lie that are allocated one after the other.
//!
//! Every measurement is a process of its own, so that the heap is fresh: the program starts itself
//! anew ([`ask`] is the parent's side, [`perform`] the child's).

mod block;
pub mod creep;
pub mod near;
pub mod phases;
pub mod placement;

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::allocators::{Allocator, Visitor};
use crate::own_process::{self, Failure};
use crate::region::Region;

/// Bytes of the arena of those cases that come close to its bound.
pub const ARENA: usize = 16 << 20;

/// What one measurement found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Numbers, whose meaning is the case's.
    Numbers(Vec<f64>),
    /// The time ran out.
    TooSlow,
    /// The process broke down.
    Failed(String),
}

impl Found {
    /// The number at an index, if the case came to an end.
    #[must_use]
    pub fn number(&self, index: usize) -> Option<f64> {
        match self {
            Self::Numbers(numbers) => numbers.get(index).copied(),
            _ => None,
        }
    }

    /// A word for what is not a number.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Numbers(_) => "measured",
            Self::TooSlow => "too slow",
            Self::Failed(what) => what,
        }
    }

    fn parse(line: &str) -> Result<Self> {
        if line.trim() == Self::TooSlow.to_string() {
            return Ok(Self::TooSlow);
        }
        let numbers: Result<Vec<f64>, _> = line.split_whitespace().map(str::parse).collect();
        Ok(Self::Numbers(numbers.with_context(|| format!("strange answer: {line:?}"))?))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers(numbers) => {
                let words: Vec<String> = numbers.iter().map(f64::to_string).collect();
                f.write_str(&words.join(" "))
            }
            other => f.write_str(other.word()),
        }
    }
}

/// One measurement of a case.
pub trait Case: Visitor<Output = Found> {
    /// The hidden command that performs it.
    const COMMAND: &'static str;
    /// Bytes of the arena; whether it is a bound for [`Allocator::ThreadCached`], too.
    const MEMORY: (usize, bool);
    /// A measurement that takes longer is cut off.
    const PATIENCE: Duration = Duration::from_secs(2);
    /// A process that takes longer, because nobody looks at the clock or the allocator hangs, is
    /// killed.
    const LIMIT: Duration = Duration::from_secs(30);

    /// What the command takes after the name of the allocator.
    fn arguments(&self) -> Vec<String>;
}

/// The allocators among some that have a bound, or can be given one.
#[must_use]
pub fn bounded(allocators: &[Allocator]) -> Vec<Allocator> {
    allocators.iter().copied().filter(|allocator| allocator.can_be_bounded()).collect()
}

/// Starts a child for a measurement, and waits for its answer.
///
/// # Errors
///
/// If it cannot be started, or says something strange.
pub fn ask<C: Case>(allocator: Allocator, case: &C) -> Result<Found> {
    let mut arguments = vec![C::COMMAND.into(), allocator.name().into()];
    arguments.extend(case.arguments().into_iter().map(Into::into));
    match own_process::run(&arguments, C::LIMIT)? {
        Ok(text) => Found::parse(&text),
        Err(Failure::TookTooLong(_)) => Ok(Found::TooSlow),
        Err(failure) => Ok(Found::Failed(failure.to_string())),
    }
}

/// The child's side.
///
/// # Errors
///
/// If the system has no memory for the arena.
pub fn perform<C: Case>(allocator: Allocator, case: C) -> Result<Found> {
    let (len, is_bound) = C::MEMORY;
    // For ever, since statics get it.
    let span = Box::leak(Box::new(Region::untouched(len)?)).span(len);
    Ok(if is_bound { allocator.visit_bounded(span, case) } else { allocator.visit(span, case) }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_read_as_it_was_written() {
        for found in [Found::Numbers(vec![1.0, 0.25]), Found::TooSlow] {
            assert_eq!(Found::parse(&format!("{found}\n")).unwrap(), found);
        }
        assert!(Found::parse("thread 'main' panicked").is_err());
    }
}
