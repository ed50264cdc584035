//! An arena over a buffer that somebody else has.

use super::Arena;
use crate::heap::RegionError;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

/// What holds the memory of an [`Arena`] over a buffer that is borrowed.
///
/// ```
/// use allocator_api2::vec::Vec;
/// use core::mem::MaybeUninit;
/// use mem_alloc_rust::{Arena, Borrowed};
///
/// /// The sum of the numbers in a text, by a list that needs no global allocator.
/// fn sum_of_numbers(text: &str, arena: &Arena<Borrowed<'_>>) -> u32 {
///     let mut numbers = Vec::new_in(arena);
///     numbers.extend(text.split(' ').filter_map(|word| word.parse::<u32>().ok()));
///     numbers.iter().sum()
/// }
///
/// let mut buffer = [MaybeUninit::uninit(); 1000];
/// let arena = Arena::over(&mut buffer).unwrap();
/// assert_eq!(sum_of_numbers("1 and 20 and 300", &arena), 321);
/// ```
#[derive(Debug)]
pub struct Borrowed<'a> {
    /// The heap has the pointer. A reference would claim, wherever the arena is moved to, that nobody has a pointer
    /// into the buffer.
    buffer: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

impl<'a> Arena<Borrowed<'a>> {
    /// An arena over a buffer: part of a static, of the stack, or of any memory that the program has. Afterwards the
    /// buffer holds anything, and nothing that was initialised.
    ///
    /// ```
    /// use allocator_api2::boxed::Box;
    /// use core::mem::MaybeUninit;
    /// use mem_alloc_rust::{Arena, RegionError};
    ///
    /// let mut buffer = [MaybeUninit::uninit(); 256];
    /// assert_eq!(Arena::over(&mut buffer[..9]).unwrap_err(), RegionError::TooSmall { len: 9 });
    /// for n in 0..10 {
    ///     let arena = Arena::over(&mut buffer).unwrap();
    ///     assert_eq!(*Box::new_in(n, &arena), n);
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Refuses a buffer that is too small for a block, or too large; see [`RegionError`].
    pub fn over(buffer: &'a mut [MaybeUninit<u8>]) -> Result<Self, RegionError> {
        let (start, len) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: the buffer is borrowed for as long as this type says, and by nobody else.
        unsafe { Self::of(Borrowed { buffer: PhantomData }, start, len, false) }
    }
}
