//! The call stack of who asked for what was refused, or made a mistake, by std's means.
//!
//! Std takes and writes a call stack under a lock of its own, and allocates meanwhile. If that is refused, and is to be
//! followed by a call stack again, or by std's own report of it, the thread waits for itself. So what is asked for
//! [then](is_being_taken) is served by the system, as it is for a thread that panics. Where the system has nothing
//! either, no call stack is begun; and if it has nothing any more before the end, the [program ends](end_if_written).

use crate::attention::while_telling;
use crate::environment::look_at;
use crate::stderr::{Output, write_line};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::fmt::Write;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::alloc::System;
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

/// What is written instead of a call stack.
const NONE: &str = "stack backtrace: none, no memory";
const NONE_AFTER_FORK: &str =
    "stack backtrace: none, as this process was forked while another thread took one";

/// How many threads are taking or writing one, and above, in which process.
static TAKEN: AtomicU32 = AtomicU32::new(0);
const PROCESS_LOG2: u32 = 8;

/// Notes that this thread begins to take one. False if the process was forked while another thread did: nobody gives
/// back std's lock then.
fn begin() -> bool {
    let one_more = |taken| with_one_more(taken, std::process::id());
    TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
}

/// What is to be noted instead, if one more can be taken in the process of that number.
fn with_one_more(taken: u32, process: u32) -> Option<u32> {
    let process = process << PROCESS_LOG2;
    let (is_here, count) = (taken >> PROCESS_LOG2 == process >> PROCESS_LOG2, taken % (1 << PROCESS_LOG2));
    let can_be_taken = if is_here { count + 1 < 1 << PROCESS_LOG2 } else { count == 0 };
    let others = if is_here { count } else { 0 };
    can_be_taken.then_some(process | (others + 1))
}

/// Notes that this thread has ended what it has begun.
fn end() {
    TAKEN.fetch_sub(1, Ordering::Relaxed);
}

std::thread_local! {
    static IS_WRITTEN: Cell<bool> = const { Cell::new(false) };
}

/// Writes the call stack to stderr, while which the system serves this thread: std takes more than an arena may have
/// left.
#[inline(never)]
pub(crate) fn write() {
    if !system_has_enough() {
        return write_line(NONE);
    }
    if !begin() {
        return write_line(NONE_AFTER_FORK);
    }
    let mut output = Output::stderr();
    let before = IS_WRITTEN.replace(true);
    while_telling(|| {
        let _ = writeln!(output, "stack backtrace:\n{}", Backtrace::force_capture());
    });
    IS_WRITTEN.set(before);
    end();
    output.flush();
}

/// Whether the system has as much memory as a call stack takes with the names of a program of usual size, whose file
/// std reads: 64 MiB.
fn system_has_enough() -> bool {
    const ENOUGH: Layout = Layout::new::<[u64; 8 << 20]>();
    // SAFETY: the layout is of more than no bytes, and the block is given back once. It is not touched, so that it is
    // never in memory.
    unsafe {
        // A compiler may leave out a block that nobody looks at.
        let block = core::hint::black_box(System.alloc(ENOUGH));
        let has_enough = !block.is_null();
        if has_enough {
            System.dealloc(block, ENOUGH);
        }
        has_enough
    }
}

/// Ends the program if this thread is writing a call stack, for which the system has just refused memory: std would
/// tell of that, and wait for the lock under which it writes.
pub(crate) fn end_if_written() {
    if IS_WRITTEN.get() {
        write_line(NONE);
        std::process::abort();
    }
}

/// Whether the calling thread is just taking or writing a call stack: whether a function that does so is among those
/// that have called. That is how std itself finds out where a call stack begins. The same callers are gone through once
/// in a row: that takes ten times what a refusal does.
#[cfg(unix)]
#[inline(never)]
pub(crate) fn is_being_taken() -> bool {
    use crate::unwind;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_another_process_is_at_one_none_is_taken() {
        let one = with_one_more(0, 7).unwrap();
        let two = with_one_more(one, 7).unwrap();
        assert_eq!((with_one_more(one, 8), with_one_more(two, 8)), (None, None));
        assert_eq!(
            with_one_more(two - 2, 8),
            Some(one + (1 << PROCESS_LOG2)),
            "all of the other's are taken"
        );
        let most = (1..255).fold(one, |taken, _| with_one_more(taken, 7).unwrap());
        assert_eq!(with_one_more(most, 7), None);
    }
}
