//! Sending a signal again in a millisecond.

use core::ffi::c_int;

/// Whether that can be done here.
pub(super) const CAN_SEND: bool = cfg!(target_os = "linux");

/// Whether a signal comes from here.
///
/// # Safety
///
/// - It is what a signal handler was passed.
#[cfg(target_os = "linux")]
pub(super) unsafe fn has_sent(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the caller's contract.
    unsafe { (*info).si_code == libc::SI_TIMER }
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

/// Has a signal sent to this process in a millisecond. By system calls, not by the C library's functions, which may
/// allocate. A timer is not there any more in a child that was forked: then there is a new one.
#[cfg(target_os = "linux")]
pub(super) fn send_again(signal: c_int) {
    use crate::raw_lock::KernelDuration;
    use core::sync::atomic::{AtomicI32, Ordering};
    use core::time::Duration;

    #[repr(C)]
    struct Setting {
        interval: KernelDuration,
        value: KernelDuration,
    }
    /// The timer's number. Whose it was before there was one has no timer, either.
    static TIMER: AtomicI32 = AtomicI32::new(-1);

    let setting = Setting {
        interval: KernelDuration::new(Duration::ZERO),
        value: KernelDuration::new(Duration::from_millis(1)),
    };
    let nowhere = core::ptr::null_mut::<Setting>();
    let set = |timer: c_int| {
        // SAFETY: the setting is there, and nobody asks for the former one.
        unsafe { libc::syscall(libc::SYS_timer_settime, timer, 0, &raw const setting, nowhere) == 0 }
    };
    if set(TIMER.load(Ordering::Relaxed)) {
        return;
    }
    // SAFETY: all zero bytes are a valid value of the C structure.
    let mut event: libc::sigevent = unsafe { core::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = signal;
    let mut timer: c_int = -1;
    // SAFETY: both are there.
    let made = unsafe {
        libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer)
    };
    if made == 0 {
        TIMER.store(timer, Ordering::Relaxed);
        set(timer);
    }
}

/// Nothing is sent.
#[cfg(not(target_os = "linux"))]
pub(super) fn send_again(_: c_int) {}
