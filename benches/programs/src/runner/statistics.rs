//! Medians, quartiles and means.

/// How repeated measurements of one thing are distributed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// Smallest value.
    pub(crate) min: f64,
    /// First quartile.
    pub(crate) lower: f64,
    /// The middle value.
    pub(crate) median: f64,
    /// Third quartile.
    pub(crate) upper: f64,
}

impl Spread {
    /// Summarises the values; `None` if there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
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
    pub(crate) fn relative_width(&self) -> f64 {
        (self.upper - self.lower) / self.median
    }
}

/// The value below which `share` (0 to 1) of the sorted values lie, interpolated linearly. There is at least one value.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let (below, above) = (position.floor() as usize, position.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

/// The geometric mean; `None` if there are no values.
pub(crate) fn geometric_mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
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
    fn spread_interpolates_whatever_the_order_of_its_values() {
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
}
