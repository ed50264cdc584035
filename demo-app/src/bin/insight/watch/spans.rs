//! Where the traced program's arena lies, as the addresses of its blocks tell.
//!
//! A program may have blocks elsewhere, too: what the system served during a panic, say. The arena is the densest span
//! of addresses: blocks that are less than a stretch apart.

use crate::live::{Block, Change};
use std::collections::BTreeMap;

/// Addresses are counted in stretches of so many bytes.
const STRETCH: u64 = 16 << 20;

/// The span of addresses from the lowest block to the highest, of all that there ever were.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans {
    stretches: BTreeMap<u64, Stretch>,
}

#[derive(Clone, Copy, Debug)]
struct Stretch {
    low: u64,
    high: u64,
    live: u64,
}

impl Spans {
    /// Notes what an event has changed.
    pub(super) fn apply(&mut self, change: &Change) {
        for block in change.overwritten.iter().chain(&change.before) {
            if let Some(stretch) = self.stretches.get_mut(&(block.address / STRETCH)) {
                stretch.live = stretch.live.saturating_sub(block.size);
            }
        }
        if let Some(block) = &change.after {
            self.add(block);
        }
    }

    fn add(&mut self, block: &Block) {
        let end = block.address.saturating_add(block.size);
        let stretch = self.stretches.entry(block.address / STRETCH).or_insert(Stretch {
            low: block.address,
            high: end,
            live: 0,
        });
        stretch.low = stretch.low.min(block.address);
        stretch.high = stretch.high.max(end);
        stretch.live = stretch.live.saturating_add(block.size);
    }

    /// The span with most bytes live: its lowest address, and the one behind its highest.
    pub(super) fn densest(&self) -> Option<(u64, u64)> {
        let mut best: Option<Stretch> = None;
        let mut current: Option<Stretch> = None;
        for &stretch in self.stretches.values() {
            let joined = match current {
                Some(span) if stretch.low < span.high.saturating_add(STRETCH) => Stretch {
                    low: span.low,
                    high: span.high.max(stretch.high),
                    live: span.live.saturating_add(stretch.live),
                },
                _ => stretch,
            };
            current = Some(joined);
            if best.is_none_or(|best| joined.live >= best.live) {
                best = current;
            }
        }
        best.map(|span| (span.low, span.high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Live;
    use mem_alloc_rust::trace::Event;

    #[test]
    fn the_densest_span_is_the_arena() {
        let (mut live, mut spans) = (Live::default(), Spans::default());
        let mut allocate = |sequence, address, size| {
            let event = Event::Allocation { size, align: 8, address, is_zeroed: false, site: 0 };
            spans.apply(&live.apply(sequence, 1, 0, &event));
            spans.densest()
        };
        assert_eq!(allocate(1, 0x10_0000_0000, 1000), Some((0x10_0000_0000, 0x10_0000_03E8)));
        // Two that are close, and one far away that is larger.
        assert_eq!(allocate(2, 0x10_0100_0000, 100), Some((0x10_0000_0000, 0x10_0100_0064)));
        assert_eq!(allocate(3, 0x20_0000_0000, 5000), Some((0x20_0000_0000, 0x20_0000_1388)));
        let release = Event::Release { address: 0x20_0000_0000 };
        spans.apply(&live.apply(4, 1, 0, &release));
        assert_eq!(spans.densest(), Some((0x10_0000_0000, 0x10_0100_0064)));
        assert_eq!(Spans::default().densest(), None);
    }
}
