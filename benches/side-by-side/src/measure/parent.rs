//! The parent's side: one child per allocator, asked for its rounds in turn.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::ProgressBar;

use super::{Answer, Outcome, Past, Purpose, Row};
use crate::allocators::Allocator;
use crate::own_process::{self, Partner};
use crate::workloads::Workload;
use bench_common::statistics::Spread;

/// Measures every workload on every allocator, on heaps with and without a past.
///
/// `child` is the command that makes this program call [`super::check`] and print the answer, or
/// [`super::serve`].
///
/// # Errors
///
/// If a workload cannot be generated, a child cannot be started, or says something strange.
pub fn run(
    workloads: &[Workload],
    allocators: &[Allocator],
    rounds: usize,
    child: impl Fn(Allocator, &Workload, Purpose) -> Vec<OsString>,
    progress: &ProgressBar,
) -> Result<Vec<Row>> {
    let steps = 1 + Past::ALL.len() * (rounds + 2);
    progress.set_length((workloads.len() * allocators.len() * steps) as u64);
    // The history is the same for all workloads: who is too slow for it once is not asked again.
    let mut without_history = vec![false; allocators.len()];
    let mut rows = Vec::new();
    for workload in workloads {
        progress.set_message(workload.name.clone());
        let operations = workload.generate()?.timed.len();
        let mut checked = Vec::new();
        for &allocator in allocators {
            progress.inc(1);
            checked.push(
                checked_once(&child(allocator, workload, Purpose::Check))
                    .with_context(|| format!("{} on {}", workload.name, allocator.name()))?,
            );
        }
        for past in Past::ALL {
            progress.set_message(format!("{}, {}", workload.name, past.name()));
            let mut lanes = Vec::new();
            for (index, (&allocator, checked)) in std::iter::zip(allocators, &checked).enumerate() {
                progress.inc(1);
                let mut lane = Lane { partner: None, nanoseconds: Vec::new(), dropped_out: checked.clone() };
                if past == Past::Eventful && without_history[index] {
                    lane.dropped_out.get_or_insert(Outcome::TooSlow(None));
                }
                if lane.dropped_out.is_none() {
                    lane.start(&child(allocator, workload, Purpose::Measure(past)))?;
                    without_history[index] |= past == Past::Eventful && lane.dropped_out.is_some();
                }
                lanes.push(lane);
            }
            // Round 0 warms caches and brings in pages. The order rotates, so that nobody always
            // runs behind the same neighbour.
            for round in 0..=rounds {
                let count = lanes.len();
                for index in 0..count {
                    progress.inc(1);
                    lanes[(index + round) % count].run_round(round > 0)?;
                }
            }
            rows.push(Row {
                workload: workload.name.clone(),
                family: workload.family,
                past,
                operations,
                outcomes: lanes.into_iter().map(Lane::finish).collect::<Result<_>>()?,
            });
        }
    }
    Ok(rows)
}

/// A child that takes longer for its check, or for an answer, hangs.
const LIMIT: Duration = Duration::from_secs(240);

/// What the check of an allocator on a workload found, if it found anything.
fn checked_once(arguments: &[OsString]) -> Result<Option<Outcome>> {
    let text = match own_process::run(arguments, LIMIT)? {
        Ok(text) => text,
        Err(failure) => return Ok(Some(Outcome::Wrong(failure.to_string()))),
    };
    Ok(match Answer::parse(&text)? {
        Answer::Refused => Some(Outcome::Refused),
        Answer::Wrong(what) => Some(Outcome::Wrong(what)),
        _ => None,
    })
}

/// One allocator during the rounds of one workload.
struct Lane {
    partner: Option<Partner>,
    nanoseconds: Vec<f64>,
    dropped_out: Option<Outcome>,
}

impl Lane {
    /// Starts the child, which prepares its heap.
    fn start(&mut self, arguments: &[OsString]) -> Result<()> {
        let mut partner = Partner::start(arguments, LIMIT)?;
        let answer = partner.answer()?;
        self.partner = Some(partner);
        self.take_in(answer, false)
    }

    fn run_round(&mut self, counts: bool) -> Result<()> {
        let Some(partner) = &mut self.partner else { return Ok(()) };
        let answer = partner.ask("round")?;
        self.take_in(answer, counts)
    }

    /// Notes an answer. Who drops out ends: its memory is free for others, and one wrong round
    /// spoils all.
    fn take_in(&mut self, answer: Option<String>, counts: bool) -> Result<()> {
        self.dropped_out = match answer.map(|line| Answer::parse(&line)).transpose()? {
            Some(Answer::Ready) => return Ok(()),
            Some(Answer::Time(nanoseconds)) => {
                self.nanoseconds.extend(counts.then_some(nanoseconds));
                return Ok(());
            }
            Some(Answer::TooSlow(so_far)) => Some(Outcome::TooSlow(so_far)),
            Some(Answer::Refused) => Some(Outcome::Refused),
            Some(Answer::Wrong(what)) => Some(Outcome::Wrong(what)),
            None => None,
        };
        let end = self.partner.take().context("somebody answered")?.end()?;
        let broke_down = || {
            let why = end.map_or_else(|failure| failure.to_string(), |()| "ended too early".to_owned());
            Outcome::Wrong(why)
        };
        self.dropped_out.get_or_insert_with(broke_down);
        Ok(())
    }

    fn finish(self) -> Result<Outcome> {
        if let Some(partner) = self.partner {
            let _ = partner.end()?;
        }
        Ok(match (self.dropped_out, Spread::of(self.nanoseconds)) {
            // Who completed some rounds and was then cut off was disturbed, not too slow.
            (None | Some(Outcome::TooSlow(_)), Some(spread)) => Outcome::Time(spread),
            (dropped_out, _) => dropped_out.unwrap_or(Outcome::TooSlow(None)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(nanoseconds: &[f64], dropped_out: Option<Outcome>) -> Lane {
        Lane { partner: None, nanoseconds: nanoseconds.to_vec(), dropped_out }
    }

    #[test]
    fn who_is_cut_off_after_some_rounds_was_disturbed() {
        let outcome = lane(&[2.0, 1.0, 3.0], Some(Outcome::TooSlow(Some(900.0)))).finish().unwrap();
        assert_eq!(outcome.median(), Some(2.0));
        let outcome = lane(&[], Some(Outcome::TooSlow(Some(900.0)))).finish().unwrap();
        assert_eq!(outcome, Outcome::TooSlow(Some(900.0)));
    }

    #[test]
    fn one_wrong_round_spoils_all() {
        let wrong = Outcome::Wrong("test".to_owned());
        assert_eq!(lane(&[1.0], Some(wrong.clone())).finish().unwrap(), wrong);
    }
}
