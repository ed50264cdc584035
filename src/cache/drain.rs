//! Taking blocks back: from one cache, from all of them, from the depot.

use super::class::Class;
use super::lists::{FullList, Lists};
use super::slot::Slot;
use super::{Guard, ThreadCached, barrier};
use crate::block::cached;
use crate::fault::{self, Fault};
use crate::heap::Heap;
use crate::source::Source;
use core::alloc::Layout;
use core::ptr::NonNull;

impl<S: Source> ThreadCached<S> {
    /// The heap with all that caches have. They go on as before.
    pub(super) fn drained(&self) -> Guard<'_> {
        self.drain_into(self.heap(), Afterwards::Awake)
    }

    /// The heap, after a request for `layout` found no memory, and whether it has got something back: all that
    /// caches had, which are asleep then. It has not if they had nothing, or all memory would not be enough.
    pub(super) fn drained_for<'a>(&self, heap: Guard<'a>, layout: Layout) -> (Guard<'a>, bool) {
        if !heap.could_hold(layout) {
            return (heap, false);
        }
        self.pressure.note_shortage();
        if !self.pressure.may_have_blocks() {
            return (heap, false);
        }
        let heap = self.drain_into(heap, Afterwards::Asleep);
        self.pressure.note_all_asleep();
        (heap, true)
    }

    /// Takes back what is in all caches and in the depot.
    fn drain_into<'a>(&self, mut heap: Guard<'a>, afterwards: Afterwards) -> Guard<'a> {
        self.close_all();
        let outcome = self.occupied().try_for_each(|slot| {
            // SAFETY: this thread has the lock and has closed the gates.
            unsafe {
                slot.with_closed_gate(|lists| empty(lists, &mut heap))?;
                if let Afterwards::Asleep = afterwards {
                    slot.fall_asleep();
                }
            }
            Ok(())
        });
        self.open_all();
        let outcome = outcome.and_then(|()| {
            Class::all().try_for_each(|class| {
                // SAFETY: this thread has the lock.
                while let Some(list) = unsafe { self.depot.take(class) } {
                    give_back_all(&mut heap, list)?;
                }
                Ok(())
            })
        });
        raise_outside(heap, outcome)
    }

    pub(super) fn occupied(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| !slot.is_vacant())
    }

    /// Keeps all owners out of their caches. To be called with the lock; the calling thread is in no cache.
    pub(super) fn close_all(&self) {
        if self.occupied().next().is_none() {
            return;
        }
        self.occupied().for_each(Slot::close);
        barrier::everywhere();
        self.occupied().for_each(Slot::wait);
    }

    pub(super) fn open_all(&self) {
        self.occupied().for_each(Slot::open);
    }

    /// Whether a block whose header has that class is in any cache or in the depot. To be called with the
    /// lock.
    #[cold]
    pub(super) fn is_cached(&self, class: Class, block: *mut u8) -> bool {
        self.close_all();
        let found = self.occupied().any(|slot| {
            // SAFETY: this thread has the lock and has closed the gates.
            unsafe { slot.with_closed_gate(|lists| lists.contains(class, block.addr())) }
        });
        self.open_all();
        // SAFETY: this thread has the lock.
        found || unsafe { self.depot.contains(class, block.addr()) }
    }
}

/// What caches do after they gave everything back.
#[derive(Clone, Copy)]
enum Afterwards {
    /// They go on as before.
    Awake,
    /// They keep nothing until memory is not short any more.
    Asleep,
}

/// Gives all blocks of a cache to the heap.
///
/// # Errors
///
/// The fault of a block whose header was overwritten.
pub(super) fn empty(lists: &mut Lists, heap: &mut Heap) -> Result<(), Fault> {
    Class::all().try_for_each(|class| {
        while let Some(block) = lists.pop_either(class) {
            give_back(heap, block)?;
        }
        Ok(())
    })
}

/// Gives all blocks of a list to the heap.
///
/// # Errors
///
/// As for [`empty`].
pub(super) fn give_back_all(heap: &mut Heap, list: FullList) -> Result<(), Fault> {
    let mut rest = Some(list.first);
    while let Some(block) = rest {
        // SAFETY: a list's blocks are linked.
        rest = NonNull::new(unsafe { cached::unlink(block) });
        give_back(heap, block)?;
    }
    Ok(())
}

/// Gives a block that was in a cache to the heap.
pub(super) fn give_back(heap: &mut Heap, block: NonNull<u8>) -> Result<(), Fault> {
    // SAFETY: what is in a cache came from the heap, and nobody uses it.
    unsafe { heap.dealloc(block.as_ptr()) }
}

/// Ends the program over a fault, after giving the lock back: the hook may allocate.
pub(super) fn raise_outside(heap: Guard<'_>, outcome: Result<(), Fault>) -> Guard<'_> {
    match outcome {
        Ok(()) => heap,
        Err(fault) => {
            drop(heap);
            fault::raise(fault)
        }
    }
}
