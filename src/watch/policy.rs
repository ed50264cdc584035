//! Which requests are refused.

use core::fmt;

/// Which requests a [`Refusing`](super::Refusing) allocator refuses, counted from the moment at which the policy is set.
///
/// Requests are calls of `alloc` and `alloc_zeroed`, and those of `realloc` that want more. The same requests in the same order
/// are refused each time.
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

    /// Each with that probability, from 0 (none) to 1 (all). It depends on the seed and the request's number which ones.
    pub const fn random(probability: f64, seed: usize) -> Self {
        // A conversion from a floating-point number stops at the ends of what an integer can be; what is no number is zero.
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

/// A number that looks random: Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, 2014. Any of its
/// sequence can be had without those before.
fn mixed(seed: u64, number: u64) -> u64 {
    let mut mixed = seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Why a text is no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoPolicy;

impl fmt::Display for NoPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "MEM_ALLOC_RUST_REFUSE is none of nth:7, every:100 and random:0.01:42 (a probability and a seed), with or without \
             ,from:1024 (bytes) behind it: the program ends, because a test without faults would pass",
        )
    }
}

/// A policy as an environment variable has it.
pub(super) fn parse(text: &[u8]) -> Result<Policy, NoPolicy> {
    let text = core::str::from_utf8(text).map_err(|_| NoPolicy)?;
    let (rule, from_size) = match text.split_once(",from:") {
        None => (text, 0),
        Some((rule, bytes)) => (rule, number(bytes)?),
    };
    let policy = match rule.split_once(':').ok_or(NoPolicy)? {
        ("nth", nth) => Policy::nth(positive(nth)?),
        ("every", every) => Policy::every(positive(every)?),
        ("random", random) => {
            let (probability, seed) = random.split_once(':').ok_or(NoPolicy)?;
            let probability: f64 = probability.parse().map_err(|_| NoPolicy)?;
            if !(0.0..=1.0).contains(&probability) {
                return Err(NoPolicy);
            }
            Policy::random(probability, number(seed)?)
        }
        _ => return Err(NoPolicy),
    };
    Ok(policy.from_size(from_size))
}

fn number(text: &str) -> Result<usize, NoPolicy> {
    // A sign is none of a number's here.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(NoPolicy)
}

fn positive(text: &str) -> Result<usize, NoPolicy> {
    number(text).and_then(|number| if number == 0 { Err(NoPolicy) } else { Ok(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_a_rule_with_a_size_perhaps() {
        let good: [(&str, Policy); 7] = [
            ("nth:7", Policy::nth(7)),
            ("every:100", Policy::every(100)),
            ("random:0.01:42", Policy::random(0.01, 42)),
            ("random:1:0", Policy::random(1.0, 0)),
            ("random:0:0", Policy::random(0.0, 0)),
            ("nth:7,from:1024", Policy::nth(7).from_size(1024)),
            ("random:.5:3,from:0", Policy::random(0.5, 3)),
        ];
        for (text, policy) in good {
            assert_eq!(parse(text.as_bytes()), Ok(policy), "{text}");
        }
        for text in [
            "",
            "nth",
            "nth:",
            "nth:0",
            "nth:-1",
            "nth:+1",
            "nth: 1",
            "nth:1:2",
            "Nth:1",
            "every:0",
            "every:1.5",
            "random:0.5",
            "random:2:1",
            "random:-0.1:1",
            "random:NaN:1",
            "random:0.5:x",
            "7",
            "nth:7,",
            "nth:7,from:",
            "nth:7,from:1K",
            "nth:7,size:8",
            "from:8",
            "nth:99999999999999999999",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(NoPolicy), "{text}");
        }
        assert_eq!(parse(b"nth:\xFF"), Err(NoPolicy));
    }

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
