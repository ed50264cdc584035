//! A memory barrier for all threads of the process at once, so that the threads themselves need none.
//!
//! A cache's owner announces itself and then looks whether somebody drains; who drains announces itself and
//! then looks for the owner. One of the two has to see the other, for which each needs a full barrier between
//! its store and its load. Linux lets the rare side pay for both: `membarrier` interrupts every thread of the
//! process that runs.

use crate::fault;
use crate::raw_lock::preserving_errno;
use crate::text::put;
use core::sync::atomic::{AtomicU8, Ordering, fence};

const UNKNOWN: u8 = 0;
const AVAILABLE: u8 = 1;
const MISSING: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Whether [`everywhere`] is a barrier for all threads. To be asked before the first cache exists: asking
/// registers the process with the kernel, which takes milliseconds once there are several threads.
pub(super) fn is_available() -> bool {
    if STATE.load(Ordering::Relaxed) == UNKNOWN {
        STATE.store(if register() { AVAILABLE } else { MISSING }, Ordering::Relaxed);
    }
    STATE.load(Ordering::Relaxed) == AVAILABLE
}

/// A full barrier of this thread, and of all others where that is [available](is_available).
pub(super) fn everywhere() {
    fence(Ordering::SeqCst);
    let mut is_refused = false;
    if is_available() {
        preserving_errno(|| is_refused = !expedited());
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

#[cfg(all(target_os = "linux", not(miri)))]
fn membarrier(command: libc::c_int) -> libc::c_long {
    // SAFETY: the call takes two numbers and touches no memory of the caller's.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
}

#[cfg(all(target_os = "linux", not(miri)))]
fn register() -> bool {
    membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0
}

#[cfg(all(target_os = "linux", not(miri)))]
fn expedited() -> bool {
    membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn register() -> bool {
    false
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn expedited() -> bool {
    false
}
