//! Random numbers that stay the same: findings are replayed years later, and mean what they meant.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A generator whose numbers depend on its seed, and on no library's way of choosing from a range.
pub struct Random(ChaCha8Rng);

impl Random {
    /// A generator of a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number less than `bound`, or zero if that is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.0.next_u64()) * bound as u128;
        (product >> 64) as usize
    }

    /// A number in a range of which both ends belong to it.
    pub fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// A number in a range, such that each power of two is as likely as another.
    pub fn magnitude(&mut self, least: usize, most: usize) -> usize {
        let least = least.max(1);
        let log2 = self.between(least.ilog2() as usize, most.max(least).ilog2() as usize);
        self.between(1 << log2, (2 << log2) - 1).clamp(least, most.max(least))
    }

    /// True in that many of a hundred cases.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Any order of the values.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for end in (1..values.len()).rev() {
            values.swap(end, self.below(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_that_the_findings_were_made_with() {
        let mut random = Random::seeded(1);
        let numbers: Vec<usize> = (0..5).map(|_| random.below(1000)).collect();
        assert_eq!(numbers, [402, 80, 596, 219, 283]);
    }

    #[test]
    fn magnitudes_stay_in_their_range() {
        let mut random = Random::seeded(2);
        for _ in 0..1000 {
            assert!((5..=70).contains(&random.magnitude(5, 70)));
        }
        assert_eq!(random.magnitude(9, 9), 9);
    }
}
