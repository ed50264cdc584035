//! Which free list a block belongs to, and the bitmap that finds a list that is not empty.
//!
//! Blocks of fewer than 32 granules (256 bytes) have a bin for each size, so that any block of the bin fits exactly.
//! Above, each power of two is divided into 16 equal bins (the two-level scheme of TLSF: Masmano, Ripoll, Crespo and
//! Real, *TLSF: a new dynamic memory allocator for real-time systems*, 2004):
//!
//! ```text
//! granules   2  3  4 …  31 │ 32…33  34…35 … 62…63 │ 64…67 … 124…127 │ 128…135 … │ … up to 2^29
//! bin        2  3  4 …  31 │   32     33  …   47  │  48   …   63    │   64   …  │ …
//! bitmap    └───────────────────── word 0 ──────────────────────────┘└─── words 1 to 6 ───┘
//! summary                          bit 0                                 bits 1 to 6
//! ```

#![forbid(unsafe_code)]

use crate::size::BlockSize;

/// Each power of two is divided into this many bins, down to where a bin would be less than a granule wide.
const DIVISIONS_LOG2: u32 = 4;

/// Bins of one size each come first; below this many granules, bin number and size are the same number.
const EXACT: u32 = 2 << DIVISIONS_LOG2;

/// Words of the bitmap: a power of two, so that an index is proved in range by a mask instead of a check.
const WORDS: usize = 8;

/// How many bins there is room for.
pub(crate) const BINS: usize = WORDS * 64;

/// The number of a free list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bin(u32);

impl Bin {
    /// The bin of that number, below [`BINS`].
    #[inline(always)]
    pub(crate) const fn numbered(number: u32) -> Self {
        Self(number)
    }

    /// From this size on, bins mix sizes.
    pub(crate) const MIXED: BlockSize = BlockSize::from_granules(EXACT);

    /// The bin of a size that is less than [`MIXED`](Self::MIXED), and has one to itself.
    #[inline(always)]
    pub(crate) const fn exact(size: BlockSize) -> Self {
        Self(size.granules())
    }

    /// The bin that keeps free blocks of this size.
    #[inline(always)]
    pub(crate) const fn of(size: BlockSize) -> Self {
        Self::containing(size.granules(), Self::width_log2(size))
    }

    /// Below this size, 1 KiB, [`of_small`](Self::of_small) knows the bin.
    pub(crate) const LOOKED_UP: BlockSize = BlockSize::from_granules(128);

    /// As [`of`](Self::of), for a size that is less than [`LOOKED_UP`](Self::LOOKED_UP): looking it up takes fewer instructions than
    /// computing it.
    #[inline(always)]
    pub(crate) fn of_small(size: BlockSize) -> Self {
        const SIZES: usize = Bin::LOOKED_UP.granules() as usize;
        static BINS: [u8; SIZES] = {
            let mut bins = [0; SIZES];
            let mut granules = BlockSize::MIN.granules();
            while granules < SIZES as u32 {
                bins[granules as usize] = Bin::of(BlockSize::from_granules(granules)).number() as u8;
                granules += 1;
            }
            bins
        };
        Self(u32::from(BINS[size.granules() as usize % SIZES]))
    }

    /// The first bin in which every block is at least this large.
    #[inline(always)]
    pub(crate) const fn fitting(size: BlockSize) -> Self {
        let width_log2 = Self::width_log2(size);
        // Rounding up may reach the next power of two, whose first bin has the number that comes out.
        Self::containing(size.granules() + (1 << width_log2) - 1, width_log2)
    }

    /// The smallest size that the bin keeps.
    #[cfg(all(feature = "std", unix))]
    pub(crate) const fn smallest(self) -> BlockSize {
        if self.0 < EXACT {
            return BlockSize::from_granules(self.0);
        }
        let width_log2 = (self.0 >> DIVISIONS_LOG2) - 1;
        BlockSize::from_granules((self.0 - (width_log2 << DIVISIONS_LOG2)) << width_log2)
    }

    /// The binary logarithm of the number of sizes that share a bin with this one. (The or stands for a maximum.)
    #[inline(always)]
    const fn width_log2(size: BlockSize) -> u32 {
        (size.granules() | 1 << DIVISIONS_LOG2).ilog2() - DIVISIONS_LOG2
    }

    #[inline(always)]
    const fn containing(granules: u32, width_log2: u32) -> Self {
        Self((width_log2 << DIVISIONS_LOG2) + (granules >> width_log2))
    }

    /// The bin's number, below [`BINS`].
    #[inline(always)]
    pub(crate) const fn number(self) -> usize {
        self.0 as usize & (BINS - 1)
    }

    #[inline(always)]
    fn word(self) -> usize {
        (self.0 as usize >> 6) & (WORDS - 1)
    }
}

/// One bit for each bin that is not empty, and a summary of one bit for each word that is not zero.
#[derive(Debug)]
pub(crate) struct BinMap {
    words: [u64; WORDS],
    summary: u32,
}

