//! The allocator with caches of a test program, and blocks of it that know whether somebody else wrote into
//! them.

use fastrand::Rng;
use mem_alloc_rust::{FreeList, ThreadCached};
use std::alloc::{GlobalAlloc, Layout};

const ARENA: usize = 8 << 20;

pub static A: ThreadCached<FreeList<ARENA>> = ThreadCached::new();

/// A block of [`A`]'s with its owner's mark in every byte.
pub struct Marked {
    pub block: *mut u8,
    pub layout: Layout,
    mark: u8,
}

// SAFETY: a block may be used and freed by whichever thread has it.
unsafe impl Send for Marked {}

impl Marked {
    pub fn try_new(bytes: usize, mark: u8) -> Option<Self> {
        let layout = Layout::from_size_align(bytes, 8).unwrap();
        // SAFETY: sizes of zero are served, too.
        let block = unsafe { A.alloc(layout) };
        if block.is_null() {
            return None;
        }
        // SAFETY: the block has that many bytes.
        unsafe { block.write_bytes(mark, bytes) };
        Some(Self { block, layout, mark })
    }

    pub fn new(bytes: usize, mark: u8) -> Self {
        Self::try_new(bytes, mark).expect("the arena is large enough")
    }

    fn check(&self, bytes: usize) {
        // SAFETY: the block has that many bytes, all written.
        let contents = unsafe { std::slice::from_raw_parts(self.block, bytes) };
        // Each is the one before: a comparison of memory, where a loop that is not optimised would take long.
        let is_marked = contents
            .split_first()
            .is_none_or(|(&first, rest)| first == self.mark && rest == &contents[..rest.len()]);
        assert!(is_marked, "somebody else wrote into the block");
    }

    pub fn resize(&mut self, bytes: usize) {
        // SAFETY: the block is live with this layout.
        let block = unsafe { A.realloc(self.block, self.layout, bytes) };
        assert!(!block.is_null());
        self.block = block;
        self.check(self.layout.size().min(bytes));
        self.layout = Layout::from_size_align(bytes, 8).unwrap();
        // SAFETY: the block has that many bytes.
        unsafe { block.write_bytes(self.mark, bytes) };
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        self.check(self.layout.size());
        // SAFETY: the block is live with this layout.
        unsafe { A.dealloc(self.block, self.layout) };
    }
}

/// The size of a block: small mostly, and now and then such that no cache takes it.
pub fn size(random: &mut Rng) -> usize {
    let most = [32, 128, 1100, 6000][random.usize(..4)];
    random.usize(1..=most)
}

/// Nothing is live, nothing is cached, and all of the arena is one block.
pub fn assert_all_is_back() {
    A.audit().unwrap();
    A.drain();
    A.audit().unwrap();
    let stats = A.stats();
    assert_eq!((stats.live_bytes, stats.live_blocks, stats.free_blocks), (0, 0, 1), "{stats:?}");
}
