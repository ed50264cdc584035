//! One thread's cache: its lists, behind a gate that its owner passes without waiting.
//!
//! # The gate
//!
//! The owner enters by taking the *token* with a plain store, and leaves by putting it back with another; in
//! between it looks at `closed`. Who takes blocks out of another thread's cache has the heap's lock, closes
//! the gate, waits for a barrier that reaches all threads, and then until the token is back. Either the owner
//! sees that the gate is closed, or the other one sees that the owner is inside.
//!
//! The owner itself may also enter while it has the heap's lock, whether or not the gate is open: nobody else
//! is at it then.
//!
//! An owner that finds no token is inside already, further down on its stack: it is a signal handler.

mod calls;

use super::barrier;
use super::class::Class;
use super::lists::Lists;
use super::place::Place;
use super::pressure::Pressure;
use super::trial::{Call, Progress, REST};
use crate::heap::Heap;
use crate::raw_lock::Backoff;
use crate::run::Owner;
use crate::sync::Exclusive;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU16, Ordering, compiler_fence, fence};
use core::cell::UnsafeCell;
use core::ptr::null_mut;

/// Whether the gate is open to the owner, as bits.
mod closed {
    /// There is no barrier that reaches all threads, so that the owner has to use one of its own.
    pub(super) const FENCED: u8 = 1;
    /// Somebody takes blocks out.
    pub(super) const DRAINING: u8 = 2;
}

/// What the token is while the owner need not come to the gate: no allocator is there.
static ASLEEP: u8 = 0;

const ASLEEP_TOKEN: *const () = (&raw const ASLEEP).cast();

/// One thread's cache. All zero bytes in the beginning.
#[repr(C, align(128))]
#[derive(Debug)]
pub(super) struct Slot {
    /// The allocator, by its address, while the owner is outside of the gate; null while it is inside, and
    /// while the slot is vacant. [`ASLEEP`] from when the owner noticed that the cache keeps nothing until it
    /// does again: then the owner is not even slowed down by looking. Written by the owner only.
    token: AtomicPtr<()>,
    /// Bits of [`closed`].
    closed: AtomicU8,
    /// Where cached blocks can lie. Written under the heap's lock, before the owner knows of the slot or while the gate
    /// is closed; read from inside of the gate.
    place: UnsafeCell<Place>,
    /// Touched from inside of the gate only: by the owner, or under the heap's lock by whoever has closed
    /// the gate.
    lists: Exclusive<Lists>,
    /// The allocator whose cache this is; null while the slot is vacant.
    owner: AtomicPtr<()>,
    /// The owner has ended and left its blocks to the next one. Touched under the heap's lock only.
    left: AtomicBool,
    /// The lists have a budget. Written under the heap's lock only; the owner reads it to spare itself the way
    /// through the gate.
    awake: AtomicBool,
    /// How many more calls of the owner's a cache that is asleep lets pass before a trial whether it is to wake.
    rest: AtomicU16,
}

// SAFETY: what is not atomic is touched by one thread at a time (see the gate).
unsafe impl Sync for Slot {}

// SAFETY: as above; the blocks belong to the cache, whichever thread has it.
unsafe impl Send for Slot {}

impl Slot {
    /// A slot that belongs to nobody; all zero bytes.
    pub(super) const fn new() -> Self {
        Self {
            token: AtomicPtr::new(null_mut()),
            closed: AtomicU8::new(0),
            place: UnsafeCell::new(Place::nowhere()),
            lists: Exclusive::new(Lists::new()),
            owner: AtomicPtr::new(null_mut()),
            left: AtomicBool::new(false),
            awake: AtomicBool::new(false),
            rest: AtomicU16::new(0),
        }
    }

    /// Whether this is a cache of that allocator.
    #[inline]
    pub(super) fn belongs_to(&self, allocator: *const ()) -> bool {
        core::ptr::eq(self.owner.load(Ordering::Relaxed), allocator)
    }

    /// Whether this is nobody's cache, with nothing in it.
    pub(super) fn is_vacant(&self) -> bool {
        self.owner.load(Ordering::Relaxed).is_null()
    }

    /// Whether the owner is inside. If the owner itself asks, it was interrupted there.
    pub(super) fn is_entered(&self) -> bool {
        self.token.load(Ordering::Acquire).is_null()
    }

    /// Gives the empty slot, which has that number, to the calling thread. `budget` is how many bytes it may keep.
    ///
    /// # Safety
    ///
    /// - The slot is vacant, and the caller has the heap's lock.
    pub(super) unsafe fn occupy(&self, allocator: *const (), number: Owner, heap: &mut Heap, budget: usize) {
        // SAFETY: nobody else uses a vacant slot while this thread has the lock (contract).
        unsafe {
            *self.place.get() = Place::of(heap);
            self.lists.with(|lists| {
                lists.begin(budget);
                lists.runs.belong_to(number, heap);
                lists.runs.start(heap);
            });
        }
        self.awake.store(true, Ordering::Relaxed);
        let fenced = if barrier::is_available() { 0 } else { closed::FENCED };
        self.closed.store(fenced, Ordering::Relaxed);
        self.owner.store(allocator.cast_mut(), Ordering::Relaxed);
        self.token.store(allocator.cast_mut(), Ordering::Release);
    }

