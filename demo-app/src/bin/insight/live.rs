//! The table of blocks that are live at a moment of a trace.
//!
//! A trace need not tell of every block's beginning: what a program allocated before it was traced, or what is in a
//! part that was cut off, is released like everything else. The table takes that as it comes. (And for a `realloc` that
//! is told late: see `overwritten`.)

use crate::overwritten::Overwritten;
use mem_alloc_rust::trace::Event;
use rustc_hash::FxHashMap;

/// A block of the traced program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Where it lies.
    pub(crate) address: u64,
    /// Bytes, as they were asked for.
    pub(crate) size: u64,
    /// The alignment, a power of two.
    pub(crate) align: u64,
    /// The call site that asked for it, or for its size if that has changed; 0 if unknown.
    pub(crate) site: u64,
    /// The thread that asked.
    pub(crate) thread: u64,
    /// The sequence number of the event by which it came to be what it is.
    pub(crate) sequence: u64,
    /// The time of that event, in nanoseconds since the recording began.
    pub(crate) time: u64,
    /// Its own number among the blocks that are live. Numbers are used again, so that there are never more of them than
    /// there were blocks at one time.
    pub(crate) number: u32,
}

/// What an event has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// A block whose release the trace does not tell of, but which cannot be live any more: a new one lies there.
    pub(crate) overwritten: Option<Block>,
    /// The block that was released, or as it was before its size changed. `None` if it is not known, or there was none.
    pub(crate) before: Option<Block>,
    /// The block that was allocated, or as it is after its size changed. `before` and `after` have the same number
    /// then.
    pub(crate) after: Option<Block>,
}

/// All blocks that are live.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    blocks: FxHashMap<u64, Block>,
    bytes: u64,
    /// Numbers below `used` that no live block has.
    unused: Vec<u32>,
    used: u32,
    overwritten: Overwritten,
}

