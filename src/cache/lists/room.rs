//! How much room a list has, and how often it was of use, in one word.

/// How many more blocks a current list may take, and above, how many were taken from it: both change at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room(u32);

impl Room {
    /// All zero bytes.
    pub(super) const NONE: Self = Self(0);
    const TAKEN_LOG2: u32 = 8;

    #[inline(always)]
    pub(super) fn blocks(self) -> u8 {
        self.0 as u8
    }

    pub(super) fn set(&mut self, blocks: u8) {
        self.0 = self.0 & !u32::from(u8::MAX) | u32::from(blocks);
    }

    pub(super) fn grow(&mut self, more: u8) {
        self.0 += u32::from(more);
    }

    pub(super) fn shrink(&mut self, less: u8) {
        self.0 -= u32::from(less);
    }

    /// A block was taken. The list had less room than [`MOST_BLOCKS`](super::MOST_BLOCKS), so that nothing is carried.
    #[inline(always)]
    pub(super) fn take(&mut self) {
        self.0 = self.0.wrapping_add((1 << Self::TAKEN_LOG2) + 1);
    }

    /// A block is put, if there is room.
    #[inline(always)]
    pub(super) fn put(&mut self) -> bool {
        let has_room = self.blocks() != 0;
        if has_room {
            self.0 -= 1;
        }
        has_room
    }

    /// How many blocks were taken; and begins anew.
    pub(super) fn count_anew(&mut self) -> u32 {
        let taken = self.0 >> Self::TAKEN_LOG2;
        self.0 &= u32::from(u8::MAX);
        taken
    }
}