    /// Whether the cache takes anything.
    pub(super) fn is_awake(&self) -> bool {
        self.awake.load(Ordering::Relaxed)
    }

    /// Whether the cache, if it is one of that allocator's, is asleep and stays so for this call, as the owner has
    /// noticed before.
    ///
    /// # Safety
    ///
    /// - The caller is the owner.
    #[inline(always)]
    pub(super) unsafe fn rests(&self, allocator: *const ()) -> bool {
        if !core::ptr::eq(self.token.load(Ordering::Relaxed), ASLEEP_TOKEN) || !self.belongs_to(allocator) {
            return false;
        }
        let rest = self.rest.load(Ordering::Relaxed);
        self.rest.store(rest.saturating_sub(1), Ordering::Relaxed);
        rest > 0
    }

    /// The owner, who is outside of the gate, has noticed that the cache is asleep.
    ///
    /// # Safety
    ///
    /// - The caller is the owner, and the cache is asleep.
    pub(super) unsafe fn notice_sleep(&self) {
        self.token.store(ASLEEP_TOKEN.cast_mut(), Ordering::Release);
    }

    /// Wakes the cache if it is asleep and it is time, now that its owner has come to the heap's lock for the sake of a
    /// block, of a class unless it is too large. Returns whether it is awake.
    ///
    /// # Safety
    ///
    /// - The caller is the owner, is outside of the gate, and has the heap's lock.
    pub(super) unsafe fn wake_in_time(
        &self,
        (call, class): (Call, Option<Class>),
        pressure: &Pressure,
        heap: &mut Heap,
        budget: impl Fn(&Heap) -> usize,
    ) -> bool {
        if self.is_awake() {
            return true;
        }
        let wake = |lists: &mut Lists| {
            let progress = lists.try_out(call, class, pressure, || budget(heap));
            if progress == Progress::Passed {
                lists.begin(budget(heap));
                lists.runs.start(heap);
            }
            progress
        };
        // SAFETY: the caller's contract.
        let progress = unsafe { self.with_lock(wake) };
        match progress {
            Progress::GoesOn => {}
            Progress::Failed => self.rest.store(REST, Ordering::Relaxed),
            Progress::Passed => {
                self.awake.store(true, Ordering::Relaxed);
                self.token.store(self.owner.load(Ordering::Relaxed), Ordering::Release);
                pressure.note_awake();
            }
        }
        progress == Progress::Passed
    }

    /// Keeps nothing any more.
    ///
    /// # Safety
    ///
    /// - As for [`with_closed_gate`](Self::with_closed_gate). The lists are empty, and there are no runs with room.
    pub(super) unsafe fn fall_asleep(&self, heap: &mut Heap) {
        // SAFETY: the caller's contract.
        unsafe { self.with_closed_gate(|lists| lists.fall_asleep(heap)) };
        self.note_asleep();
    }

    /// The lists have [fallen asleep](Lists::fall_asleep). To be called with the heap's lock.
    pub(super) fn note_asleep(&self) {
        self.awake.store(false, Ordering::Relaxed);
        self.rest.store(REST, Ordering::Relaxed);
    }

    /// Notes where the heap's arena and pages are now.
    ///
    /// # Safety
    ///
    /// - As for [`with_closed_gate`](Self::with_closed_gate). The lists are empty, and there are no runs with room.
    pub(super) unsafe fn follow(&self, heap: &mut Heap) {
        // SAFETY: the owner looks at the place inside of the gate only, and nobody else is at it (contract).
        unsafe { *self.place.get() = Place::of(heap) };
        // SAFETY: the caller's contract.
        unsafe { self.with_closed_gate(|lists| lists.runs.follow(heap)) };
    }

    /// Whether this is the cache of a thread that has ended, to be [taken over](Self::take_over). Asked under
    /// the heap's lock.
    pub(super) fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// Leaves the slot, with all that is in it, to the next thread. Until then the gate has no owner that
    /// could come in.
    ///
    /// # Safety
    ///
    /// - Its owner is outside of the gate and does not use it any more, and the caller has the heap's lock. There
    ///   are no runs with room.
    pub(super) unsafe fn leave(&self, heap: &mut Heap) {
        // SAFETY: the caller's contract.
        unsafe { self.with_closed_gate(|lists| lists.runs.stop(heap)) };
        self.left.store(true, Ordering::Relaxed);
    }

    /// Gives the calling thread a slot that was left.
    ///
    /// # Safety
    ///
    /// - The slot [is left](Self::is_left), and the caller has the heap's lock.
    pub(super) unsafe fn take_over(&self, heap: &mut Heap) {
        invariant!(self.is_left() && !self.is_vacant() && !self.is_entered());
        if self.is_awake() {
            // SAFETY: a slot that is left has no owner who could be inside.
            unsafe { self.with_closed_gate(|lists| lists.runs.start(heap)) };
        }
        self.left.store(false, Ordering::Relaxed);
    }

