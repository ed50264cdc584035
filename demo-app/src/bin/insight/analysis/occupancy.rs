//! Which of the addresses that a program uses are in use now: a bit for each granule.
//!
//! A block's ends are both rounded up to granules, so that blocks that do not overlap never share one. Where there is
//! so much memory that granules are larger than blocks, one out of many small blocks stands for all of them, and sums
//! are right still.

use super::space::Space;
use super::walk::{Block, Change, Moment};
use std::ops::Range;

/// At most so many granules: 32 MiB of bits.
const MOST_GRANULES: u64 = 1 << 28;

/// The smallest granule, in bytes. Allocators align to it.
const LEAST_GRANULE: u64 = 8;

/// At most so many pages.
const MOST_PAGES: u64 = 1 << 24;

/// The smallest page, in bytes.
const LEAST_PAGE: u64 = 4096;

/// At most so many cells of a snapshot.
pub(crate) const CELLS: u64 = 4096;

/// In how many steps a cell is full, nothing included: level 0 is nothing at all, and the highest one is all of it.
pub(crate) const LEVELS: u64 = 64;

/// What is not in use between two blocks is a hole, if it has so many bytes. Less is the allocator's own: headers, and
/// what sizes are rounded up to.
const LEAST_HOLE: u64 = 32;

/// How many moments are chosen by the number of events; the peak and the end come to it.
const MOMENTS: u64 = 126;

/// What is in use now.
pub(crate) struct Occupancy<'a> {
    space: &'a Space,
    /// Bytes of a granule, a power of two.
    granule: u64,
    /// A bit for each granule: is it in use?
    bits: Vec<u64>,
    /// Granules of a page, a power of two.
    page_granules: u64,
    /// For each page, how many of its granules are in use.
    pages: Vec<u32>,
    pages_in_use: u64,
}

/// What was in use at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) moment: Moment,
    /// How full each cell is, less than [`LEVELS`].
    pub(crate) cells: Vec<u8>,
    /// Bytes between the lowest and the highest address in use, of all spans together.
    pub(crate) extent: u64,
    /// Bytes in there that are not in use, in pieces too small for a hole.
    pub(crate) overhead: u64,
    /// Bytes in there that are in holes.
    pub(crate) free: u64,
    /// How many holes there are.
    pub(crate) holes: u64,
    /// Bytes of the largest one.
    pub(crate) largest: u64,
    /// The place of the largest one.
    pub(crate) largest_at: u64,
}

/// The events after which snapshots are taken, the last one first.
pub(super) fn moments(events: u64, peak: u64) -> Vec<u64> {
    let spread = (1..=MOMENTS).map(|number| events * number / MOMENTS);
    let mut moments: Vec<u64> = spread.chain([peak, events]).filter(|&ordinal| ordinal > 0).collect();
    moments.sort_unstable_by(|one, other| other.cmp(one));
    moments.dedup();
    moments
}

/// The smallest power of two, not below `least`, that fits into `bytes` at most `most` times.
fn unit(bytes: u64, most: u64, least: u64) -> u64 {
    bytes.div_ceil(most).next_power_of_two().max(least)
}

impl<'a> Occupancy<'a> {
    pub(crate) fn new(space: &'a Space) -> Self {
        let granule = unit(space.bytes, MOST_GRANULES, LEAST_GRANULE);
        let page = unit(space.bytes, MOST_PAGES, LEAST_PAGE).max(granule);
        let granules = space.bytes.div_ceil(granule);
        Self {
            space,
            granule,
            bits: vec![0; granules.div_ceil(64) as usize],
            page_granules: page / granule,
            pages: vec![0; space.bytes.div_ceil(page) as usize],
            pages_in_use: 0,
        }
    }

    /// Bytes of a page.
    pub(crate) fn page(&self) -> u64 {
        self.page_granules * self.granule
    }

    /// Bytes of a cell of a snapshot.
    pub(crate) fn cell(&self) -> u64 {
        unit(self.space.bytes, CELLS, self.granule)
    }

    /// Bytes of the pages that have something in them.
    pub(crate) fn footprint(&self) -> u64 {
        self.pages_in_use * self.page()
    }

    pub(crate) fn observe(&mut self, _: &Moment, change: &Change<'_>) {
        match change {
            Change::Allocated(block) => self.set(self.granules(block), true),
            Change::Released(block) | Change::Lost(block) => self.set(self.granules(block), false),
            Change::Resized { old, new } => {
                let (before, after) = (self.granules(old), self.granules(new));
                if before.start == after.start {
                    self.set(after.end..before.end, false);
                    self.set(before.end..after.end, true);
                } else {
                    self.set(before, false);
                    self.set(after, true);
                }
            }
            Change::Refused { .. } | Change::Unknown => {}
        }
    }

