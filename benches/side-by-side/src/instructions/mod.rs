//! Instructions per call, counted by callgrind: the same on any machine.
//!
//! The program starts itself under callgrind. The child ([`drive`]) performs one adversarial or typical sequence; the
//! parent ([`count`]) collects one dump per call.

mod adversaries;
mod callgrind;
mod drive;

pub use adversaries::{Adversary, all as adversaries};
pub use callgrind::{count, is_available};
pub use drive::drive;

use crate::allocators::Allocator;
use crate::latency::Kind;

/// What the calls of one kind cost one allocator in one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Who was measured.
    pub allocator: Allocator,
    /// Name of the sequence.
    pub adversary: String,
    /// Which calls.
    pub kind: Kind,
    /// Whether these are the calls that were refused.
    pub refused: bool,
    /// Number of calls.
    pub calls: usize,
    /// Instructions of the middle call.
    pub median: u64,
    /// Instructions of the most expensive call.
    pub worst: u64,
}

/// One call: what it was, whether it was refused, and its instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    kind: Kind,
    refused: bool,
    instructions: u64,
}

/// Summarises the calls of one run, kind by kind.
#[must_use]
pub fn summarise(allocator: Allocator, adversary: &str, calls: &[Call]) -> Vec<Cost> {
    let mut costs = Vec::new();
    for refused in [false, true] {
        for kind in Kind::ALL {
            let mut counts: Vec<u64> = calls
                .iter()
                .filter(|call| call.kind == kind && call.refused == refused)
                .map(|call| call.instructions)
                .collect();
            counts.sort_unstable();
            let Some(&worst) = counts.last() else {
                continue;
            };
            costs.push(Cost {
                allocator,
                adversary: adversary.to_owned(),
                kind,
                refused,
                calls: counts.len(),
                median: counts[counts.len() / 2],
                worst,
            });
        }
    }
    costs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_calls_are_summarised_apart() {
        let call = |kind, refused, instructions| Call { kind, refused, instructions };
        let calls = [
            call(Kind::Alloc, false, 30),
            call(Kind::Alloc, false, 10),
            call(Kind::Alloc, true, 900),
            call(Kind::Alloc, false, 20),
        ];
        let costs = summarise(Allocator::Ours, "test", &calls);
        let summary: Vec<_> =
            costs.iter().map(|cost| (cost.refused, cost.calls, cost.median, cost.worst)).collect();
        assert_eq!(summary, [(false, 3, 20, 30), (true, 1, 900, 900)]);
    }
}
