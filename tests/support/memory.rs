//! A region of memory between two red zones that nobody may write to.

use super::{GRANULE, HEADER, MIN_BLOCK};
use std::alloc::Layout;

/// Bytes of the red zone at either end of the region.
const RED_ZONE: usize = 64;

/// What the red zones contain, and what a region contains that is not zero.
const RED: u8 = 0xA5;
const GARBAGE: u8 = 0xDB;

/// The buffer starts at a multiple of this at least.
const PAGE: usize = 4096;

/// What a region looks like to a heap. Two regions of one shape are told apart by no request that they could
/// serve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionShape {
    /// Bytes of the region.
    pub(crate) len: usize,
    /// Added to an address that is a multiple of 64.
    pub(crate) misalignment: usize,
    /// Whether the region is zero in the beginning, and the heap is told so.
    pub(crate) zeroed: bool,
}

impl RegionShape {
    /// The bytes that a heap over the region can make blocks of: whole granules from the first header on,
    /// which lies 4 bytes behind a multiple of 8. `None` if that is not even the smallest block.
    ///
    /// In a region of 1 KiB or more there is a byte for each page in front, in whole words of 8 bytes at a
    /// multiple of 8.
    pub(crate) fn usable_bytes(self) -> Option<usize> {
        let share = |of: usize| self.len.div_ceil(of).next_power_of_two();
        let page = match share(256).max(share(8).clamp(256, 1024)) {
            4096.. => 4224,
            share => share,
        };
        let map = if self.len < 1024 { 0 } else { (self.len / page).next_multiple_of(8) };
        let to_granule = if map == 0 { 0 } else { (GRANULE - self.misalignment % GRANULE) % GRANULE };
        let start = self.misalignment + to_granule + map;
        let to_first_header = (GRANULE + HEADER - start % GRANULE) % GRANULE;
        let usable = self.len.checked_sub(to_granule + map + to_first_header)? / GRANULE * GRANULE;
        (usable >= MIN_BLOCK).then_some(usable)
    }
}

/// The region and its red zones.
#[derive(Debug)]
pub(crate) struct Memory {
    buffer: *mut u8,
    layout: Layout,
    shape: RegionShape,
}

impl Memory {
    /// Memory of that shape. The buffer is aligned to its own size, so that alignment gaps do not depend on
    /// luck.
    pub(crate) fn new(shape: RegionShape) -> Self {
        let bytes = shape.misalignment + shape.len + 2 * RED_ZONE;
        let layout = Layout::from_size_align(bytes, bytes.next_power_of_two().max(PAGE)).unwrap();
        // SAFETY: the layout has a size, because of the red zones.
        let buffer = unsafe { std::alloc::alloc(layout) };
        assert!(!buffer.is_null(), "the test itself is out of memory");
        let memory = Self { buffer, layout, shape };
        let content = if shape.zeroed { 0 } else { GARBAGE };
        // SAFETY: the buffer has `bytes` bytes, and the region lies in it.
        unsafe {
            buffer.write_bytes(RED, bytes);
            memory.start().write_bytes(content, shape.len);
        }
        memory
    }

    pub(crate) fn shape(&self) -> RegionShape {
        self.shape
    }

    /// The region's first byte.
    pub(crate) fn start(&self) -> *mut u8 {
        self.buffer.wrapping_add(RED_ZONE + self.shape.misalignment)
    }

    /// Whether the bytes around the region are what they were in the beginning.
    pub(crate) fn red_zones_are_intact(&self) -> bool {
        let in_front = self.start().wrapping_sub(RED_ZONE);
        let behind = self.start().wrapping_add(self.shape.len);
        let is_red = |zone: *mut u8| {
            // SAFETY: both zones lie in the buffer, which was initialised as a whole.
            unsafe { zone.cast::<[u8; RED_ZONE]>().read() == [RED; RED_ZONE] }
        };
        is_red(in_front) && is_red(behind)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the buffer was allocated with this layout, and the heap over it is not used any more.
        unsafe { std::alloc::dealloc(self.buffer, self.layout) };
    }
}
