//! Size classes: which list of a cache serves a request, and which one takes a block or a slot.
//!
//! Up to 768 bytes a class is the size of a slot. Blocks of that little are of the class whose slots they
//! could be. Above, classes are those of blocks, by the granules of their payload, so that a request for a power of
//! two, or for a sixteenth of one more, loses nothing: each power of two is divided into 16. Those of small blocks end
//! below 1 KiB; what is larger is medium.

use crate::block::Tag;
use crate::size::{BlockSize, GRANULE, SlotSize};

/// Each power of two is divided into this many classes.
const DIVISIONS_LOG2: u32 = 4;

/// Blocks with a payload of so many granules are not cached: a little more than 32 KiB, so that a request for that
/// fits.
const TOO_LARGE: u32 = 4096 + 256;

/// Blocks with a payload of fewer granules are small.
const MEDIUM: u32 = 128;

/// One class for each size of slots, and each division of the payloads of larger blocks below [`TOO_LARGE`].
pub(super) const CLASSES: usize = of_division(TOO_LARGE) as usize;

/// The classes of small blocks and of slots.
pub(super) const SMALL_CLASSES: usize = of_division(MEDIUM) as usize;

/// The classes of medium blocks.
pub(super) const MEDIUM_CLASSES: usize = CLASSES - SMALL_CLASSES;

/// The largest request that the caches serve, in bytes: all that the smallest block of the last class holds.
pub(super) const LARGEST_PAYLOAD: usize = Class(CLASSES as u8 - 1).payload();

/// The largest request that the caches serve with a small block, in bytes.
pub(super) const LARGEST_SMALL_PAYLOAD: usize = Class(SMALL_CLASSES as u8 - 1).payload();

/// The number of the first class: link and key of a cached block take 12 bytes.
const SMALLEST: u8 = 1;

/// The number of the first class that is a division of the payloads of blocks.
const FIRST_DIVISION: u32 = SlotSize::COUNT as u32;

/// The smallest payload of that class: more than the largest slot, and a multiple of what the division is wide.
const FIRST_DIVIDED: u32 = SlotSize::MOST_GRANULES as u32 + 4;

/// The whole granules of a block's payload.
const fn payload_granules(size: BlockSize) -> u32 {
    (size.payload() / GRANULE) as u32
}

/// The block with a payload of so many whole granules.
const fn with_payload_granules(granules: u32) -> BlockSize {
    BlockSize::from_granules(granules + 1)
}

/// The division that so many granules are in.
const fn division(granules: u32) -> u32 {
    let width_log2 = granules.ilog2() - DIVISIONS_LOG2;
    (width_log2 << DIVISIONS_LOG2) + (granules >> width_log2)
}

/// The class of blocks with a payload of so many granules, [`FIRST_DIVIDED`] or more.
const fn of_division(granules: u32) -> u32 {
    division(granules) - division(FIRST_DIVIDED) + FIRST_DIVISION
}

/// A size class, whose blocks and slots in caches all have the class's [payload](Self::payload) or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class(u8);

impl Class {
    /// That of what is no block in use, and of the smallest slots, which are too small. No list of it ever has
    /// room.
    pub(super) const NONE: Self = Self(0);

    /// The class that serves requests of so many bytes, at most [`LARGEST_SMALL_PAYLOAD`].
    #[inline(always)]
    pub(super) fn serving_small(bytes: usize) -> SmallClass {
        static SERVING: [u8; LARGEST_SMALL_PAYLOAD + 1] = {
            let mut classes = [0; LARGEST_SMALL_PAYLOAD + 1];
            let mut bytes = 0;
            while bytes <= LARGEST_SMALL_PAYLOAD {
                classes[bytes] = Class::holding(bytes).0;
                bytes += 1;
            }
            classes
        };
        SmallClass(Self(SERVING[bytes]))
    }

