//! The block: the one file that knows where a header, a link or a footer lies. (What a thread's cache
//! writes into a block is drawn in `block/cached.rs`, a block that is cut into slots in `run.rs`; how links
//! make a list is told in `block/lists.rs`.)
//!
//! A payload's address `p` is a multiple of 8, and the header is the 4 bytes before it:
//!
//! ```text
//!       p-4      p                                         p+size-4
//!  ┌────┬────────┬────────────────────────────────────────────┬────────┐
//!  │used│ header │ payload …………………………………………………………………………………………… │ next's │
//!  └────┴────────┴────────────────────────────────────────────┴ header ┘
//!  ┌────┬────────┬──────┬──────┬ … unused … ─────────────┬────────┬──────┐
//!  │free│ header │ next │ prev │                         │ footer │      │
//!  └────┴────────┴──────┴──────┴─────────────────────────┴────────┴──────┘
//!  ┌────┬────────┬──────┬──────┬────────┬────────┬────────┬ … ─┬────────┬──────┐
//!  │free│ header │ next │ prev │ zero's │ one's  │ parent │    │ footer │      │ from 2 KiB on
//!  └────┴────────┴──────┴──────┴─ child ┴─ child ┴────────┴ … ─┴────────┴──────┘
//!
//!  arena   │4│ block │ block │ … │ block │ top: no header │
//!          ↑ ↑                           ↑                ↑
//!     origin first header             top - 4          end - 4
//! ```
//!
//! - The header is one [`Tag`]: the size in bytes, a multiple of 8, with flags in its three low bits.
//! - `next` and `prev` link the free blocks of one size (but the one that small blocks are cut from, the
//!   *victim*, is on no list). `prev` of the first one is the last one, `next` of the last one is zero. The
//!   footer repeats the size in granules, so that the block to the right finds where this one starts. A large
//!   free block is also a node of the trie of its bin (`heap/trie.rs`). All of these are granule counts,
//!   never pointers. Whole pages of what a large one has behind that may have been given back to the system, which its
//!   header tells.
//! - The *top* is the span behind the last block. It has no header, no links and no footer: a fresh arena is
//!   not written to, and taking from its near end writes one header and moves one number.
//!
//! Headers are read and written as relaxed atomics, which costs nothing: the owner of a block may read
//! its header while another thread, which has the heap's lock, notes there that the left neighbour was
//! freed.
//!
//! All pointers are derived from the arena's origin, never from a pointer that a caller brings back: a
//! `Box`, for one, may only touch its own bytes.

#[cfg(all(feature = "std", unix))]
pub(crate) mod cached;
mod header;
mod lists;
mod tag;

use crate::size::{BlockSize, GRANULE, HEADER, Index};
use core::ptr::NonNull;

pub use header::BlockHeader;
pub(crate) use tag::Tag;

/// A link that lies 4 bytes behind a multiple of 8, as headers do.
///
/// Such a word of a free block can come to lie where the header of a block was that has melted into a
/// neighbour. Its lowest bit is set, so that it reads as the header of a free block and a second free of
/// the old block is still recognised.
#[derive(Clone, Copy)]
struct OddLink(u32);

impl OddLink {
    #[inline(always)]
    const fn to(index: Index) -> Self {
        Self(index.get() << 1 | Tag::FREE)
    }

    #[inline(always)]
    const fn index(self) -> Index {
        Index::new(self.0 >> 1)
    }
}

/// Has the processor fetch the bytes at this address, which may be any, while the program goes on.
///
/// What a release looks at last is the header behind the block. Where it lies is known from the layout before the
/// block's own header was read, so that two waits for memory become one.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    // SAFETY: a prefetch has no effect that a program can see, whatever the address. All x86-64 processors
    // have SSE.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}

/// A child of a trie's node: that of the sizes whose next bit is zero, or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    Zero = 0,
    One = 1,
}

/// What stands in front of a slot that was freed with its run: a byte that, four times, reads as the header of a
/// free block.
const FREED: u8 = Tag::FREE as u8;

/// Leaves a word in front of so many positions, each `granules` behind the one before, that reads as the
/// header of a free block, for whoever frees what began there once more.
///
/// # Safety
///
/// - These words are in the arena, and all granules from the first to the last one are the heap's own.
#[inline(always)]
pub(crate) unsafe fn mark_freed(first: *mut u8, granules: u32, count: u32) {
    /// More are marked in fewer steps with everything that lies between them.
    const MOST_SINGLE: u32 = 32;
    let granule_in_front = first.wrapping_sub(GRANULE);
    let distance = granules as usize * GRANULE;
    // SAFETY: the caller's contract.
    unsafe {
        if count > MOST_SINGLE {
            return granule_in_front.write_bytes(FREED, (count as usize - 1) * distance + GRANULE);
        }
        for number in 0..count as usize {
            granule_in_front.wrapping_add(number * distance).write_bytes(FREED, GRANULE);
        }
    }
}

