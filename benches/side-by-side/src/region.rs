//! The memory that fixed-arena allocators are given.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::NonNull;

use anyhow::{Context, Result, ensure};

/// Arenas start at a multiple of this, so that no allocator is lucky with its base address.
const ALIGN: usize = 2 << 20;

/// Memory from the system.
pub struct Region {
    start: NonNull<u8>,
    layout: Layout,
}

impl Region {
    /// Takes `len` bytes from the system and touches every page, so that page faults are over before anything is
    /// measured.
    ///
    /// # Errors
    ///
    /// If `len` is zero, or the system has not that much.
    pub fn new(len: usize) -> Result<Self> {
        let region = Self::untouched(len)?;
        // SAFETY: the block was just allocated with this length. It is filled with something other than zeros, so
        // that an allocator that wrongly takes fresh memory for zeroed memory is found out.
        unsafe { region.start.write_bytes(0xA5, len) };
        Ok(region)
    }

    /// Takes `len` bytes from the system, which provides a page only when it is used.
    ///
    /// # Errors
    ///
    /// If `len` is zero, or the system has not that much.
    pub fn untouched(len: usize) -> Result<Self> {
        ensure!(len > 0, "an arena of no bytes");
        let layout = Layout::from_size_align(len, ALIGN)?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { System.alloc(layout) })
            .with_context(|| format!("the system has no {len} bytes for an arena"))?;
        Ok(Self { start, layout })
    }

    /// Bytes in the region.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layout.size()
    }

    /// Always false: an empty region cannot be made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first `len` bytes, to be given to one allocator. The exclusive borrow keeps two from having it at once.
    ///
    /// # Panics
    ///
    /// If the region is smaller than that.
    pub fn span(&mut self, len: usize) -> Span<'_> {
        assert!(len <= self.len(), "a span of {len} bytes in a region of {}", self.len());
        Span { start: self.start, len, _region: self }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here.
        unsafe { System.dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Memory that belongs to one allocator for as long as the span lives.
pub struct Span<'region> {
    /// First byte.
    pub start: NonNull<u8>,
    /// Bytes.
    pub len: usize,
    _region: &'region mut Region,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_aligned_and_not_zero() {
        let mut region = Region::new(1 << 20).unwrap();
        let span = region.span(4096);
        assert_eq!(span.start.as_ptr() as usize % ALIGN, 0);
        // SAFETY: the span covers its first byte.
        assert_eq!(unsafe { span.start.read() }, 0xA5);
    }

    #[test]
    fn an_absurd_size_is_an_error() {
        assert!(Region::new(0).is_err());
        assert!(Region::new(1 << 60).is_err());
    }
}
