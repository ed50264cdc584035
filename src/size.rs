//! Granules, block sizes and slot sizes: the arithmetic from a request in bytes to a block or a slot,
//! without any memory.
//!
//! Everything the heap manages is counted in *granules* of 8 bytes. A [`BlockSize`] is a number of
//! granules that can really be a block, so that a raw `40` can never be mistaken for one, a
//! [`SlotSize`] one that a slot of a run can have, and an [`Index`] is a position in the arena.

#![forbid(unsafe_code)]

use core::ops::{Add, Sub};

/// Bytes in a granule: the alignment of every payload, and the unit of every size and every link.
pub(crate) const GRANULE: usize = 8;

/// Bytes of the header in front of each payload.
pub(crate) const HEADER: usize = 4;

/// Bytes of the smallest block: header, two links and footer.
pub(crate) const MIN_BLOCK: usize = 16;

/// The largest region one heap manages, in bytes: 4 GiB less a page, because a block's size in bytes has to fit
/// the 32-bit header. Where addresses have 32 bits it is 2 GiB less a page: no pointer may be moved by more.
pub(crate) const MAX_REGION: usize =
    if usize::BITS > u32::BITS { u32::MAX as usize - 4095 } else { isize::MAX as usize - 4095 };

/// A block's size: at least [`MIN_BLOCK`] bytes, a whole number of granules, header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockSize(u32);

impl BlockSize {
    /// The smallest block.
    pub(crate) const MIN: Self = Self((MIN_BLOCK / GRANULE) as u32);

    /// The smallest block whose payload holds `bytes`, or `None` if no arena could ever hold it.
    ///
    /// Zero bytes are served like one: every allocation has an address of its own.
    #[inline(always)]
    pub(crate) const fn for_payload(bytes: usize) -> Option<Self> {
        if bytes > MAX_REGION - HEADER {
            return None;
        }
        let granules = (bytes + HEADER).div_ceil(GRANULE) as u32;
        Some(if granules < Self::MIN.0 { Self::MIN } else { Self(granules) })
    }

    /// A size of that many granules, which the caller knows to be at least [`BlockSize::MIN`].
    #[inline(always)]
    pub(crate) const fn from_granules(granules: u32) -> Self {
        invariant!(granules >= Self::MIN.0);
        Self(granules)
    }

    /// The size that a block is to have at a multiple of `align`, where there is room, so that it ends where the next
    /// one may begin, and equal ones leave no gaps between them. It is longer by a granule at most, which is too short
    /// for a free block: there would be a whole `align` more in front of the next one. Where it is longer than slots,
    /// it may be longer by a sixteenth, but by no more than is lost at [`SlotSize::LARGEST_ALIGN`]: what is left at
    /// larger ones serves others.
    pub(crate) const fn at(self, align: usize) -> Self {
        const MOST_LONGER_LOG2: u32 = 4;
        const MOST_LONGER: usize = SlotSize::LARGEST_ALIGN / GRANULE - 1;
        let (granules, between) = (self.0 as usize, align / GRANULE);
        if between < 2 {
            return self;
        }
        let up_to_next = (granules + between - 1) & !(between - 1);
        let sixteenth = granules >> MOST_LONGER_LOG2;
        let most_longer = if granules <= SlotSize::MOST_GRANULES + 1 {
            1
        } else if sixteenth < MOST_LONGER {
            sixteenth
        } else {
            MOST_LONGER
        };
        if up_to_next - granules <= most_longer && up_to_next <= MAX_REGION / GRANULE {
            Self(up_to_next as u32)
        } else {
            self
        }
    }

    /// The size in granules, header included.
    #[inline(always)]
    pub(crate) const fn granules(self) -> u32 {
        self.0
    }

    /// The size in bytes, header included.
    #[inline(always)]
    pub(crate) const fn bytes(self) -> usize {
        self.0 as usize * GRANULE
    }

    /// The bytes a caller may use: all but the header.
    #[inline(always)]
    pub(crate) const fn payload(self) -> usize {
        self.bytes() - HEADER
    }

    /// What is left of a block of this size when `part` is taken from its front.
    #[inline(always)]
    pub(crate) const fn remainder(self, part: Self) -> Remainder {
        invariant!(part.0 <= self.0);
        let rest = self.0.wrapping_sub(part.0);
        if rest >= Self::MIN.0 { Remainder::Block(Self(rest)) } else { Remainder::Slack }
    }
}

impl Add for BlockSize {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

/// The size of a slot, which has no header. Each is a size class of its own: every granule up to 256 bytes,
/// every 32 bytes up to 512, every 64 up to 768.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlotSize(u8);

impl SlotSize {
    /// How many sizes there are.
    pub(crate) const COUNT: usize = 44;

