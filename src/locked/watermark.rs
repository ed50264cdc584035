//! A number of bytes in use at which a function of the program's is called, once, so that it can shed load.
//!
//! Nobody looks for it on the shortest ways. It is part of what is asked there anyhow: whether
//! [anything is to be looked at](crate::attention).

use super::{Locked, is_in_distress};
use crate::attention;
use crate::source::Source;
use core::cell::Cell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use lock_api::RawMutex;

/// Where there is none.
const NONE: usize = 0;

std::thread_local! {
    // Initialised by a constant and without a destructor: an access is a plain load.
    static IS_CALLING: Cell<bool> = const { Cell::new(false) };
}

/// A watermark, or none; all zero bytes then.
pub(super) struct Watermark {
    bytes: AtomicUsize,
    /// The function as a pointer, once there was a watermark.
    function: AtomicPtr<()>,
}

impl Watermark {
    pub(super) const fn none() -> Self {
        Self { bytes: AtomicUsize::new(NONE), function: AtomicPtr::new(null_mut()) }
    }

    fn set(&self, bytes: usize) {
        let before = self.bytes.swap(bytes, Ordering::Release);
        match (before == NONE, bytes == NONE) {
            (true, false) => attention::want(),
            (false, true) => attention::dismiss(),
            _ => {}
        }
    }

    /// Whether so many bytes are more than it allows.
    #[inline]
    fn is_passed_by(&self, bytes: usize) -> bool {
        let most = self.bytes.load(Ordering::Relaxed);
        most != NONE && bytes > most
    }

    /// Calls the function, if nobody was faster, and not within itself: it may have set a watermark that is passed
    /// already, and allocates. Never unwinds.
    #[cold]
    #[inline(never)]
    extern "C" fn call(&self, bytes: usize) {
        if IS_CALLING.replace(true) {
            return;
        }
        if self.bytes.swap(NONE, Ordering::Acquire) != NONE {
            attention::dismiss();
            // SAFETY: whoever sets a watermark has stored a function of exactly this type before.
            let function =
                unsafe { core::mem::transmute::<*mut (), fn(usize)>(self.function.load(Ordering::Relaxed)) };
            function(bytes);
        }
        IS_CALLING.set(false);
    }
}

impl<S: Source, R: RawMutex> Locked<S, R> {
    /// Has a function called, once, when a request would bring the bytes in use beyond `bytes`, so that the program can
    /// shed load before anything is refused. It is told [how many](Self::live_bytes) are in use. To be called again, it
    /// is set again, which the function may do itself: what that allocates afterwards does not call it, nor that of
    /// another allocator, whose next request is looked at instead. One of `usize::MAX` bytes is never called.
    ///
    /// The function is called by the thread whose request it is, before that is served, and outside of the lock. It may
    /// allocate and release. It must not unwind; if it does, the program ends.
    ///
    /// A request that a free slot of its size serves at once is not looked at. So a program may have so much more in
    /// use than `bytes` as there are such slots ([`Stats::free_slot_bytes`](crate::Stats::free_slot_bytes)); the next
    /// request that takes new memory is. As long as one is set, requests that are not served by a slot take some more
    /// instructions.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, Locked};
    /// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    ///
    /// #[global_allocator]
    /// static A: Locked<FreeList> = Locked::new();
    ///
    /// static SEEN: AtomicUsize = AtomicUsize::new(0);
    ///
    /// fn main() {
    ///     A.set_watermark(600 << 10, |live_bytes| SEEN.store(live_bytes, Relaxed));
    ///     let first = vec![1u8; 400 << 10];
    ///     assert_eq!(SEEN.load(Relaxed), 0);
    ///     let second = vec![1u8; 300 << 10];
    ///     // That was told before it was served.
    ///     assert!((first.len()..600 << 10).contains(&SEEN.load(Relaxed)));
    ///     assert!(A.live_bytes() > first.len() + second.len());
    /// }
    /// ```
    pub fn set_watermark(&self, bytes: usize, function: fn(usize)) {
        self.watermark.set(NONE);
        self.watermark.function.store(function as *mut (), Ordering::Relaxed);
        self.watermark.set(if bytes == usize::MAX { NONE } else { bytes.max(1) });
    }

    /// What a request for so many bytes more is to do when something is [to be looked at](attention): the watermark's
    /// function is called, if it is time. Returns whether the thread goes on in the usual way, and is not served by the
    /// system. Not to be called with the lock.
    #[cold]
    #[inline(never)]
    pub(crate) fn goes_on(&self, more: usize) -> bool {
        if is_in_distress() {
            return false;
        }
        let live = self.live_bytes();
        if self.watermark.is_passed_by(live.saturating_add(more)) {
            self.watermark.call(live);
        }
        true
    }
}
