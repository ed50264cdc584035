//! Size classes: which list of a cache serves a request, and which one takes a block.
//!
//! Those of small blocks, below 1 KiB, are looked up in tables; those of medium ones are computed.

use crate::bins::Bin;
use crate::block::Tag;
use crate::size::BlockSize;

/// Blocks from this size on are not cached: 8 KiB.
pub(super) const TOO_LARGE: BlockSize = BlockSize::from_granules(1024);

/// Blocks below this size are small: their classes are looked up. The others' are computed.
const MEDIUM: BlockSize = Bin::LOOKED_UP;

/// One class for each bin of blocks below [`TOO_LARGE`].
pub(super) const CLASSES: usize = Bin::of(TOO_LARGE).number();

/// The classes of small blocks.
pub(super) const SMALL_CLASSES: usize = Bin::of(MEDIUM).number();

/// The largest request that the caches serve, in bytes: all that the smallest block of the last class holds.
pub(super) const LARGEST_PAYLOAD: usize = Bin::numbered(CLASSES as u32 - 1).smallest().payload();

/// The largest request that the caches serve with a small block, in bytes.
pub(super) const LARGEST_SMALL_PAYLOAD: usize = Bin::numbered(SMALL_CLASSES as u32 - 1).smallest().payload();

/// The number of the first class: that of the smallest blocks.
const SMALLEST: u8 = Bin::of(BlockSize::MIN).number() as u8;

/// A size class: a bin, whose blocks in caches all have the smallest size of that bin or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class(u8);

impl Class {
    /// That of what is no block in use. No list of it ever has room.
    pub(super) const NONE: Self = Self(0);

    /// The class that serves requests of so many bytes, at most [`LARGEST_SMALL_PAYLOAD`].
    #[inline(always)]
    pub(super) fn serving_small(bytes: usize) -> Self {
        static SERVING: [u8; LARGEST_SMALL_PAYLOAD + 1] = {
            let mut classes = [0; LARGEST_SMALL_PAYLOAD + 1];
            let mut bytes = 0;
            while bytes <= LARGEST_SMALL_PAYLOAD {
                let Some(size) = BlockSize::for_payload(bytes) else { panic!() };
                classes[bytes] = Bin::fitting(size).number() as u8;
                bytes += 1;
            }
            classes
        };
        Self(SERVING[bytes])
    }

    /// The class that serves requests of so many bytes; `None` for more than [`LARGEST_PAYLOAD`].
    pub(super) fn serving(bytes: usize) -> Option<Self> {
        let size = BlockSize::for_payload(bytes).filter(|_| bytes <= LARGEST_PAYLOAD)?;
        Some(Self(Bin::fitting(size).number() as u8))
    }

    /// The class of a block with this header, if that may be one of a small block. It is [`Class::NONE`] if the block is not in
    /// use.
    #[inline(always)]
    pub(super) fn of_small(tag: Tag) -> Option<Self> {
        const TAGS: usize = Tag::used(MEDIUM).bits() as usize;
        static CLASS_OF: [u8; TAGS] = {
            let mut classes = [Class::NONE.0; TAGS];
            let mut granules = BlockSize::MIN.granules();
            while granules < MEDIUM.granules() {
                let size = BlockSize::from_granules(granules);
                let class = Bin::of(size).number() as u8;
                classes[Tag::used(size).bits() as usize] = class;
                classes[Tag::used(size).with_left_free(true).bits() as usize] = class;
                granules += 1;
            }
            classes
        };
        CLASS_OF.get(tag.bits() as usize).map(|&class| Self(class))
    }

    /// The class of a block with this header, if that may be one of a block in use that is smaller than [`TOO_LARGE`].
    pub(super) fn of(tag: Tag) -> Option<Self> {
        let is_cacheable =
            tag.is_live() && (BlockSize::MIN.granules()..TOO_LARGE.granules()).contains(&tag.granules());
        is_cacheable.then(|| Self(Bin::of(tag.size()).number() as u8))
    }

    /// Whether its blocks are small.
    pub(super) fn is_small(self) -> bool {
        usize::from(self.0) < SMALL_CLASSES
    }

    /// Bytes to request from the heap for a block of this class: all that its smallest block can hold, so that whatever request the
    /// class serves fits.
    pub(super) fn payload(self) -> usize {
        self.smallest().payload()
    }

    /// The size of the class's smallest blocks.
    pub(super) fn smallest(self) -> BlockSize {
        Bin::numbered(u32::from(self.0)).smallest()
    }

    /// Whether any block of this class has room for so many bytes, and not for so many more that a smaller class would do.
    pub(super) fn suits(self, bytes: usize) -> bool {
        Self::serving(bytes) == Some(self)
    }

    /// The classes of the lists that a block with a header of this class can be on: the heap may hand out one that is an eighth larger than
    /// what a class asks for, which is two classes.
    pub(super) fn listed_as(self) -> impl Iterator<Item = Self> {
        (self.0.saturating_sub(2).max(SMALLEST)..=self.0).map(Self)
    }

    /// Every class but [`Class::NONE`].
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (SMALLEST..CLASSES as u8).map(Self)
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
        invariant!((class.0 as usize) < CLASSES);
        // SAFETY: the numbers of all classes are less than `CLASSES`.
        unsafe { *self.0.get_unchecked(class.0 as usize) }
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, class: Class) -> &mut T {
        invariant!((class.0 as usize) < CLASSES);
        // SAFETY: as above.
        unsafe { self.0.get_unchecked_mut(class.0 as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_what_it_serves() {
        for bytes in 0..=LARGEST_PAYLOAD {
            let class = Class::serving(bytes).unwrap();
            assert!(class.payload() >= bytes, "{bytes} bytes in {class:?}");
            let block = BlockSize::for_payload(class.payload()).unwrap();
            assert_eq!(Class::of(Tag::used(block)), Some(class), "{bytes}");
            assert!(class.payload() - bytes <= (bytes / 16 + 12), "{bytes} bytes in {class:?}");
            assert_eq!(class.is_small(), bytes <= LARGEST_SMALL_PAYLOAD);
            assert!(!class.is_small() || class == Class::serving_small(bytes));
        }
        assert_eq!(Class::serving(LARGEST_PAYLOAD + 1), None);
    }

    #[test]
    fn only_blocks_in_use_have_a_class() {
        for granules in BlockSize::MIN.granules()..2 * TOO_LARGE.granules() {
            let size = BlockSize::from_granules(granules);
            let used = Tag::used(size);
            let class = (size < TOO_LARGE).then(|| Class(Bin::of(size).number() as u8));
            for used in [used, used.with_left_free(true)] {
                assert_eq!(Class::of(used), class);
                assert_eq!(Class::of_small(used), class.filter(|_| size < MEDIUM));
            }
            for not_in_use in [Tag::free(size), used.held(), used.with_left_free(true).freed()] {
                assert_eq!(Class::of(not_in_use), None);
                assert!(
                    Class::of_small(not_in_use).is_none_or(|class| class == Class::NONE),
                    "{not_in_use:?}"
                );
            }
        }
        assert!(!Class::all().any(|class| class == Class::NONE));
    }
}
