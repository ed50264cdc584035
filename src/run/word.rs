//! A word of a run's bitmap.

#[cfg(any(not(target_pointer_width = "64"), all(feature = "std", unix)))]
use crate::sync::in_place::AtomicU32;
#[cfg(target_pointer_width = "64")]
use crate::sync::in_place::AtomicU64;
use crate::sync::in_place::Ordering;
#[cfg(all(feature = "std", unix))]
use core::ptr::null_mut;

/// A word of a run's bitmap: a bit for each of 64 slots, set while the slot is free.
///
/// It is read and written as a relaxed atomic, or as two of 32 bits where registers are not wider, which costs
/// nothing: who gives a slot back looks whether it is in use, while the run's owner is at the bits of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(super) *mut u64);

/// A word that is not one of a run's, and zero.
#[cfg(all(feature = "std", unix))]
#[repr(C, align(8))]
pub(crate) struct EmptyWord([AtomicU32; 2]);

#[cfg(all(feature = "std", unix))]
impl EmptyWord {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU32::new(0) }; 2])
    }
}

impl Word {
    /// No word; all zero bytes.
    #[cfg(all(feature = "std", unix))]
    pub(crate) const fn null() -> Self {
        Self(null_mut())
    }

    /// A word that is not one of a run's.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn of(word: &'static EmptyWord) -> Self {
        Self(word.0.as_ptr().cast_mut().cast())
    }

    /// # Safety
    ///
    /// - It is a word of a run's bitmap, or another that nobody writes.
    #[cfg(target_pointer_width = "64")]
    #[inline(always)]
    pub(crate) unsafe fn read(self) -> u64 {
        // SAFETY: the word is there (contract), aligned to eight, and accessed like this only.
        unsafe { AtomicU64::from_ptr(self.0) }.load(Ordering::Relaxed)
    }

    /// # Safety
    ///
    /// - It is a word of a run's bitmap, and the caller is the run's owner, or has the lock of the heap that is.
    #[cfg(target_pointer_width = "64")]
    #[inline(always)]
    pub(crate) unsafe fn write(self, bits: u64) {
        // SAFETY: as for `read`; nobody else writes it.
        unsafe { AtomicU64::from_ptr(self.0) }.store(bits, Ordering::Relaxed)
    }

    /// # Safety
    ///
    /// - It is a word of a run's bitmap, or another that nobody writes.
    #[cfg(not(target_pointer_width = "64"))]
    #[inline(always)]
    pub(crate) unsafe fn read(self) -> u64 {
        // SAFETY: the caller's contract.
        let [low, high] = unsafe { self.halves() }.map(|half| u64::from(half.load(Ordering::Relaxed)));
        low | high << u32::BITS
    }

    /// # Safety
    ///
    /// - It is a word of a run's bitmap, and the caller is the run's owner, or has the lock of the heap that is.
    #[cfg(not(target_pointer_width = "64"))]
    #[inline(always)]
    pub(crate) unsafe fn write(self, bits: u64) {
        // SAFETY: the caller's contract; nobody else writes it.
        let [low, high] = unsafe { self.halves() };
        low.store(bits as u32, Ordering::Relaxed);
        high.store((bits >> u32::BITS) as u32, Ordering::Relaxed);
    }

    /// # Safety
    ///
    /// - It is a word of a run's bitmap, or another that nobody writes.
    #[cfg(not(target_pointer_width = "64"))]
    #[inline(always)]
    unsafe fn halves<'a>(self) -> [&'a AtomicU32; 2] {
        let half: *mut u32 = self.0.cast();
        // SAFETY: the word is there (contract), aligned to eight, and accessed like this only.
        unsafe { [AtomicU32::from_ptr(half), AtomicU32::from_ptr(half.wrapping_add(1))] }
    }
}
