//! What a [`Locked`] over [`Growing`] memory can be asked and told.

use super::Locked;
use crate::source::Growing;
use lock_api::RawMutex;

impl<const CAP: usize, const HUGE_PAGES: bool, R: RawMutex> Locked<Growing<CAP, HUGE_PAGES>, R> {
    /// Sets the cap, in bytes: the allocator has no more than that from the system from now on.
    ///
    /// What is in use is never taken away. If that is more than the cap, what is free goes back to the system, and
    /// requests are refused until enough was given back that what is in use, and what is asked for, are within the cap
    /// again. Memory that the allocator has already serves them then, and no more is had from the system as long as it
    /// has more than the cap. With less than 64 KiB nothing is served.
    ///
    /// ```
    /// use mem_alloc_rust::{Growing, Locked};
    ///
    /// #[global_allocator]
    /// static A: Locked<Growing> = Locked::new();
    ///
    /// fn main() {
    ///     A.set_cap(16 << 20);
    ///     assert!(Vec::<u8>::new().try_reserve(20 << 20).is_err());
    ///     A.set_cap(64 << 20);
    ///     assert!(Vec::<u8>::new().try_reserve(20 << 20).is_ok());
    /// }
    /// ```
    pub fn set_cap(&self, bytes: usize) {
        let mut heap = self.heap();
        self.source.set_cap(&mut heap, bytes);
    }

    /// The cap, in bytes: `CAP`, or what [`set_cap`](Self::set_cap) or the environment variable `MEM_ALLOC_RUST_CAP`
    /// has set.
    ///
    /// ```
    /// use mem_alloc_rust::{Growing, Locked};
    ///
    /// static A: Locked<Growing<{ 1 << 30 }>> = Locked::new();
    /// assert_eq!(A.cap(), 1 << 30);
    /// A.set_cap(1 << 20);
    /// assert_eq!(A.cap(), 1 << 20);
    /// ```
    pub fn cap(&self) -> usize {
        self.source.cap()
    }

    /// Bytes that the allocator has from the system: what is in use, what is free, and its bookkeeping; never more than
    /// the [cap](Self::cap), unless that was lowered.
    ///
    /// ```
    /// use mem_alloc_rust::{Growing, Locked};
    ///
    /// #[global_allocator]
    /// static A: Locked<Growing<{ 1 << 30 }>> = Locked::new();
    ///
    /// fn main() {
    ///     let large = vec![1u8; 100 << 20];
    ///     assert!((100 << 20..110 << 20).contains(&A.committed_bytes()));
    ///     drop(large);
    ///     assert!(A.committed_bytes() < 10 << 20);
    /// }
    /// ```
    pub fn committed_bytes(&self) -> usize {
        let heap = self.heap();
        self.source.committed_bytes(&heap)
    }
}

