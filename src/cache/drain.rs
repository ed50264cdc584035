//! Taking blocks back: from one cache, from all of them, and what is on its way between them.

use super::class::Class;
use super::lists::{Counted, Lists, Unneeded};
use super::slot::Slot;
use super::strays::{Most, Strays, place_of};
use super::{Guard, ThreadCached, barrier};
use crate::block::cached;
use crate::fault::{self, Fault};
use crate::heap::Heap;
use crate::run::Owner;
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

    /// Breaks up runs of the heap's for the sake of a request that would be refused otherwise, while no thread is in
    /// its cache, where it may look at any run's header. Returns whether there were some.
    pub(super) fn break_up_for(&self, heap: &mut Heap, layout: Layout) -> bool {
        if S::HAS_CAP && !self.locked.source.may_serve(heap, layout.size()) {
            return false;
        }
        let Some(runs) = heap.sparse_runs(layout) else { return false };
        self.close_all();
        // SAFETY: they were found just now, and all gates are closed.
        let is_done = unsafe { heap.break_up(runs) };
        self.open_all();
        is_done
    }

    /// Takes back what is in all caches, and on its way between them.
    pub(super) fn drain_into<'a>(&self, mut heap: Guard<'a>, afterwards: Afterwards) -> Guard<'a> {
        self.close_all();
        let outcome = self.take_back(&mut heap, afterwards);
        self.open_all();
        raise_outside(heap, outcome)
    }

    /// The heap, after strays went back into their runs where so many wait for one cache that its thread had better not
    /// be waited for. What it owns and does not need goes to the heap then: a thread that sleeps would keep it.
    pub(super) fn without_many_strays<'a>(&self, mut heap: Guard<'a>) -> Guard<'a> {
        // SAFETY: this thread has the lock.
        while let Some(owner) = unsafe { self.strays.owner_of_many(|| self.most_waiting(&heap)) } {
            let Some(slot) = self.slots.get(place_of(owner)) else { break };
            close(core::iter::once(slot));
            // SAFETY: this thread has the lock and has closed the gate.
            let returned =
                unsafe { slot.with_closed_gate(|lists| self.return_strays(owner, lists, &mut heap)) };
            slot.open();
            heap = raise_outside(heap, returned.map(drop));
        }
        heap
    }

    /// How much may wait for one cache.
    fn most_waiting(&self, heap: &Heap) -> Most {
        Most { bytes: self.budget(heap), blocks: heap.most_scattered_blocks() }
    }

    /// Puts the strays of a cache into their runs, and gives the heap what of these the cache does not need then.
    /// Returns whether there were any.
    ///
    /// # Errors
    ///
    /// As for [`give_back`].
    pub(super) fn return_strays(
        &self,
        owner: Owner,
        lists: &mut Lists,
        heap: &mut Heap,
    ) -> Result<bool, Fault> {
        // SAFETY: who has the heap has the lock.
        let Some(strays) = (unsafe { self.strays.take(owner) }) else { return Ok(false) };
        give_back_list(lists, heap, &self.strays, strays)?;
        give_back_empty_runs(lists, heap);
        Ok(true)
    }

    /// Gives the heap all that is in a cache, and what waits for it. It may own no runs until it is told otherwise.
    ///
    /// # Errors
    ///
    /// As for [`give_back`].
    pub(super) fn empty(&self, lists: &mut Lists, heap: &mut Heap) -> Result<(), Fault> {
        self.take_back_runs(lists, heap)?;
        self.empty_lists(lists, heap)
    }

    /// Gives all blocks on the lists of a cache back.
    ///
    /// # Errors
    ///
    /// As for [`give_back`].
    pub(super) fn empty_lists(&self, lists: &mut Lists, heap: &mut Heap) -> Result<(), Fault> {
        Class::all().try_for_each(|class| {
            while let Some(block) = lists.pop_either(class) {
                give_back(heap, &self.strays, block)?;
            }
            Ok(())
        })
    }

    /// Gives all runs with room of a cache to the heap, and what waits for it: that is the heap's to take then. The
    /// cache may own none until it is told otherwise.
    ///
    /// # Errors
    ///
    /// As for [`give_back`].
    pub(super) fn take_back_runs(&self, lists: &mut Lists, heap: &mut Heap) -> Result<(), Fault> {
        let owner = lists.runs.owner();
        lists.runs.stop(heap);
        for class in Class::all_with_slots() {
            while let Some(run) = lists.runs.pop(class) {
                // SAFETY: whoever empties a cache is at it alone.
                unsafe { heap.take_over_run(run) };
            }
        }
        // SAFETY: who has the heap has the lock.
        let strays = unsafe { self.strays.take(owner) };
        strays.map_or(Ok(()), |strays| give_back_all(heap, &self.strays, strays))
    }

    /// Gives what is on the lists of a cache and in the depot back. Slots of runs of the cache's own go back into
    /// these.
    ///
    /// # Errors
    ///
    /// As for [`give_back`].
    pub(super) fn give_back_lists(&self, lists: &mut Lists, heap: &mut Heap) -> Result<(), Fault> {
        for class in Class::all() {
            while let Some(block) = lists.pop_either(class) {
                retire(lists, heap, &self.strays, block)?;
            }
            // SAFETY: who has the heap has the lock.
            while let Some(list) = unsafe { self.depot.take(class) } {
                give_back_list(lists, heap, &self.strays, list.first)?;
            }
        }
        give_back_empty_runs(lists, heap);
        Ok(())
    }

    /// Takes back what is in all caches, whose gates are closed, and on its way between them.
    ///
    /// # Errors
    ///
    /// As for [`give_back`].
    pub(super) fn take_back(&self, heap: &mut Heap, afterwards: Afterwards) -> Result<(), Fault> {
        // First the runs of all, so that the heap takes whatever slot comes then.
        let mut outcome = Ok(());
        for slot in self.occupied() {
            // SAFETY: this thread has the lock and has closed the gates.
            outcome = outcome.and(unsafe { slot.with_closed_gate(|lists| self.take_back_runs(lists, heap)) });
        }
        outcome?;
        for slot in self.occupied() {
            // SAFETY: as above.
            unsafe { slot.with_closed_gate(|lists| self.empty_lists(lists, heap))? };
        }
        for class in Class::all() {
            // SAFETY: this thread has the lock.
            while let Some(list) = unsafe { self.depot.take(class) } {
                give_back_all(heap, &self.strays, list.first)?;
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

    pub(super) fn occupied(&self) -> impl Iterator<Item = &Slot> + Clone {
        self.slots.iter().filter(|slot| !slot.is_vacant())
    }

    /// Keeps all owners out of their caches. To be called with the lock; the calling thread is in no cache.
    pub(super) fn close_all(&self) {
        close(self.occupied());
    }

    pub(super) fn open_all(&self) {
        self.occupied().for_each(Slot::open);
    }

    /// Passes on every list that is on its way between caches, as long as that succeeds.
    ///
    /// # Errors
    ///
    /// The first one of `pass_on`.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock, and all gates are closed.
    pub(super) unsafe fn try_for_each_list_between<E>(
        &self,
        mut pass_on: impl FnMut(Counted) -> Result<(), E>,
    ) -> Result<(), E> {
        // SAFETY: the caller's contract.
        unsafe {
            self.depot.try_for_each_list(&mut pass_on)?;
            self.strays.try_for_each_list(pass_on)
        }
    }

    /// Whether a block whose header has that class is in any cache or on its way between two. To be called with the
    /// lock.
    #[cold]
    pub(super) fn is_cached(&self, class: Class, block: *mut u8) -> bool {
        self.close_all();
        let found = self.occupied().any(|slot| {
            // SAFETY: this thread has the lock and has closed the gates.
            unsafe { slot.with_closed_gate(|lists| lists.contains(class, block.addr())) }
        });
        // SAFETY: as above.
        let found =
            found || unsafe { self.depot.contains(class, block.addr()) || self.strays.contain(block.addr()) };
        self.open_all();
        found
    }
}

/// Keeps the owners of these caches out of them. To be called with the lock; the calling thread is in no cache.
fn close<'a>(slots: impl Iterator<Item = &'a Slot> + Clone) {
    if slots.clone().next().is_none() {
        return;
    }
    slots.clone().for_each(Slot::close);
    barrier::everywhere();
    slots.for_each(Slot::wait);
}

/// What caches do after they gave everything back.
#[derive(Clone, Copy)]
pub(super) enum Afterwards {
    /// They go on as before.
    Awake,
    /// They keep nothing until memory is not short any more.
    Asleep,
}

/// Gives all blocks of a list back.
///
/// # Errors
///
/// As for [`give_back`].
pub(super) fn give_back_all(heap: &mut Heap, strays: &Strays, list: NonNull<u8>) -> Result<(), Fault> {
    let mut rest = Some(list);
    while let Some(block) = rest {
        // SAFETY: a list's blocks are linked.
        rest = NonNull::new(unsafe { cached::unlink(block) });
        give_back(heap, strays, block)?;
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
    strays: &Strays,
    list: NonNull<u8>,
) -> Result<(), Fault> {
    let mut rest = Some(list);
    while let Some(block) = rest {
        // SAFETY: a list's blocks are linked.
        rest = NonNull::new(unsafe { cached::unlink(block) });
        retire(lists, heap, strays, block)?;
    }
    Ok(())
}

/// Gives back a block that was on a list of a cache's. A slot of a run of its own goes back into that.
///
/// # Errors
///
/// As for [`give_back`].
fn retire(lists: &mut Lists, heap: &mut Heap, strays: &Strays, block: NonNull<u8>) -> Result<(), Fault> {
    lists.retire(block).map_or(Ok(()), |unneeded| give_back_unneeded(heap, strays, unneeded))
}

/// Gives the runs of a cache that have no slot in use to the heap, if they are more than it may keep.
pub(super) fn give_back_empty_runs(lists: &mut Lists, heap: &mut Heap) {
    if lists.has_many_empty_runs() {
        // SAFETY: it was just taken out of the cache.
        lists.runs.take_empty(|run| unsafe { heap.take_over_run(run) });
    }
}

/// Gives a block that was in a cache to the heap, or, if it is a slot of a run that the heap must not touch, to the
/// strays.
///
/// # Errors
///
/// The fault of a block whose header was overwritten.
pub(super) fn give_back(heap: &mut Heap, strays: &Strays, block: NonNull<u8>) -> Result<(), Fault> {
    // SAFETY: what is in a cache came from the heap, and nobody uses it. Whoever empties a cache has the lock.
    unsafe {
        if let Some((owner, slot)) = heap.slot_of_cache(block.as_ptr()) {
            strays.put(owner, block, slot.bytes());
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
pub(super) fn give_back_unneeded(heap: &mut Heap, strays: &Strays, unneeded: Unneeded) -> Result<(), Fault> {
    match unneeded {
        Unneeded::Block(block) => give_back(heap, strays, block),
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
