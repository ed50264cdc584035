//! Reports of a running program, when a signal comes.
//!
//! The handler may have interrupted anything, the allocator included. It waits for nobody: if it cannot look at the
//! allocator at once, because its own thread or another one is at it, it has the same signal sent again in a
//! millisecond, and returns. What it is told then is counted: each signal of somebody else's gets its report.
//!
//! It allocates nothing, takes no lock but the allocator's, which it only tries, and keeps the error number. What it
//! needs of memory is static, because the stack for signals may be small.

use super::timer;
use super::{Look, Seen};
use crate::raw_lock::preserving_errno;
use crate::stderr::Output;
use crate::text::fill;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

/// So often it is tried to look at the allocator, a millisecond apart, before a report has to do without.
const ATTEMPTS: u32 = 1000;

/// What a signal is to report on, and where.
struct Installed {
    allocator: &'static (dyn Look + Sync),
    to: OwnedFd,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// How many reports are owed, and how many were begun.
static OWED: AtomicU32 = AtomicU32::new(0);
static BEGUN: AtomicUsize = AtomicUsize::new(0);

/// How often it was tried in vain.
static FAILED: AtomicU32 = AtomicU32::new(0);

/// What the handler works with.
struct Desk {
    is_taken: AtomicBool,
    seen: UnsafeCell<Seen>,
    output: UnsafeCell<Option<Output>>,
}

// SAFETY: what is on the desk is touched by whoever has taken it.
unsafe impl Sync for Desk {}

static DESK: Desk = Desk {
    is_taken: AtomicBool::new(false),
    seen: UnsafeCell::new(Seen::NOTHING),
    output: UnsafeCell::new(None),
};

/// Has a signal report on an allocator from now on.
///
/// # Errors
///
/// There is one already in this process, or the system says something against it.
pub(crate) fn install(allocator: &'static (dyn Look + Sync), signal: c_int, to: OwnedFd) -> io::Result<()> {
    INSTALLED.set(Installed { allocator, to }).map_err(|_| io::Error::from(io::ErrorKind::AlreadyExists))?;
    // SAFETY: all zero bytes are a valid value of the C structure.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handle as *const () as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the structure is there; the handler does what a handler may do only, and never unwinds.
    let outcome = unsafe {
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, core::ptr::null_mut())
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The signal's handler.
extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the system passes on where the signal comes from.
    let is_own = unsafe { timer::has_sent(info) };
    preserving_errno(|| {
        if !is_own {
            OWED.fetch_add(1, Ordering::Relaxed);
        }
        if !pay() {
            timer::send_again(signal);
        }
    });
}

/// Writes the reports that are owed. False if that is to be tried again.
fn pay() -> bool {
    let Some(installed) = INSTALLED.get() else { return true };
    while OWED.load(Ordering::Relaxed) > 0 {
        if DESK.is_taken.swap(true, Ordering::Acquire) {
            // The handler runs in another thread, too.
            return false;
        }
        let is_paid = report(installed);
        DESK.is_taken.store(false, Ordering::Release);
        if !is_paid {
            return false;
        }
    }
    true
}

/// Writes one report, if one is owed still and the allocator can be looked at, or could not for too long. The caller
/// has the desk.
fn report(installed: &Installed) -> bool {
    if OWED.load(Ordering::Relaxed) == 0 {
        return true;
    }
    // SAFETY: the caller has taken the desk.
    let (seen, output) = unsafe { (&mut *DESK.seen.get(), &mut *DESK.output.get()) };
    let is_seen = installed.allocator.try_look(seen);
    if !is_seen && timer::CAN_SEND && FAILED.fetch_add(1, Ordering::Relaxed) < ATTEMPTS {
        return false;
    }
    FAILED.store(0, Ordering::Relaxed);
    OWED.fetch_sub(1, Ordering::Relaxed);
    let number = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
    let output = output.insert(Output::to(installed.to.as_fd()));
    fill(&mut |text| output.write(text), "mem_alloc_rust: report ^ of process ^\n", &[number, process()]);
    if is_seen {
        seen.write_to(output);
    } else {
        let (live, peak) = installed.allocator.figures();
        fill(
            &mut |text| output.write(text),
            "live     &, at most @\nThe allocator was in use all the time: this is what is known without its lock.\n",
            &[live, peak],
        );
    }
    fill(&mut |text| output.write(text), "mem_alloc_rust: end of report ^\n", &[number]);
    output.flush();
    true
}

fn process() -> usize {
    // SAFETY: the call has no conditions.
    usize::try_from(unsafe { libc::getpid() }).unwrap_or(0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;
    use std::string::String;
    use std::time::{Duration, Instant};
    use std::vec::Vec;

    /// An allocator at which somebody is all the time, but for a moment.
    struct Busy {
        tried: AtomicU32,
    }

    impl Look for Busy {
        fn look(&self, _: &mut Seen) {}

        fn try_look(&self, seen: &mut Seen) -> bool {
            seen.stats.live_bytes = 1;
            self.tried.fetch_add(1, Ordering::Relaxed) == 7
        }

        fn figures(&self) -> (usize, usize) {
            (12, 3 << 10)
        }
    }

    #[test]
    fn an_allocator_that_cannot_be_looked_at_is_reported_without() {
        static BUSY: Busy = Busy { tried: AtomicU32::new(0) };
        let (reports, to) = UnixStream::pair().unwrap();
        install(&BUSY, libc::SIGUSR2, to.into()).unwrap();
        let (_, other) = UnixStream::pair().unwrap();
        let again = install(&BUSY, libc::SIGUSR2, other.into());
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let mut lines = BufReader::new(reports).lines().map(Result::unwrap);
        let mut report = || {
            // SAFETY: the signal has a handler, which leaves the error number as it is.
            unsafe {
                *libc::__errno_location() = libc::EDOM;
                libc::raise(libc::SIGUSR2);
                assert_eq!(*libc::__errno_location(), libc::EDOM);
            }
            let lines = lines.by_ref();
            let first = lines.next().unwrap();
            let rest: Vec<String> =
                lines.take_while(|line| !line.starts_with("mem_alloc_rust: end")).collect();
            (first, rest)
        };
        let (first, rest) = report();
        assert!(first.starts_with("mem_alloc_rust: report 1 of process "), "{first}");
        assert!(rest.len() > 6 && rest[1].starts_with("live            1 B"), "{rest:?}");
        assert_eq!(BUSY.tried.load(Ordering::Relaxed), 8, "the eighth attempt is the first that may look");
        let begun = Instant::now();
        let (first, rest) = report();
        assert!(first.starts_with("mem_alloc_rust: report 2 of process "), "{first}");
        assert_eq!(
            rest,
            [
                "live           12 B, at most 3.0 KiB",
                "The allocator was in use all the time: this is what is known without its lock."
            ]
        );
        assert!(begun.elapsed() > Duration::from_millis(u64::from(ATTEMPTS) / 2));
        assert_eq!(BUSY.tried.load(Ordering::Relaxed), 8 + ATTEMPTS + 1);
    }
}