    fn granules(&self, block: &Block) -> Range<u64> {
        let start = self.space.place(block.address);
        start.div_ceil(self.granule)..(start + block.size).div_ceil(self.granule)
    }

    /// Marks granules, none of which is marked already.
    fn set(&mut self, range: Range<u64>, is_used: bool) {
        let mut granule = range.start;
        while granule < range.end {
            let word = (granule / 64) as usize;
            let end = range.end.min((granule / 64 + 1) * 64);
            let mask = u64::MAX >> (64 - (end - granule)) << (granule % 64);
            if is_used {
                self.bits[word] |= mask;
            } else {
                self.bits[word] &= !mask;
            }
            granule = end;
        }
        let mut granule = range.start;
        while granule < range.end {
            let page = granule / self.page_granules;
            let end = range.end.min((page + 1) * self.page_granules);
            let count = &mut self.pages[page as usize];
            let before = *count;
            if is_used {
                *count += (end - granule) as u32;
            } else {
                // Where a trace has gaps, blocks may overlap that never did.
                *count = count.saturating_sub((end - granule) as u32);
            }
            self.pages_in_use += u64::from(before == 0 && *count != 0);
            self.pages_in_use -= u64::from(before != 0 && *count == 0);
            granule = end;
        }
    }

    /// How many of those granules are in use.
    fn count(&self, range: Range<u64>) -> u64 {
        let mut count = 0;
        let mut granule = range.start;
        while granule < range.end {
            let end = range.end.min((granule / 64 + 1) * 64);
            let mask = u64::MAX >> (64 - (end - granule)) << (granule % 64);
            count += u64::from((self.bits[(granule / 64) as usize] & mask).count_ones());
            granule = end;
        }
        count
    }

    /// What is in use now.
    pub(crate) fn snapshot(&self, now: &Moment) -> Snapshot {
        let cell_granules = self.cell() / self.granule;
        let granules = self.space.bytes.div_ceil(self.granule);
        let cells = (0..granules.div_ceil(cell_granules)).map(|cell| {
            let range = cell * cell_granules..granules.min((cell + 1) * cell_granules);
            let len = range.end - range.start;
            level(self.count(range), len)
        });
        let mut snapshot = Snapshot {
            moment: *now,
            cells: cells.collect(),
            extent: 0,
            overhead: 0,
            free: 0,
            holes: 0,
            largest: 0,
            largest_at: 0,
        };
        for span in &self.space.spans {
            let end = span.place + (span.end - span.start);
            self.holes(span.place.div_ceil(self.granule)..end.div_ceil(self.granule), &mut snapshot);
        }
        snapshot
    }

    /// Adds what lies between the first and the last granule in use of a span.
    fn holes(&self, span: Range<u64>, snapshot: &mut Snapshot) {
        let mut first = None;
        // Where the granules begin that are not in use since the last one that is.
        let mut hole = span.start;
        let mut granule = span.start;
        while granule < span.end {
            let word = self.bits[(granule / 64) as usize] >> (granule % 64);
            let left = (64 - granule % 64).min(span.end - granule);
            let unused = u64::from(word.trailing_zeros()).min(left);
            granule += unused;
            if unused == left {
                continue;
            }
            let used = u64::from((word >> unused).trailing_ones()).min(left - unused);
            if first.is_none() {
                first = Some(granule);
            } else if (granule - hole) * self.granule < LEAST_HOLE {
                snapshot.overhead += (granule - hole) * self.granule;
            } else {
                let bytes = (granule - hole) * self.granule;
                snapshot.holes += 1;
                snapshot.free += bytes;
                if bytes > snapshot.largest {
                    snapshot.largest = bytes;
                    snapshot.largest_at = hole * self.granule;
                }
            }
            granule += used;
            hole = granule;
        }
        if let Some(first) = first {
            snapshot.extent += (hole - first) * self.granule;
        }
    }
}

/// How full something is.
fn level(used: u64, all: u64) -> u8 {
    let level = match used {
        0 => 0,
        _ if used >= all => LEVELS - 1,
        // What is neither empty nor full looks like neither.
        _ => (used * (LEVELS - 1) / all).clamp(1, LEVELS - 2),
    };
    level as u8
}

#[cfg(test)]
mod tests {
    use super::super::space::Addresses;
    use super::*;

    const NOW: Moment = Moment { ordinal: 1, time: 0, thread: 0, step: 1, live_bytes: 0, live_blocks: 0 };

    fn block(address: u64, size: u64) -> Block {
        let (bytes, blocks) = (size, 1);
        Block { address, size, bytes, blocks, site: 0, thread: 0, born: 0, born_time: 0, born_step: 0 }
    }

