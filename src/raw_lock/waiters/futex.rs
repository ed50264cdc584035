//! Waiters that sleep on a futex.

use crate::raw_lock::duration::KernelDuration;
use crate::raw_lock::errno::preserving_errno;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::{futex, hint, unless_explored};
use core::time::Duration;

/// How often a waiter looks at the lock before it lets other threads run.
///
/// The critical sections are some tens of nanoseconds long: a holder that runs is done by then, and one that
/// does not run needs the processor more than the waiter.
const SPINS: u32 = unless_explored(100, 1) as u32;

/// The longest sleep.
static NAP: KernelDuration = KernelDuration::new(NAP_DURATION);
const NAP_DURATION: Duration = Duration::from_micros(500);

/// The waiters of one lock.
pub(in super::super) struct Waiters {
    /// How many sleep, or are about to.
    sleepers: AtomicU32,
    /// What they sleep on: counts how often somebody was woken.
    wakes: AtomicU32,
    /// Somebody was woken and has not run yet. To wake another one at each release would cost a system call
    /// each.
    waking: AtomicBool,
}

impl Waiters {
    /// Nobody waits; all zero bytes.
    pub(in super::super) const fn none() -> Self {
        Self { sleepers: AtomicU32::new(0), wakes: AtomicU32::new(0), waking: AtomicBool::new(false) }
    }

    /// Wakes a sleeper, if there is one. To be called when the lock was given back.
    #[inline(always)]
    pub(in super::super) fn wake_one(&self) {
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            self.wake();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        if !self.waking.swap(true, Ordering::Relaxed) {
            self.wakes.fetch_add(1, Ordering::Release);
            preserving_errno(|| {
                if futex::wake_one(&self.wakes) == 0 {
                    // The sleeper woke by itself meanwhile.
                    self.waking.store(false, Ordering::Relaxed);
                }
            });
        }
    }

    /// Forgets all sleepers, because they are threads of another process.
    pub(in super::super) fn forget(&self) {
        self.sleepers.store(0, Ordering::Relaxed);
        self.waking.store(false, Ordering::Relaxed);
    }

    /// Looks, and sleeps between looks, until `done` is true.
    pub(in super::super) fn wait_until(&self, mut done: impl FnMut() -> bool) {
        loop {
            for _ in 0..SPINS {
                if done() {
                    return;
                }
                hint::spin_loop();
            }
            let wakes = self.wakes.load(Ordering::Acquire);
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            let is_done = done();
            if !is_done {
                self.sleep(wakes);
            }
            self.sleepers.fetch_sub(1, Ordering::Relaxed);
            self.waking.store(false, Ordering::Relaxed);
            if is_done {
                return;
            }
        }
    }

    /// Sleeps until somebody is woken, unless that happened since `wakes` was read.
    fn sleep(&self, wakes: u32) {
        preserving_errno(|| futex::wait(&self.wakes, wakes, &NAP));
    }
}

#[cfg(test)]
pub(in crate::raw_lock) mod tests {
    use super::*;
    use core::time::Duration;
    use std::thread;
    use std::time::Instant;

    impl Waiters {
        /// As if a thread slept.
        pub(in crate::raw_lock) fn pretend(&self) {
            self.sleepers.store(1, Ordering::Relaxed);
        }

        pub(in crate::raw_lock) fn sleepers(&self) -> u32 {
            self.sleepers.load(Ordering::Relaxed)
        }

        pub(in crate::raw_lock) fn wakes(&self) -> u32 {
            self.wakes.load(Ordering::Relaxed)
        }
    }

    /// How a sleep on the futex ended.
    #[derive(Debug, PartialEq, Eq)]
    enum End {
        Woken,
        /// Somebody was woken before the sleep began.
        TooLate,
        TimedOut,
    }

    /// Sleeps as a waiter does, but for so long that nothing but being woken ends it in time.
    fn sleep_long(waiters: &Waiters) -> End {
        let long = libc::timespec { tv_sec: 10, tv_nsec: 0 };
        let wakes = waiters.wakes.load(Ordering::Acquire);
        waiters.sleepers.fetch_add(1, Ordering::SeqCst);
        let command = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the word and the time are there; nothing else is touched.
        let result = unsafe {
            libc::syscall(libc::SYS_futex, waiters.wakes.as_ptr(), command, wakes, &raw const long)
        };
        let error = std::io::Error::last_os_error();
        waiters.sleepers.fetch_sub(1, Ordering::Relaxed);
        waiters.waking.store(false, Ordering::Relaxed);
        match (result, error.raw_os_error()) {
            (0, _) => End::Woken,
            (_, Some(libc::EAGAIN)) => End::TooLate,
            (_, Some(libc::ETIMEDOUT)) => End::TimedOut,
            _ => panic!("{error}"),
        }
    }

