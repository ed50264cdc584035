//! The addresses that a program used at all, put side by side.
//!
//! Where allocators live far apart (an arena in `.bss`, a heap behind the program, mappings), a picture of all
//! addresses would be empty. So long gaps are left out, and an address becomes a *place*: how many bytes are below it
//! that are not left out.

use std::collections::BTreeMap;

/// Ranges that are nearer to each other become one while they are collected: so there are few.
const NEAR: u64 = 64 << 10;

/// What nobody uses is left out if it is longer. A program's own holes are as long seldom, and where they are,
/// something else lies in them.
const GAP: u64 = 1 << 20;

/// Ranges begin and end with pages.
const PAGE: u64 = 4096;

/// Collects the addresses that are used.
#[derive(Default)]
pub(crate) struct Addresses {
    /// Ends by starts. They do not overlap, and none is near another.
    ranges: BTreeMap<u64, u64>,
    /// The one that was found last.
    last: (u64, u64),
}

impl Addresses {
    /// A block is at that address.
    pub(crate) fn add(&mut self, address: u64, size: u64) {
        let (mut start, mut end) = (address, address.saturating_add(size.max(1)));
        if self.last.0 <= start && end <= self.last.1 {
            return;
        }
        // The ranges that are near, from the last one down.
        while let Some((&other_start, &other_end)) =
            self.ranges.range(..=end.saturating_add(NEAR)).next_back()
        {
            if other_end.saturating_add(NEAR) < start {
                break;
            }
            self.ranges.remove(&other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.ranges.insert(start, end);
        self.last = (start, end);
    }

    /// What was collected.
    pub(crate) fn finish(self) -> Space {
        let mut spans: Vec<Span> = Vec::new();
        let mut place = 0;
        for (start, end) in self.ranges {
            let start = start & !(PAGE - 1);
            let end = end.checked_next_multiple_of(PAGE).unwrap_or(!(PAGE - 1));
            match spans.last_mut() {
                Some(last) if start.saturating_sub(last.end) <= GAP => {
                    place += end - last.end;
                    last.end = end;
                }
                _ => {
                    spans.push(Span { start, end, place });
                    place += end - start;
                }
            }
        }
        Space { spans, bytes: place }
    }
}

/// A range of addresses that nothing is left out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    /// The address behind the last.
    pub(crate) end: u64,
    /// The place of the first address.
    pub(crate) place: u64,
}

/// The addresses that a program used at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// In the order of addresses.
    pub(crate) spans: Vec<Span>,
    /// Bytes of all of them.
    pub(crate) bytes: u64,
}

impl Space {
    /// The place of an address; that of the nearest one, if it is in no span.
    pub(crate) fn place(&self, address: u64) -> u64 {
        let behind = self.spans.partition_point(|span| span.start <= address);
        let Some(span) = behind.checked_sub(1).and_then(|number| self.spans.get(number)) else { return 0 };
        span.place + (address.min(span.end) - span.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_gaps_are_left_out_and_short_ones_are_not() {
        let mut addresses = Addresses::default();
        addresses.add(0x10_0010, 16);
        addresses.add(0x7000_0000, 0x2000);
        // Near the first one, and below it; then what lies between.
        addresses.add(0x0F_0000, 8);
        addresses.add(0x18_0000, 0x1000);
        let space = addresses.finish();
        let expected = [
            Span { start: 0x0F_0000, end: 0x18_1000, place: 0 },
            Span { start: 0x7000_0000, end: 0x7000_2000, place: 0x9_1000 },
        ];
        assert_eq!(space.spans, expected);
        assert_eq!(space.bytes, 0x9_3000);
        assert_eq!(space.place(0x0F_0000), 0);
        assert_eq!(space.place(0x18_0004), 0x9_0004);
        assert_eq!(space.place(0x7000_1000), 0x9_2000);
        assert_eq!(space.place(0x1000_0000), 0x9_1000, "what is left out is where the span before ends");
    }

    #[test]
    fn ranges_that_one_block_joins_become_one() {
        let mut addresses = Addresses::default();
        for start in (0..10).map(|n| 0x100_0000 + n * 0x4_0000) {
            addresses.add(start, 64);
        }
        assert_eq!(addresses.ranges.len(), 10);
        addresses.add(0x100_0000, 10 * 0x4_0000);
        assert_eq!(addresses.ranges, BTreeMap::from([(0x100_0000, 0x100_0000 + 10 * 0x4_0000)]));
    }
}
