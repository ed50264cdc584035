//! What was counted, as a value.

use core::fmt;

/// What a [`Counted`](super::Counted) allocator counted: in the process, on a thread, or while something ran.
///
/// Calls that were refused are counted as `refusals` and nothing else. All numbers wrap around: where addresses have 32
/// bits, that is after 4,294,967,296 calls or bytes.
///
/// ```
/// use mem_alloc_rust::watch::{Counted, Counts, measure};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let (kept, counts): (Vec<u8>, Counts) = measure(|| {
///         let mut bytes = Vec::with_capacity(100);
///         bytes.resize(300, 1);
///         drop(vec![0u64; 50]);
///         bytes
///     });
///     assert_eq!((counts.alloc_calls, counts.alloc_zeroed_calls, counts.realloc_calls), (1, 1, 1));
///     assert_eq!((counts.allocations(), counts.dealloc_calls), (3, 1));
///     assert_eq!((counts.requested_bytes, counts.peak_bytes), (700, 700));
///     assert_eq!((counts.live_blocks, counts.live_bytes), (1, 300));
///     assert_eq!(
///         counts.to_string(),
///         "3 allocations (1 alloc, 1 alloc_zeroed, 1 realloc), 1 dealloc, 0 refused; \
///          700 bytes asked for, 700 live at the peak, 300 live now in 1 block",
///     );
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls of `alloc` that were served.
    pub alloc_calls: usize,
    /// Calls of `alloc_zeroed` that were served.
    pub alloc_zeroed_calls: usize,
    /// Calls of `realloc` that were served, whether the block moved or not, and whether it became larger or smaller.
    pub realloc_calls: usize,
    /// Calls of `dealloc`.
    pub dealloc_calls: usize,
    /// Calls that got null.
    pub refusals: usize,
    /// Bytes that were asked for and had; of a `realloc`, those that the block has more than before. What the allocator
    /// adds to them, headers and rounding, is not counted.
    pub requested_bytes: usize,
    /// Blocks that were allocated less those that were released. Negative, where more blocks of others were released.
    pub live_blocks: isize,
    /// Bytes of them. Negative as above.
    pub live_bytes: isize,
    /// The most that `live_bytes` was, but no less than zero.
    pub peak_bytes: usize,
}

impl Counts {
    /// Nothing was counted.
    #[cfg(all(feature = "std", unix))]
    pub(super) const NONE: Self = Self {
        alloc_calls: 0,
        alloc_zeroed_calls: 0,
        realloc_calls: 0,
        dealloc_calls: 0,
        refusals: 0,
        requested_bytes: 0,
        live_blocks: 0,
        live_bytes: 0,
        peak_bytes: 0,
    };

    /// All calls that were served with memory: those of `alloc`, `alloc_zeroed` and `realloc`.
    pub const fn allocations(&self) -> usize {
        self.alloc_calls.wrapping_add(self.alloc_zeroed_calls).wrapping_add(self.realloc_calls)
    }

    /// Combines all that adds up; the peak does not.
    fn combine(self, other: Self, with: fn(usize, usize) -> usize) -> Self {
        let with_sign = |one: isize, other: isize| with(one as usize, other as usize) as isize;
        Self {
            alloc_calls: with(self.alloc_calls, other.alloc_calls),
            alloc_zeroed_calls: with(self.alloc_zeroed_calls, other.alloc_zeroed_calls),
            realloc_calls: with(self.realloc_calls, other.realloc_calls),
            dealloc_calls: with(self.dealloc_calls, other.dealloc_calls),
            refusals: with(self.refusals, other.refusals),
            requested_bytes: with(self.requested_bytes, other.requested_bytes),
            live_blocks: with_sign(self.live_blocks, other.live_blocks),
            live_bytes: with_sign(self.live_bytes, other.live_bytes),
            peak_bytes: 0,
        }
    }

    /// Both together, with no peak.
    pub(super) fn and(self, other: Self) -> Self {
        self.combine(other, usize::wrapping_add)
    }

    /// What came after `start`, with a peak that was so high.
    pub(super) fn since(self, start: Self, peak: isize) -> Self {
        let peak_bytes = peak.wrapping_sub(start.live_bytes).max(0) as usize;
        Self { peak_bytes, ..self.combine(start, usize::wrapping_sub) }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let Self { alloc_calls, alloc_zeroed_calls, realloc_calls, dealloc_calls, refusals, .. } = *self;
        write!(
            f,
            "{} allocation{} ({alloc_calls} alloc, {alloc_zeroed_calls} alloc_zeroed, {realloc_calls} realloc), \
             {dealloc_calls} dealloc, {refusals} refused; {} bytes asked for, {} live at the peak, {} live now in {} block{}",
            self.allocations(),
            plural(self.allocations()),
            self.requested_bytes,
            self.peak_bytes,
            self.live_bytes,
            self.live_blocks,
            plural(self.live_blocks.unsigned_abs()),
        )
    }
}