    /// Waits until that many sleep, or are about to.
    fn await_sleepers(waiters: &Waiters, number: u32) {
        while waiters.sleepers() < number {
            thread::yield_now();
        }
    }

    #[test]
    fn a_sleeper_is_woken_by_whoever_gives_the_lock_back() {
        let waiters = &Waiters::none();
        let end = || {
            thread::scope(|scope| {
                let sleeper = scope.spawn(|| sleep_long(waiters));
                await_sleepers(waiters, 1);
                // Most likely it sleeps by then.
                thread::sleep(Duration::from_millis(5));
                waiters.wake_one();
                sleeper.join().unwrap()
            })
        };
        let mut ends = core::iter::repeat_with(end).take(1000);
        assert_eq!(ends.find(|end| *end != End::TooLate), Some(End::Woken));
    }

    #[test]
    fn the_next_sleeper_is_woken_when_the_last_one_has_run() {
        let waiters = &Waiters::none();
        thread::scope(|scope| {
            let sleepers = [(); 2].map(|()| scope.spawn(|| sleep_long(waiters)));
            await_sleepers(waiters, 2);
            thread::sleep(Duration::from_millis(5));
            while sleepers.iter().any(|sleeper| !sleeper.is_finished()) {
                waiters.wake_one();
                thread::yield_now();
            }
            for sleeper in sleepers {
                assert_ne!(sleeper.join().unwrap(), End::TimedOut);
            }
        });
        assert_eq!(waiters.sleepers(), 0);
    }

    #[test]
    fn a_waiter_sleeps_where_it_is_woken() {
        const PATIENCE: Duration = Duration::from_secs(10);
        let (waiters, is_done) = (&Waiters::none(), &AtomicBool::new(false));
        let was_woken = thread::scope(|scope| {
            scope.spawn(|| waiters.wait_until(|| is_done.load(Ordering::Relaxed)));
            let start = Instant::now();
            let command = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: the word is there; nothing else is touched.
            let wake = || unsafe { libc::syscall(libc::SYS_futex, waiters.wakes.as_ptr(), command, 1) };
            // Now and then it is between two sleeps.
            let mut was_woken = false;
            while !was_woken && start.elapsed() < PATIENCE {
                thread::yield_now();
                was_woken = wake() == 1;
            }
            is_done.store(true, Ordering::Relaxed);
            was_woken
        });
        assert!(was_woken);
    }

    #[test]
    fn nobody_is_woken_where_nobody_sleeps() {
        let waiters = Waiters::none();
        waiters.wake_one();
        assert_eq!(waiters.wakes(), 0);
        // One that was about to sleep, and does not any more.
        waiters.pretend();
        waiters.wake_one();
        assert_eq!((waiters.wakes(), waiters.waking.load(Ordering::Relaxed)), (1, false));
        waiters.waking.store(true, Ordering::Relaxed);
        waiters.wake_one();
        assert_eq!(waiters.wakes(), 1, "one at a time");
        waiters.forget();
        assert_eq!((waiters.sleepers(), waiters.waking.load(Ordering::Relaxed)), (0, false));
    }

    #[test]
    fn who_waits_for_long_sleeps_meanwhile() {
        const LONG: Duration = Duration::from_millis(200);
        let waiters = Waiters::none();
        let (start, mut looks) = (Instant::now(), 0);
        waiters.wait_until(|| {
            looks += 1;
            start.elapsed() > LONG
        });
        // Each round is a nap at least, and nobody cuts it short.
        let naps = (LONG.as_nanos() / NAP_DURATION.as_nanos()) as u32;
        let most = (naps + 1) * (SPINS + 1);
        assert!((SPINS..=most).contains(&looks), "{looks} looks in {LONG:?}");
        assert_eq!(waiters.sleepers(), 0);
    }
}
