//! What belongs to the process: which allocator has caches, what happens at a thread's end and at a fork.
//!
//! One allocator of a process has caches: the first one in static memory that is used. Any other one works without.

use super::slot::Slot;
use core::cell::Cell;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use std::sync::OnceLock;

/// The allocator that has caches, as the C library's callbacks see it.
pub(super) trait Home: Sync {
    /// Empties and gives up the cache of a thread that ends. Called by that thread.
    fn leave(&self, slot: &Slot);
    /// Brings the heap and all caches into a state that a copy of the process can go on from, and keeps them there.
    fn before_fork(&self);
    /// Lets all threads go on.
    fn after_fork_in_parent(&self);
    /// Takes over the caches of the threads that are not there any more.
    fn after_fork_in_child(&self);
}

/// The home, and the key whose destructor runs when a thread ends.
#[derive(Clone, Copy)]
struct Registration {
    home: &'static dyn Home,
    key: libc::pthread_key_t,
}

static REGISTRATION: OnceLock<Option<Registration>> = OnceLock::new();

/// Whether a thread has a cache.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Membership {
    /// It may ask for one.
    None,
    /// It is just asking for one, or has one.
    Asked,
    /// It never gets one: it is about to end.
    Over,
}

struct Local {
    slot: Cell<&'static Slot>,
    membership: Cell<Membership>,
}

/// Belongs to no allocator, ever: what a thread without a cache has.
static NOBODY: Slot = Slot::new();

std::thread_local! {
    // Initialised by constants and without a destructor: an access is a plain load, from before `main` to after the last destructor.
    static LOCAL: Local =
        const { Local { slot: Cell::new(&NOBODY), membership: Cell::new(Membership::None) } };
}

/// The calling thread's cache; if it has none, one that belongs to no allocator.
#[inline(always)]
pub(super) fn slot() -> &'static Slot {
    LOCAL.with(|local| local.slot.get())
}

/// Gives the calling thread a cache of that home's, which `occupy` finds; false if it cannot have one.
pub(super) fn join(home: &'static dyn Home, occupy: impl FnOnce() -> Option<&'static Slot>) -> bool {
    LOCAL.with(|local| {
        if local.membership.get() != Membership::None {
            return false;
        }
        // What follows may allocate, which goes without a cache.
        local.membership.set(Membership::Asked);
        let registration = REGISTRATION.get_or_init(|| register(home));
        let ours = registration.filter(|found| core::ptr::addr_eq(found.home, home));
        let Some((slot, key)) = ours.and_then(|found| Some((occupy()?, found.key))) else {
            local.membership.set(Membership::None);
            return false;
        };
        // SAFETY: the key was made and is never deleted.
        if unsafe { libc::pthread_setspecific(key, core::ptr::from_ref(slot).cast()) } != 0 {
            home.leave(slot);
            local.membership.set(Membership::Over);
            return false;
        }
        local.slot.set(slot);
        true
    })
}

/// Whether a value lies in static memory: in that of the program or of a library.
pub(super) fn is_static<T>(value: &T) -> bool {
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: any address may be asked about, and the answer has room.
    unsafe { libc::dladdr(core::ptr::from_ref(value).cast(), info.as_mut_ptr()) != 0 }
}

fn register(home: &'static dyn Home) -> Option<Registration> {
    super::barrier::is_available();
    let mut key: libc::pthread_key_t = 0;
    // SAFETY: the key has room, the callbacks are functions that never unwind.
    let done = unsafe {
        libc::pthread_key_create(&raw mut key, Some(thread_ends)) == 0
            && libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child))
                == 0
    };
    done.then_some(Registration { home, key })
}

fn registered() -> Option<Registration> {
    REGISTRATION.get().copied().flatten()
}

unsafe extern "C" fn thread_ends(slot: *mut c_void) {
    LOCAL.with(|local| {
        local.membership.set(Membership::Over);
        local.slot.set(&NOBODY);
    });
    if let Some(registration) = registered() {
        // SAFETY: what was set for the key is the thread's slot, which is a static.
        registration.home.leave(unsafe { &*slot.cast::<Slot>() });
    }
}

extern "C" fn before_fork() {
    if let Some(registration) = registered() {
        registration.home.before_fork();
    }
}

extern "C" fn after_fork_in_parent() {
    if let Some(registration) = registered() {
        registration.home.after_fork_in_parent();
    }
}

extern "C" fn after_fork_in_child() {
    if let Some(registration) = registered() {
        registration.home.after_fork_in_child();
    }
}
