//! The child's side: one allocator, one workload, one heap, and as many rounds as the parent asks
//! for.

use std::alloc::GlobalAlloc;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Answer, Past, ROUND, history};
use crate::allocators::{Allocator, Visitor};
use crate::execute::{Blocks, End};
use crate::operation::Sequence;
use crate::region::Region;
use crate::verify::{Verdict, Verify};

/// Performs the workload twice on one heap, with checks.
///
/// # Errors
///
/// If the system has no memory for the arena.
pub fn check(allocator: Allocator, sequence: &Sequence, patience: Duration) -> Result<Answer> {
    if !allocator.keeps_contents() {
        return Ok(Answer::Ready);
    }
    let len = sequence.generous_arena();
    let mut region = Region::new(len)?;
    let span = region.span(len);
    let start = span.start.as_ptr() as usize;
    let bounds = allocator.is_arena().then_some(start..start + len);
    let verdict = allocator.visit(span, Verify { sequence, bounds, deadline: Instant::now() + patience });
    Ok(match verdict {
        Ok(Verdict::Right | Verdict::RightSoFar) => Answer::Ready,
        Ok(Verdict::Refused) | Err(_) => Answer::Refused,
        Ok(Verdict::Wrong(misbehaviour)) => Answer::Wrong(misbehaviour.to_string()),
    })
}

/// Prepares a heap, says so, and performs a round for each line of the input.
///
/// # Errors
///
/// If the system has no memory for the arena, or the parent is gone.
pub fn serve(
    allocator: Allocator,
    sequence: &Sequence,
    past: Past,
    traces: Vec<Sequence>,
    patience: Duration,
    requests: impl BufRead,
    answers: impl Write,
) -> Result<()> {
    let history = match past {
        Past::None => Vec::new(),
        Past::Eventful => history::parts(traces)?,
    };
    let parts = history.iter().chain([sequence]);
    let len = parts.map(Sequence::generous_arena).max().unwrap_or_default();
    let mut region = Region::untouched(len)?;
    let service = Service { sequence, history, patience, requests, answers };
    allocator.visit(region.span(len), service)?
}

struct Service<'a, R, W> {
    sequence: &'a Sequence,
    history: Vec<Sequence>,
    patience: Duration,
    requests: R,
    answers: W,
}

impl<R: BufRead, W: Write> Visitor for Service<'_, R, W> {
    type Output = Result<()>;

    fn visit<A: GlobalAlloc + Sync>(self, allocator: &A) -> Result<()> {
        let Self { sequence, history, patience, requests, mut answers } = self;
        let mut tell = |answer: Answer| writeln!(answers, "{answer}").and_then(|()| answers.flush());
        tell(match history::perform(allocator, &history, Instant::now() + patience) {
            End::Completed => Answer::Ready,
            End::Refused => Answer::Refused,
            End::OutOfTime => Answer::TooSlow(None),
        })?;
        drop(history);
        let mut blocks = Blocks::new(sequence.extent.slots);
        for request in requests.lines() {
            request?;
            tell(round(allocator, sequence, &mut blocks, Instant::now() + patience))?;
        }
        Ok(())
    }
}

/// Performs the sequence often enough to make a round. Whatever is live after each time is freed,
/// and nothing reset.
fn round<A: GlobalAlloc>(
    allocator: &A,
    sequence: &Sequence,
    blocks: &mut Blocks,
    deadline: Instant,
) -> Answer {
    let (mut done, mut elapsed) = (0, Duration::ZERO);
    let mut end = End::Completed;
    for _ in 0..ROUND.div_ceil(sequence.timed.len()) {
        // SAFETY: the sequence is consistent, and its two parts are performed in order on one
        // allocator.
        let setup = unsafe { blocks.run(allocator, &sequence.setup, deadline) };
        end = setup.end;
        if end == End::Completed {
            // SAFETY: as above.
            let timed = unsafe { blocks.run(allocator, &sequence.timed, deadline) };
            (done, elapsed, end) = (done + timed.done, elapsed + timed.elapsed, timed.end);
        }
        if end != End::Completed {
            // The parent asks no more.
            break;
        }
        // SAFETY: all live blocks came from this allocator.
        end = unsafe { blocks.free_all(allocator, deadline) };
    }
    let per_operation = (done > 0).then(|| elapsed.as_nanos() as f64 / done as f64);
    match (end, per_operation) {
        (End::Completed, Some(nanoseconds)) => Answer::Time(nanoseconds),
        (End::OutOfTime, so_far) => Answer::TooSlow(so_far),
        _ => Answer::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Operation;

    fn sequence() -> Sequence {
        let setup = vec![Operation::allocate(0, 100)];
        let timed = vec![Operation::Reallocate { slot: 0, size: 200 }, Operation::allocate(1, 7)];
        Sequence::new("test", setup, timed).unwrap()
    }

    #[test]
    fn a_round_is_answered_with_its_time() {
        let mut answers = Vec::new();
        let patience = Duration::from_secs(60);
        serve(
            Allocator::Ours,
            &sequence(),
            Past::None,
            Vec::new(),
            patience,
            "round\nround\n".as_bytes(),
            &mut answers,
        )
        .unwrap();
        let answers = String::from_utf8(answers).unwrap();
        let answers: Vec<Answer> = answers.lines().map(|line| Answer::parse(line).unwrap()).collect();
        assert_eq!(answers.len(), 3);
        assert_eq!(answers[0], Answer::Ready);
        assert!(matches!(answers[2], Answer::Time(nanoseconds) if nanoseconds > 0.0));
    }

    #[test]
    fn every_allocator_passes_the_check() {
        for &allocator in Allocator::ALL {
            let answer = check(allocator, &sequence(), Duration::from_secs(60)).unwrap();
            assert_eq!(answer, Answer::Ready, "{}", allocator.name());
        }
    }
}
