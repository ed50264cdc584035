//! Taking blocks back: from one cache, from all of them, from the depot.

use super::class::Class;
use super::depot::Depot;
use super::lists::{Lists, Unneeded};
use super::slot::Slot;
use super::{Guard, ThreadCached, barrier};
use crate::block::cached;
use crate::fault::{self, Fault};
use crate::heap::Heap;
use crate::source::Source;
use core::alloc::Layout;
use core::ptr::NonNull;

impl<S: Source> ThreadCached<S> {
    /// Looks at the heap as it is, with all owners kept out of their caches meanwhile.
    pub(super) fn with_closed_gates<T>(&self, look: impl FnOnce(&Heap) -> T) -> T {
        let heap = self.heap();
        self.close_all();
        let seen = look(&heap);
        self.open_all();
        seen
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
    pub(super) fn drain_into<'a>(&self, mut heap: Guard<'a>, afterwards: Afterwards) -> Guard<'a> {
        self.close_all();
        let outcome = self.take_back(&mut heap, afterwards);
        self.open_all();
        raise_outside(heap, outcome)
    }

    /// The heap, after strays went back to the caches that own their runs, if there are many.
    pub(super) fn without_many_strays<'a>(&self, mut heap: Guard<'a>) -> Guard<'a> {
        // SAFETY: this thread has the lock.
        if !unsafe { self.depot.has_many_strays() } {
            return heap;
        }
        self.close_all();
        let outcome = self.return_strays(&mut heap);
        self.open_all();
        raise_outside(heap, outcome)
    }

    /// Puts strays into the runs that they are of, whose owners have closed gates. What these own and do not need goes
    /// to the heap: a thread that sleeps would keep it.
    ///
    /// # Errors
    ///
    /// As for [`give_back`].
    fn return_strays(&self, heap: &mut Heap) -> Result<(), Fault> {
        for class in Class::all_with_slots() {
            // SAFETY: this thread has the lock.
            let mut rest = unsafe { self.depot.take_strays(class) };
            while let Some(stray) = rest {
                // SAFETY: a list's blocks are linked.
                rest = NonNull::new(unsafe { cached::unlink(stray) });
                let owner = heap.owner_of(stray).and_then(|number| self.slots.get(number));
                // SAFETY: this thread has the lock and has closed the gates.
                let unneeded = owner.map_or(Some(Unneeded::Block(stray)), |slot| unsafe {
                    slot.with_closed_gate(|lists| lists.retire(stray))
                });
                unneeded.map_or(Ok(()), |unneeded| give_back_unneeded(heap, &self.depot, unneeded))?;
            }
        }
        for slot in self.occupied() {
            // SAFETY: as above.
            unsafe { slot.with_closed_gate(|lists| give_back_empty_runs(lists, heap)) };
        }
        Ok(())
    }

    /// Takes back what is in all caches, whose gates are closed, and in the depot.
    ///
    /// # Errors
    ///
    /// As for [`give_back`].
    pub(super) fn take_back(&self, heap: &mut Heap, afterwards: Afterwards) -> Result<(), Fault> {
        // First the runs of all, so that the heap takes whatever slot comes then.
        for slot in self.occupied() {
            // SAFETY: this thread has the lock and has closed the gates.
            unsafe { slot.with_closed_gate(|lists| take_back_runs(lists, heap)) };
        }
        for slot in self.occupied() {
            // SAFETY: as above.
            unsafe { slot.with_closed_gate(|lists| empty(lists, heap, &self.depot))? };
        }
        for class in Class::all() {
            // SAFETY: this thread has the lock.
            while let Some(list) = unsafe { self.depot.take_any(class) } {
                give_back_all(heap, &self.depot, list)?;
            }
        }
        for slot in self.occupied() {
            // SAFETY: this thread has the lock and has closed the gates.
            unsafe {
                match afterwards {
                    Afterwards::Asleep => slot.fall_asleep(heap),
                    Afterwards::Awake if slot.is_awake() && !slot.is_left() => {
                        slot.with_closed_gate(|lists| lists.runs.start(heap));
                    }
                    Afterwards::Awake => {}
                }
            }
        }
        Ok(())
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
pub(super) enum Afterwards {
    /// They go on as before.
    Awake,
    /// They keep nothing until memory is not short any more.
    Asleep,
}

/// Gives all runs with room of a cache to the heap. It may own none until it is told otherwise.
pub(super) fn take_back_runs(lists: &mut Lists, heap: &mut Heap) {
    lists.runs.stop(heap);
    for class in Class::all_with_slots() {
        while let Some(run) = lists.runs.pop(class) {
            // SAFETY: whoever empties a cache is at it alone.
            unsafe { heap.take_over_run(run) };
        }
    }
}

/// Gives all blocks on the lists of a cache back.
///
/// # Errors
///
/// As for [`give_back`].
pub(super) fn empty(lists: &mut Lists, heap: &mut Heap, depot: &Depot) -> Result<(), Fault> {
    Class::all().try_for_each(|class| {
        while let Some(block) = lists.pop_either(class) {
            give_back(heap, depot, block)?;
        }
        Ok(())
    })
}

/// Gives all blocks of a list back.
///
/// # Errors
///
/// As for [`give_back`].
pub(super) fn give_back_all(heap: &mut Heap, depot: &Depot, list: NonNull<u8>) -> Result<(), Fault> {
    let mut rest = Some(list);
    while let Some(block) = rest {
        // SAFETY: a list's blocks are linked.
        rest = NonNull::new(unsafe { cached::unlink(block) });
        give_back(heap, depot, block)?;
    }
    Ok(())
}

/// As [`give_back_all`], for a list of a cache's. Slots of runs of its own go back into these.
///
/// # Errors
///
/// As for [`give_back`].
pub(super) fn give_back_list(
    lists: &mut Lists,
    heap: &mut Heap,
    depot: &Depot,
    list: NonNull<u8>,
) -> Result<(), Fault> {
    let mut rest = Some(list);
    while let Some(block) = rest {
        // SAFETY: a list's blocks are linked.
        rest = NonNull::new(unsafe { cached::unlink(block) });
        retire(lists, heap, depot, block)?;
    }
    Ok(())
}

/// Gives back a block that was on a list of a cache's. A slot of a run of its own goes back into that.
///
/// # Errors
///
/// As for [`give_back`].
fn retire(lists: &mut Lists, heap: &mut Heap, depot: &Depot, block: NonNull<u8>) -> Result<(), Fault> {
    lists.retire(block).map_or(Ok(()), |unneeded| give_back_unneeded(heap, depot, unneeded))
}

/// Gives what is on the lists of a cache and in the depot back, but for strays. Slots of runs of the cache's own go
/// back into these.
///
/// # Errors
///
/// As for [`give_back`].
pub(super) fn give_back_lists(lists: &mut Lists, heap: &mut Heap, depot: &Depot) -> Result<(), Fault> {
    for class in Class::all() {
        while let Some(block) = lists.pop_either(class) {
            retire(lists, heap, depot, block)?;
        }
        // SAFETY: who has the heap has the lock.
        while let Some(list) = unsafe { depot.take(class) } {
            give_back_list(lists, heap, depot, list.first)?;
        }
    }
    give_back_empty_runs(lists, heap);
    Ok(())
}

/// Gives the runs of a cache that have no slot in use to the heap, if they are more than it may keep.
pub(super) fn give_back_empty_runs(lists: &mut Lists, heap: &mut Heap) {
    if lists.has_many_empty_runs() {
        // SAFETY: it was just taken out of the cache.
        lists.runs.take_empty(|run| unsafe { heap.take_over_run(run) });
    }
}

/// Gives a block that was in a cache to the heap, or, if it is a slot of a run that the heap must not touch, to the
/// depot.
///
/// # Errors
///
/// The fault of a block whose header was overwritten.
pub(super) fn give_back(heap: &mut Heap, depot: &Depot, block: NonNull<u8>) -> Result<(), Fault> {
    // SAFETY: what is in a cache came from the heap, and nobody uses it. Whoever empties a cache has the lock.
    unsafe {
        if let Some(slot) = heap.slot_of_cache(block.as_ptr()) {
            depot.put_stray(Class::of_slot(slot), block);
            return Ok(());
        }
        heap.dealloc(block.as_ptr())
    }
}

/// Gives back what a cache does not need.
///
/// # Errors
///
/// As for [`give_back`].
pub(super) fn give_back_unneeded(heap: &mut Heap, depot: &Depot, unneeded: Unneeded) -> Result<(), Fault> {
    match unneeded {
        Unneeded::Block(block) => give_back(heap, depot, block),
        Unneeded::Run(run) => {
            // SAFETY: it was just taken out of a cache.
            unsafe { heap.take_over_run(run) };
            Ok(())
        }
    }
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
