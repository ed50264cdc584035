//! What all threads together have.

use super::counter::Counter;
use super::counts::Counts;
use super::threads;

/// Live bytes, as far as threads have told.
static LIVE_BYTES: Counter = Counter::new(0);
/// The most that they were.
static PEAK_BYTES: Counter = Counter::new(0);

/// Notes that live bytes became more or less by so many.
#[cold]
pub(super) fn publish(by: isize) {
    let live = LIVE_BYTES.add_shared(by).wrapping_add(by);
    PEAK_BYTES.raise_shared(live);
}

/// Keeps what is known of the peak before a slot's is begun anew.
pub(super) fn keep_peak() {
    if let Some(only) = threads::only_one() {
        PEAK_BYTES.raise_shared(only.peak());
    }
}

/// What the process has counted.
pub(super) fn counts() -> Counts {
    let sum = threads::slots().map(|slot| slot.counts()).fold(Counts::default(), Counts::and);
    let known = PEAK_BYTES.get().max(sum.live_bytes);
    let peak = threads::only_one().map_or(known, |only| known.max(only.peak()));
    Counts { peak_bytes: peak.max(0) as usize, ..sum }
}
