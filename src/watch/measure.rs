//! What something allocates: as a value, and as what a test expects.

use super::counts::Counts;
use super::expected::Expected;
use super::slot::Slot;
use super::{probe, totals};
use core::marker::PhantomData;

/// Runs something, and returns what came of it and what it allocated on this thread.
///
/// The peak and the live bytes are those over what was live before; they can be negative where blocks are released that
/// were there before. Measurements may lie inside of each other. Without the feature `std`, and on systems other than
/// Unix, what other threads do is measured, too.
///
/// ```
/// use mem_alloc_rust::watch::{Counted, measure};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let (sorted, counts) = measure(|| {
///         let mut numbers: Vec<u64> = (0..10_000).map(|n| n * 7 % 10_000).collect();
///         numbers.sort();
///         numbers
///     });
///     assert_eq!((counts.live_blocks, counts.live_bytes), (1, 8 * sorted.len() as isize));
///     // A stable sort needs room.
///     assert!(counts.peak_bytes > 80_000);
///
///     let ((), counts) = measure(|| drop(sorted));
///     assert_eq!((counts.live_bytes, counts.peak_bytes), (-80_000, 0));
/// }
/// ```
///
/// # Panics
///
/// If the program's global allocator is not [`Counted`](super::Counted): nothing would be measured.
#[track_caller]
pub fn measure<T>(run: impl FnOnce() -> T) -> (T, Counts) {
    let measuring = Measuring::begin("measure");
    let value = run();
    (value, measuring.counts())
}

/// A measurement that goes on until it is dropped, on the thread that began it: it is not `Send`.
pub struct Measuring {
    slot: &'static Slot,
    start: Counts,
    outer_peak: isize,
    not_send: PhantomData<*mut ()>,
}

impl Measuring {
    /// # Panics
    ///
    /// If allocations are not counted; the message says that `what` needs it.
    #[track_caller]
    pub fn begin(what: &str) -> Self {
        let slot = probe::counted_slot(what);
        totals::keep_peak();
        let outer_peak = slot.peak_bytes.get();
        let start = slot.counts();
        slot.peak_bytes.set(start.live_bytes);
        Self { slot, start, outer_peak, not_send: PhantomData }
    }

    /// What was counted since the beginning.
    pub fn counts(&self) -> Counts {
        self.slot.counts().since(self.start, self.slot.peak())
    }

    /// # Panics
    ///
    /// If there were not as many allocations as expected.
    #[track_caller]
    pub fn assert_allocations(&self, expected: impl Expected) {
        let counts = self.counts();
        assert!(
            expected.admits(counts.allocations()),
            "expected allocations: {expected:?}, measured: {}; {counts}",
            counts.allocations(),
        );
    }

    /// # Panics
    ///
    /// If the peak was not as expected.
    #[track_caller]
    pub fn assert_peak(&self, expected: impl Expected) {
        let counts = self.counts();
        assert!(
            expected.admits(counts.peak_bytes),
            "expected bytes at the peak: {expected:?}, measured: {}; {counts}",
            counts.peak_bytes,
        );
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        self.slot.peak_bytes.raise(self.outer_peak);
    }
}

/// Runs a block, asserts how many allocations it makes on this thread, and is the block's value.
///
/// Allocations are calls of `alloc`, `alloc_zeroed` and `realloc` that were served. What is expected is a number or a
/// range. What leaves the block by `return`, `break` or `?` is not asserted.
///
/// ```
/// use mem_alloc_rust::{assert_allocations, watch::Counted};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let words = assert_allocations!(1, Vec::<&str>::with_capacity(8));
///     assert_allocations!(0, {
///         let mut words = words;
///         words.extend("a vector that had room".split(' '));
///         assert_eq!(words.len(), 5);
///     });
///     assert_allocations!(1..=3, (0..5).filter(|n| n % 2 == 0).collect::<Vec<i32>>());
/// }
/// ```
///
/// ```should_panic
/// # use mem_alloc_rust::{assert_allocations, watch::Counted};
/// # #[global_allocator]
/// # static A: Counted<std::alloc::System> = Counted::new(std::alloc::System);
/// # fn main() {
/// // expected allocations: ..=3, measured: 4; 4 allocations (4 alloc, 0 alloc_zeroed, 0 realloc), …
/// assert_allocations!(..=3, [(); 4].map(|()| Box::new(1)));
/// # }
/// ```
///
/// # Panics
///
/// If there are more or fewer, or the program's global allocator is not [`Counted`](crate::watch::Counted).
#[macro_export]
macro_rules! assert_allocations {
    ($expected:expr, $block:expr $(,)?) => {{
        // Before anything is measured: it may allocate itself.
        let expected = $expected;
        let measuring = $crate::watch::macros::Measuring::begin("assert_allocations!");
        let value = $block;
        measuring.assert_allocations(expected);
        value
    }};
}

/// Runs a block, asserts how many bytes it has live at its peak on this thread, over what was live before, and is the
/// block's value.
///
/// What is expected is a number or a range. What leaves the block by `return`, `break` or `?` is not asserted.
///
/// ```
/// use mem_alloc_rust::{assert_peak, watch::Counted};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let sum: u64 = assert_peak!(..=64 << 10, {
///         (0..100).map(|n| (0..n).collect::<Vec<u64>>()).map(|numbers| numbers.iter().sum::<u64>()).sum()
///     });
///     assert_eq!(sum, 161_700);
/// }
/// ```
///
/// ```should_panic
/// # use mem_alloc_rust::{assert_peak, watch::Counted};
/// # #[global_allocator]
/// # static A: Counted<std::alloc::System> = Counted::new(std::alloc::System);
/// # fn main() {
/// // expected bytes at the peak: ..=4096, measured: 5000; 1 allocation (1 alloc, …
/// assert_peak!(..=4096, drop(Vec::<u8>::with_capacity(5000)));
/// # }
/// ```
///
/// # Panics
///
/// If the peak is another, or the program's global allocator is not [`Counted`](crate::watch::Counted).
#[macro_export]
macro_rules! assert_peak {
    ($expected:expr, $block:expr $(,)?) => {{
        // Before anything is measured: it may allocate itself.
        let expected = $expected;
        let measuring = $crate::watch::macros::Measuring::begin("assert_peak!");
        let value = $block;
        measuring.assert_peak(expected);
        value
    }};
}
