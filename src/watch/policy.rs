//! Which requests are refused.

/// Which requests a [`Refusing`](super::Refusing) allocator refuses, counted from the moment at which the policy is
/// set.
///
/// Requests are calls of `alloc` and `alloc_zeroed`, and those of `realloc` that want more. The same requests in the
/// same order are refused each time.
///
/// ```
/// use mem_alloc_rust::watch::{Policy, Refusing, refuse_on_this_thread};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Refusing<System> = Refusing::new(System);
///
/// /// Which of ten requests are refused.
/// fn refused(policy: Policy) -> [bool; 10] {
///     let _guard = refuse_on_this_thread(policy);
///     [(); 10].map(|()| Vec::<u8>::new().try_reserve(100).is_err())
/// }
///
/// fn main() {
///     assert_eq!(refused(Policy::nth(2)).map(u8::from), [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
///     assert_eq!(refused(Policy::every(4)).map(u8::from), [0, 0, 0, 1, 0, 0, 0, 1, 0, 0]);
///     assert_eq!(refused(Policy::every(1)), [true; 10]);
///     assert_eq!(refused(Policy::random(0.5, 7)), refused(Policy::random(0.5, 7)));
///     assert_ne!(refused(Policy::random(0.5, 7)), refused(Policy::random(0.5, 8)));
///     // Smaller ones are neither refused nor counted.
///     assert_eq!(refused(Policy::every(1).from_size(101)), [false; 10]);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(super) rule: Rule,
    /// Requests of fewer bytes are served and not counted.
    pub(super) from_size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Nth(usize),
    Every(usize),
    /// With a chance in 2^32, and a seed.
    Random(u64, usize),
}

impl Policy {
    /// The request with that number, the first one being 1, and no other; none, if it is 0.
    pub const fn nth(number: usize) -> Self {
        Self { rule: Rule::Nth(number), from_size: 0 }
    }

    /// Every so many requests one; none, if it is 0.
    pub const fn every(number: usize) -> Self {
        Self { rule: Rule::Every(number), from_size: 0 }
    }

    /// Each with that probability, from 0 (none) to 1 (all). It depends on the seed and the request's number which
    /// ones.
    pub const fn random(probability: f64, seed: usize) -> Self {
        // A conversion from a floating-point number stops at the ends of what an integer can be; what is no number is
        // zero.
        let chance = (probability * CERTAIN as f64) as u64;
        let chance = if chance > CERTAIN { CERTAIN } else { chance };
        Self { rule: Rule::Random(chance, seed), from_size: 0 }
    }

    /// The same for requests of so many bytes and more; others are served, and not counted.
    #[must_use]
    pub const fn from_size(self, bytes: usize) -> Self {
        Self { from_size: bytes, ..self }
    }
}

const CERTAIN: u64 = 1 << 32;

impl Rule {
    /// Whether the request with that number is refused, the first one being 1.
    pub(super) fn refuses(self, number: usize) -> bool {
        match self {
            Self::Nth(nth) => number == nth,
            Self::Every(every) => number.checked_rem(every) == Some(0),
            Self::Random(chance, seed) => mixed(seed as u64, number as u64) >> 32 < chance,
        }
    }
}

/// A number that looks random: Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, 2014. Any of
/// its sequence can be had without those before.
fn mixed(seed: u64, number: u64) -> u64 {
    let mut mixed = seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_the_share_of_what_is_refused() {
        let refused = |policy: Policy| (1..=100_000).filter(|&number| policy.rule.refuses(number)).count();
        for seed in 0..10 {
            assert!((9_500..10_500).contains(&refused(Policy::random(0.1, seed))), "{seed}");
            assert_eq!(refused(Policy::random(0.0, seed)), 0);
            assert_eq!(refused(Policy::random(1.0, seed)), 100_000);
            assert_eq!(refused(Policy::random(2.0, seed)), 100_000);
            assert_eq!(refused(Policy::random(-1.0, seed)), 0);
            assert_eq!(refused(Policy::random(f64::NAN, seed)), 0);
        }
        assert_eq!(refused(Policy::nth(0)) + refused(Policy::every(0)), 0);
        assert_eq!(refused(Policy::every(3)), 33_333);
    }
}