    /// The class that serves requests of so many bytes at a multiple of `align`; `None` for more than
    /// [`LARGEST_PAYLOAD`], and where neither slots are aligned like that nor a block [may be](Self::is_worth_keeping).
    ///
    /// The slots of the class are aligned like that. Its blocks need not be.
    #[inline(always)]
    pub(super) fn serving(bytes: usize, align: usize) -> Option<Self> {
        if align > GRANULE && bytes <= SlotSize::MOST_GRANULES * GRANULE {
            return SlotSize::serving(bytes, align).map(Self::of_slot).filter(|&class| class != Self::NONE);
        }
        (bytes <= LARGEST_PAYLOAD && Self::is_worth_keeping(bytes, align)).then(|| Self::holding(bytes))
    }

    /// Whether a class [serves](Self::serving) requests of so many bytes at a multiple of `align`.
    #[inline(always)]
    pub(super) fn is_there_for(bytes: usize, align: usize) -> bool {
        const { assert!(SlotSize::MOST_GRANULES * GRANULE % SlotSize::LARGEST_ALIGN == 0) };
        if align > GRANULE && bytes <= SlotSize::MOST_GRANULES * GRANULE {
            return align <= SlotSize::LARGEST_ALIGN;
        }
        bytes <= LARGEST_PAYLOAD && Self::is_worth_keeping(bytes, align)
    }

    /// Whether a block of so many bytes that lies at a multiple of `align` may be on a list, from which it is taken for
    /// requests of any alignment: if it is large enough that a program loses little where these take the few places
    /// that are aligned like that, and it has to have others.
    #[inline(always)]
    fn is_worth_keeping(bytes: usize, align: usize) -> bool {
        align <= GRANULE || align <= bytes
    }

    const fn holding(bytes: usize) -> Self {
        if let Some(slot) = SlotSize::serving(bytes, 1) {
            let class = slot.byte();
            return Self(if class < SMALLEST { SMALLEST } else { class });
        }
        let Some(size) = BlockSize::for_payload(bytes) else { return Self::NONE };
        // The first division whose blocks are all large enough.
        let granules = payload_granules(size);
        let granules = if granules < FIRST_DIVIDED { FIRST_DIVIDED } else { granules };
        let width_log2 = granules.ilog2() - DIVISIONS_LOG2;
        Self(of_division(granules + (1 << width_log2) - 1) as u8)
    }

    /// The class of a slot of that size.
    #[inline(always)]
    pub(super) const fn of_slot(slot: SlotSize) -> Self {
        Self(slot.byte())
    }

    /// The class of a block in use with a payload of so many granules, less than [`TOO_LARGE`].
    #[inline(always)]
    fn of_payload(granules: u32) -> Self {
        /// What is found with one load, since a release waits for it.
        static OF_SMALLER: [u8; FIRST_DIVIDED as usize] = {
            let mut classes = [0; FIRST_DIVIDED as usize];
            let mut granules = payload_granules(BlockSize::MIN);
            while granules < FIRST_DIVIDED {
                classes[granules as usize] = Class::of_smaller(granules as usize).0;
                granules += 1;
            }
            classes
        };
        match OF_SMALLER.get(granules as usize) {
            Some(&class) => Self(class),
            None => Self(of_division(granules) as u8),
        }
    }

    /// The class of a block in use with a payload of so many granules, less than [`FIRST_DIVIDED`].
    const fn of_smaller(granules: usize) -> Self {
        // The largest slot that the block could be.
        let granules = if granules > SlotSize::MOST_GRANULES { SlotSize::MOST_GRANULES } else { granules };
        let above = SlotSize::of_granules(granules);
        let is_exact = above.granules() as usize == granules;
        // The smallest block holds more than the smallest slot.
        Self(above.byte() - !is_exact as u8)
    }

    /// The class of a block with this header, if that may be one of a block in use that is not
    /// [too large](TOO_LARGE).
    #[inline(always)]
    pub(super) fn of(tag: Tag) -> Option<Self> {
        let sizes = BlockSize::MIN.granules()..with_payload_granules(TOO_LARGE).granules();
        let is_cacheable = tag.is_live() && sizes.contains(&tag.granules());
        is_cacheable.then(|| Self::of_payload(payload_granules(tag.size())))
    }

    /// The size of its slots, if it has any.
    pub(super) fn slot_size(self) -> Option<SlotSize> {
        let has_slots = self != Self::NONE && u32::from(self.0) < FIRST_DIVISION;
        has_slots.then(|| SlotSize::numbered(self.0.into()))
    }

