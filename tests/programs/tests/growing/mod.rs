//! What the tests of growing memory share: both allocators as one, and a chain of blocks that needs no memory but
//! theirs.

use mem_alloc_rust::{AuditError, Growing, Locked, Stats, ThreadCached};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::null_mut;

pub const MIB: usize = 1 << 20;
pub const PAGE: usize = 4096;

/// An allocator over growing memory.
pub trait Growable: GlobalAlloc + Sync {
    fn set_cap(&self, bytes: usize);
    fn committed_bytes(&self) -> usize;
    fn trim(&self) -> usize;
    fn audit(&self) -> Result<(), AuditError>;
    fn stats(&self) -> Stats;
}

macro_rules! growable {
    ($allocator:ident) => {
        impl<const CAP: usize> Growable for $allocator<Growing<CAP>> {
            fn set_cap(&self, bytes: usize) {
                self.set_cap(bytes);
            }

            fn committed_bytes(&self) -> usize {
                self.committed_bytes()
            }

            fn trim(&self) -> usize {
                self.trim()
            }

            fn audit(&self) -> Result<(), AuditError> {
                self.audit()
            }

            fn stats(&self) -> Stats {
                self.stats()
            }
        }
    };
}

growable!(Locked);
growable!(ThreadCached);

/// What is at the beginning of a block of a chain.
struct Link {
    next: *mut Link,
    size: usize,
}

/// Blocks in use, each of which leads to the one before it.
pub struct Chain<'a> {
    allocator: &'a dyn Growable,
    last: *mut Link,
    pub count: usize,
    /// What was asked for, in bytes.
    pub bytes: usize,
}

// SAFETY: the blocks are the chain's, and may be used and freed by whichever thread has it.
unsafe impl Send for Chain<'_> {}

impl<'a> Chain<'a> {
    pub fn new(allocator: &'a dyn Growable) -> Self {
        Self { allocator, last: null_mut(), count: 0, bytes: 0 }
    }

    fn layout(size: usize) -> Layout {
        assert!(size >= size_of::<Link>());
        Layout::from_size_align(size, align_of::<Link>()).unwrap()
    }

    /// One block more of so many bytes, all of which are written to. False if it is refused.
    pub fn push(&mut self, size: usize) -> bool {
        // SAFETY: the layout is of more than no bytes, and the block holds as many.
        unsafe {
            let block = self.allocator.alloc(Self::layout(size));
            if block.is_null() {
                return false;
            }
            block.write_bytes(size as u8, size);
            let link = block.cast::<Link>();
            link.write(Link { next: self.last, size });
            self.last = link;
        }
        self.count += 1;
        self.bytes += size;
        true
    }

    /// Blocks of so many bytes until one is refused.
    pub fn fill(&mut self, size: usize) {
        while self.push(size) {}
    }

    /// Gives the last block back, after a look at what it contains. False if there is none.
    pub fn pop(&mut self) -> bool {
        if self.last.is_null() {
            return false;
        }
        // SAFETY: the block is in use, and was written to as a whole; it is given back once.
        unsafe {
            let Link { next, size } = self.last.read();
            let block = self.last.cast::<u8>();
            let mut rest = (size_of::<Link>()..size).step_by(509).chain([size - 1]);
            assert!(size == size_of::<Link>() || rest.all(|at| block.add(at).read() == size as u8));
            self.last = next;
            self.count -= 1;
            self.bytes -= size;
            self.allocator.dealloc(block, Self::layout(size));
        }
        true
    }
}

impl Drop for Chain<'_> {
    fn drop(&mut self) {
        while self.pop() {}
    }
}