/// A distance in granules. It is beyond any arena if the distance is no multiple of a granule, or less than
/// zero.
#[inline(always)]
pub(crate) fn granules_or_more(distance: usize) -> usize {
    const { assert!(GRANULE == 1 << 3) };
    distance.rotate_right(3)
}

/// A view of the arena's bytes as blocks. It owns nothing and knows no bounds: the heap does.
///
/// The contract of every method that takes a position, called *in the arena* below: the whole header, and for
/// a free block also the links and the footer, lie inside the region that the arena was made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arena {
    /// Where [`Index`] zero would be: a multiple of 8, up to 4 bytes before the region's first byte.
    origin: *mut u8,
}

impl Arena {
    /// The view before there is a region; no position is in it.
    pub(crate) const fn empty() -> Self {
        Self { origin: core::ptr::null_mut() }
    }

    /// A view of the region that begins at `start`.
    ///
    /// The first header lies at the first address that is 4 more than a multiple of 8.
    #[inline(always)]
    pub(crate) fn at(start: *mut u8) -> Self {
        let to_first_header = start.addr().wrapping_neg().wrapping_add(HEADER) % GRANULE;
        Self { origin: start.wrapping_add(to_first_header).wrapping_sub(HEADER) }
    }

    /// The view whose origin lies there.
    #[inline(always)]
    pub(crate) const fn with_origin(origin: *mut u8) -> Self {
        Self { origin }
    }

    /// The same view, of memory that reaches as far as another pointer's does.
    ///
    /// A pointer is good for the memory that it was made for. The new origin is made from an address, so that it is
    /// good for what both may touch, whose pointers are exposed here.
    pub(crate) fn reaching(self, other: *mut u8) -> Self {
        other.expose_provenance();
        Self { origin: core::ptr::with_exposed_provenance_mut(self.origin.expose_provenance()) }
    }

    /// The pointer to what lies at an address, which need not be in the arena, but in its region.
    pub(crate) fn pointer_to(self, address: usize) -> *mut u8 {
        self.origin.with_addr(address)
    }

    /// The position behind the last block, where the memory ends at this address, which is not in front of where
    /// it begins. It may lie before [`Index::FIRST`] if there is next to none; there are at most
    /// [`MAX_REGION`](crate::size::MAX_REGION) bytes.
    pub(crate) fn end_before(self, address: usize) -> Index {
        let past_origin = address.wrapping_sub(self.origin.addr());
        Index::new((past_origin.wrapping_add(HEADER) / GRANULE) as u32)
    }

    /// The address of a payload, which the caller may not dereference.
    #[inline(always)]
    pub(crate) fn address(self, index: Index) -> usize {
        self.origin.addr().wrapping_add(index.byte_offset())
    }

    /// The distance of `address` from the origin in bytes. An address in front of the origin wraps around to
    /// a distance beyond any arena.
    #[inline(always)]
    pub(crate) fn offset_of(self, address: usize) -> usize {
        address.wrapping_sub(self.origin.addr())
    }

    /// The position of a payload at this address. It is beyond any arena if the address is no multiple of a
    /// granule, or lies in front of the origin.
    #[inline(always)]
    pub(crate) fn index_of(self, address: usize) -> usize {
        granules_or_more(self.offset_of(address))
    }

    /// The pointer to a payload, a page or a slot.
    #[inline(always)]
    pub(crate) fn at_index(self, index: Index) -> *mut u8 {
        self.origin.wrapping_add(index.byte_offset())
    }

    /// The payload's pointer.
    ///
    /// # Safety
    ///
    /// - `index` is in the arena.
    #[inline(always)]
    pub(crate) unsafe fn payload(self, index: Index) -> NonNull<u8> {
        // SAFETY: a position in the arena is not null.
        unsafe { NonNull::new_unchecked(self.at_index(index)) }
    }

    #[inline(always)]
    fn tag_word(self, index: Index) -> *mut u32 {
        self.at_index(index).wrapping_sub(HEADER).cast()
    }

    #[inline(always)]
    fn next_word(self, index: Index) -> *mut Index {
        self.at_index(index).cast()
    }

