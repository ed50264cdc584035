//! What belongs to the process: which allocator has caches, what happens at a thread's end and at a fork.
//!
//! One allocator of a process has caches: the first one in static memory that is used. Any other one works
//! without.
//!
//! The handlers run around every `fork`. Handlers of others that were registered earlier run while the heap's
//! lock is held: they must not allocate, nor wait for a lock under which another thread may. The home is
//! registered by its first allocation, so that for a global allocator there hardly are any.

use super::slot::Slot;
use crate::block::cached;
use crate::fault::{self, Fault};
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{at_fork, process_wide, thread_local};
use crate::thread_end::AtThreadEnd;
use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;

/// The allocator that has caches, as the C library's callbacks see it.
pub(super) trait Home: Sync {
    /// Gives up the cache of a thread that ends. Called by that thread.
    fn leave(&self, slot: &Slot);
    /// Brings the heap and all caches into a state that a copy of the process can go on from, and keeps them
    /// there.
    fn before_fork(&self);
    /// Lets all threads go on.
    fn after_fork_in_parent(&self);
    /// Empties and gives up the caches of the threads that are not there any more.
    fn after_fork_in_child(&self);
}

/// How far the process is with its home. Nobody waits for anybody: who comes while it is being set up goes
/// without a cache.
mod progress {
    pub(super) const NONE: u8 = 0;
    /// One thread, the only one that writes, sets it up.
    pub(super) const BEGUN: u8 = 1;
    /// The home is known.
    pub(super) const PUBLISHED: u8 = 2;
    /// Threads can have caches.
    pub(super) const READY: u8 = 3;
}

struct Registry {
    progress: AtomicU8,
    /// Written before `PUBLISHED`, and never again.
    home: UnsafeCell<Option<&'static dyn Home>>,
    /// The slots that threads leave.
    left: AtThreadEnd,
}

// SAFETY: `home` is written by the one thread that made the progress `BEGUN`, and read from `PUBLISHED` on.
unsafe impl Sync for Registry {}

process_wide! {
    static REGISTRY: Registry = Registry {
        progress: AtomicU8::new(progress::NONE),
        home: UnsafeCell::new(None),
        left: AtThreadEnd::new(thread_ends),
    };
}

impl Registry {
    fn home(&self) -> Option<&'static dyn Home> {
        if self.progress.load(Ordering::Acquire) < progress::PUBLISHED {
            return None;
        }
        // SAFETY: published, so it is not written any more.
        unsafe { *self.home.get() }
    }

    /// Makes `home` the process's, if it has none and that one lies in static memory.
    #[cold]
    fn register(&'static self, home: &'static dyn Home, is_static: impl FnOnce() -> bool) {
        let begun = self.progress.compare_exchange(
            progress::NONE,
            progress::BEGUN,
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        if begun.is_err() {
            return;
        }
        if !is_static() {
            self.progress.store(progress::NONE, Ordering::Release);
            return;
        }
        super::barrier::is_available();
        // SAFETY: this thread is the one that sets the process up, and no thread has a cache before it is ready.
        unsafe { cached::choose_key() };
        // SAFETY: this thread is the one that writes. The home is known before the C library can call back.
        unsafe { *self.home.get() = Some(home) };
        self.progress.store(progress::PUBLISHED, Ordering::Release);
        // SAFETY: the callbacks are functions that never unwind.
        let note_forks = || unsafe { at_fork(before_fork, after_fork_in_parent, after_fork_in_child) };
        if self.left.prepare() && note_forks() {
            self.progress.store(progress::READY, Ordering::Release);
        }
    }
}

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

/// How many times a thread that found no cache to be had goes without asking again: asking takes a turn of
/// the heap's lock, and a look at all slots.
pub(super) const PAUSE: u8 = 255;

struct Local {
    /// A `&'static Slot`; a pointer, because only since Rust 1.87 a constant may hold a reference to what changes.
    slot: Cell<*const Slot>,
    membership: Cell<Membership>,
    /// How many more times this thread does not ask for a cache.
    pause: Cell<u8>,
    /// This thread forks, and its home has prepared for it.
    forks: Cell<bool>,
}

/// Belongs to no allocator, ever: what a thread without a cache has.
static NOBODY: Slot = Slot::new();

thread_local! {
    // Initialised by constants and without a destructor: an access is a plain load, from before `main` to after the
    // last destructor.
    static LOCAL: Local = const {
        Local {
            slot: Cell::new(&raw const NOBODY),
            membership: Cell::new(Membership::None),
            pause: Cell::new(0),
            forks: Cell::new(false),
        }
    };
}

/// The calling thread's cache; if it has none, one that belongs to no allocator.
#[inline(always)]
pub(super) fn slot() -> &'static Slot {
    let slot = LOCAL.with(|local| local.slot.get());
    // SAFETY: set from references that live as long as the program.
    unsafe { &*slot }
}

/// Whether no allocator of the process has caches yet.
pub(super) fn is_unknown() -> bool {
    REGISTRY.progress.load(Ordering::Relaxed) == progress::NONE
}

