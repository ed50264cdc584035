//! The child's side: performs a sequence, with every timed call inside one function that callgrind can watch.

use std::alloc::GlobalAlloc;
use std::fmt::Write as _;

use anyhow::Result;

use super::Adversary;
use crate::allocators::{Allocator, Visitor};
use crate::execute::{Blocks, Observer};
use crate::latency::Kind;
use crate::operation::Operation;
use crate::region::Region;

/// The instances of the function that callgrind watches, as a pattern.
pub(super) const WATCHED: &str = "*::watched_call*";

/// The same instances, spelled differently: callgrind keeps only one option per pattern, and two are needed.
pub(super) const WATCHED_AGAIN: &str = concat!(module_path!(), "::watched_call*");

/// What the child prints for a call that was refused.
pub(super) const REFUSED: &str = "refused";

/// Performs the sequence and returns one line per call: its kind, and whether it was refused.
///
/// # Errors
///
/// If the system has no memory for the arena, or the allocator cannot be put over it.
pub fn drive(allocator: Allocator, adversary: &Adversary) -> Result<String> {
    let mut region = Region::new(adversary.arena)?;
    Ok(allocator.visit(region.span(adversary.arena), Drive { adversary })?)
}

struct Drive<'a> {
    adversary: &'a Adversary,
}

impl Visitor for Drive<'_> {
    type Output = String;

    fn visit<A: GlobalAlloc + Sync>(self, allocator: &A) -> String {
        let sequence = &self.adversary.sequence;
        let mut blocks = Blocks::new(sequence.extent.slots);
        for &operation in &sequence.setup {
            if is_possible(&blocks, operation) {
                // SAFETY: consistent, performed in order, and never on a slot whose allocation was refused. A refusal
                // is part of the plan: it fills the arena.
                let _refused = unsafe { blocks.perform(allocator, operation) };
            }
        }
        let mut lines = String::new();
        for &operation in &sequence.timed {
            if is_possible(&blocks, operation) {
                // SAFETY: as above.
                let result = unsafe { blocks.perform_observed(allocator, operation, &mut Watched) };
                let end = if result.is_err() { REFUSED } else { "" };
                let _ = writeln!(lines, "{} {end}", Kind::of(operation).name());
            }
        }
        lines
    }
}

/// Whether the operation's slot is as the operation needs it; it is not after a refused allocation.
fn is_possible(blocks: &Blocks, operation: Operation) -> bool {
    let live = !blocks.slot(operation.slot()).address().is_null();
    live != matches!(operation, Operation::Allocate { .. })
}

struct Watched;

impl Observer for Watched {
    #[inline(always)]
    fn around<T>(&mut self, call: impl FnOnce() -> T) -> T {
        watched_call(call)
    }
}

/// Callgrind collects inside this function only, and writes a dump whenever it returns.
#[inline(never)]
fn watched_call<T>(call: impl FnOnce() -> T) -> T {
    std::hint::black_box(call())
}
