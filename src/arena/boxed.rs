//! An arena over memory of the global allocator.

use super::{Arena, ArenaError, check_len};
use crate::size::GRANULE;
use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::NonNull;

/// What holds the memory of an [`Arena`] that came from the global allocator: one block of it, which is given back
/// when the arena is dropped.
///
/// ```
/// use allocator_api2::vec::Vec;
/// use mem_alloc_rust::{Arena, Boxed};
///
/// /// Bytes that have their arena with them, and take it along.
/// fn zeroes(len: usize) -> Vec<u8, Arena<Boxed>> {
///     let mut bytes = Vec::new_in(Arena::boxed(2 * len).unwrap());
///     bytes.resize(len, 0);
///     bytes
/// }
///
/// let bytes = zeroes(10_000);
/// let len = std::thread::spawn(move || bytes.len()).join().unwrap();
/// assert_eq!(len, 10_000);
/// ```
#[derive(Debug)]
pub struct Boxed {
    /// Not a `Box`: that would claim, wherever it is moved to, that nobody else has a pointer into it.
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory is this value's own, and the global allocator serves every thread.
unsafe impl Send for Boxed {}
// SAFETY: a shared reference gives no way to the memory.
unsafe impl Sync for Boxed {}

impl Arena<Boxed> {
    /// An arena over `bytes` bytes of the global allocator, which is asked to clear them. A little of them is used for
    /// bookkeeping: up to 14 bytes at the ends, and a byte for each page: of 4 KiB, of 1/256 of a smaller arena, or of
    /// 16 KiB of one of 64 MiB or more.
    ///
    /// ```
    /// use allocator_api2::vec::Vec;
    /// use mem_alloc_rust::Arena;
    ///
    /// let arena = Arena::boxed(1 << 20)?;
    /// let mut words: Vec<&str, _> = Vec::new_in(&arena);
    /// words.extend("one list in an arena of its own".split(' '));
    /// assert_eq!(words.len(), 8);
    /// # Ok::<(), mem_alloc_rust::ArenaError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Refuses a size that is too small for a block, or too large for a heap, and says if the global allocator has no
    /// such block.
    pub fn boxed(bytes: usize) -> Result<Self, ArenaError> {
        check_len(bytes)?;
        let out_of_memory = ArenaError::OutOfMemory { len: bytes };
        let layout = Layout::from_size_align(bytes, GRANULE).map_err(|_| out_of_memory)?;
        // SAFETY: the layout is of more than no bytes.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(out_of_memory)?;
        // SAFETY: the block is this arena's own until it is dropped, and all zero.
        Ok(unsafe { Self::of(Boxed { start, layout }, start.as_ptr(), bytes, true)? })
    }
}

impl Drop for Boxed {
    fn drop(&mut self) {
        // SAFETY: it came from the global allocator with that layout. The arena's values are gone (its contract).
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}
