//! What workloads ask for: sizes, and alignments as programs mix them.

use fastrand::Rng;

use super::Sizes;
use crate::operation::Operation;

/// How large the blocks of a workload are, and how they are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    sizes: Sizes,
    mixed: bool,
}

/// Binary logarithm of the alignment of most requests.
const USUAL: u8 = 3;

/// The alignments of the others, as binary logarithms, and how many in a hundred requests have
/// them: hash tables, `u128` and SIMD ask for 16 and 32, cells that have a cache line or two for
/// themselves for 64 and 128.
const UNUSUAL: [(u8, u32); 4] = [(4, 5), (5, 2), (6, 1), (7, 1)];

impl Requests {
    /// Everything is aligned to 8 bytes.
    #[must_use]
    pub const fn plain(sizes: Sizes) -> Self {
        Self { sizes, mixed: false }
    }

    /// One in eleven is aligned to more than 8 bytes, up to 128.
    #[must_use]
    pub const fn mixed(sizes: Sizes) -> Self {
        Self { sizes, mixed: true }
    }

    /// Draws the size and the binary logarithm of the alignment.
    #[must_use]
    pub fn draw(self, random: &mut Rng) -> (u32, u8) {
        let size = self.sizes.draw(random);
        (size, if self.mixed { alignment(random) } else { USUAL })
    }

    /// Draws the size only, for a block that is resized.
    #[must_use]
    pub fn draw_size(self, random: &mut Rng) -> u32 {
        self.sizes.draw(random)
    }

    /// An allocation into a slot.
    #[must_use]
    pub fn allocate(self, slot: u32, random: &mut Rng) -> Operation {
        let (size, align_log2) = self.draw(random);
        Operation::Allocate { slot, size, align_log2, zeroed: false }
    }
}

fn alignment(random: &mut Rng) -> u8 {
    let mut drawn = random.u32(..100);
    for (align_log2, share) in UNUSUAL {
        if drawn < share {
            return align_log2;
        }
        drawn -= share;
    }
    USUAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignments_are_mixed_as_promised() {
        let mut random = Rng::with_seed(1);
        let mut counts = [0; 8];
        for _ in 0..100_000 {
            let (_, align_log2) = Requests::mixed(Sizes::up_to(8)).draw(&mut random);
            counts[usize::from(align_log2)] += 1;
        }
        let percent = counts.map(|count: u32| (f64::from(count) / 1000.0).round());
        assert_eq!(percent, [0.0, 0.0, 0.0, 91.0, 5.0, 2.0, 1.0, 1.0]);
    }

    #[test]
    fn plain_requests_have_one_alignment() {
        let mut random = Rng::with_seed(1);
        assert!((0..1000).all(|_| Requests::plain(Sizes::up_to(8)).draw(&mut random).1 == USUAL));
    }
}
