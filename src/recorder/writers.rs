//! Which writer is whose: a thread adopts one that nobody has, and leaves it when it ends.

use super::writer::Writer;
use super::{LOCAL, everlasting, last_number};
use crate::thread_end::AtThreadEnd;
use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

/// A writer on the list of all. In memory of its own, and never unmapped.
struct Listed {
    /// Whether a thread has it.
    is_taken: AtomicBool,
    /// The one after it; constant once it is on the list.
    next: *mut Listed,
    /// The thread's that has taken it, and nobody else looks at it.
    writer: Writer,
}

/// All writers, linked; none is ever taken off.
static ALL: AtomicPtr<Listed> = AtomicPtr::new(null_mut());

/// How many there are.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// What has a thread's writer left to others.
static LEFT: AtThreadEnd = AtThreadEnd::new(thread_ends);

/// Has threads leave their writers when they end. False if the C library has no key left.
pub(super) fn prepare() -> bool {
    LEFT.prepare()
}

/// A writer for the calling thread. `None` if there is no memory for one more.
pub(super) fn adopt() -> Option<NonNull<Writer>> {
    let listed = left().or_else(one_more)?;
    // If the C library refuses, the writer is not left; that costs a part of a chunk.
    LEFT.set(listed.as_ptr().cast());
    // SAFETY: the writer is this thread's. (Of what surrounds it there is no reference: others look at that.)
    let writer = unsafe { &mut (*listed.as_ptr()).writer };
    writer.begin_thread();
    Some(NonNull::from(writer))
}

/// One that a thread left.
fn left() -> Option<NonNull<Listed>> {
    let mut listed = ALL.load(Ordering::Acquire);
    while let Some(found) = NonNull::new(listed) {
        // SAFETY: writers are never unmapped, and these two fields are for all threads.
        let (is_taken, next) = unsafe { (&(*listed).is_taken, (*listed).next) };
        if !is_taken.load(Ordering::Relaxed) && !is_taken.swap(true, Ordering::Acquire) {
            return Some(found);
        }
        listed = next;
    }
    None
}

fn one_more() -> Option<NonNull<Listed>> {
    let listed = everlasting::<Listed>(1)?;
    let writer = Writer::new(COUNT.fetch_add(1, Ordering::Relaxed));
    // SAFETY: it was just mapped and is large enough; nobody else knows it before it is on the list.
    unsafe {
        listed.write(Listed { is_taken: AtomicBool::new(true), next: null_mut(), writer });
        let mut next = ALL.load(Ordering::Relaxed);
        loop {
            (*listed.as_ptr()).next = next;
            match ALL.compare_exchange_weak(next, listed.as_ptr(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Some(listed),
                Err(now) => next = now,
            }
        }
    }
}

/// What other destructors of the thread release later has a writer once more: it is adopted anew, and this called
/// again.
unsafe extern "C" fn thread_ends(listed: *mut c_void) {
    LOCAL.with(|local| {
        local.writer.set(null_mut());
        // A signal handler that allocates meanwhile is not recorded.
        let was_inside = local.is_inside.replace(true);
        let listed: *mut Listed = listed.cast();
        if let Some(last) = last_number() {
            // SAFETY: what was set for the key is a writer on the list, which is never unmapped, and this thread's
            // until it is left. (Of what surrounds it there is no reference.)
            unsafe { &mut (*listed).writer }.end_thread(last);
        }
        // SAFETY: as above; this field is for all threads.
        unsafe { (*listed).is_taken.store(false, Ordering::Release) };
        local.is_inside.set(was_inside);
    });
}
