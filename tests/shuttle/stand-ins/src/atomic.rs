//! Atomics of statics. Another thread may go on in front of each operation, and what is stored may come late.

use crate::{buffer, point};
use std::sync::atomic::{self as usual, Ordering::SeqCst};
pub use std::sync::atomic::{Ordering, compiler_fence};

/// A fence: what this thread has stored arrives.
pub fn fence(_: Ordering) {
    point();
    buffer::flush_own();
}

/// A type of atomics: of which one it is made, of which type its values are, and how a word becomes one of them.
macro_rules! atomic {
    ($name:ident $(<$parameter:ident>)?, $value:ty, $to_word:expr, $of_word:expr) => {
        #[derive(Debug)]
        #[repr(transparent)]
        pub struct $name $(<$parameter>)? (usual::$name $(<$parameter>)?);

        impl $(<$parameter>)? $name $(<$parameter>)? {
            pub const fn new(value: $value) -> Self {
                Self(usual::$name::new(value))
            }

            fn address(&self) -> usize {
                std::ptr::from_ref(self).expose_provenance()
            }

            pub fn load(&self, _: Ordering) -> $value {
                point();
                buffer::own(self.address()).map_or_else(|| self.0.load(SeqCst), $of_word)
            }

            pub fn store(&self, value: $value, _: Ordering) {
                unsafe fn arrive $(<$parameter>)? (address: usize, word: u64) {
                    let atomic = std::ptr::with_exposed_provenance::<$name $(<$parameter>)?>(address);
                    // SAFETY: the contract of `buffer::store`.
                    unsafe { (*atomic).0.store(($of_word)(word), SeqCst) }
                }
                point();
                // SAFETY: it is an atomic of that type, in a static.
                unsafe { buffer::store(self.address(), ($to_word)(value), arrive $(::<$parameter>)?) }
            }

            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                _: Ordering,
                _: Ordering,
            ) -> Result<$value, $value> {
                point();
                buffer::flush_own();
                self.0.compare_exchange(current, new, SeqCst, SeqCst)
            }
        }
    };
}

/// One of its atomic read-modify-writes.
macro_rules! update {
    ($name:ident, $value:ty, $($method:ident),+) => {
        impl $name {
            $(pub fn $method(&self, operand: $value, _: Ordering) -> $value {
                point();
                buffer::flush_own();
                self.0.$method(operand, SeqCst)
            })+
        }
    };
}

atomic!(AtomicBool, bool, u64::from, |word: u64| word != 0);
atomic!(AtomicU8, u8, u64::from, |word: u64| word as u8);
atomic!(AtomicU16, u16, u64::from, |word: u64| word as u16);
atomic!(AtomicU32, u32, u64::from, |word: u64| word as u32);
atomic!(AtomicUsize, usize, |value: usize| value as u64, |word: u64| word as usize);
atomic!(AtomicPtr<T>, *mut T, |value: *mut T| value.expose_provenance() as u64, |word: u64| {
    std::ptr::with_exposed_provenance_mut(word as usize)
});
update!(AtomicBool, bool, swap);
update!(AtomicU8, u8, fetch_and, fetch_or);
update!(AtomicU32, u32, fetch_add, fetch_sub);
update!(AtomicUsize, usize, fetch_add, fetch_sub);
