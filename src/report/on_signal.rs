//! Reports of a running program, when a signal comes.
//!
//! The handler may have interrupted anything, the allocator included. It waits for nobody: if it cannot look at the
//! allocator at once, because its own thread or another one is at it, it has the same signal sent again in a
//! millisecond, and returns. What it is told then is counted: each signal of somebody else's gets its report.
//!
//! It allocates nothing, takes no lock but the allocator's, which it only tries, and keeps the error number. What it
//! needs of memory is static, because the stack for signals may be small.
//!
//! A child that was forked begins with nothing owed, and with what another thread of its parent was at.

use super::timer;
use super::{Look, Seen};
use crate::raw_lock::preserving_errno;
use crate::stderr::Output;
use crate::text::fill;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, OnceLock};

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

/// The process that these are about.
static PROCESS: AtomicU32 = AtomicU32::new(NONE);

/// The number of no process.
const NONE: u32 = 0;

/// What the handler works with.
struct Desk {
    /// The process of which a thread has taken it.
    taken_by: AtomicU32,
    seen: UnsafeCell<Seen>,
    output: UnsafeCell<Output>,
}

// SAFETY: what is on the desk is touched by whoever has taken it.
unsafe impl Sync for Desk {}

impl Desk {
    /// Takes it, if nobody of this process has it. Who took it in another one is not here.
    fn take(&self, process: u32) -> bool {
        let before = self.taken_by.load(Ordering::SeqCst);
        before != process
            && self.taken_by.compare_exchange(before, process, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

static DESK: Desk = Desk {
    taken_by: AtomicU32::new(NONE),
    seen: UnsafeCell::new(Seen::NOTHING),
    output: UnsafeCell::new(Output::stderr()),
};

/// Has a signal report on an allocator from now on.
///
/// # Errors
///
/// There is one already in this process, or the system says something against it.
pub(crate) fn install(allocator: &'static (dyn Look + Sync), signal: c_int, to: OwnedFd) -> io::Result<()> {
    /// One at a time.
    static AT_IT: Mutex<()> = Mutex::new(());

    let _turn = AT_IT.lock();
    if INSTALLED.get().is_some() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // SAFETY: all zero bytes are a valid value of the C structure.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handle as *const () as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the structure is there; the handler does what a handler may do only, and never unwinds.
    let outcome = unsafe {
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, core::ptr::null_mut())
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    let _ = INSTALLED.set(Installed { allocator, to });
    Ok(())
}

/// The signal's handler.
extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // What comes before all is installed is not reported.
    let Some(installed) = INSTALLED.get() else { return };
    // SAFETY: the system passes on where the signal comes from.
    let is_own = unsafe { timer::has_sent(info) };
    preserving_errno(|| {
        let process = std::process::id();
        if PROCESS.swap(process, Ordering::Relaxed) != process {
            OWED.store(0, Ordering::Relaxed);
            FAILED.store(0, Ordering::Relaxed);
        }
        if !is_own {
            OWED.fetch_add(1, Ordering::SeqCst);
        }
        if !pay(installed, process) {
            timer::send_again(signal, process);
        }
    });
}

/// Writes the reports that are owed. False if that is to be tried again.
///
/// What is owed is written before the desk is looked at, and looked at after the desk was left: one of two threads sees
/// the other, and nobody has to wait for one that can write no more.
fn pay(installed: &Installed, process: u32) -> bool {
    while OWED.load(Ordering::SeqCst) > 0 {
        if !DESK.take(process) {
            // The handler runs in another thread, too, which will find what is owed.
            return true;
        }
        let is_paid = report(installed, process);
        DESK.taken_by.store(NONE, Ordering::SeqCst);
        if !is_paid {
            return false;
        }
    }
    true
}

/// Writes one report, if one is owed still and the allocator can be looked at, or could not for too long. The caller
/// has the desk.
fn report(installed: &Installed, process: u32) -> bool {
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
    output.begin(installed.to.as_fd());
    fill(output, "mem_alloc_rust: report ^ of process ^\n", &[number, process as usize]);
    if is_seen {
        seen.write_to(output);
    } else {
        let (live, peak) = installed.allocator.figures();
        fill(
            output,
            "live     &, at most @\nThe allocator was in use all the time: this is what is known without its lock.\n",
            &[live, peak],
        );
    }
    fill(output, "mem_alloc_rust: end of report ^\n", &[number]);
    output.flush();
    true
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
        let refused = install(&BUSY, libc::SIGKILL, to.try_clone().unwrap().into());
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        install(&BUSY, libc::SIGUSR2, to.into()).unwrap();
        let (_, other) = UnixStream::pair().unwrap();
        let again = install(&BUSY, libc::SIGUSR2, other.into());
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let mut lines = BufReader::new(reports).lines().map(Result::unwrap);
        let raise = || {
            // SAFETY: the signal has a handler, which leaves the error number as it is.
            unsafe {
                *libc::__errno_location() = libc::EDOM;
                libc::raise(libc::SIGUSR2);
                assert_eq!(*libc::__errno_location(), libc::EDOM);
            }
        };
        let mut report = |ask: &dyn Fn()| {
            ask();
            let lines = lines.by_ref();
            let first = lines.next().unwrap();
            let rest: Vec<String> =
                lines.take_while(|line| !line.starts_with("mem_alloc_rust: end")).collect();
            (first, rest)
        };
        let (first, rest) = report(&raise);
        assert!(first.starts_with("mem_alloc_rust: report 1 of process "), "{first}");
        assert!(rest.len() > 6 && rest[1].starts_with("live            1 B"), "{rest:?}");
        assert_eq!(BUSY.tried.load(Ordering::Relaxed), 8, "the eighth attempt is the first that may look");
        let begun = Instant::now();
        let (first, rest) = report(&raise);
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

        // As in a child that was forked while another thread was about to report.
        BUSY.tried.store(7, Ordering::Relaxed);
        OWED.store(3, Ordering::Relaxed);
        PROCESS.store(1, Ordering::Relaxed);
        DESK.taken_by.store(1, Ordering::Relaxed);
        assert!(report(&raise).0.starts_with("mem_alloc_rust: report 3 "));
        assert_eq!(OWED.load(Ordering::Relaxed), 0);

        // The child's timer has the number that one of its parent's had.
        let (timer, hour) = timer_of_an_hour();
        BUSY.tried.store(0, Ordering::Relaxed);
        timer::pretend(timer);
        assert!(report(&raise).0.starts_with("mem_alloc_rust: report 4 "));
        assert!(left(timer) > hour / 2);

        // A timer of the program's own may ask for reports.
        BUSY.tried.store(7, Ordering::Relaxed);
        let ask = || set(timer, libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 });
        assert!(report(&ask).0.starts_with("mem_alloc_rust: report 5 "));
    }

