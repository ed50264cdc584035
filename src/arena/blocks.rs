//! What the trait `Allocator` promises, over anything that has blocks: what a layout of zero bytes gets, which bytes
//! are cleared, what moves.

use core::alloc::Layout;
use core::ptr::NonNull;

/// Something that has blocks. All layouts are of more than no bytes.
pub(super) trait Blocks {
    /// A block for `layout`, or `None` if there is no room.
    fn alloc(&self, layout: Layout) -> Option<NonNull<u8>>;

    /// The same, with all bytes of the layout zero.
    fn alloc_zeroed(&self, layout: Layout) -> Option<NonNull<u8>>;

    /// Gives a block back.
    ///
    /// # Safety
    ///
    /// - `block` is a block of this allocator's for `layout`, and nobody uses it any more.
    unsafe fn dealloc(&self, block: NonNull<u8>, layout: Layout);

    /// Makes a block for `old` one for `new` and keeps its contents up to the smaller of both sizes. `None` if there
    /// is no room; the block is unchanged then.
    ///
    /// # Safety
    ///
    /// - `block` is a block of this allocator's for `old`.
    /// - Unless `None` is returned, the old pointer is dead.
    unsafe fn resize(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>>;
}

/// The way of a [`resize`](Blocks::resize) for which the block cannot stay.
///
/// # Safety
///
/// - As for [`Blocks::resize`].
#[cold]
pub(super) unsafe fn moved(
    blocks: &(impl Blocks + ?Sized),
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Option<NonNull<u8>> {
    let target = blocks.alloc(new)?;
    // SAFETY: both are in use, so that they do not overlap, and hold the smaller of the two sizes. The old one's
    // contents have moved, and nobody uses it again.
    unsafe {
        target.copy_from_nonoverlapping(block, old.size().min(new.size()));
        blocks.dealloc(block, old);
    }
    Some(target)
}

/// The bytes that the caller of an `Allocator` gets: as many as he asked for. What a block has beyond that is at most
/// 12 bytes, or 63 in a slot, and looking it up would cost each allocation more than that is worth.
#[inline]
fn bytes(block: NonNull<u8>, layout: Layout) -> NonNull<[u8]> {
    NonNull::slice_from_raw_parts(block, layout.size())
}

/// Where no bytes are: no memory is taken for them.
#[inline]
fn no_bytes(layout: Layout) -> NonNull<[u8]> {
    let address = core::ptr::without_provenance_mut(layout.align());
    // SAFETY: an alignment is not zero.
    bytes(unsafe { NonNull::new_unchecked(address) }, layout)
}

/// `Allocator::allocate`.
#[inline]
pub(super) fn allocate(blocks: &impl Blocks, layout: Layout) -> Option<NonNull<[u8]>> {
    if layout.size() == 0 {
        return Some(no_bytes(layout));
    }
    Some(bytes(blocks.alloc(layout)?, layout))
}

/// `Allocator::allocate_zeroed`.
#[inline]
pub(super) fn allocate_zeroed(blocks: &impl Blocks, layout: Layout) -> Option<NonNull<[u8]>> {
    if layout.size() == 0 {
        return Some(no_bytes(layout));
    }
    Some(bytes(blocks.alloc_zeroed(layout)?, layout))
}

/// `Allocator::deallocate`.
///
/// # Safety
///
/// - `block` was allocated here, fits `layout`, and is not used any more.
#[inline]
pub(super) unsafe fn deallocate(blocks: &impl Blocks, block: NonNull<u8>, layout: Layout) {
    if layout.size() != 0 {
        // SAFETY: the caller's contract; only layouts of zero bytes get no block.
        unsafe { blocks.dealloc(block, layout) }
    }
}

/// `Allocator::grow`, and `Allocator::shrink` to more than no bytes.
///
/// # Safety
///
/// - `block` was allocated here and fits `old`. If this succeeds, it is dead.
/// - If `old` is of zero bytes, `new` is no smaller.
#[inline]
pub(super) unsafe fn resize(
    blocks: &impl Blocks,
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Option<NonNull<[u8]>> {
    if old.size() == 0 {
        return allocate(blocks, new);
    }
    // SAFETY: the caller's contract; only layouts of zero bytes get no block.
    Some(bytes(unsafe { blocks.resize(block, old, new)? }, new))
}

/// `Allocator::grow_zeroed`: only what is new is cleared.
///
/// # Safety
///
/// - As for [`resize`]; `new` is no smaller than `old`.
#[inline]
pub(super) unsafe fn grow_zeroed(
    blocks: &impl Blocks,
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Option<NonNull<[u8]>> {
    if old.size() == 0 {
        return allocate_zeroed(blocks, new);
    }
    // SAFETY: the caller's contract. The block has `new.size()` bytes now, and those behind the old ones are nobody's
    // yet.
    unsafe {
        let grown = blocks.resize(block, old, new)?;
        grown.add(old.size()).write_bytes(0, new.size() - old.size());
        Some(bytes(grown, new))
    }
}

/// `Allocator::shrink`.
///
/// # Safety
///
/// - As for [`resize`]; `new` is no larger than `old`.
#[inline]
pub(super) unsafe fn shrink(
    blocks: &impl Blocks,
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Option<NonNull<[u8]>> {
    // SAFETY: the caller's contract.
    unsafe {
        if new.size() == 0 {
            deallocate(blocks, block, old);
            return Some(no_bytes(new));
        }
        resize(blocks, block, old, new)
    }
}
