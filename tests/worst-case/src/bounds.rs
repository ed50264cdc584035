//! The bounds that are held: what "bounded" in the README means.

use crate::run::Goal;

/// The most instructions of a call that is served before the last step, copying and clearing aside.
pub const SERVED: u64 = 3_000;

/// The most instructions of a call that comes to the last step before a refusal, which may look further, and gives up
/// what was kept for later, whether it is refused then or not.
pub const LAST_STEP: u64 = 40_000;

/// The bound for a kind of call.
#[must_use]
pub fn bound(goal: Goal) -> u64 {
    if goal.has_last_step() { LAST_STEP } else { SERVED }
}
