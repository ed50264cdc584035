//! Memory for an arena, the same for every run of a genome.

use anyhow::{Result, ensure};
use std::ptr::without_provenance_mut;

/// Where arenas are to lie: where every system has room. It should not matter, but it does: a
/// compiler may divide numbers of 64 bits faster if they happen to have only 32.
const WISH: usize = 0x2000_0000_0000;

/// Zeroed memory of the operating system.
pub struct Arena {
    mapping: *mut libc::c_void,
    mapped: usize,
    start: *mut u8,
    bytes: usize,
}

impl Arena {
    /// An arena that begins at a multiple of its own size, so that what its gaps for alignments are
    /// does not depend on luck.
    ///
    /// # Errors
    ///
    /// If the system has no memory.
    pub fn new(bytes: usize) -> Result<Self> {
        let align = bytes.next_power_of_two().max(1 << 21);
        let mapped = bytes + align;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping disturbs nobody; the address is a wish.
        let mapping = unsafe { libc::mmap(without_provenance_mut(WISH), mapped, protection, flags, -1, 0) };
        ensure!(mapping != libc::MAP_FAILED, "the system has no {bytes} bytes for an arena");
        let start = mapping.cast::<u8>().map_addr(|address| address.next_multiple_of(align));
        Ok(Self { mapping, mapped, start, bytes })
    }

    /// The first byte.
    #[must_use]
    pub fn start(&self) -> *mut u8 {
        self.start
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes all of it zero again, by giving it back to the system.
    pub fn clear(&mut self) {
        // SAFETY: the mapping is this arena's own, and nobody uses a block of it (`&mut self`).
        unsafe { libc::madvise(self.mapping, self.mapped, libc::MADV_DONTNEED) };
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the mapping is this arena's own.
        unsafe { libc::munmap(self.mapping, self.mapped) };
    }
}