/// Whether threads get caches from that allocator.
pub(super) fn is_ready<T: ?Sized>(allocator: &T) -> bool {
    REGISTRY.progress.load(Ordering::Acquire) == progress::READY
        && REGISTRY.home().is_some_and(|found| core::ptr::addr_eq(found, allocator))
}

/// Makes `home` the one allocator of the process that has caches, if there is none and it lies in static
/// memory.
pub(super) fn register(home: &'static dyn Home, is_static: impl FnOnce() -> bool) {
    REGISTRY.register(home, is_static);
}

/// Gives the calling thread a cache, if that home is [the one](register); false if it cannot have one.
///
/// `occupy` finds a slot and passes it on under the heap's lock, or returns false if all are occupied. So
/// there is no moment at which a signal handler, or a child that it forks, sees a slot that is this thread's
/// without this thread knowing.
pub(super) fn join(home: &'static dyn Home, occupy: impl FnOnce(&dyn Fn(&'static Slot)) -> bool) -> bool {
    LOCAL.with(|local| {
        if local.membership.get() != Membership::None {
            return false;
        }
        if let Some(less) = local.pause.get().checked_sub(1) {
            local.pause.set(less);
            return false;
        }
        // What follows may allocate, which goes without a cache.
        local.membership.set(Membership::Asked);
        let is_home = is_ready(home);
        // A signal handler may have been here first.
        let is_full = is_home && has_none() && !occupy(&|slot| local.slot.set(slot));
        if has_none() {
            local.membership.set(Membership::None);
            if is_full {
                local.pause.set(PAUSE);
            }
            return false;
        }
        let slot = slot();
        if !REGISTRY.left.set(core::ptr::from_ref(slot).cast()) {
            local.slot.set(&NOBODY);
            local.membership.set(Membership::Over);
            home.leave(slot);
            return false;
        }
        true
    })
}

fn has_none() -> bool {
    core::ptr::eq(slot(), &NOBODY)
}

/// What one thread may have at a time: a cache, and whether it may ask for one.
pub(super) struct Seat {
    slot: Cell<*const Slot>,
    membership: Cell<Membership>,
    pause: Cell<u8>,
}

impl Seat {
    /// Of a thread that has no cache yet.
    pub(super) const fn new() -> Self {
        Self {
            slot: Cell::new(&raw const NOBODY),
            membership: Cell::new(Membership::None),
            pause: Cell::new(0),
        }
    }
}

/// Exchanges what the calling thread has with what is in `seat`.
///
/// All that was ever exchanged is this thread's, and is in one place at a time: a slot has one owner.
pub(super) fn exchange(seat: &Seat) {
    LOCAL.with(|local| {
        local.membership.swap(&seat.membership);
        local.pause.swap(&seat.pause);
        local.slot.swap(&seat.slot);
    });
    remember_for_the_end();
}

/// Gives up the cache that is in `seat`, if there is one: as that of a thread that ends.
pub(super) fn leave(seat: &Seat) {
    seat.membership.set(Membership::Over);
    // SAFETY: set from references that live as long as the program.
    let slot = unsafe { &*seat.slot.replace(&raw const NOBODY) };
    if let (false, Some(home)) = (core::ptr::eq(slot, &NOBODY), REGISTRY.home()) {
        home.leave(slot);
    }
}

/// Lets the C library give back, at the thread's end, the cache that the thread has now, and no other.
fn remember_for_the_end() {
    if REGISTRY.progress.load(Ordering::Acquire) == progress::READY {
        let slot = if has_none() { core::ptr::null() } else { core::ptr::from_ref(slot()) };
        // It cannot fail where a slot was set before, which `join` did.
        REGISTRY.left.set(slot.cast());
    }
}

unsafe extern "C" fn thread_ends(slot: *mut c_void) {
    LOCAL.with(|local| {
        local.membership.set(Membership::Over);
        local.slot.set(&NOBODY);
    });
    // SAFETY: what was set for the key is the thread's slot, which is a static.
    let slot = unsafe { &*slot.cast::<Slot>() };
    if slot.is_entered() && !slot.is_vacant() {
        // A signal handler that interrupted the owner inside ends the thread. Who drains would wait for it
        // forever. (Vacant it is in a child that a signal handler forked just now.)
        fault::raise(Fault::Reentry);
    }
    if let Some(home) = REGISTRY.home() {
        home.leave(slot);
    }
}

extern "C" fn before_fork() {
    if let Some(home) = REGISTRY.home() {
        home.before_fork();
        LOCAL.with(|local| local.forks.set(true));
    }
}

extern "C" fn after_fork_in_parent() {
    after_fork(|home| home.after_fork_in_parent());
}

extern "C" fn after_fork_in_child() {
    after_fork(|home| home.after_fork_in_child());
}

fn after_fork(go_on: impl FnOnce(&dyn Home)) {
    // What `before_fork` did not do is not undone.
    if LOCAL.with(|local| local.forks.replace(false)) {
        REGISTRY.home().map(go_on);
    }
}
