//! A set of size classes.

use crate::size::SlotSize;

/// Size classes of slots, a bit for each; all zero bytes if there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotSizes(u64);

impl SlotSizes {
    pub(super) const NONE: Self = Self(0);

    #[inline(always)]
    const fn bit(slot: SlotSize) -> u64 {
        1 << slot.number()
    }

    #[inline(always)]
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub(super) const fn count(self) -> u32 {
        self.0.count_ones()
    }

    #[inline(always)]
    pub(super) const fn has(self, slot: SlotSize) -> bool {
        self.0 & Self::bit(slot) != 0
    }

    #[inline(always)]
    pub(super) fn add(&mut self, slot: SlotSize) {
        self.0 |= Self::bit(slot);
    }

    /// Adds a class and the next one.
    #[inline(always)]
    pub(super) fn add_with_next(&mut self, slot: SlotSize) {
        self.0 |= Self::bit(slot) * 3;
    }

    #[inline(always)]
    pub(super) fn remove(&mut self, slot: SlotSize) {
        self.0 &= !Self::bit(slot);
    }

    /// Takes the smallest one out.
    pub(super) fn pop(&mut self) -> Option<SlotSize> {
        let first = self.iter().next()?;
        self.remove(first);
        Some(first)
    }

    /// Those that are no smaller than one.
    pub(super) const fn from(self, slot: SlotSize) -> Self {
        Self(self.0 & (!0 << slot.number()))
    }

    /// Those that are smaller than one.
    pub(super) const fn below(self, slot: SlotSize) -> Self {
        Self(self.0 & !(!0 << slot.number()))
    }

    /// All of them, the smallest first.
    pub(super) fn iter(self) -> impl Iterator<Item = SlotSize> {
        core::iter::successors(Some(self.0), |bits| Some(bits & bits.wrapping_sub(1)))
            .take_while(|&bits| bits != 0)
            .map(|bits| SlotSize::numbered(bits.trailing_zeros()))
    }
}
