//! The bounds that are held: what "bounded" in the README means.

use crate::run::Goal;

/// The most instructions of a call that is served, copying and clearing aside.
pub const SERVED: u64 = 3_000;

/// The most instructions of a call that is refused, which may look further before it gives up.
pub const REFUSED: u64 = 40_000;

/// The bound for a kind of call.
#[must_use]
pub fn bound(goal: Goal) -> u64 {
    if goal.is_refusal() { REFUSED } else { SERVED }
}
