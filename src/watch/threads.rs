//! Which thread counts where: each has a [`Slot`] of its own while it runs, and what it counted stays there.
//!
//! Slots lie in pages that are never given back, so that whoever sums them up need not wait for anybody, and a forked
//! child finds them as they are. The next thread that begins goes on with the numbers of one that has ended. What is
//! counted by threads that have none, because they are about to end, goes to one slot that all of them write to.

use super::counts::Counts;
use super::slot::Slot;

/// Counts for threads that have no slot. No bounds are ever set in it: every call is an uncommon case.
static SHARED: Slot = Slot::new();

#[cfg(all(feature = "std", unix))]
pub(super) use of_their_own::{join, only_one, own, slot, slots, thread_counts};

#[cfg(not(all(feature = "std", unix)))]
pub(super) use shared::{join, only_one, own, slot, slots, thread_counts};

/// Where threads have slots of their own.
#[cfg(all(feature = "std", unix))]
mod of_their_own {
    use super::{Counts, SHARED, Slot};
    use crate::thread_end::AtThreadEnd;
    use core::alloc::{GlobalAlloc, Layout};
    use core::cell::Cell;
    use core::ffi::c_void;
    use core::ptr::null_mut;
    use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
    use std::alloc::System;

    /// Slots of a page: the first one is there from the beginning, and enough for most programs.
    const SLOTS: usize = 63;

    /// All zero bytes are a page of which no slot was ever taken: [`Slot::take`] writes what has to be other than zero.
    struct Page {
        slots: [Slot; SLOTS],
        next: AtomicPtr<Page>,
    }

    static FIRST: Page = Page { slots: [const { Slot::new() }; SLOTS], next: AtomicPtr::new(null_mut()) };

    /// How many times a thread took a slot, the first one excepted.
    static FURTHER_THREADS: AtomicUsize = AtomicUsize::new(0);

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Membership {
        /// The thread may take a slot.
        None,
        /// It is just taking one, or has one.
        Asked,
        /// It is about to end, and gets none any more.
        Over,
    }

    struct Local {
        /// A `&'static Slot`; a pointer, because only since Rust 1.87 a constant may hold a reference to what changes.
        slot: Cell<*const Slot>,
        membership: Cell<Membership>,
        /// What was counted in the slot before.
        start: Cell<Counts>,
    }

    std::thread_local! {
        // Initialised by constants and without a destructor: an access is a plain load, from before `main` to after the
        // last destructor.
        static LOCAL: Local = const {
            Local {
                slot: Cell::new(&raw const SHARED),
                membership: Cell::new(Membership::None),
                start: Cell::new(Counts::NONE),
            }
        };
    }

