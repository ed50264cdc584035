//! Who called whom: the return addresses on a thread's stack.

use crate::raw_lock::preserving_errno;
use crate::trace::CallSites;
use crate::unwind;
use core::sync::atomic::{AtomicU8, Ordering};

/// The most return addresses of a call site; of deeper ones the innermost are taken.
pub(super) const MAX_DEPTH: usize = 128;

/// How return addresses are found: none, by frame pointers, by the unwinder.
static METHOD: AtomicU8 = AtomicU8::new(NONE);
const NONE: u8 = 0;
const FRAME_POINTERS: u8 = 1;
const UNWIND: u8 = 2;

/// From here on call sites are found that way.
pub(super) fn prepare(method: CallSites) {
    let method = match method {
        CallSites::None => NONE,
        CallSites::FramePointers => FRAME_POINTERS,
        CallSites::Unwound => UNWIND,
    };
    METHOD.store(method, Ordering::Relaxed);
}

/// Whether call sites are wanted.
#[inline]
pub(super) fn is_wanted() -> bool {
    METHOD.load(Ordering::Relaxed) != NONE
}

/// Where a thread's stack lies: frame pointers that lead elsewhere are none.
pub(super) struct Stack {
    start: usize,
    end: usize,
}

impl Stack {
    /// No stack: nothing is found on it.
    pub(super) const fn unknown() -> Self {
        Self { start: 0, end: 0 }
    }

    /// The calling thread's.
    pub(super) fn of_this_thread() -> Self {
        if METHOD.load(Ordering::Relaxed) == FRAME_POINTERS { bounds() } else { Self::unknown() }
    }

    /// Writes the return addresses of whoever called, the innermost first, and returns how many.
    #[inline]
    pub(super) fn walk(&self, frames: &mut [usize; MAX_DEPTH]) -> usize {
        if METHOD.load(Ordering::Relaxed) == UNWIND { unwind(frames) } else { self.follow(frames) }
    }

    /// Follows the frame pointers: each frame begins with its caller's frame pointer, and the return address is behind
    /// that. On another stack than the thread's own, such as that of a signal handler, there are none.
    #[inline]
    fn follow(&self, frames: &mut [usize; MAX_DEPTH]) -> usize {
        const WORD: usize = size_of::<usize>();
        let mut frame = frame_pointer();
        // What lies below this frame may not be mapped yet: the main thread's stack grows as it is used.
        let here = 0u8;
        let mut least = core::ptr::from_ref(&here).addr();
        if !(self.start..self.end).contains(&least) {
            return 0;
        }
        let mut depth = 0;
        while depth < MAX_DEPTH
            && frame >= least
            && frame < self.end.saturating_sub(2 * WORD)
            && frame % WORD == 0
        {
            let words: *const usize = core::ptr::with_exposed_provenance(frame);
            // SAFETY: both words lie on the calling thread's stack, in its part that is in use. They may be anything,
            // and are compared and written down only.
            let (caller, address) = unsafe { (words.read_volatile(), words.wrapping_add(1).read_volatile()) };
            if address < 4096 {
                break;
            }
            frames[depth] = address;
            depth += 1;
            // Frames of callers lie above: that cannot go on forever.
            least = frame + 2 * WORD;
            frame = caller;
        }
        depth
    }
}

/// The frame pointer of the function that this becomes part of, if it has one; else anything.
#[inline(always)]
fn frame_pointer() -> usize {
    let frame: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a register is copied.
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "x86")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("mov {}, ebp", out(reg) frame, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("mov {}, x29", out(reg) frame, options(nomem, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    {
        frame = 0;
    }
    frame
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn bounds() -> Stack {
    let mut start = core::ptr::null_mut();
    let mut size = 0;
    let mut attributes = core::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the attributes are initialised by the first call, if it succeeds, read by the second, and given up by the
    // third.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return Stack::unknown();
        }
        libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    Stack { start: start.addr(), end: start.addr() + size }
}

#[cfg(target_vendor = "apple")]
fn bounds() -> Stack {
    // SAFETY: the calling thread is one.
    let (end, size) = unsafe {
        let thread = libc::pthread_self();
        (libc::pthread_get_stackaddr_np(thread).addr(), libc::pthread_get_stacksize_np(thread))
    };
    Stack { start: end - size, end }
}

/// Elsewhere frame pointers are not followed.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn bounds() -> Stack {
    Stack::unknown()
}

/// As [`Stack::walk`], by the unwinder's tables.
pub(super) fn unwind(frames: &mut [usize; MAX_DEPTH]) -> usize {
    let mut depth = 0;
    let mut note = |caller: &unwind::Caller| {
        let address = caller.address();
        let Some(frame) = frames.get_mut(depth).filter(|_| address != 0) else { return false };
        *frame = address;
        depth += 1;
        true
    };
    preserving_errno(|| unwind::each_caller(&mut note));
    depth
}
