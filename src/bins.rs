//! Which bin keeps a free block, and the bitmap that finds a bin that is not empty.
//!
//! Blocks of fewer than 256 granules (2 KiB) have a bin for each size, so that any block of the bin fits
//! exactly. Above, each power of two is divided into 32 equal bins (the two-level scheme of TLSF:
//! Masmano, Ripoll, Crespo and Real, *TLSF: a new dynamic memory allocator for real-time systems*,
//! 2004), each of which keeps its blocks by size:
//!
//! ```text
//! granules   2  3  4 …  63 │ … │ 192 … 255 │ 256…263  264…271 … 504…511 │ 512…527 … │ … up to 2^29
//! bin        2  3  4 …  63 │ … │ 192 … 255 │   256      257   …   287   │   288   … │ …
//! bitmap    └─── word 0 ───┘   └─ word 3 ──┘└──────────────── words 4 to 14 ────────────────
//! summary        bit 0             bit 3                      bits 4 to 14
//! ```

#![forbid(unsafe_code)]

use crate::size::BlockSize;

/// Each power of two is divided into this many bins.
const DIVISIONS_LOG2: u32 = 5;

/// Bins of one size each come first; below this many granules, bin number and size are the same number.
const EXACT_LOG2: u32 = 8;
const EXACT: u32 = 1 << EXACT_LOG2;

/// What is added to the number that the division of the first mixed size gives, so that it is `EXACT`.
const OFFSET: u32 = EXACT - ((EXACT_LOG2 - DIVISIONS_LOG2 + 1) << DIVISIONS_LOG2);

/// Words of the bitmap: a power of two, so that an index is proved in range by a mask instead of a check.
const WORDS: usize = 16;

/// How many bins there is room for.
pub(crate) const BINS: usize = WORDS * 64;

/// The number of a bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bin(u32);

impl Bin {
    /// From this size on, bins mix sizes.
    pub(crate) const MIXED: BlockSize = BlockSize::from_granules(EXACT);

    /// The bin of a size that is less than [`MIXED`](Self::MIXED), and has one to itself.
    #[inline(always)]
    pub(crate) const fn exact(size: BlockSize) -> Self {
        invariant!(size.granules() < EXACT);
        Self(size.granules())
    }

    /// The bin that keeps free blocks of this size, [`MIXED`](Self::MIXED) or more.
    #[inline(always)]
    pub(crate) const fn mixed(size: BlockSize) -> Self {
        let width_log2 = size.granules().ilog2() - DIVISIONS_LOG2;
        Self((width_log2 << DIVISIONS_LOG2) + (size.granules() >> width_log2) + OFFSET)
    }

    /// The bin that keeps free blocks of this size.
    #[inline(always)]
    pub(crate) const fn of(size: BlockSize) -> Self {
        if size.granules() < EXACT { Self::exact(size) } else { Self::mixed(size) }
    }

    /// Whether all blocks of the bin have one size.
    #[inline(always)]
    pub(crate) const fn is_exact(self) -> bool {
        self.0 < EXACT
    }

    /// By how many low bits of their granules the sizes in a mixed bin differ.
    #[inline(always)]
    pub(crate) const fn width_log2(self) -> u32 {
        ((self.0 - OFFSET) >> DIVISIONS_LOG2) - 1
    }

    /// The next bin, of larger sizes.
    #[inline(always)]
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
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

    /// All the marked bins, smallest sizes first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Bin> + '_ {
        core::iter::successors(self.first_from(Bin(0)), |bin| self.first_from(bin.next()))
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
            let bin = Bin::of(BlockSize::from_granules(granules));
            assert_eq!(bin, Bin(granules));
            assert!(bin.is_exact());
        }
        assert_eq!(Bin::of(Bin::MIXED), Bin(EXACT));
    }

    #[test]
    fn the_sizes_of_a_mixed_bin_differ_in_its_low_bits_only() {
        for size in interesting_sizes().filter(|&size| size >= Bin::MIXED) {
            let bin = Bin::of(size);
            let width = 1u32 << bin.width_log2();
            let first = BlockSize::from_granules(size.granules() & !(width - 1));
            let last = BlockSize::from_granules(size.granules() | (width - 1));
            assert!(!bin.is_exact());
            assert_eq!((Bin::of(first), Bin::of(last)), (bin, bin), "{size:?}");
            assert_ne!(Bin::of(BlockSize::from_granules(first.granules() - 1)), bin, "{size:?}");
        }
    }

    #[test]
    fn search_finds_the_nearest_marked_bin() {
        let mut map = BinMap::new();
        assert_eq!(map.first_from(Bin(2)), None);
        for bin in [5, 63, 64, 127, 300, 423] {
            map.set(Bin(bin));
        }
        let expect = [(0, 5), (5, 5), (6, 63), (64, 64), (65, 127), (128, 300), (301, 423)];
        for (from, found) in expect {
            assert_eq!(map.first_from(Bin(from)), Some(Bin(found)), "from {from}");
        }
        assert_eq!(map.first_from(Bin(424)), None);
        assert_eq!(map.iter().count(), 6);
        for bin in [5, 63, 64, 127, 300, 423] {
            assert_eq!(map.first_from(Bin(bin)), Some(Bin(bin)));
            map.clear(Bin(bin));
            assert_ne!(map.first_from(Bin(bin)), Some(Bin(bin)));
        }
        assert_eq!(map.first_from(Bin(0)), None);
        assert_eq!(map.summary, 0);
    }
}