    /// The length of tables by [`number`](Self::number): a power of two, so that an index is proved in range
    /// by a mask instead of a check.
    pub(crate) const TABLE: usize = 64;

    /// Up to so many granules, each number of them is a size: 256 bytes.
    const EACH_GRANULE: u8 = 32;

    /// The largest slot in granules: 768 bytes.
    pub(crate) const MOST_GRANULES: usize = 96;

    /// The largest alignment that slots have, in bytes.
    pub(crate) const LARGEST_ALIGN: usize = 128;

    const GRANULES: [u8; Self::TABLE] = {
        let mut granules = [0; Self::TABLE];
        let mut number = 0;
        let mut last = 0;
        while number < Self::COUNT {
            last += if last < Self::EACH_GRANULE {
                1
            } else if last < 64 {
                4
            } else {
                8
            };
            granules[number] = last;
            number += 1;
        }
        assert!(last as usize == Self::MOST_GRANULES);
        granules
    };

    /// The smallest size of at least so many granules, [`MOST_GRANULES`](Self::MOST_GRANULES) at most.
    #[inline(always)]
    pub(crate) const fn of_granules(granules: usize) -> Self {
        const LENGTH: usize = (SlotSize::MOST_GRANULES + 1).next_power_of_two();
        static NUMBERS: [u8; LENGTH] = {
            let mut numbers = [0; LENGTH];
            let mut granules = 1;
            let mut number = 0;
            while granules <= SlotSize::MOST_GRANULES {
                if granules > SlotSize::GRANULES[number] as usize {
                    number += 1;
                }
                numbers[granules] = number as u8;
                granules += 1;
            }
            numbers
        };
        invariant!(granules <= Self::MOST_GRANULES);
        Self(NUMBERS[granules & (LENGTH - 1)])
    }

    /// The size of that number, below [`COUNT`](Self::COUNT).
    #[inline(always)]
    pub(crate) const fn numbered(number: u32) -> Self {
        invariant!((number as usize) < Self::COUNT);
        Self(number as u8)
    }

    /// The smallest slot that holds `bytes` at a multiple of `align`, if there is one.
    ///
    /// A slot has the alignment of the largest power of two that divides its size, so that is a
    /// matter of rounding the size up.
    #[inline(always)]
    pub(crate) const fn serving(bytes: usize, align: usize) -> Option<Self> {
        if bytes > Self::MOST_GRANULES * GRANULE {
            return None;
        }
        if align <= GRANULE {
            return Some(Self::of_granules(bytes.div_ceil(GRANULE)));
        }
        if align > Self::LARGEST_ALIGN {
            return None;
        }
        let bytes = if bytes == 0 { 1 } else { bytes };
        Some(Self::of_granules(((bytes + align - 1) & !(align - 1)) / GRANULE))
    }

    /// The size in granules.
    #[inline(always)]
    pub(crate) const fn granules(self) -> u32 {
        Self::GRANULES[self.number()] as u32
    }

    /// Whether it is one of the long ones, which are further apart.
    #[inline(always)]
    pub(crate) const fn is_long(self) -> bool {
        self.granules() > Self::EACH_GRANULE as u32
    }

    /// The size in bytes, all of which are the caller's.
    #[inline(always)]
    pub(crate) const fn bytes(self) -> usize {
        self.granules() as usize * GRANULE
    }

    /// What the address of each slot is a multiple of.
    pub(crate) const fn align(self) -> usize {
        let bytes = self.bytes();
        let lowest_bit = bytes & bytes.wrapping_neg();
        if lowest_bit < Self::LARGEST_ALIGN { lowest_bit } else { Self::LARGEST_ALIGN }
    }

    /// The number of the size class.
    #[inline(always)]
    pub(crate) const fn number(self) -> usize {
        self.0 as usize & (Self::TABLE - 1)
    }

    /// The same as a byte, which is not known to be small enough for a table.
    #[cfg(all(feature = "std", unix))]
    #[inline(always)]
    pub(crate) const fn byte(self) -> u8 {
        self.0
    }

    /// All sizes, the smallest first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }
}

/// What splitting a block leaves over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remainder {
    /// Nothing, or one granule, which is too small for a block and stays with the taken part.
    Slack,
    /// A block of its own.
    Block(BlockSize),
}

/// A payload's position: granules from the arena's origin. Zero is no position, so zeroed memory holds no
/// links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Index(u32);

impl Index {
    /// The link that leads nowhere.
    pub(crate) const NONE: Self = Self(0);

    /// The first payload of every arena.
    pub(crate) const FIRST: Self = Self(1);

    /// The position `granules` from the origin.
    #[inline(always)]
    pub(crate) const fn new(granules: u32) -> Self {
        Self(granules)
    }

