//! A memory barrier for all threads of the process at once, so that the threads themselves need none.
//!
//! A cache's owner announces itself and then looks whether somebody drains; who drains announces itself and
//! then looks for the owner. One of the two has to see the other, for which each needs a full barrier between
//! its store and its load. Linux lets the rare side pay for both: `membarrier` interrupts every thread of the
//! process that runs.

use crate::fault;
use crate::raw_lock::preserving_errno;
use crate::sync::atomic::{AtomicU8, Ordering, fence};
use crate::sync::{membarrier, process_wide};
use crate::text::put;

const UNKNOWN: u8 = 0;
const AVAILABLE: u8 = 1;
const MISSING: u8 = 2;

process_wide! {
    static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);
}

/// Whether [`everywhere`] is a barrier for all threads. To be asked before the first cache exists: asking
/// registers the process with the kernel, which takes milliseconds once there are several threads.
pub(super) fn is_available() -> bool {
    if STATE.load(Ordering::Relaxed) == UNKNOWN {
        STATE.store(if membarrier::register() { AVAILABLE } else { MISSING }, Ordering::Relaxed);
    }
    STATE.load(Ordering::Relaxed) == AVAILABLE
}

/// A full barrier of this thread, and of all others where that is [available](is_available).
pub(super) fn everywhere() {
    fence(Ordering::SeqCst);
    let mut is_refused = false;
    if is_available() {
        preserving_errno(|| is_refused = !membarrier::expedited());
    }
    if is_refused {
        // The kernel takes a registered process at its word, unless a filter for system calls was installed
        // later. Going on would be a data race.
        fault::abort_with(|out| {
            put(out, "mem_alloc_rust: the kernel refuses membarrier, which it granted before")
        });
    }
    fence(Ordering::SeqCst);
}
