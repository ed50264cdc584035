//! What a number may be expected to be.

use core::fmt;
use core::ops::{Bound, Range, RangeBounds, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

/// A number, or a range of numbers.
///
/// (An implementation for all `RangeBounds<usize>` would leave no room for `usize`.)
pub trait Expected: fmt::Debug {
    /// Whether a number is as expected.
    fn admits(&self, number: usize) -> bool;
}

impl Expected for usize {
    fn admits(&self, number: usize) -> bool {
        *self == number
    }
}

macro_rules! ranges {
    ($($range:ty),*) => {
        $(
            impl Expected for $range {
                fn admits(&self, number: usize) -> bool {
                    self.contains(&number)
                }
            }
        )*
    };
}

ranges!(
    Range<usize>,
    RangeFrom<usize>,
    RangeFull,
    RangeInclusive<usize>,
    RangeTo<usize>,
    RangeToInclusive<usize>
);
ranges!((Bound<usize>, Bound<usize>));
