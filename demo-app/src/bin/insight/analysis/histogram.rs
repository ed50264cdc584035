//! Sizes and lifetimes: how many there are of each order of magnitude.

use super::walk::{Change, Moment};

/// Counts numbers by their order of magnitude in the binary system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Histogram {
    /// Into how many bins an octave is divided, as a power of two's exponent.
    split: u32,
    /// How many there are in each bin, and their bytes.
    bins: Vec<(u64, u64)>,
}

impl Histogram {
    /// A bin is an octave.
    pub(crate) fn octaves() -> Self {
        Self { split: 0, bins: Vec::new() }
    }

    /// A bin is half an octave: from 32 to 47, from 48 to 63.
    pub(crate) fn halves() -> Self {
        Self { split: 1, bins: Vec::new() }
    }

    pub(crate) fn add(&mut self, number: u64, count: u64, bytes: u64) {
        let bin = self.bin(number);
        if bin >= self.bins.len() {
            self.bins.resize(bin + 1, (0, 0));
        }
        self.bins[bin].0 += count;
        self.bins[bin].1 += bytes;
    }

    /// Nought and one have bins of their own.
    fn bin(&self, number: u64) -> usize {
        let Some(log2) = number.checked_ilog2() else { return 0 };
        let below =
            if log2 >= self.split { number >> (log2 - self.split) } else { number << (self.split - log2) };
        let within = below & ((1 << self.split) - 1);
        (1 + (u64::from(log2) << self.split) + within) as usize
    }

    /// The smallest number of a bin.
    fn start(&self, bin: usize) -> u64 {
        let Some(bin) = (bin as u64).checked_sub(1) else { return 0 };
        let (log2, within) = (bin >> self.split, bin & ((1 << self.split) - 1));
        let leading = (1 << self.split) + within;
        if log2 >= u64::from(self.split) {
            leading << (log2 - u64::from(self.split))
        } else {
            leading >> (u64::from(self.split) - log2)
        }
    }

    /// All bins that can have something in them, from the first one that has: its smallest number, how many there are,
    /// and their bytes.
    pub(crate) fn bins(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        let first = self.bins.iter().position(|bin| bin.0 != 0).unwrap_or(0);
        // (Octaves of few numbers have bins that none belongs to.)
        let possible = (first..self.bins.len()).filter(|&bin| self.bin(self.start(bin)) == bin);
        possible.map(|bin| (self.start(bin), self.bins[bin].0, self.bins[bin].1))
    }
}

/// How long blocks live: until they are released; `realloc` does not end it.
pub(crate) struct Lifetimes {
    /// In events of the whole program.
    pub(crate) events: Histogram,
    /// In microseconds.
    pub(crate) micros: Histogram,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { events: Histogram::octaves(), micros: Histogram::octaves() }
    }
}

impl Lifetimes {
    pub(crate) fn observe(&mut self, now: &Moment, change: &Change<'_>) {
        if let Change::Released(block) = change {
            self.events.add(now.ordinal - block.born, block.blocks, block.bytes);
            self.micros.add((now.time - block.born_time) / 1000, block.blocks, block.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_in_the_bin_that_begins_before_it() {
        for split in [0, 1] {
            let histogram = Histogram { split, bins: Vec::new() };
            let numbers =
                (0..5000).chain((13..64).flat_map(|log2| [(1 << log2) - 1, 1 << log2, 3 << (log2 - 1)]));
            for number in numbers.chain([u64::MAX]) {
                let bin = histogram.bin(number);
                assert!(histogram.start(bin) <= number, "{number} in bin {bin}");
                if number < 1 << 62 {
                    let next = (bin + 1..).find(|&next| histogram.bin(histogram.start(next)) == next);
                    assert!(number < histogram.start(next.unwrap()), "{number} in bin {bin}");
                }
            }
        }
    }

    #[test]
    fn bins_are_told_from_the_first_that_has_something() {
        let mut halves = Histogram::halves();
        for size in [24, 31, 16, 100] {
            halves.add(size, 1, size);
        }
        let expected = [(16, 1, 16), (24, 2, 55), (32, 0, 0), (48, 0, 0), (64, 0, 0), (96, 1, 100)];
        assert!(halves.bins().eq(expected), "{:?}", halves.bins().collect::<Vec<_>>());

        let mut small = Histogram::halves();
        (0..4).for_each(|number| small.add(number, 1, number));
        assert!(small.bins().eq([(0, 1, 0), (1, 1, 1), (2, 1, 2), (3, 1, 3)]));

        let mut octaves = Histogram::octaves();
        [5, 7, 8].into_iter().for_each(|number| octaves.add(number, 10, 1));
        assert!(octaves.bins().eq([(4, 20, 2), (8, 10, 1)]));
    }
}