#[cfg(test)]
mod corners;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::refusals;
    use core::alloc::{GlobalAlloc, Layout};
    use std::vec::Vec;

    type Allocator = Locked<Growing<{ 64 << 20 }>>;

    /// Blocks in use, each filled with its number.
    struct Shadow<'a> {
        allocator: &'a Allocator,
        blocks: Vec<(*mut u8, Layout, u8)>,
        refused: usize,
    }

    impl Shadow<'_> {
        fn alloc(&mut self, bytes: usize, align: usize) {
            let layout = Layout::from_size_align(bytes, align).unwrap();
            // SAFETY: the layout is of more than no bytes, and the block holds as many.
            unsafe {
                let block = self.allocator.alloc_zeroed(layout);
                if block.is_null() {
                    self.refused += 1;
                    return;
                }
                assert!(block.addr() % align == 0);
                for at in (0..bytes).step_by(4096).chain([bytes - 1]) {
                    assert_eq!(block.add(at).read(), 0, "byte {at} of {bytes}");
                }
                let number = self.blocks.len() as u8 | 1;
                block.write_bytes(number, bytes);
                self.blocks.push((block, layout, number));
            }
        }

        fn check(&self, number: usize, bytes: usize) {
            let (block, _, content) = self.blocks[number];
            for at in (0..bytes).step_by(1 << 10).chain([bytes - 1]) {
                // SAFETY: the block is in use, and holds that many bytes.
                assert_eq!(unsafe { block.add(at).read() }, content, "byte {at} of block {number}");
            }
        }

        fn realloc(&mut self, number: usize, bytes: usize) {
            let (block, layout, content) = self.blocks[number % self.blocks.len()];
            let number = number % self.blocks.len();
            // SAFETY: the block is in use.
            let moved = unsafe { self.allocator.realloc(block, layout, bytes) };
            if moved.is_null() {
                self.refused += 1;
                return self.check(number, layout.size());
            }
            let new_layout = Layout::from_size_align(bytes, layout.align()).unwrap();
            self.blocks[number] = (moved, new_layout, content);
            self.check(number, bytes.min(layout.size()));
            // SAFETY: it holds that many bytes.
            unsafe { moved.write_bytes(content, bytes) };
        }

        fn dealloc(&mut self, number: usize) {
            self.check(number, self.blocks[number].1.size());
            let (block, layout, _) = self.blocks.swap_remove(number);
            // SAFETY: the block is in use, and not used again.
            unsafe { self.allocator.dealloc(block, layout) };
        }
    }

    /// Something of everything that makes system calls.
    fn use_all(shadow: &mut Shadow) {
        for round in 0..2 {
            for number in 0..40 {
                shadow.alloc(20_000 + number * 1000, 8);
                shadow.alloc(100, 16);
            }
            shadow.alloc(1 << 20, 1);
            shadow.alloc(3 << 20, 1 << 16);
            shadow.alloc((5 << 20) - 3, 8);
            if shadow.blocks.len() > 4 {
                let last = shadow.blocks.len() - 1;
                shadow.realloc(last, 9 << 20);
                shadow.realloc(last - 1, (4 << 20) + round);
                shadow.realloc(last, 1 << 21);
                shadow.realloc(last, 5000);
                shadow.realloc(3, 2 << 20);
            }
            while shadow.blocks.len() > 10 {
                shadow.dealloc(shadow.blocks.len() / 3);
            }
            if round == 1 {
                shadow.allocator.trim();
            }
        }
    }

    #[test]
    fn nothing_is_lost_whichever_call_the_system_refuses() {
        // Each thread has a system of its own to refuse.
        std::thread::scope(|scope| {
            for first in 0..2 {
                scope.spawn(move || (first..).step_by(2).find(|&from| !is_refused_and_loses_nothing(from)));
            }
        });
    }

    /// Whether the system was asked so often that it refused something, from that call of it on.
    fn is_refused_and_loses_nothing(refused_from: u32) -> bool {
        let allocator = Allocator::new();
        let mut shadow = Shadow { allocator: &allocator, blocks: Vec::new(), refused: 0 };
        refusals::begin_after(refused_from);
        use_all(&mut shadow);
        let were_any = refusals::end();
        allocator.audit().unwrap();
        // The system comes to its senses.
        let refused = shadow.refused;
        use_all(&mut shadow);
        assert_eq!(
            shadow.refused, refused,
            "later requests are served, after refusals from call {refused_from} on"
        );
        while !shadow.blocks.is_empty() {
            shadow.dealloc(0);
        }
        allocator.audit().unwrap();
        allocator.trim();
        let (stats, committed) = (allocator.stats(), allocator.committed_bytes());
        assert_eq!((stats.live_bytes, stats.live_blocks), (0, 0));
        assert!(committed < 256 << 10, "{committed} bytes are left");
        assert!(were_any || refused_from > 10 && refused == 0);
        were_any
    }

    #[test]
    fn the_cap_is_reached_to_a_page_and_never_passed() {
        const CAP: usize = 8 << 20;
        for bytes in [40, 3000, 70_000, 1 << 20, (1 << 20) + 5000] {
            let allocator = Locked::<Growing<CAP>>::new();
            let layout = Layout::from_size_align(bytes, 8).unwrap();
            // SAFETY: the layout is of more than no bytes.
            while !unsafe { allocator.alloc(layout) }.is_null() {
                assert!(allocator.committed_bytes() <= CAP);
            }
            let committed = allocator.committed_bytes();
            assert!(
                committed <= CAP && committed + bytes + 8192 > CAP,
                "{committed} of {CAP} with blocks of {bytes}"
            );
            allocator.audit().unwrap();
        }
    }

    #[test]
    fn what_is_in_use_stays_when_the_cap_is_lowered() {
        let allocator = Allocator::new();
        let mut shadow = Shadow { allocator: &allocator, blocks: Vec::new(), refused: 0 };
        for _ in 0..300 {
            shadow.alloc(50_000, 8);
        }
        shadow.alloc(4 << 20, 8);
        let live = allocator.stats().live_bytes;
        allocator.set_cap(10 << 20);
        assert!(live > 10 << 20 && allocator.stats().live_bytes == live);
        for bytes in [1, 100, 5000, 2 << 20] {
            shadow.alloc(bytes, 8);
        }
        assert_eq!(shadow.refused, 4, "nothing is served beyond the cap");
        while allocator.stats().live_bytes > 9 << 20 {
            shadow.dealloc(0);
        }
        for bytes in [1, 100, 5000, 50_000] {
            shadow.alloc(bytes, 8);
        }
        assert_eq!(shadow.refused, 4, "what is free serves within the cap");
        shadow.alloc(2 << 20, 8);
        assert_eq!(shadow.refused, 5, "and no more than the cap");
        allocator.set_cap(64 << 20);
        shadow.alloc(20 << 20, 8);
        assert_eq!(shadow.refused, 5);
        allocator.audit().unwrap();
    }

    #[test]
    fn figures_count_blocks_wherever_they_lie() {
        let allocator = Allocator::new();
        let [small, large] = [100, 3 << 20].map(|bytes| Layout::from_size_align(bytes, 8).unwrap());
        // SAFETY: the layouts are of more than no bytes; the blocks are in use, and given back once.
        unsafe {
            let blocks = [small, large].map(|layout| (allocator.alloc(layout), layout));
            for (block, layout) in blocks {
                assert!(allocator.is_in_arena(block));
                assert!(allocator.usable_size(block).unwrap() >= layout.size());
            }
            let live = allocator.live_bytes();
            assert!(
                live > (3 << 20) + 100
                    && live == allocator.stats().live_bytes
                    && live == allocator.peak_bytes()
            );
            allocator.dealloc(blocks[1].0, large);
            assert!(!allocator.is_in_arena(blocks[1].0));
            assert!(allocator.live_bytes() < 1000 && allocator.peak_bytes() == live);
            allocator.reset_peak();
            assert_eq!(allocator.peak_bytes(), allocator.live_bytes());
            assert_eq!(allocator.stats().peak_bytes, allocator.peak_bytes());
            allocator.dealloc(blocks[0].0, small);
        }
        assert_eq!(allocator.live_bytes(), 0);
    }
}
