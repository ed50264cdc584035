//! Sending a signal again in a millisecond.

use core::ffi::c_int;
#[cfg(target_os = "linux")]
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// Whether that can be done here.
pub(super) const CAN_SEND: bool = cfg!(target_os = "linux");

/// The timer's number, and the process that it is one of, written afterwards.
#[cfg(target_os = "linux")]
static TIMER: AtomicI32 = AtomicI32::new(-1);
#[cfg(target_os = "linux")]
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Has it believed that there was such a timer in another process.
#[cfg(all(test, target_os = "linux"))]
pub(super) fn pretend(timer: libc::timer_t) {
    TIMER.store(timer.addr() as c_int, Ordering::Relaxed);
    PROCESS.store(1, Ordering::Relaxed);
}

/// Its address tells the signals of this timer from those of the program's own.
#[cfg(target_os = "linux")]
static MARK: u8 = 0;

/// Whether a signal comes from here.
///
/// # Safety
///
/// - It is what a signal handler was passed.
#[cfg(target_os = "linux")]
pub(super) unsafe fn has_sent(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the caller's contract; a timer's signal has a value.
    unsafe {
        (*info).si_code == libc::SI_TIMER
            && core::ptr::eq((*info).si_value().sival_ptr.cast(), &raw const MARK)
    }
}

/// Whether a signal comes from here.
///
/// # Safety
///
/// - It is what a signal handler was passed.
#[cfg(not(target_os = "linux"))]
pub(super) unsafe fn has_sent(_: *const libc::siginfo_t) -> bool {
    false
}

/// Has a signal sent to the process in a millisecond, which is the calling one. By system calls, not by the C library's
/// functions, which may allocate. A timer is not there any more in a child that was forked, where its number may be
/// that of another one: then there is a new one.
#[cfg(target_os = "linux")]
pub(super) fn send_again(signal: c_int, process: u32) {
    use crate::raw_lock::KernelDuration;

    #[repr(C)]
    struct Setting {
        interval: KernelDuration,
        value: KernelDuration,
    }

    let setting = Setting {
        interval: KernelDuration::of_nanoseconds(0),
        value: KernelDuration::of_nanoseconds(1_000_000),
    };
    let nowhere = core::ptr::null_mut::<Setting>();
    let set = |timer: c_int| {
        // SAFETY: the setting is there, and nobody asks for the former one.
        unsafe { libc::syscall(libc::SYS_timer_settime, timer, 0, &raw const setting, nowhere) == 0 }
    };
    if PROCESS.load(Ordering::Acquire) == process && set(TIMER.load(Ordering::Relaxed)) {
        return;
    }
    // SAFETY: all zero bytes are a valid value of the C structure.
    let mut event: libc::sigevent = unsafe { core::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = signal;
    event.sigev_value.sival_ptr = (&raw const MARK).cast_mut().cast();
    let mut timer: c_int = -1;
    // SAFETY: both are there.
    let made = unsafe {
        libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer)
    };
    if made == 0 {
        TIMER.store(timer, Ordering::Relaxed);
        PROCESS.store(process, Ordering::Release);
        set(timer);
    }
}

/// Nothing is sent.
#[cfg(not(target_os = "linux"))]
pub(super) fn send_again(_: c_int, _: u32) {}
