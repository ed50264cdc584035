//! What single calls took, and their percentiles.

use hdrhistogram::Histogram;

/// Decimal digits that are kept of a duration.
const DIGITS: u8 = 3;

/// How often calls took how long, in any unit, to three digits. All memory is taken at the
/// beginning: recording does not allocate.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u32>);

impl Latencies {
    /// Of no calls yet.
    ///
    /// # Panics
    ///
    /// Never: the bounds are valid.
    #[must_use]
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, u64::from(u32::MAX), DIGITS);
        Self(histogram.expect("the bounds are a factor of two apart, and there are at most five digits"))
    }

    /// Takes a call in.
    #[inline]
    pub fn record(&mut self, duration: u32) {
        self.0.saturating_record(u64::from(duration));
    }

    /// Takes in what others took.
    ///
    /// # Panics
    ///
    /// Never: all have the same bounds.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the bounds are the same");
    }

    /// Forgets all calls.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many calls there were.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a `share` of the calls (0 to 1) took at most, rounded down to the digits that are kept:
    /// no percentile is more than the longest call. `None` if there were none.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Option<f64> {
        (!self.is_empty()).then(|| self.0.lowest_equivalent(self.0.value_at_quantile(share)) as f64)
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: impl IntoIterator<Item = u32>) -> Latencies {
        let mut latencies = Latencies::new();
        durations.into_iter().for_each(|duration| latencies.record(duration));
        latencies
    }

    #[test]
    fn percentiles_are_at_the_nearest_rank() {
        let latencies = of(1..=1000);
        assert_eq!(
            [0.5, 0.999, 1.0].map(|share| latencies.percentile(share).unwrap()),
            [500.0, 999.0, 1000.0]
        );
        assert_eq!(of([]).percentile(0.5), None);
    }

    #[test]
    fn three_digits_are_kept_of_the_longest_call() {
        for duration in [5_000, u32::MAX / 3, u32::MAX] {
            let longest = of([0, duration]).percentile(1.0).unwrap() / f64::from(duration);
            assert!((0.999..=1.0).contains(&longest), "{duration}: {longest}");
        }
    }

    #[test]
    fn what_was_recorded_apart_is_added_and_what_was_forgotten_is_gone() {
        let mut latencies = of([10]);
        latencies.clear();
        latencies.add(&of([1, 2, 3]));
        assert_eq!((latencies.len(), latencies.percentile(0.5)), (3, Some(2.0)));
    }
}