    fn set(timer: libc::timer_t, after: libc::timespec) {
        let setting =
            libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: after };
        // SAFETY: the timer is there, and nobody asks for the former setting.
        let outcome = unsafe { libc::timer_settime(timer, 0, &raw const setting, core::ptr::null_mut()) };
        assert_eq!(outcome, 0);
    }

    /// A timer that sends the signal in an hour, and that in seconds.
    fn timer_of_an_hour() -> (libc::timer_t, libc::time_t) {
        let hour = 3600;
        let mut timer: libc::timer_t = core::ptr::null_mut();
        // SAFETY: all zero bytes are a valid value of the C structure; both are there.
        unsafe {
            let mut event: libc::sigevent = core::mem::zeroed();
            event.sigev_notify = libc::SIGEV_SIGNAL;
            event.sigev_signo = libc::SIGUSR2;
            assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer), 0);
        }
        set(timer, libc::timespec { tv_sec: hour, tv_nsec: 0 });
        (timer, hour)
    }

    /// Seconds until a timer sends its signal.
    fn left(timer: libc::timer_t) -> libc::time_t {
        // SAFETY: the timer is there, and all zero bytes are a valid value of the C structure.
        unsafe {
            let mut setting: libc::itimerspec = core::mem::zeroed();
            assert_eq!(libc::timer_gettime(timer, &raw mut setting), 0);
            setting.it_value.tv_sec
        }
    }
}