    #[inline(always)]
    fn prev_word(self, index: Index) -> *mut OddLink {
        self.at_index(index).wrapping_add(size_of::<Index>()).cast()
    }

    #[inline(always)]
    fn child_word(self, index: Index, which: Child) -> *mut OddLink {
        self.at_index(index).wrapping_add(8 + which as usize * size_of::<Index>()).cast()
    }

    #[inline(always)]
    fn parent_word(self, index: Index) -> *mut Index {
        self.at_index(index).wrapping_add(16).cast()
    }

    /// The word before the header of the block at `index`: the footer of its left neighbour.
    #[inline(always)]
    fn left_footer_word(self, index: Index) -> *mut u32 {
        self.at_index(index).wrapping_sub(HEADER + size_of::<u32>()).cast()
    }

    /// Reads a header.
    ///
    /// # Safety
    ///
    /// - `index` is in the arena, and its header was written.
    #[inline(always)]
    pub(crate) unsafe fn tag(self, index: Index) -> Tag {
        // SAFETY: the header is in the arena, aligned to 4 and initialised (contract).
        unsafe { Tag::read(self.tag_word(index)) }
    }

    /// Writes a header.
    ///
    /// # Safety
    ///
    /// - `index` is in the arena, and the four bytes before it were not handed out.
    #[inline(always)]
    pub(crate) unsafe fn set_tag(self, index: Index, tag: Tag) {
        // SAFETY: the header is in the arena, aligned to 4 and the heap's own (contract).
        unsafe { tag.write(self.tag_word(index)) };
    }

    /// Notes in the header at `index` whether the block to its left is free.
    ///
    /// # Safety
    ///
    /// - `index` is a block of the arena.
    #[inline(always)]
    pub(crate) unsafe fn set_left_free(self, index: Index, left_free: bool) {
        // SAFETY: a block's header is in the arena, initialised, and never handed out.
        unsafe { self.set_tag(index, self.tag(index).with_left_free(left_free)) }
    }

    /// What the footer to the left says, which need not be a [`BlockSize`].
    ///
    /// # Safety
    ///
    /// - `index` is a block of the arena with another one to its left.
    #[inline(always)]
    pub(crate) unsafe fn left_footer(self, index: Index) -> u32 {
        // SAFETY: a block's last word before the next header is part of that block, and so of the arena.
        unsafe { self.left_footer_word(index).read() }
    }

    /// The size of the free block that ends where the block at `index` starts.
    ///
    /// # Safety
    ///
    /// - `index` is a block of the arena whose left neighbour is free.
    #[inline(always)]
    pub(crate) unsafe fn left_size(self, index: Index) -> BlockSize {
        // SAFETY: a free block's last word before the next header is its footer, written by `set_free`.
        BlockSize::from_granules(unsafe { self.left_footer(index) })
    }

    /// Makes a free block: header and footer, not the links.
    ///
    /// # Safety
    ///
    /// - The block of `size` at `index` is in the arena, and no byte of it is handed out.
    #[inline(always)]
    pub(crate) unsafe fn set_free(self, index: Index, size: BlockSize) {
        // SAFETY: header and footer lie in the block, which is the heap's own (contract).
        unsafe {
            self.set_tag(index, Tag::free(size));
            self.left_footer_word(index + size).write(size.granules());
        }
    }

    /// The links of a free block: next, which is [`Index::NONE`] for the last one of a list, then previous,
    /// which is the last one for the first.
    ///
    /// # Safety
    ///
    /// - `index` is a free block on a free list.
    #[inline(always)]
    pub(crate) unsafe fn links(self, index: Index) -> (Index, Index) {
        // SAFETY: a free block's first two words are its links (contract).
        unsafe { (self.next_word(index).read(), self.prev_word(index).read().index()) }
    }

    /// Where the list of a free block goes on.
    ///
    /// # Safety
    ///
    /// - `index` is a free block on a list.
    #[inline(always)]
    pub(crate) unsafe fn next(self, index: Index) -> Index {
        // SAFETY: the first word of a block on a list is its link (contract).
        unsafe { self.next_word(index).read() }
    }

    /// Sets where a free block's list goes on.
    ///
    /// # Safety
    ///
    /// - `index` is a free block.
    #[inline(always)]
    pub(crate) unsafe fn set_next(self, index: Index, next: Index) {
        // SAFETY: a free block's first word is the heap's own (contract).
        unsafe { self.next_word(index).write(next) }
    }

