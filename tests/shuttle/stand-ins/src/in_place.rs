//! Atomics over words of an arena. Another thread may go on in front of each operation.

use crate::point;
pub use std::sync::atomic::Ordering;
use std::sync::atomic::{self as usual, Ordering::SeqCst};

macro_rules! in_place {
    ($name:ident, $value:ty) => {
        #[derive(Debug)]
        #[repr(transparent)]
        pub struct $name(usual::$name);

        impl $name {
            pub const fn new(value: $value) -> Self {
                Self(usual::$name::new(value))
            }

            /// # Safety
            ///
            /// - As for the language's own.
            pub const unsafe fn from_ptr<'a>(value: *mut $value) -> &'a Self {
                // SAFETY: an atomic has the layout of its value, if that is aligned, which it is (contract).
                unsafe { &*value.cast() }
            }

            pub fn load(&self, _: Ordering) -> $value {
                point();
                self.0.load(SeqCst)
            }

            pub fn store(&self, value: $value, _: Ordering) {
                point();
                self.0.store(value, SeqCst);
            }
        }
    };
}

in_place!(AtomicU8, u8);
in_place!(AtomicU16, u16);
in_place!(AtomicU32, u32);
in_place!(AtomicU64, u64);