    fn space(ranges: &[(u64, u64)]) -> Space {
        let mut addresses = Addresses::default();
        ranges.iter().for_each(|&(start, size)| addresses.add(start, size));
        addresses.finish()
    }

    #[test]
    fn holes_lie_between_the_lowest_and_the_highest_block_of_a_span() {
        let space = space(&[(0x10000, 0x2000), (0x7000_0000, 0x1000)]);
        let mut occupancy = Occupancy::new(&space);
        let blocks =
            [(0x10100, 64), (0x10140, 20), (0x10200, 0x1000), (0x11280, 8), (0x11290, 8), (0x7000_0008, 40)];
        for (address, size) in blocks {
            occupancy.observe(&NOW, &Change::Allocated(&block(address, size)));
        }
        let snapshot = occupancy.snapshot(&NOW);
        // From 0x10100 to 0x11298, and 40 bytes of their own; 20 bytes take 24.
        assert_eq!(snapshot.extent, 0x1198 + 40);
        assert_eq!(snapshot.overhead, 8);
        assert_eq!(snapshot.holes, 2);
        assert_eq!(snapshot.free, (0xC0 - 24) + 0x80);
        assert_eq!((snapshot.largest, snapshot.largest_at), (0xC0 - 24, 0x158));
        // Both pages of the first span, and the one of the second.
        assert_eq!(occupancy.footprint(), 3 * 4096);

        occupancy.observe(&NOW, &Change::Released(&block(0x10200, 0x1000)));
        assert_eq!(occupancy.snapshot(&NOW).largest, 0x1280 - 0x158);
        assert_eq!(occupancy.footprint(), 3 * 4096);
        occupancy.observe(&NOW, &Change::Released(&block(0x11280, 8)));
        occupancy.observe(&NOW, &Change::Released(&block(0x11290, 8)));
        assert_eq!(occupancy.snapshot(&NOW).holes, 0);
        assert_eq!(occupancy.footprint(), 2 * 4096);
    }

    #[test]
    fn a_block_that_is_resized_takes_what_it_takes_then() {
        let space = space(&[(0x10000, 0x4000)]);
        let mut occupancy = Occupancy::new(&space);
        let used = |occupancy: &Occupancy<'_>| occupancy.count(0..space.bytes / 8) * 8;
        occupancy.observe(&NOW, &Change::Allocated(&block(0x10000, 100)));
        assert_eq!(used(&occupancy), 104);
        let resized = [
            (block(0x10000, 100), block(0x10000, 1000), 1000),
            (block(0x10000, 1000), block(0x12000, 3000), 3000),
            (block(0x12000, 3000), block(0x12000, 16), 16),
        ];
        for (old, new, expected) in resized {
            occupancy.observe(&NOW, &Change::Resized { old: &old, new: &new });
            assert_eq!(used(&occupancy), expected);
        }
        assert_eq!(occupancy.footprint(), 4096);
    }

    #[test]
    fn cells_say_how_full_they_are() {
        // 64 MiB: cells of 16 KiB.
        let space = space(&[(0, 64 << 20)]);
        let mut occupancy = Occupancy::new(&space);
        assert_eq!(occupancy.cell(), 16 << 10);
        for (address, size) in [(0, 16 << 10), (16 << 10, 8), (32 << 10, (16 << 10) - 8), (48 << 10, 8 << 10)]
        {
            occupancy.observe(&NOW, &Change::Allocated(&block(address, size)));
        }
        let cells = occupancy.snapshot(&NOW).cells;
        assert_eq!(cells.len(), 4096);
        assert_eq!(cells[..5], [63, 1, 62, 31, 0]);
    }

    #[test]
    fn blocks_smaller_than_a_granule_add_up() {
        // 64 GiB: granules of 256 bytes.
        let space = space(&[(0, 64 << 30)]);
        let mut occupancy = Occupancy::new(&space);
        assert_eq!(occupancy.granule, 256);
        (0..1024).for_each(|n| occupancy.observe(&NOW, &Change::Allocated(&block(n * 32, 32))));
        assert_eq!(occupancy.count(0..1 << 20) * 256, 1024 * 32);
        (0..1024).for_each(|n| occupancy.observe(&NOW, &Change::Released(&block(n * 32, 32))));
        assert_eq!(occupancy.count(0..1 << 20), 0);
        assert_eq!(occupancy.footprint(), 0);
    }

    #[test]
    fn moments_are_spread_and_have_the_peak_and_the_end() {
        let all = moments(1_000_000, 77);
        assert_eq!(all.len(), 127);
        assert_eq!((all[0], all[126]), (1_000_000, 77));
        assert_eq!(moments(3, 2), [3, 2, 1]);
        assert_eq!(moments(0, 0), [0u64; 0]);
    }
}
