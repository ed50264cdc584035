//! Who holds the memory, by call site.

use super::walk::{Block, Change, Moment};

/// A block is short-lived if the thread that asked for it releases it, within so many events of its own.
pub(crate) const SHORT_LIVED: u32 = 8;

/// What a call site asked for, and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holder {
    /// All that was asked for, by `realloc` as well.
    pub(crate) asked: Amount,
    /// What was in use when most was.
    pub(crate) peak: Amount,
    /// What was in use at the end.
    pub(crate) end: Amount,
    /// Of all that was asked for, what was released at once: see [`SHORT_LIVED`].
    pub(crate) short_lived: Amount,
}

/// Blocks, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) bytes: u64,
    pub(crate) blocks: u64,
}

impl Amount {
    pub(crate) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.blocks += other.blocks;
    }

    fn subtract(&mut self, other: Self) {
        self.bytes -= other.bytes;
        self.blocks -= other.blocks;
    }
}

impl Holder {
    pub(crate) fn add(&mut self, other: &Self) {
        self.asked.add(other.asked);
        self.peak.add(other.peak);
        self.end.add(other.end);
        self.short_lived.add(other.short_lived);
    }
}

/// Collects them.
pub(crate) struct Holders {
    /// By number of the call site; what is in use is in `end` until it is.
    holders: Vec<Holder>,
    /// The event after which most was in use.
    peak: u64,
}

impl Holders {
    pub(crate) fn new(sites: usize, peak: u64) -> Self {
        Self { holders: vec![Holder::default(); sites.max(1)], peak }
    }

    /// By number of the call site.
    pub(crate) fn finish(self) -> Vec<Holder> {
        self.holders
    }

    fn of(&mut self, block: &Block) -> (&mut Holder, Amount) {
        (&mut self.holders[block.site as usize], Amount { bytes: block.bytes, blocks: block.blocks })
    }

    fn take(&mut self, block: &Block) {
        let (holder, amount) = self.of(block);
        holder.asked.add(amount);
        holder.end.add(amount);
    }

    fn give(&mut self, block: &Block) {
        let (holder, amount) = self.of(block);
        holder.end.subtract(amount);
    }
}

impl super::Observer for Holders {
    fn observe(&mut self, now: &Moment, change: &Change<'_>) {
        match change {
            Change::Allocated(block) => self.take(block),
            Change::Released(block) => {
                self.give(block);
                let steps = now.step.wrapping_sub(block.born_step);
                if block.thread == now.thread && now.thread != u16::MAX && steps <= SHORT_LIVED {
                    let (holder, amount) = self.of(block);
                    holder.short_lived.add(amount);
                }
            }
            Change::Resized { old, new } => {
                self.give(old);
                self.take(new);
            }
            Change::Lost(block) => {
                self.give(block);
                return;
            }
            Change::Refused { .. } | Change::Unknown => {}
        }
        if now.ordinal == self.peak {
            self.holders.iter_mut().for_each(|holder| holder.peak = holder.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Overview, holders};
    use super::*;
    use crate::synthetic::Synthetic;

    fn amount(bytes: u64, blocks: u64) -> Amount {
        Amount { bytes, blocks }
    }

    #[test]
    fn call_sites_hold_what_they_asked_for_last() {
        let mut file = Synthetic::new();
        (1..=3).for_each(|number| file.site(0, number, 0, 0x4000 + number));
        file.allocation(0, 1, 0x1000, 100, 1);
        file.allocation(0, 2, 0x2000, 50, 2);
        file.allocation(0, 3, 0x3000, 30, 2);
        // The peak: 300 + 50 + 30.
        file.reallocation(0, 4, (0x1000, 0x5000), 300, 3);
        file.release(0, 5, 0x2000);
        file.release(0, 6, 0x5000);
        let path = file.write("holders");
        let holders = holders(&path, &Overview::read(&path).unwrap()).unwrap();
        assert_eq!(holders[0], Holder::default());
        let one = Holder { asked: amount(100, 1), ..Holder::default() };
        assert_eq!(holders[1], one);
        let two = Holder {
            asked: amount(80, 2),
            peak: amount(80, 2),
            end: amount(30, 1),
            short_lived: amount(50, 1),
        };
        assert_eq!(holders[2], two);
        let three = Holder {
            asked: amount(300, 1),
            peak: amount(300, 1),
            end: amount(0, 0),
            short_lived: amount(300, 1),
        };
        assert_eq!(holders[3], three);
    }

    #[test]
    fn a_block_is_short_lived_by_its_own_threads_count() {
        let mut file = Synthetic::new();
        file.site(0, 1, 0, 0x4000);
        let mut sequence = 0;
        let mut next = || {
            sequence += 1;
            sequence
        };
        // Released by another thread at once.
        file.allocation(0, next(), 0x1000, 10, 1);
        file.release(1, next(), 0x1000);
        // Released as the eighth event after it, with many of another thread between.
        file.allocation(0, next(), 0x1000, 10, 1);
        (0..100).for_each(|n| file.allocation(1, next(), 0x10_0000 + n * 16, 1, 0));
        (0..7).for_each(|n| file.allocation(0, next(), 0x20_0000 + n * 16, 1, 0));
        file.release(0, next(), 0x1000);
        // Released as the ninth.
        file.allocation(0, next(), 0x1000, 10, 1);
        (0..8).for_each(|n| file.allocation(0, next(), 0x30_0000 + n * 16, 1, 0));
        file.release(0, next(), 0x1000);
        let path = file.write("short_lived");
        let holders = holders(&path, &Overview::read(&path).unwrap()).unwrap();
        assert_eq!(holders[1].asked, amount(30, 3));
        assert_eq!(holders[1].short_lived, amount(10, 1));
    }
}
