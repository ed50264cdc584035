//! [`BlockHeader`]: a header for those who look at the heap from outside.

use super::Tag;
use crate::size::{BlockSize, Index};
use core::fmt;

/// A block's header as it stood in memory: size, free flag, and the link to the next free block.
///
/// It is a copy: looking at it does not touch the arena.
///
/// ```
/// use core::alloc::Layout;
/// use mem_alloc_rust::{BlockHeader, create_allocator};
///
/// let mut allocator = create_allocator();
/// let layout = Layout::new::<[u8; 100]>();
/// // SAFETY: nothing else was allocated from the arena, and each block is given back once.
/// unsafe {
///     allocator.init();
///     let blocks = [(); 6].map(|()| allocator.alloc(layout));
///     for freed in [0, 2, 4] {
///         allocator.dealloc(blocks[freed]);
///     }
/// }
/// let headers: Vec<BlockHeader> = allocator.blocks().map(|(_, header)| header).collect();
/// let is_free: Vec<bool> = headers.iter().map(BlockHeader::is_free).collect();
/// assert_eq!(is_free, [true, false, true, false, true, false]);
/// assert_eq!((headers[1].size(), headers[1].payload_size()), (104, 100));
/// // The free blocks of one size are linked. The last one leads nowhere, and a block in use has no link.
/// let linked = headers.iter().filter(|header| header.next().is_some()).count();
/// assert_eq!((linked, headers[1].next()), (2, None));
/// // Allocations of this allocator all have a header: none lies in a slot of a run.
/// assert!(!headers.iter().any(BlockHeader::is_run));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    pub(super) tag: Tag,
    pub(super) next: Index,
}

impl BlockHeader {
    /// The block's size in bytes, its 4-byte header included; a multiple of 8.
    pub fn size(&self) -> usize {
        self.tag.size().bytes()
    }

    /// The bytes of the block that a caller can use: all but the header.
    pub fn payload_size(&self) -> usize {
        self.tag.size().payload()
    }

    /// Whether the block is free.
    pub fn is_free(&self) -> bool {
        self.tag.is_free()
    }

    /// Whether the block is cut into slots for small requests; see [`Heap::slots`](crate::Heap::slots).
    pub fn is_run(&self) -> bool {
        self.tag.is_run() && !self.tag.is_free()
    }

    /// The header of a free block that is on no list.
    pub(crate) const fn unlisted(size: BlockSize) -> Self {
        Self { tag: Tag::free(size), next: Index::NONE }
    }

    /// The next free block of the same size, as the distance of its payload from the arena's origin in bytes.
    /// `None` for the last one, and for a block in use, whose first bytes are the caller's.
    pub fn next(&self) -> Option<usize> {
        (self.is_free() && !self.next.is_none()).then(|| self.next.byte_offset())
    }
}

impl fmt::Debug for BlockHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockHeader")
            .field("size", &self.size())
            .field("is_free", &self.is_free())
            .field("next", &self.next())
            .finish()
    }
}
