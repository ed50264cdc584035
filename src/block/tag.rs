//! The tag: what a block's header consists of.

use super::FREED;
use crate::size::{BlockSize, GRANULE};
use crate::sync::in_place::{AtomicU32, Ordering};
use core::fmt;

/// A header's 32 bits. They are looked at through its methods only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag(u32);

impl Tag {
    pub(super) const FREE: u32 = 1;
    const LEFT_FREE: u32 = 2;
    /// A block in use that is cut into slots, or a free one whose pages were given back.
    const RUN: u32 = 4;
    const FLAGS: u32 = 7;

    #[inline(always)]
    pub(crate) const fn used(size: BlockSize) -> Self {
        Self(size.granules() << 3)
    }

    /// The tag of a free block. Its left neighbour is not free, or the two would be one.
    #[inline(always)]
    pub(crate) const fn free(size: BlockSize) -> Self {
        Self(size.granules() << 3 | Self::FREE)
    }

    /// Reads the header at an address.
    ///
    /// # Safety
    ///
    /// - The word is in the arena, aligned to 4, and written by the heap alone if it is a header.
    #[inline(always)]
    pub(super) unsafe fn read(word: *mut u32) -> Self {
        // SAFETY: the caller's contract.
        Self(unsafe { AtomicU32::from_ptr(word) }.load(Ordering::Relaxed))
    }

    /// Writes it as the header at an address.
    ///
    /// # Safety
    ///
    /// - The word is in the arena, aligned to 4, and the heap's own.
    #[inline(always)]
    pub(super) unsafe fn write(self, word: *mut u32) {
        // SAFETY: the caller's contract.
        unsafe { AtomicU32::from_ptr(word) }.store(self.0, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) const fn is_free(self) -> bool {
        self.0 & Self::FREE != 0
    }

    #[inline(always)]
    pub(crate) const fn is_left_free(self) -> bool {
        self.0 & Self::LEFT_FREE != 0
    }

    /// The tag of the same free block, of which whole pages were given back to the system. It is forgotten when the
    /// block changes: then there may be more to give back.
    #[cfg(all(feature = "std", unix))]
    pub(crate) const fn given_back(self) -> Self {
        Self(self.0 | Self::RUN)
    }

    /// Whether a free block's pages were given back.
    #[cfg(all(feature = "std", unix))]
    pub(crate) const fn is_given_back(self) -> bool {
        self.0 & Self::RUN != 0
    }

    /// Whether this is the tag of a free block of that size whose left neighbour is in use.
    #[inline(always)]
    pub(crate) const fn is_of_free(self, size: BlockSize) -> bool {
        self.0 | Self::RUN == Self::free(size).0 | Self::RUN
    }

    /// Whether the block is cut into slots.
    #[inline(always)]
    pub(crate) const fn is_run(self) -> bool {
        self.0 & Self::RUN != 0
    }

    /// Whether the block is one that was handed out: neither free nor a run.
    #[inline(always)]
    pub(crate) const fn is_live(self) -> bool {
        self.0 & (Self::FREE | Self::RUN) == 0
    }

    /// The same block in use, to be cut into slots.
    #[inline(always)]
    pub(crate) const fn cut_into_slots(self) -> Self {
        Self(self.0 | Self::RUN)
    }

    /// The same block in use, and no run any more.
    #[inline(always)]
    pub(crate) const fn in_one_piece(self) -> Self {
        Self(self.0 & !Self::RUN)
    }

    /// Whether that stands in front of what [was a slot](super::mark_freed).
    pub(crate) const fn was_slot(self) -> bool {
        self.0 == u32::from_ne_bytes([FREED; 4])
    }

    /// The size in granules as it stands there, which need not be a [`BlockSize`].
    #[inline(always)]
    pub(crate) const fn granules(self) -> u32 {
        self.0 >> 3
    }

    /// The size of a block whose tag is known to be sound.
    #[inline(always)]
    pub(crate) const fn size(self) -> BlockSize {
        BlockSize::from_granules(self.granules())
    }

    /// The same block with another size.
    #[inline(always)]
    pub(crate) const fn resized(self, size: BlockSize) -> Self {
        Self(size.granules() << 3 | self.0 & Self::FLAGS)
    }

    #[inline(always)]
    pub(crate) const fn with_left_free(self, left_free: bool) -> Self {
        Self(self.0 & !Self::LEFT_FREE | (left_free as u32) << 1)
    }

    /// The same block marked free. It is what stays behind in memory when a block melts into a neighbour, so
    /// that a second free of it is still recognised.
    #[inline(always)]
    pub(crate) const fn freed(self) -> Self {
        Self(self.0 | Self::FREE)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match () {
            () if self.is_free() => "free",
            () if self.is_run() => "run of",
            () => "used",
        };
        let left = if self.is_left_free() { ", left neighbour free" } else { "" };
        write!(f, "{state} {} bytes{left}", self.granules() as usize * GRANULE)
    }
}
