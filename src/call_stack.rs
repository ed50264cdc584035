//! The call stack of who asked for what was refused, or made a mistake, by std's means.
//!
//! Std takes and writes a call stack under a lock of its own, and allocates meanwhile. If that is refused, and is to be
//! followed by a call stack again, or by std's own report of it, the thread waits for itself. So what is asked for
//! [then](is_being_taken) is served by the system, as it is for a thread that panics.

use crate::attention::while_telling;
use crate::environment::look_at;
use crate::stderr::Output;
use core::fmt::Write;
use core::sync::atomic::{AtomicU8, Ordering};
use std::backtrace::Backtrace;

/// What the environment says of that: looked up once, as std does it, so that a refusal takes a bounded time.
static IS_WANTED: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;

/// Whether a report is to be followed by the call stack: as std decides it for errors.
#[inline(never)]
pub(crate) fn is_wanted() -> bool {
    let mut is_wanted = IS_WANTED.load(Ordering::Relaxed);
    if is_wanted == UNKNOWN {
        let is_on = |value: &[u8]| if value == b"0" { NO } else { YES };
        is_wanted =
            look_at(c"RUST_LIB_BACKTRACE", is_on).or_else(|| look_at(c"RUST_BACKTRACE", is_on)).unwrap_or(NO);
        IS_WANTED.store(is_wanted, Ordering::Relaxed);
    }
    is_wanted == YES
}

/// Whether a report is to be followed by the call stack, and this thread is not at one already, or may be: a panic has
/// its own.
pub(crate) fn can_be_written() -> bool {
    is_wanted() && !std::thread::panicking() && !is_being_taken()
}

/// Writes the call stack to stderr, behind a line that tells why, if that is asked for.
pub(crate) fn write_if_wanted() {
    if can_be_written() {
        write();
    }
}

/// Writes the call stack to stderr, while which the system serves this thread: std takes more than an arena may have
/// left.
#[inline(never)]
pub(crate) fn write() {
    let mut output = Output::stderr();
    while_telling(|| {
        let _ = writeln!(output, "stack backtrace:\n{}", Backtrace::force_capture());
    });
    output.flush();
}

/// Whether the calling thread is just taking or writing a call stack: whether a function that does so is among those
/// that have called. That is how std itself finds out where a call stack begins. The same callers are gone through once
/// in a row: that takes ten times what a refusal does.
#[cfg(unix)]
#[inline(never)]
pub(crate) fn is_being_taken() -> bool {
    use crate::unwind;
    use core::alloc::Layout;
    use core::fmt;

    /// Between those functions and an allocation are fewer callers.
    const MOST: u32 = 128;

    // The first one calls back for each caller, under std's lock, and that may allocate. Names of functions are found
    // outside of it when a call stack that was taken is written, and std's report of a failed allocation looks at the
    // environment.
    let functions = [
        unwind::WALK,
        <Backtrace as fmt::Display>::fmt as fn(&Backtrace, &mut fmt::Formatter<'_>) -> fmt::Result
            as *const (),
        std::alloc::handle_alloc_error as fn(Layout) -> ! as *const (),
    ];
    let is_one = &mut |caller: &unwind::Caller| functions.contains(&unwind::function_of(caller.address()));
    is_caller(MOST, is_one)
}

/// Whether somebody is among so many of those who have called.
#[cfg(all(target_arch = "x86_64", any(target_os = "linux", target_os = "freebsd", target_vendor = "apple")))]
fn is_caller(most: u32, is_it: &mut dyn FnMut(&crate::unwind::Caller) -> bool) -> bool {
    use crate::unwind::last_callers::LastCallers;

    std::thread_local! {
        // A program that lives with refusals is refused by the same callers many times. (Where an access to this would
        // allocate, the callers are not remembered.)
        static LAST: LastCallers = const { LastCallers::new() };
    }

    LAST.with(|last| last.include(most, is_it))
}

/// Whether somebody is among so many of those who have called.
#[cfg(all(
    unix,
    not(all(
        target_arch = "x86_64",
        any(target_os = "linux", target_os = "freebsd", target_vendor = "apple")
    ))
))]
fn is_caller(most: u32, is_it: &mut dyn FnMut(&crate::unwind::Caller) -> bool) -> bool {
    crate::unwind::is_caller(most, is_it)
}

/// There is no unwinder that could be asked.
#[cfg(not(unix))]
pub(crate) fn is_being_taken() -> bool {
    false
}