    /// Makes the slot vacant.
    ///
    /// # Safety
    ///
    /// - Its lists are empty, there are no runs with room, its owner does not use it any more, and the caller has the
    ///   heap's lock.
    pub(super) unsafe fn vacate(&self, heap: &mut Heap) {
        // SAFETY: the caller's contract.
        unsafe { self.with_closed_gate(|lists| lists.runs.stop(heap)) };
        self.token.store(null_mut(), Ordering::Relaxed);
        self.left.store(false, Ordering::Relaxed);
        self.owner.store(null_mut(), Ordering::Release);
    }

    /// Enters the gate while it is plainly open, runs an operation, and leaves; `None` if that cannot be, or
    /// this is not a cache of that allocator's.
    ///
    /// # Safety
    ///
    /// - The calling thread is the owner, or the slot is vacant for good.
    #[inline(always)]
    unsafe fn inside<T>(
        &self,
        allocator: *const (),
        operation: impl FnOnce(&Place, &mut Lists) -> T,
    ) -> Option<T> {
        // SAFETY: the caller's contract.
        unsafe { self.pass(allocator, || compiler_fence(Ordering::SeqCst), !0, operation) }
    }

    /// As [`inside`](Self::inside), with a barrier of the owner's own where there is none that reaches all
    /// threads: there, this is the one way.
    ///
    /// # Safety
    ///
    /// - The caller is the owner.
    unsafe fn inside_slowly<T>(&self, operation: impl FnOnce(&Place, &mut Lists) -> T) -> Option<T> {
        let allocator = self.owner.load(Ordering::Relaxed);
        let is_fenced = self.closed.load(Ordering::Relaxed) & closed::FENCED != 0;
        let barrier = || if is_fenced { fence(Ordering::SeqCst) } else { compiler_fence(Ordering::SeqCst) };
        // SAFETY: the caller's contract; that bit does not change while the slot has an owner.
        unsafe { self.pass(allocator, barrier, closed::DRAINING, operation) }
    }

    /// Takes the token, runs an operation if none of the `shut` bits of `closed` is set, and puts the token
    /// back. `barrier` keeps the taking in front of the look.
    ///
    /// # Safety
    ///
    /// - As for [`inside`](Self::inside), and the barrier is one that the gate's other side can rely on.
    #[inline(always)]
    unsafe fn pass<T>(
        &self,
        allocator: *const (),
        barrier: impl FnOnce(),
        shut: u8,
        operation: impl FnOnce(&Place, &mut Lists) -> T,
    ) -> Option<T> {
        if !core::ptr::eq(self.token.load(Ordering::Relaxed), allocator) {
            return None;
        }
        self.token.store(null_mut(), Ordering::Relaxed);
        barrier();
        let is_open = self.closed.load(Ordering::Acquire) & shut == 0;
        // SAFETY: the gate is open and this thread is inside, so nobody else is (see the gate).
        let result =
            is_open.then(|| unsafe { self.lists.with(|lists| operation(&*self.place.get(), lists)) });
        self.token.store(allocator.cast_mut(), Ordering::Release);
        result
    }

    /// Runs an operation of the owner's under the heap's lock.
    ///
    /// # Safety
    ///
    /// - The caller is the owner, is outside of the gate, and has the heap's lock.
    pub(super) unsafe fn with_lock<T>(&self, operation: impl FnOnce(&mut Lists) -> T) -> T {
        // The token is taken for the sake of signal handlers.
        let token = self.token.load(Ordering::Relaxed);
        self.token.store(null_mut(), Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        // SAFETY: who else touches the lists has the lock.
        let result = unsafe { self.lists.with(operation) };
        self.token.store(token, Ordering::Release);
        result
    }

    /// Runs an operation of somebody else's on the lists.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock, and has [closed](Self::close) the gate and [waited](Self::wait), or
    ///   the owner is the caller or has ended.
    pub(super) unsafe fn with_closed_gate<T>(&self, operation: impl FnOnce(&mut Lists) -> T) -> T {
        // SAFETY: the owner is not inside and does not come in; anybody else would have the lock.
        unsafe { self.lists.with(operation) }
    }

    /// Closes the gate to the owner. It may still be inside until [`wait`](Self::wait) returns.
    pub(super) fn close(&self) {
        self.closed.fetch_or(closed::DRAINING, Ordering::Relaxed);
    }

    /// Waits until the owner is not inside. To be called after the gate was closed and a barrier everywhere.
    pub(super) fn wait(&self) {
        let mut backoff = Backoff::of_one_waiter();
        while self.is_entered() {
            backoff.pause();
        }
    }

    /// As [`wait`](Self::wait), but not for long: returns whether the owner is outside.
    pub(super) fn wait_briefly(&self) -> bool {
        const PAUSES: u32 = 8;
        let mut backoff = Backoff::of_one_waiter();
        for _ in 0..PAUSES {
            if !self.is_entered() {
                return true;
            }
            backoff.pause();
        }
        false
    }

    /// Opens the gate again.
    pub(super) fn open(&self) {
        self.closed.fetch_and(!closed::DRAINING, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