    /// Where the calling thread counts.
    #[inline(always)]
    pub(in super::super) fn slot() -> &'static Slot {
        let slot = LOCAL.with(|local| local.slot.get());
        // SAFETY: set from references to slots, which are static or in pages that are never given back.
        unsafe { &*slot }
    }

    /// The calling thread's own slot; it gets one, unless it is about to end.
    pub(in super::super) fn own() -> Option<&'static Slot> {
        LOCAL.with(|local| {
            if local.membership.get() == Membership::None {
                // What follows may allocate, where the C library's allocator is this one.
                local.membership.set(Membership::Asked);
                match take() {
                    Some(slot) => {
                        local.start.set(slot.counts());
                        local.slot.set(slot);
                        slot.settle();
                        leave_at_the_end(slot);
                    }
                    // Perhaps there is one the next time.
                    None => local.membership.set(Membership::None),
                }
            }
        });
        Some(slot()).filter(|slot| !core::ptr::eq(*slot, &SHARED))
    }

    /// As [`own`], and where to count if there is none; then what others know of live bytes has to be told at once.
    pub(in super::super) fn join() -> Result<&'static Slot, &'static Slot> {
        own().ok_or(&SHARED)
    }

    fn pages() -> impl Iterator<Item = &'static Page> {
        // SAFETY: null, or a page that is never given back.
        core::iter::successors(Some(&FIRST), |page| unsafe { page.next.load(Ordering::Acquire).as_ref() })
    }

    /// Takes a slot that nobody has.
    #[cold]
    fn take() -> Option<&'static Slot> {
        let found = pages().flat_map(|page| &page.slots).find(|slot| slot.take());
        let slot = match found {
            Some(slot) => slot,
            None => add_page()?,
        };
        if !core::ptr::eq(slot, &FIRST.slots[0]) || slot.counts() != Counts::default() {
            FURTHER_THREADS.fetch_add(1, Ordering::Relaxed);
        }
        Some(slot)
    }

    /// Adds a page, and takes a slot of it.
    fn add_page() -> Option<&'static Slot> {
        // SAFETY: the layout is of more than no bytes. The memory is the page's from now on: all zero bytes are one. It
        // is reached by shared references only.
        let page: &'static Page =
            unsafe { System.alloc_zeroed(Layout::new::<Page>()).cast::<Page>().as_ref() }?;
        let slot = page.slots.iter().find(|slot| slot.take());
        let mut last = pages().last().unwrap_or(&FIRST);
        let new = core::ptr::from_ref(page).cast_mut();
        while let Err(other) =
            last.next.compare_exchange(null_mut(), new, Ordering::SeqCst, Ordering::Acquire)
        {
            // SAFETY: not null, since it is not what was expected, and never given back.
            last = unsafe { &*other };
        }
        slot
    }

    /// What has a thread's slot left to others.
    static LEFT: AtThreadEnd = AtThreadEnd::new(thread_ends);

    /// Has a thread's slot left to others when the thread ends. If that cannot be had, the slot stays with it.
    fn leave_at_the_end(slot: &'static Slot) {
        if LEFT.prepare() {
            LEFT.set(core::ptr::from_ref(slot).cast());
        }
    }

    unsafe extern "C" fn thread_ends(slot: *mut c_void) {
        LOCAL.with(|local| {
            local.membership.set(Membership::Over);
            local.slot.set(&SHARED);
        });
        // SAFETY: what was set for the key is the thread's slot, which is never given back.
        unsafe { &*slot.cast::<Slot>() }.leave();
    }

    /// All slots that threads have or had.
    pub(in super::super) fn slots() -> impl Iterator<Item = &'static Slot> {
        core::iter::once(&SHARED).chain(pages().flat_map(|page| &page.slots))
    }

    /// The slot that everything was counted in, if there is one.
    pub(in super::super) fn only_one() -> Option<&'static Slot> {
        let is_only = FURTHER_THREADS.load(Ordering::Relaxed) == 0 && SHARED.counts() == Counts::default();
        is_only.then_some(&FIRST.slots[0])
    }

    /// What the calling thread counted.
    pub(in super::super) fn thread_counts() -> Counts {
        let Some(slot) = own() else { return Counts::default() };
        slot.counts().since(LOCAL.with(|local| local.start.get()), slot.peak())
    }
}

/// Where threads cannot be told apart: the process is one thread.
#[cfg(not(all(feature = "std", unix)))]
mod shared {
    use super::{Counts, SHARED, Slot};

    #[inline(always)]
    pub(in super::super) fn slot() -> &'static Slot {
        &SHARED
    }

    pub(in super::super) fn own() -> Option<&'static Slot> {
        Some(&SHARED)
    }

    pub(in super::super) fn join() -> Result<&'static Slot, &'static Slot> {
        Ok(&SHARED)
    }

    pub(in super::super) fn slots() -> impl Iterator<Item = &'static Slot> {
        core::iter::once(&SHARED)
    }

    pub(in super::super) fn only_one() -> Option<&'static Slot> {
        Some(&SHARED)
    }

    pub(in super::super) fn thread_counts() -> Counts {
        SHARED.counts()
    }
}