    /// Whether its blocks are small.
    pub(super) fn is_small(self) -> bool {
        usize::from(self.0) < SMALL_CLASSES
    }

    /// The same as one that is known to be small, if it is.
    #[inline(always)]
    pub(super) fn small(self) -> Option<SmallClass> {
        self.is_small().then_some(SmallClass(self))
    }

    /// The bytes that each block or slot of the class holds: the largest request that it serves, and what to
    /// ask the heap for.
    pub(super) const fn payload(self) -> usize {
        if self.0 == Self::NONE.0 {
            return 0;
        }
        if (self.0 as u32) < FIRST_DIVISION {
            return SlotSize::numbered(self.0 as u32).bytes();
        }
        let division = self.0 as u32 - FIRST_DIVISION + division(FIRST_DIVIDED);
        let width_log2 = (division >> DIVISIONS_LOG2) - 1;
        let smallest = (division - (width_log2 << DIVISIONS_LOG2)) << width_log2;
        with_payload_granules(smallest).payload()
    }

    /// As [`payload`](Self::payload), with one load.
    #[inline(always)]
    pub(super) fn bytes(self) -> usize {
        static BYTES: ByClass<u16> = {
            let mut bytes = [0; CLASSES];
            let mut class = 0;
            while class < CLASSES {
                bytes[class] = Class(class as u8).payload() as u16;
                class += 1;
            }
            ByClass(bytes)
        };
        const { assert!(LARGEST_PAYLOAD <= u16::MAX as usize) };
        BYTES.get(self).into()
    }

    /// This class and, if its blocks are medium, the next few: those hold what this one does, too, and are hardly
    /// larger.
    #[inline(always)]
    pub(super) fn and_larger(self) -> impl Iterator<Item = Self> {
        const LARGER: u8 = 3;
        let last = if self.is_small() { self.0 } else { (self.0 + LARGER).min(CLASSES as u8 - 1) };
        (self.0..=last).map(Self)
    }

    /// The classes of the lists that a block of this class can be on: the heap may hand out one that is a
    /// granule larger than what a class asks for, which may be the next class.
    pub(super) fn listed_as(self) -> impl Iterator<Item = Self> {
        (self.0.saturating_sub(1).max(SMALLEST)..=self.0).map(Self)
    }

    /// Every class that has slots, but [`Class::NONE`].
    pub(super) fn all_with_slots() -> impl Iterator<Item = Self> + Clone {
        (SMALLEST..FIRST_DIVISION as u8).map(Self)
    }

    /// Every class of slots and small blocks but [`Class::NONE`].
    pub(super) fn all_small() -> impl Iterator<Item = Self> + Clone {
        (SMALLEST..SMALL_CLASSES as u8).map(Self)
    }

    /// Every class of medium blocks.
    pub(super) fn all_medium() -> impl Iterator<Item = Self> + Clone {
        (SMALL_CLASSES as u8..CLASSES as u8).map(Self)
    }

    /// Every class of medium blocks, those behind another one first, over and over.
    pub(super) fn all_medium_behind(last: Self) -> impl Iterator<Item = Self> {
        Self::all_medium().filter(move |&class| class > last).chain(Self::all_medium().cycle())
    }

    /// Every class but [`Class::NONE`].
    pub(super) fn all() -> impl Iterator<Item = Self> + Clone {
        (SMALLEST..CLASSES as u8).map(Self)
    }
}

/// A class of slots or small blocks: its number is less than [`SMALL_CLASSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SmallClass(Class);

impl SmallClass {
    #[inline(always)]
    pub(super) fn class(self) -> Class {
        self.0
    }

    /// What a table has for the class.
    #[inline(always)]
    pub(super) fn of<T>(self, table: &[T; SMALL_CLASSES]) -> &T {
        invariant!(self.0.is_small());
        // SAFETY: its number is small enough (see the type).
        unsafe { table.get_unchecked(usize::from(self.0.0)) }
    }
}

/// Something for each class, [`Class::NONE`] included.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByClass<T>([T; CLASSES]);

impl<T: Copy> ByClass<T> {
    pub(super) const fn new(value: T) -> Self {
        Self([value; CLASSES])
    }