    /// Sets where a free block's list came from.
    ///
    /// # Safety
    ///
    /// - `index` is a free block.
    #[inline(always)]
    pub(crate) unsafe fn set_prev(self, index: Index, prev: Index) {
        // SAFETY: a free block's second word is the heap's own (contract).
        unsafe { self.prev_word(index).write(OddLink::to(prev)) }
    }

    /// One of a trie node's children.
    ///
    /// # Safety
    ///
    /// - `index` is a node of a trie.
    #[inline(always)]
    pub(crate) unsafe fn child(self, index: Index, which: Child) -> Index {
        // SAFETY: a node's third and fourth words are its children (contract).
        unsafe { self.child_word(index, which).read().index() }
    }

    /// Sets one of a trie node's children.
    ///
    /// # Safety
    ///
    /// - `index` is a free block of at least [`Bin::MIXED`](crate::bins::Bin::MIXED).
    #[inline(always)]
    pub(crate) unsafe fn set_child(self, index: Index, which: Child, child: Index) {
        // SAFETY: a large free block's third and fourth words are the heap's own (contract).
        unsafe { self.child_word(index, which).write(OddLink::to(child)) };
    }

    /// A trie node's parent, [`Index::NONE`] for the root.
    ///
    /// # Safety
    ///
    /// - `index` is a node of a trie.
    #[inline(always)]
    pub(crate) unsafe fn parent(self, index: Index) -> Index {
        // SAFETY: a node's fifth word is its parent (contract).
        unsafe { self.parent_word(index).read() }
    }

    /// Sets a trie node's parent.
    ///
    /// # Safety
    ///
    /// - `index` is a free block of at least [`Bin::MIXED`](crate::bins::Bin::MIXED).
    #[inline(always)]
    pub(crate) unsafe fn set_parent(self, index: Index, parent: Index) {
        // SAFETY: a large free block's fifth word is the heap's own (contract).
        unsafe { self.parent_word(index).write(parent) }
    }

    /// Where what is unused of a large free block begins, which ends where the footer does.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn behind_links(self, index: Index) -> *mut u8 {
        self.at_index(index).wrapping_add(24)
    }

    /// The address of the word before the header of the block at `index`.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn left_footer_address(self, index: Index) -> usize {
        self.left_footer_word(index).addr()
    }

    /// A copy of the header of a block, with the link if it is free.
    ///
    /// # Safety
    ///
    /// - `index` is a block of the arena, and if it is free, it is on a free list.
    pub(crate) unsafe fn header(self, index: Index) -> BlockHeader {
        // SAFETY: the block's header is initialised (contract).
        let tag = unsafe { self.tag(index) };
        let next = if tag.is_free() {
            // SAFETY: a free block is on a list, and its first word is its link.
            unsafe { self.next(index) }
        } else {
            // These are the caller's bytes and stay unread.
            Index::NONE
        };
        BlockHeader { tag, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn a_tag_keeps_size_and_flags_apart() {
        let size = BlockSize::from_granules(6);
        let tag = Tag::used(size).with_left_free(true);
        assert_eq!(format!("{tag:?}"), "used 48 bytes, left neighbour free");
        assert_eq!(format!("{:?}", tag.freed()), "free 48 bytes, left neighbour free");
        assert_eq!(tag.resized(BlockSize::MIN).size(), BlockSize::MIN);
        assert!(tag.resized(BlockSize::MIN).is_left_free());
        assert_eq!(tag.with_left_free(false), Tag::used(size));
    }

    #[test]
    fn a_block_of_nearly_four_gibibytes_fits_the_header() {
        let size = BlockSize::from_granules((crate::size::MAX_REGION / GRANULE) as u32);
        assert_eq!(Tag::free(size).size(), size);
    }

    #[test]
    fn the_first_header_is_the_first_word_that_puts_a_payload_on_a_granule() {
        for misalignment in 0..16usize {
            let start = core::ptr::without_provenance_mut::<u8>(4096 + misalignment);
            let arena = Arena::at(start);
            let first_header = arena.address(Index::FIRST) - HEADER;
            assert_eq!(arena.address(Index::FIRST) % GRANULE, 0);
            assert!(first_header >= start.addr() && first_header - start.addr() < GRANULE, "{misalignment}");
            for len in 32..64 {
                let end = arena.end_before(start.addr() + len);
                let behind = arena.address(end) - HEADER;
                assert!(behind <= start.addr() + len && start.addr() + len - behind < GRANULE);
            }
        }
    }
}
