//! Blocks that grew step by step, as vectors do that nobody reserved memory for.

use super::walk::{Block, Change, Moment};
use rustc_hash::FxHashMap;

/// A block that became longer so many times did not have to.
const STEPS: u32 = 2;

/// What grew at a call site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Blocks that grew.
    pub(crate) blocks: u64,
    /// How often they did.
    pub(crate) steps: u64,
    /// Bytes that were copied on the way, since the block moved.
    pub(crate) copied: u64,
    /// Bytes of all of them in the end.
    pub(crate) grown: u64,
    /// Bytes of the largest one in the end.
    pub(crate) largest: u64,
}

impl Growth {
    pub(crate) fn add(&mut self, other: &Self) {
        self.blocks += other.blocks;
        self.steps += other.steps;
        self.copied += other.copied;
        self.grown += other.grown;
        self.largest = self.largest.max(other.largest);
    }
}

/// Collects them. A step counts if the block becomes longer by half, or more: `Vec` and `String` double.
#[derive(Default)]
pub(crate) struct Growths {
    /// The blocks that are growing, by address.
    growing: FxHashMap<u64, Growing>,
    /// By call site of the last step.
    by_site: FxHashMap<u32, Growth>,
}

#[derive(Clone, Copy, Default)]
struct Growing {
    steps: u32,
    site: u32,
    copied: u64,
    /// Bytes after the last step.
    size: u64,
}

impl Growths {
    /// By call site, in the order of their numbers. Blocks that are live still have grown, too.
    pub(crate) fn finish(mut self) -> Vec<(u32, Growth)> {
        let growing: Vec<Growing> = self.growing.drain().map(|(_, growing)| growing).collect();
        growing.iter().for_each(|growing| self.end(growing));
        let mut all: Vec<_> = self.by_site.into_iter().collect();
        all.sort_unstable_by_key(|(site, _)| *site);
        all
    }

    fn end(&mut self, growing: &Growing) {
        if growing.steps < STEPS {
            return;
        }
        let growth = Growth {
            blocks: 1,
            steps: growing.steps.into(),
            copied: growing.copied,
            grown: growing.size,
            largest: growing.size,
        };
        self.by_site.entry(growing.site).or_default().add(&growth);
    }

    fn resized(&mut self, old: &Block, new: &Block) {
        let before = self.growing.remove(&old.address);
        let is_step = old.size > 0 && new.size >= old.size.saturating_add(old.size / 2).max(old.size + 1);
        let mut growing = match before {
            Some(growing) => growing,
            None if is_step => Growing::default(),
            None => return,
        };
        if is_step {
            growing.steps += 1;
            growing.site = new.site;
            growing.size = new.size;
            growing.copied += if new.address == old.address { 0 } else { old.size };
        }
        self.growing.insert(new.address, growing);
    }
}

impl super::Observer for Growths {
    fn observe(&mut self, _: &Moment, change: &Change<'_>) {
        match change {
            Change::Resized { old, new } => self.resized(old, new),
            Change::Released(block) | Change::Lost(block) => {
                if let Some(growing) = self.growing.remove(&block.address) {
                    self.end(&growing);
                }
            }
            Change::Allocated(_) | Change::Refused { .. } | Change::Unknown => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::walk::walk;
    use super::*;
    use crate::synthetic::Synthetic;

    #[test]
    fn a_vector_that_doubles_is_found_with_what_it_copied() {
        let mut file = Synthetic::new();
        (1..=4).for_each(|number| file.site(0, number, 0, 0x4000 + number));
        // 32, 64 (in place), 128, 256 (moved), and cut to 200 in the end.
        file.allocation(0, 1, 0x1000, 32, 1);
        file.reallocation(0, 2, (0x1000, 0x1000), 64, 2);
        file.reallocation(0, 3, (0x1000, 0x2000), 128, 2);
        file.reallocation(0, 4, (0x2000, 0x3000), 256, 2);
        file.reallocation(0, 5, (0x3000, 0x3000), 200, 4);
        file.release(0, 6, 0x3000);
        // Another one at the same place, live at the end.
        file.allocation(0, 7, 0x1000, 100, 1);
        file.reallocation(0, 8, (0x1000, 0x4000), 150, 2);
        file.reallocation(0, 9, (0x4000, 0x5000), 300, 2);
        // Once is no growth, and a little is none either.
        file.allocation(0, 10, 0x1000, 100, 1);
        file.reallocation(0, 11, (0x1000, 0x1000), 200, 3);
        file.reallocation(0, 12, (0x1000, 0x1000), 299, 3);
        file.release(0, 13, 0x1000);
        let mut growths = Growths::default();
        walk(&file.write("growth"), "", &mut growths).unwrap();
        let expected = Growth {
            blocks: 2,
            steps: 3 + 2,
            copied: (64 + 128) + (100 + 150),
            grown: 256 + 300,
            largest: 300,
        };
        assert_eq!(growths.finish(), [(2, expected)]);
    }
}