impl Live {
    /// Bytes of all live blocks, as they were asked for.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many blocks are live.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// The blocks, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Block> {
        self.blocks.values()
    }

    /// Notes an event of a thread, with its sequence number and its time.
    pub(crate) fn apply(&mut self, sequence: u64, thread: u64, time: u64, event: &Event) -> Change {
        let block = |address, size, align, site| Block {
            address,
            size,
            align,
            site,
            thread,
            sequence,
            time,
            number: 0,
        };
        match *event {
            Event::Allocation { size, align, address, site, .. } => {
                let overwritten = self.overwrite(address, sequence, thread);
                let after = Some(self.insert(block(address, size, align, site), None));
                Change { overwritten, before: None, after }
            }
            Event::Release { address } => Change { before: self.remove(address), ..Change::default() },
            Event::Reallocation { new_size, align, old_address, address, site } => {
                let is_late = self.overwritten.is_late(old_address, sequence, thread);
                let before = if is_late { None } else { self.take(old_address) };
                let overwritten = self.overwrite(address, sequence, thread);
                let number = before.map(|block| block.number);
                let after = Some(self.insert(block(address, new_size, align, site), number));
                Change { overwritten, before, after }
            }
            Event::Refused { .. } | Event::RefusedReallocation { .. } => Change::default(),
        }
    }

    /// The block that lies at an address.
    pub(crate) fn get(&self, address: u64) -> Option<&Block> {
        self.blocks.get(&address)
    }

    /// Removes a block, and keeps its number.
    fn take(&mut self, address: u64) -> Option<Block> {
        let block = self.blocks.remove(&address)?;
        self.bytes -= block.size;
        Some(block)
    }

    /// Removes the block, if there is one, whose place another one of a thread has now.
    fn overwrite(&mut self, address: u64, sequence: u64, thread: u64) -> Option<Block> {
        let block = self.remove(address);
        self.overwritten.note(address, sequence, thread, block.is_some());
        block
    }

    fn remove(&mut self, address: u64) -> Option<Block> {
        let block = self.take(address)?;
        self.unused.push(block.number);
        Some(block)
    }

    fn insert(&mut self, mut block: Block, number: Option<u32>) -> Block {
        block.number = number.or_else(|| self.unused.pop()).unwrap_or_else(|| {
            self.used += 1;
            self.used - 1
        });
        // (A damaged trace may ask for any number of bytes.)
        block.size = block.size.min(u64::MAX - self.bytes);
        self.bytes += block.size;
        self.blocks.insert(block.address, block);
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocation(address: u64, size: u64) -> Event {
        Event::Allocation { size, align: 8, address, is_zeroed: false, site: 3 }
    }

    fn resize(old_address: u64, address: u64, new_size: u64) -> Event {
        Event::Reallocation { new_size, align: 8, old_address, address, site: 4 }
    }

    /// The size and the number of a block.
    fn brief(block: Option<Block>) -> Option<(u64, u32)> {
        block.map(|block| (block.size, block.number))
    }

    #[test]
    fn blocks_come_and_go_and_numbers_are_used_again() {
        let mut live = Live::default();
        assert_eq!(brief(live.apply(1, 7, 10, &allocation(0x100, 24)).after), Some((24, 0)));
        assert_eq!(brief(live.apply(2, 7, 10, &allocation(0x200, 100)).after), Some((100, 1)));
        assert_eq!((live.bytes(), live.len()), (124, 2));
        let change = live.apply(3, 7, 11, &Event::Release { address: 0x100 });
        assert_eq!((brief(change.before), change.after), (Some((24, 0)), None));
        let change = live.apply(4, 8, 12, &resize(0x200, 0x300, 60));
        assert_eq!((brief(change.before), brief(change.after)), (Some((100, 1)), Some((60, 1))));
        let after = change.after.unwrap();
        assert_eq!(
            (after.address, after.thread, after.sequence, after.time, after.site),
            (0x300, 8, 4, 12, 4)
        );
        assert_eq!(brief(live.apply(5, 7, 13, &allocation(0x100, 8)).after), Some((8, 0)));
        assert_eq!((live.bytes(), live.len()), (68, 2));
        assert_eq!(live.get(0x300).map(|block| block.size), Some(60));
        assert_eq!(live.iter().map(|block| block.size).sum::<u64>(), live.bytes());
    }

    #[test]
    fn what_was_never_seen_is_tolerated() {
        let mut live = Live::default();
        assert_eq!(live.apply(1, 7, 0, &Event::Release { address: 0x100 }), Change::default());
        let change = live.apply(2, 7, 0, &resize(0x100, 0x200, 50));
        assert_eq!((change.before, brief(change.after)), (None, Some((50, 0))));
        // Its release is missing.
        let change = live.apply(3, 7, 0, &allocation(0x200, 20));
        assert_eq!((brief(change.overwritten), brief(change.after)), (Some((50, 0)), Some((20, 0))));
        live.apply(4, 7, 0, &allocation(0x300, 30));
        let change = live.apply(5, 7, 0, &resize(0x300, 0x200, 40));
        assert_eq!(brief(change.overwritten), Some((20, 0)));
        assert_eq!((live.bytes(), live.len()), (40, 1));
    }

    #[test]
    fn a_place_may_be_taken_before_it_is_told_that_it_is_free() {
        let mut live = Live::default();
        live.apply(1, 7, 0, &allocation(0x100, 50));
        // Thread 7 moves it, thread 8 gets the place and is the first to say so.
        let change = live.apply(2, 8, 0, &allocation(0x100, 20));
        assert_eq!(brief(change.overwritten), Some((50, 0)));
        let change = live.apply(3, 7, 0, &resize(0x100, 0x200, 90));
        assert_eq!((change.before, change.overwritten, brief(change.after)), (None, None, Some((90, 1))));
        assert_eq!(brief(live.apply(4, 8, 0, &Event::Release { address: 0x100 }).before), Some((20, 0)));
        assert_eq!(live.bytes(), 90);
        // What thread 8 does with a block of its own is not late.
        live.apply(5, 8, 0, &allocation(0x200, 10));
        let change = live.apply(6, 8, 0, &resize(0x200, 0x300, 11));
        assert_eq!(brief(change.before), Some((10, 1)));
        // Nor is anything long after.
        live.apply(7, 7, 0, &allocation(0x300, 12));
        let change = live.apply(2000, 8, 0, &resize(0x300, 0x400, 13));
        assert_eq!((brief(change.before), live.len()), (Some((12, 1)), 1));
    }

    #[test]
    fn what_was_refused_changes_nothing() {
        let mut live = Live::default();
        live.apply(1, 7, 0, &allocation(0x100, 24));
        live.apply(2, 7, 0, &Event::Refused { size: 1 << 40, align: 8, site: 0 });
        let refused = Event::RefusedReallocation { new_size: 1 << 40, align: 8, old_address: 0x100, site: 0 };
        assert_eq!(live.apply(3, 7, 0, &refused), Change::default());
        assert_eq!((live.bytes(), live.len()), (24, 1));
    }

    #[test]
    fn impossible_sizes_do_not_overflow() {
        let mut live = Live::default();
        live.apply(1, 7, 0, &allocation(0x100, u64::MAX));
        live.apply(2, 7, 0, &allocation(0x200, u64::MAX));
        live.apply(3, 7, 0, &Event::Release { address: 0x100 });
        assert_eq!((live.bytes(), live.len()), (0, 1));
    }
}