    #[inline(always)]
    pub(super) fn get(&self, class: Class) -> T {
        *self.at(class)
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, class: Class) -> &mut T {
        invariant!((class.0 as usize) < CLASSES);
        // SAFETY: as above.
        unsafe { self.0.get_unchecked_mut(class.0 as usize) }
    }
}

impl<T> ByClass<T> {
    /// By the numbers of the classes.
    pub(super) const fn from_array(all: [T; CLASSES]) -> Self {
        Self(all)
    }

    #[inline(always)]
    pub(super) fn at(&self, class: Class) -> &T {
        invariant!((class.0 as usize) < CLASSES);
        // SAFETY: the numbers of all classes are less than `CLASSES`.
        unsafe { self.0.get_unchecked(class.0 as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_large() -> BlockSize {
        with_payload_granules(TOO_LARGE)
    }

    #[test]
    fn powers_of_two_lose_nothing() {
        for bytes in (10..=15).flat_map(|log2| (0..16).map(move |part| (16 + part) << (log2 - 4))) {
            let Some(class) = Class::serving(bytes, 1) else { break };
            // What is there for such a request is of the class that serves it, whoever has made it.
            let block = BlockSize::for_payload(bytes).unwrap();
            assert_eq!(class.payload(), block.payload(), "{bytes}");
            assert_eq!(Class::of(Tag::used(block)), Some(class));
        }
        assert!((32 << 10..33 << 10).contains(&LARGEST_PAYLOAD));
    }

    #[test]
    fn a_class_holds_what_it_serves() {
        for bytes in 0..=LARGEST_PAYLOAD {
            let class = Class::serving(bytes, 1).unwrap();
            assert!(class.payload() >= bytes, "{bytes} bytes in {class:?}");
            let block = BlockSize::for_payload(class.payload()).unwrap();
            assert_eq!(Class::of(Tag::used(block)), Some(class), "{bytes}");
            assert!(class.payload() - bytes <= (bytes / 8 + 16), "{bytes} bytes in {class:?}");
            assert_eq!(class.is_small(), bytes <= LARGEST_SMALL_PAYLOAD);
            assert!(!class.is_small() || class == Class::serving_small(bytes).class());
        }
        assert_eq!(Class::serving(LARGEST_PAYLOAD + 1, 1), None);
    }

    #[test]
    fn there_is_a_class_where_one_serves() {
        for bytes in (0..1000).chain((1000..LARGEST_PAYLOAD + 100).step_by(7)) {
            for align in (0..17).map(|log2| 1 << log2) {
                let is_served = Class::serving(bytes, align).is_some();
                assert_eq!(Class::is_there_for(bytes, align), is_served, "{bytes} at {align}");
            }
        }
    }

    #[test]
    fn a_block_holds_what_its_class_promises_and_so_does_a_slot() {
        for granules in BlockSize::MIN.granules()..too_large().granules() {
            let size = BlockSize::from_granules(granules);
            let class = Class::of(Tag::used(size)).unwrap();
            assert!(class.payload() <= size.payload(), "{size:?}");
            let next = BlockSize::from_granules(granules + 1);
            if next < too_large() {
                assert!(
                    Class::of(Tag::used(next)).unwrap().listed_as().any(|listed| listed == class)
                        || class == Class::NONE
                );
            }
        }
        for slot in SlotSize::all() {
            let class = Class::of_slot(slot);
            assert!(
                class == Class::NONE
                    || class.payload() == slot.bytes()
                        && Class::serving(slot.bytes(), slot.align()) == Some(class)
            );
        }
    }

    #[test]
    fn only_blocks_in_use_have_a_class() {
        for granules in BlockSize::MIN.granules()..2 * too_large().granules() {
            let size = BlockSize::from_granules(granules);
            let used = Tag::used(size);
            let class = (size < too_large()).then(|| Class::of_payload(payload_granules(size)));
            for used in [used, used.with_left_free(true)] {
                assert_eq!(Class::of(used), class);
            }
            for not_in_use in [Tag::free(size), used.cut_into_slots(), used.with_left_free(true).freed()] {
                assert_eq!(Class::of(not_in_use), None);
            }
        }
        assert!(!Class::all().any(|class| class == Class::NONE));
    }
}
