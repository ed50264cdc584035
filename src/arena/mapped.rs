//! An arena over memory of the operating system.

use super::{Arena, ArenaError, check_len};
use crate::mapping;
use core::ptr::NonNull;

/// What holds the memory of an [`Arena`] that came from the operating system: a mapping of its own, which is given back
/// when the arena is dropped.
///
/// ```
/// use allocator_api2::vec::Vec;
/// use mem_alloc_rust::{Arena, Mapped};
///
/// struct Request {
///     memory: Arena<Mapped>,
/// }
///
/// let request = Request { memory: Arena::mapped(64 << 20).unwrap() };
/// let body = Vec::<u8, _>::with_capacity_in(10_000, &request.memory);
/// assert!(request.memory.stats().live_bytes >= body.capacity());
/// ```
#[derive(Debug)]
pub struct Mapped {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is this value's own, and belongs to the process.
unsafe impl Send for Mapped {}
// SAFETY: a shared reference gives no way to the memory.
unsafe impl Sync for Mapped {}

impl Arena<Mapped> {
    /// An arena over `bytes` bytes of the operating system, whatever the global allocator is. Pages that are never
    /// used take no memory, and all of it is the system's again when the arena is dropped.
    ///
    /// ```
    /// use allocator_api2::boxed::Box;
    /// use mem_alloc_rust::Arena;
    ///
    /// let arena = Arena::mapped(1 << 30)?;
    /// // What was never used is zero, and is not cleared again.
    /// let table = unsafe { Box::<[u64; 1 << 20], _>::new_zeroed_in(&arena).assume_init() };
    /// assert!(table.iter().all(|&entry| entry == 0));
    /// # Ok::<(), mem_alloc_rust::ArenaError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Refuses a size that is too small for a block, or too large for a heap, and says if the system has no such
    /// memory.
    pub fn mapped(bytes: usize) -> Result<Self, ArenaError> {
        check_len(bytes)?;
        let out_of_memory = ArenaError::OutOfMemory { len: bytes };
        let len = mapping::whole_pages(bytes).ok_or(out_of_memory)?;
        let start = mapping::map(len, mapping::page()).ok_or(out_of_memory)?;
        // SAFETY: the mapping is this arena's own until it is dropped, and all zero.
        Ok(unsafe { Self::of(Mapped { start, len }, start.as_ptr(), bytes, true)? })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and the arena's values are gone (its contract).
        unsafe { mapping::unmap(self.start.as_ptr(), self.len) }
    }
}
