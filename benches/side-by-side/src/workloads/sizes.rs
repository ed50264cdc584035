//! How large the blocks of a workload are.

use fastrand::Rng;

/// A distribution of block sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Every size in the range is equally likely.
    Uniform {
        /// Smallest size.
        min: u32,
        /// Largest size.
        max: u32,
    },
    /// First a cap is drawn from 16..=`max`, then a size from 1..=cap: many small ones, a few large
    /// ones.
    UniformCap {
        /// Largest cap.
        max: u32,
    },
    /// As programs do it: half at most 32 bytes, four in five at most 128, one in a hundred up to
    /// 32 KiB.
    Skewed {
        /// Largest size: what is larger is drawn anew.
        max: u32,
    },
}

impl Sizes {
    /// Sizes from 1 to `max`.
    #[must_use]
    pub const fn up_to(max: u32) -> Self {
        Self::Uniform { min: 1, max }
    }

    /// Skewed sizes with their whole tail.
    pub const SKEWED: Self = Self::Skewed { max: 32_768 };

    /// Draws a size.
    #[must_use]
    pub fn draw(self, random: &mut Rng) -> u32 {
        match self {
            Self::Uniform { min, max } => random.u32(min..=max),
            Self::UniformCap { max } => {
                let cap = random.u32(16..=max);
                random.u32(1..=cap)
            }
            Self::Skewed { max } => loop {
                let size = match random.u32(0..100) {
                    0..50 => random.u32(1..=32),
                    50..80 => random.u32(33..=128),
                    80..95 => random.u32(129..=512),
                    95..99 => random.u32(513..=4096),
                    _ => random.u32(4097..=32_768),
                };
                if size <= max {
                    return size;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skewed_sizes_are_mostly_small_but_not_all() {
        let mut random = Rng::with_seed(1);
        let sizes: Vec<u32> = (0..10_000).map(|_| Sizes::SKEWED.draw(&mut random)).collect();
        let small = sizes.iter().filter(|&&size| size <= 128).count();
        assert!((7_700..8_300).contains(&small), "{small}");
        assert!(sizes.iter().any(|&size| size > 16_384));
        assert!(sizes.iter().all(|&size| size >= 1));
    }

    #[test]
    fn a_tail_can_be_cut_off() {
        let mut random = Rng::with_seed(1);
        let sizes: Vec<u32> = (0..10_000).map(|_| Sizes::Skewed { max: 512 }.draw(&mut random)).collect();
        assert!(sizes.iter().any(|&size| size > 256));
        assert!(sizes.iter().all(|size| (1..=512).contains(size)));
    }

    #[test]
    fn capped_sizes_stay_within_the_largest_cap() {
        let mut random = Rng::with_seed(2);
        let sizes = Sizes::UniformCap { max: 4096 };
        assert!((0..10_000).all(|_| (1..=4096).contains(&sizes.draw(&mut random))));
    }
}