impl BinMap {
    /// A map of empty bins; all zero bytes.
    pub(crate) const fn new() -> Self {
        Self { words: [0; WORDS], summary: 0 }
    }

    /// Marks a bin that has a block.
    #[inline(always)]
    pub(crate) fn set(&mut self, bin: Bin) {
        self.words[bin.word()] |= 1 << (bin.0 & 63);
        self.summary |= 1 << bin.word();
    }

    /// Marks a bin that has become empty.
    #[inline(always)]
    pub(crate) fn clear(&mut self, bin: Bin) {
        let word = &mut self.words[bin.word()];
        *word &= !(1 << (bin.0 & 63));
        if *word == 0 {
            self.summary &= !(1 << bin.word());
        }
    }

    /// The first bin at or above `bin` that has a block: at most two words and the summary are looked at.
    #[inline(always)]
    pub(crate) fn first_from(&self, bin: Bin) -> Option<Bin> {
        let here = self.words[bin.word()] & (!0 << (bin.0 & 63));
        if here != 0 {
            return Some(Bin((bin.0 & !63) + here.trailing_zeros()));
        }
        let above = self.summary & (!1 << bin.word());
        if above == 0 {
            return None;
        }
        let word = above.trailing_zeros();
        Some(Bin(word * 64 + self.words[word as usize & (WORDS - 1)].trailing_zeros()))
    }

    /// The first bin strictly above `bin` that has a block.
    pub(crate) fn first_above(&self, bin: Bin) -> Option<Bin> {
        if bin.number() + 1 == BINS { None } else { self.first_from(Bin(bin.0 + 1)) }
    }

    /// All the marked bins, smallest sizes first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Bin> + '_ {
        core::iter::successors(self.first_from(Bin(0)), |&bin| self.first_above(bin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::MAX_REGION;

    fn interesting_sizes() -> impl Iterator<Item = BlockSize> {
        let largest = (MAX_REGION / 8) as u32;
        let around = |log2: u32| (0..40).map(move |step| (1 << log2) + ((step << log2) / 37u64) as u32);
        let around_powers = (1..30).flat_map(around);
        (2..5000)
            .chain(around_powers)
            .filter(move |&g| (2..=largest).contains(&g))
            .map(BlockSize::from_granules)
    }

    #[test]
    fn larger_blocks_never_have_a_smaller_bin() {
        let mut sizes: std::vec::Vec<_> = interesting_sizes().collect();
        sizes.sort();
        for pair in sizes.windows(2) {
            assert!(Bin::of(pair[0]) <= Bin::of(pair[1]), "{pair:?}");
        }
        assert!((Bin::of(*sizes.last().unwrap()).0 as usize) < BINS);
    }

    #[test]
    fn small_sizes_have_a_bin_of_their_own() {
        for granules in 2..EXACT {
            let size = BlockSize::from_granules(granules);
            assert_eq!(Bin::of(size), Bin(granules));
            assert_eq!(Bin::fitting(size), Bin(granules));
        }
    }

    #[test]
    fn looking_a_bin_up_gives_what_computing_it_gives() {
        for granules in BlockSize::MIN.granules()..Bin::LOOKED_UP.granules() {
            let size = BlockSize::from_granules(granules);
            assert_eq!(Bin::of_small(size), Bin::of(size));
        }
    }

    #[test]
    fn every_block_of_a_fitting_bin_fits() {
        for size in interesting_sizes() {
            let fitting = Bin::fitting(size);
            let own = Bin::of(size);
            assert!(fitting.0 - own.0 <= 1, "{size:?}");
            if let Some(smaller) = size.granules().checked_sub(1).filter(|&g| g >= 2) {
                assert!(Bin::of(BlockSize::from_granules(smaller)) < fitting, "{size:?}");
            }
        }
    }

    #[test]
    fn search_finds_the_nearest_marked_bin() {
        let mut map = BinMap::new();
        assert_eq!(map.first_from(Bin(2)), None);
        for bin in [5, 63, 64, 127, 300, 431] {
            map.set(Bin(bin));
        }
        let expect = [(0, 5), (5, 5), (6, 63), (64, 64), (65, 127), (128, 300), (301, 431)];
        for (from, found) in expect {
            assert_eq!(map.first_from(Bin(from)), Some(Bin(found)), "from {from}");
        }
        assert_eq!(map.first_from(Bin(432)), None);
        assert_eq!(map.iter().count(), 6);
        for bin in [5, 63, 64, 127, 300, 431] {
            assert_eq!(map.first_from(Bin(bin)), Some(Bin(bin)));
            map.clear(Bin(bin));
            assert_ne!(map.first_from(Bin(bin)), Some(Bin(bin)));
        }
        assert_eq!(map.first_from(Bin(0)), None);
        assert_eq!(map.summary, 0);
    }
}
