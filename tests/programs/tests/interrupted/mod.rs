//! A signal handler that calls the allocator, again and again.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::alarm;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// How the sentence about a handler that interrupted the allocator begins.
pub const TOLD: &str = "re-entry: a thread that is inside the allocator called it again";

/// What the handler calls: it cannot be given anything.
static CALLED: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
static SIGNALS: AtomicU32 = AtomicU32::new(0);

/// Allocates and releases a few blocks of several sizes.
pub fn exercise(allocator: &dyn GlobalAlloc) {
    for bytes in [20, 200, 2000] {
        let layout = Layout::from_size_align(bytes, 8).unwrap();
        // SAFETY: the layouts are not of zero bytes, and each block is given back once.
        unsafe {
            let blocks = [(); 3].map(|()| allocator.alloc(layout));
            for block in blocks {
                block.write_bytes(1, bytes);
                allocator.dealloc(block, layout);
            }
        }
    }
}

extern "C" fn allocate(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: what is stored is a function of this type.
    let exercise = unsafe { std::mem::transmute::<*mut (), fn()>(CALLED.load(Ordering::Relaxed)) };
    exercise();
}

/// Goes on for long while a handler interrupts it that does the same.
pub fn interrupted(exercise: fn()) {
    /// Processor time between two signals.
    const MICROSECONDS: libc::suseconds_t = 200;
    CALLED.store(exercise as *mut (), Ordering::Relaxed);
    // A hang is a failure: nobody handles this signal.
    alarm::set(30);
    let action = SigAction::new(SigHandler::Handler(allocate), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler touches what the test is about, and atomics.
    unsafe { sigaction(Signal::SIGVTALRM, &action) }.unwrap();
    let interval = libc::timeval { tv_sec: 0, tv_usec: MICROSECONDS };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: the timer is initialised, and nobody asks for the one before.
    let result = unsafe { libc::setitimer(libc::ITIMER_VIRTUAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(result, 0);
    while SIGNALS.load(Ordering::Relaxed) < 20_000 {
        exercise();
    }
}
