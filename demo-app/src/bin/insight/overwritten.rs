//! Places of blocks that were taken before it is told that the blocks have moved.
//!
//! A `realloc` that moves a block gives the old place back before the recorder writes down that it has moved. Another
//! thread may be given that place meanwhile, and write that down first. Whoever keeps a table of blocks has to know:
//! what moves then is the block that was overwritten, and not the one that lies there now.

use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// A thread that has moved a block writes that down before others have written so many events.
const LATE: u64 = 1000;

/// Places at which a block was overwritten a little while ago.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overwritten {
    /// When that was, and the thread whose the block is that lies there now, by address.
    places: FxHashMap<u64, (u64, u64)>,
    /// The same in order, as addresses and times.
    order: VecDeque<(u64, u64)>,
}

impl Overwritten {
    /// Notes that a thread has got a block at an address, by the event of that number, and whether there was one.
    pub(crate) fn note(&mut self, address: u64, sequence: u64, thread: u64, was_taken: bool) {
        if was_taken {
            self.places.insert(address, (sequence, thread));
            self.order.push_back((address, sequence));
        } else if !self.places.is_empty() {
            if let Some((_, owner)) = self.places.get_mut(&address) {
                *owner = thread;
            }
        }
    }

    /// Whether a block that a thread has moved is the one that was overwritten at its old address. (It was counted as
    /// gone already.)
    pub(crate) fn is_late(&mut self, old_address: u64, sequence: u64, thread: u64) -> bool {
        while let Some(&(address, when)) = self.order.front().filter(|(_, when)| when + LATE < sequence) {
            self.order.pop_front();
            if self.places.get(&address).is_some_and(|&(last, _)| last == when) {
                self.places.remove(&address);
            }
        }
        let is_late = self.places.get(&old_address).is_some_and(|&(_, owner)| owner != thread);
        if is_late {
            self.places.remove(&old_address);
        }
        is_late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_from_a_place_that_another_thread_has_is_late_once() {
        let mut overwritten = Overwritten::default();
        overwritten.note(0x100, 5, 8, true);
        assert!(!overwritten.is_late(0x100, 6, 8), "the block of its own");
        assert!(!overwritten.is_late(0x200, 6, 7));
        assert!(overwritten.is_late(0x100, 6, 7));
        assert!(!overwritten.is_late(0x100, 7, 7));
    }

    #[test]
    fn long_after_nothing_is_late() {
        let mut overwritten = Overwritten::default();
        overwritten.note(0x100, 5, 8, true);
        assert!(!overwritten.is_late(0x100, 6 + LATE, 7));
        assert!(overwritten.places.is_empty() && overwritten.order.is_empty());
        // Overwritten again: the second time counts.
        overwritten.note(0x100, 5000, 8, true);
        overwritten.note(0x100, 5900, 8, true);
        assert!(overwritten.is_late(0x100, 6500, 7));
    }

    #[test]
    fn who_has_the_place_now_is_what_counts() {
        let mut overwritten = Overwritten::default();
        overwritten.note(0x100, 5, 8, true);
        overwritten.note(0x100, 7, 9, false);
        assert!(!overwritten.is_late(0x100, 8, 9));
        assert!(overwritten.is_late(0x100, 9, 8));
    }
}
