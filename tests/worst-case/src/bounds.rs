//! The bounds that are held: what "bounded" in the README means.

use crate::run::Goal;

/// The most instructions of a call that is served, copying and clearing aside.
pub const SERVED: u64 = 3_000;

/// The most instructions of a change of size that moves the block, which may have looked in vain for another place,
/// as a refusal does, before the block slides down over itself.
pub const MOVED: u64 = 4_000;

/// The most instructions of a call that is refused, which may look further before it gives up.
pub const REFUSED: u64 = 40_000;

/// The bound for a kind of call.
#[must_use]
pub fn bound(goal: Goal) -> u64 {
    match goal {
        Goal::ResizeMoved => MOVED,
        goal if goal.is_refusal() => REFUSED,
        _ => SERVED,
    }
}