    /// The position as granules from the origin.
    #[inline(always)]
    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    /// Whether this is [`Index::NONE`].
    #[inline(always)]
    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The distance in bytes from the arena's origin.
    #[inline(always)]
    pub(crate) const fn byte_offset(self) -> usize {
        self.0 as usize * GRANULE
    }

    /// The granules from `other` up to this position.
    #[inline(always)]
    pub(crate) const fn granules_since(self, other: Self) -> u32 {
        invariant!(other.0 <= self.0);
        self.0.wrapping_sub(other.0)
    }
}

impl Add<BlockSize> for Index {
    type Output = Self;

    /// The position right behind a block of that size which starts here.
    #[inline(always)]
    fn add(self, size: BlockSize) -> Self {
        Self(self.0.wrapping_add(size.0))
    }
}

impl Sub<BlockSize> for Index {
    type Output = Self;

    /// The position of a block of that size which ends here.
    #[inline(always)]
    fn sub(self, size: BlockSize) -> Self {
        invariant!(size.0 < self.0);
        Self(self.0.wrapping_sub(size.0))
    }
}

/// The granules to skip so that a payload at byte address `address` becomes a multiple of `align`.
///
/// What is skipped becomes a free block of its own, so the gap is zero or at least [`BlockSize::MIN`].
/// `address` is a multiple of [`GRANULE`], `align` a power of two.
#[inline]
pub(crate) fn alignment_gap(address: usize, align: usize) -> usize {
    invariant!(address % GRANULE == 0 && align.is_power_of_two());
    let misalignment = address.wrapping_neg() & (align - 1);
    let gap = if misalignment == GRANULE { misalignment + align } else { misalignment };
    gap / GRANULE
}

/// The granules that [`alignment_gap`] asks for at most.
#[inline]
pub(crate) const fn worst_alignment_gap(align: usize) -> usize {
    align / GRANULE + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_may_fill_the_block_up_to_the_next_header() {
        let cases = [(0, 16), (1, 16), (12, 16), (13, 24), (20, 24), (21, 32), (28, 32), (60, 64), (61, 72)];
        for (payload, block) in cases {
            assert_eq!(BlockSize::for_payload(payload).unwrap().bytes(), block, "{payload} bytes");
        }
    }

    #[test]
    fn requests_beyond_any_region_have_no_block() {
        assert!(BlockSize::for_payload(usize::MAX).is_none());
        assert!(BlockSize::for_payload(MAX_REGION - HEADER + 1).is_none());
        assert!(BlockSize::for_payload(MAX_REGION).is_none());
        let largest = BlockSize::for_payload(MAX_REGION - HEADER).unwrap();
        assert_eq!(largest.bytes(), MAX_REGION - MAX_REGION % GRANULE);
    }

    #[test]
    fn a_single_granule_is_no_block() {
        let size = BlockSize::from_granules;
        assert_eq!(size(4).remainder(size(4)), Remainder::Slack);
        assert_eq!(size(5).remainder(size(4)), Remainder::Slack);
        assert_eq!(size(6).remainder(size(4)), Remainder::Block(BlockSize::MIN));
    }

    #[test]
    fn a_slot_holds_what_it_serves_at_its_alignment() {
        for align in [1, 2, 4, 8, 16, 32, 64, 128] {
            for bytes in 0..=SlotSize::MOST_GRANULES * GRANULE {
                let slot = SlotSize::serving(bytes, align).unwrap();
                assert!(slot.bytes() >= bytes.max(1) && slot.align() >= align);
                let rounding = [8, 32, 64][usize::from(bytes > 256) + usize::from(bytes > 512)];
                assert!(slot.bytes() - bytes < align.max(rounding) + usize::from(bytes == 0));
            }
        }
        assert_eq!(SlotSize::serving(769, 1), None);
        assert_eq!(SlotSize::serving(8, 256), None);
        assert_eq!(SlotSize::serving(usize::MAX, 1), None);
        assert_eq!(SlotSize::all().map(SlotSize::number).max(), Some(SlotSize::COUNT - 1));
        for slot in SlotSize::all() {
            assert_eq!(SlotSize::of_granules(slot.granules() as usize), slot);
        }
    }

    #[test]
    fn a_gap_is_nothing_or_a_block() {
        for align in [16usize, 32, 64, 4096] {
            for granule in 0..1024 {
                let address = granule * GRANULE;
                let gap = alignment_gap(address, align);
                assert_eq!((address + gap * GRANULE) % align, 0);
                assert!(gap == 0 || gap >= BlockSize::MIN.granules() as usize);
                assert!(gap <= worst_alignment_gap(align));
            }
        }
        let largest = 1 << (usize::BITS - 1);
        assert_eq!(alignment_gap(usize::MAX - 7, largest), largest / GRANULE + 1);
    }
}
