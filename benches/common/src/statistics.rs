//! Medians, quartiles and means.

/// The value below which `share` (0 to 1) of the sorted values lie, interpolated linearly.
///
/// # Panics
///
/// If there are no values.
#[must_use]
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    assert!(!sorted.is_empty(), "a quantile needs at least one value");
    let position = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = position.ceil() as usize;
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

/// How repeated measurements of one thing are distributed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Smallest value.
    pub min: f64,
    /// First quartile.
    pub lower: f64,
    /// The middle value.
    pub median: f64,
    /// Third quartile.
    pub upper: f64,
}

impl Spread {
    /// Summarises the values; `None` if there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let min = *sorted.first()?;
        Some(Self {
            min,
            lower: quantile(&sorted, 0.25),
            median: quantile(&sorted, 0.5),
            upper: quantile(&sorted, 0.75),
        })
    }

    /// Width between the quartiles as a share of the median.
    #[must_use]
    pub fn relative_width(&self) -> f64 {
        (self.upper - self.lower) / self.median
    }
}

/// The mean of the faster half of some ticks: what disturbances cost is left out, and many coarse ticks still make a
/// fine mean.
///
/// Sorts the ticks. The mean of no ticks is zero.
#[must_use]
pub fn undisturbed_mean(ticks: &mut [u32]) -> f64 {
    ticks.sort_unstable();
    let half = &ticks[..ticks.len().div_ceil(2)];
    let sum: u64 = half.iter().map(|&ticks| u64::from(ticks)).sum();
    sum as f64 / half.len().max(1) as f64
}

/// The geometric mean; `None` if there are no values.
#[must_use]
pub fn geometric_mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_u32);
    for value in values {
        sum += value.ln();
        count += 1;
    }
    (count > 0).then(|| (sum / f64::from(count)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert_eq!(quantile(&values, 0.5), 2.5);
        assert_eq!(quantile(&values, 1.0), 4.0);
    }

    #[test]
    fn spread_ignores_the_order_of_its_values() {
        let spread = Spread::of([5.0, 1.0, 3.0]).unwrap();
        assert_eq!((spread.min, spread.lower, spread.median, spread.upper), (1.0, 2.0, 3.0, 4.0));
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.min, spread.lower, spread.median, spread.upper), (1.0, 1.75, 2.5, 3.25));
        assert_eq!(spread.relative_width(), 0.6);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn geometric_mean_of_a_ratio_and_its_inverse_is_one() {
        let mean = geometric_mean([4.0, 0.25]).unwrap();
        assert!((mean - 1.0).abs() < 1e-12);
        assert_eq!(geometric_mean([]), None);
    }

    #[test]
    fn one_disturbance_leaves_the_mean_as_it_is() {
        assert_eq!(undisturbed_mean(&mut [900, 10, 20, 10_000, 30]), 20.0);
        assert_eq!(undisturbed_mean(&mut [7]), 7.0);
        assert_eq!(undisturbed_mean(&mut []), 0.0);
    }
}
