//! The runs that one thread's cache owns.
//!
//! A class takes slots from one run of its own, the *current* one, until that has none left, and then from another
//! that has room. What the thread frees goes back into the run that it is of, wherever that lies, if it is the
//! thread's own. Neither touches the lock, nor the slots.
//!
//! Runs without a slot in use are kept as long as the cache's budget allows, as the current ones are; all others of a
//! thread's runs have slots in use, so that nobody else could have their pages anyhow. Before a request is refused,
//! all that have room go back to the heap.
//!
//! (Threads that own pages: Leijen, Zorn and de Moura, *Mimalloc: free list sharding in action*, 2019.)

use super::class::{Class, SMALL_CLASSES, SmallClass};
use crate::block::Arena;
use crate::heap::{AuditError, Heap};
use crate::run::{EmptyWord, LeadsInto, Owner, Pages, Run, RunList, Spot, Word};
use crate::size::{GRANULE, Index, SlotSize};
use core::ptr::{NonNull, null_mut};

/// The owner of no run.
const NOBODY: Owner = Owner::MAX;

const _: () = assert!(Heap::LAST_OWNER < NOBODY);

/// The runs of one cache.
#[derive(Debug)]
pub(super) struct Runs {
    /// The runs of each small class. Those without slots have none.
    classes: [ClassRuns; SMALL_CLASSES],
    /// How many runs are current ones, and how many are empty and none of these.
    current: u32,
    empty: u32,
    /// How many slots were taken, but for those at hand.
    served: u32,
    arena: Arena,
    pages: Pages,
    /// The cache's number, and the same while it may own runs; otherwise nobody's.
    number: Owner,
    owner: Owner,
}

/// The runs of one class.
#[derive(Clone, Copy, Debug)]
struct ClassRuns {
    /// Where slots are taken from next; nowhere if there is no current run.
    spot: Spot,
    /// The run that slots are taken from, or none.
    current: Index,
    /// How many slots the spot had.
    at_hand: u32,
    /// Runs that have room and slots in use.
    with_room: RunList,
    /// Runs that have no slot in use.
    empty: RunList,
    /// What the class [looked](Runs::look) like when the cache was looked over.
    seen: u32,
}

impl ClassRuns {
    const fn at(spot: Spot) -> Self {
        Self {
            spot,
            current: Index::NONE,
            at_hand: 0,
            with_room: RunList::EMPTY,
            empty: RunList::EMPTY,
            seen: 0,
        }
    }
}

/// A word without room, which is never written.
static NO_ROOM: EmptyWord = EmptyWord::new();

/// A spot without room.
fn nowhere() -> Spot {
    Spot { word: Word::of(&NO_ROOM), first: null_mut(), bytes: 0 }
}

impl Runs {
    /// None; all zero bytes. To be [told](Self::belong_to) whose they are before they are used.
    pub(super) const fn new() -> Self {
        Self {
            classes: [ClassRuns::at(Spot::NULL); SMALL_CLASSES],
            current: 0,
            empty: 0,
            served: 0,
            arena: Arena::empty(),
            pages: Pages::none(),
            number: 0,
            owner: 0,
        }
    }

    /// These are the runs of the cache of that number, in a heap's arena.
    pub(super) fn belong_to(&mut self, number: Owner, heap: &mut Heap) {
        (self.arena, _, self.pages) = heap.place();
        (self.number, self.owner) = (number, NOBODY);
        self.classes = [ClassRuns::at(nowhere()); SMALL_CLASSES];
    }

    /// The heap's arena or pages may be elsewhere, or counted from elsewhere. There are no runs with room.
    pub(super) fn follow(&mut self, heap: &mut Heap) {
        (self.arena, _, self.pages) = heap.place();
        if self.may_be() {
            heap.activate(self.number);
        }
    }

    /// From now on the cache may own runs.
    pub(super) fn start(&mut self, heap: &mut Heap) {
        self.owner = self.number;
        heap.activate(self.number);
    }

    /// From now on the cache, which has no run with room, owns none.
    pub(super) fn stop(&mut self, heap: &mut Heap) {
        self.owner = NOBODY;
        heap.deactivate(self.number);
    }

    /// Who owns these runs.
    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether a run of that owner's is one of these, and the cache may be at it.
    #[inline(always)]
    pub(super) fn are_of(&self, owner: Owner) -> bool {
        owner == self.owner
    }

    /// Whether a run is one of these, and the cache may be at it.
    pub(super) fn own(&self, run: Run) -> bool {
        self.are_of(self.pages.owner_of(run))
    }

    /// The slot of a run of this cache's that a pointer leads to, by its number.
    pub(super) fn find(&self, block: NonNull<u8>) -> Option<(Run, u32)> {
        let LeadsInto::Run { owner, run, in_page } = self.pages.at(block.addr().get()) else { return None };
        // SAFETY: what the map says is a run is one.
        let number = unsafe { run.slot_at(in_page) }?;
        self.are_of(owner).then_some((run, number))
    }

    /// Whether the cache may own runs.
    pub(super) fn may_be(&self) -> bool {
        self.owner == self.number
    }

    /// Bytes of a page.
    pub(super) fn page(&self) -> usize {
        self.pages.granules() as usize * GRANULE
    }

    /// Bytes of a page, or those of a usual one if it is longer.
    pub(super) fn usual_page(&self) -> usize {
        Pages::usual(self.pages.granules()) as usize * GRANULE
    }

    /// Bytes of the runs that slots are taken from. Long ones count as others do: what of them was never used is only
    /// reserved.
    pub(super) fn bytes_of_current(&self) -> usize {
        self.current as usize * self.usual_page()
    }

    /// Bytes of the other runs that have no slot in use.
    pub(super) fn bytes_of_empty(&self) -> usize {
        self.empty as usize * self.page()
    }

    /// The runs of a class, if it has slots.
    fn of(&mut self, class: Class) -> Option<&mut ClassRuns> {
        class.slot_size().and_then(|slot| self.classes.get_mut(slot.number()))
    }

    /// Takes a slot of a class, if the next one is at hand.
    #[inline(always)]
    pub(super) fn take(&mut self, class: SmallClass) -> Option<NonNull<u8>> {
        // SAFETY: a spot is one of a run of this cache's, or nowhere.
        unsafe { class.of(&self.classes).spot.take() }
    }

    /// Takes a slot of a class.
    pub(super) fn take_next(&mut self, class: Class) -> Option<NonNull<u8>> {
        let arena = self.arena;
        let runs = self.of(class)?;
        // SAFETY: the spot is one of a run of this cache's, or nowhere.
        if let Some(slot) = unsafe { runs.spot.take() } {
            return Some(slot);
        }
        self.served += core::mem::take(&mut runs.at_hand);
        let runs = self.of(class)?;
        // SAFETY: the runs are this cache's, and whoever calls is at it alone. A listed run has room.
        unsafe {
            let has_current = !runs.current.is_none();
            if has_current {
                let run = Run::at(arena, runs.current);
                if let Some(spot) = run.lowest_spot() {
                    runs.at_hand = spot.word.read().count_ones();
                    runs.spot = spot;
                    return spot.take();
                }
                run.look_after(1);
            }
            let (run, was_empty) = match runs.with_room.pop(arena) {
                Some(run) => (Some(run), false),
                None => (runs.empty.pop(arena), true),
            };
            let Some(run) = run else {
                (runs.current, runs.spot) = (Index::NONE, nowhere());
                self.current -= u32::from(has_current);
                return None;
            };
            run.look_after(u16::MAX);
            runs.current = run.index(arena);
            runs.spot = run.lowest_spot()?;
            runs.at_hand = runs.spot.word.read().count_ones();
            let slot = runs.spot.take();
            self.current += u32::from(!has_current);
            self.empty -= u32::from(was_empty);
            slot
        }
    }

    /// As [`take_served`](Self::take_served), and goes on.
    pub(super) fn served(&self) -> u32 {
        self.served
    }

    /// How many slots were taken since this was asked last, but for those that come from where others are at hand.
    pub(super) fn take_served(&mut self) -> u32 {
        core::mem::take(&mut self.served)
    }

    /// Gives a slot back to a run of this cache's.
    ///
    /// # Errors
    ///
    /// It is free already. Nothing is done then.
    ///
    /// # Safety
    ///
    /// - It is a run of this cache's, with a slot of that number, whose bytes nobody uses.
    pub(super) unsafe fn put(&mut self, run: Run, number: u32) -> Result<Put, AlreadyFree> {
        // SAFETY: the caller's contract.
        unsafe {
            if run.put_back(number).ok_or(AlreadyFree)? {
                self.look_at(run);
                return Ok(Put::Looked);
            }
        }
        Ok(Put::Simply)
    }

    /// Puts a run, after so many releases as it was to be looked at, on the list on which it belongs now.
    ///
    /// # Safety
    ///
    /// - It is a run of this cache's. It is the current one of its class, or was full until just now, or is on the list
    ///   of those with room and empty now.
    unsafe fn look_at(&mut self, run: Run) {
        let arena = self.arena;
        // SAFETY: the caller's contract.
        unsafe {
            let Some(runs) = self.of(Class::of_slot(run.slot_size())) else { return };
            if runs.current == run.index(arena) {
                run.look_after(u16::MAX);
                return;
            }
            if run.free_slots() > 1 {
                runs.with_room.remove(arena, run);
            }
            self.accept(run);
        }
    }

    /// Lists a run that is this cache's.
    ///
    /// # Safety
    ///
    /// - It is owned by this cache's number, has room, and is on no list.
    pub(super) unsafe fn accept(&mut self, run: Run) {
        let arena = self.arena;
        // SAFETY: the caller's contract.
        unsafe {
            let (free, slots) = (run.free_slots(), run.slots());
            invariant!(0 < free && free <= slots);
            let Some(runs) = self.of(Class::of_slot(run.slot_size())) else { return };
            if free == slots {
                runs.empty.push_behind_first(arena, run);
                self.empty += 1;
            } else {
                run.look_after((slots - free) as u16);
                runs.with_room.push_behind_first(arena, run);
            }
        }
    }

    /// Takes one run of a class out of the cache that has room, or is the current one.
    pub(super) fn pop(&mut self, class: Class) -> Option<Run> {
        let arena = self.arena;
        let runs = self.of(class)?;
        if !runs.current.is_none() {
            let run = Run::at(arena, runs.current);
            (runs.current, runs.spot) = (Index::NONE, nowhere());
            self.current -= 1;
            return Some(run);
        }
        // SAFETY: listed runs are this cache's, and whoever calls is at it alone.
        unsafe { runs.with_room.pop(arena) }.or_else(|| self.pop_empty(class))
    }

    /// Whether a class has a run to take slots from.
    pub(super) fn has_current(&self, class: Class) -> bool {
        class.small().is_some_and(|class| !class.of(&self.classes).current.is_none())
    }

    /// Takes the current run of a class out of the cache, if it has no slot in use, or `always`.
    pub(super) fn pop_idle(&mut self, class: Class, always: bool) -> Option<Run> {
        let current = self.of(class)?.current;
        if current.is_none() {
            return None;
        }
        let run = Run::at(self.arena, current);
        // SAFETY: the run is this cache's, and whoever calls is at it alone.
        let is_idle = unsafe { run.free_slots() == run.slots() };
        if is_idle || always { self.pop(class) } else { None }
    }

    /// Takes one run of a class out of the cache that has no slot in use.
    fn pop_empty(&mut self, class: Class) -> Option<Run> {
        let arena = self.arena;
        // SAFETY: as for `pop`.
        let run = unsafe { self.of(class)?.empty.pop(arena) }?;
        self.empty -= 1;
        Some(run)
    }

    /// Takes all runs out of the cache that have no slot in use.
    pub(super) fn take_empty(&mut self, mut give_back: impl FnMut(Run)) {
        for class in Class::all_with_slots() {
            if self.empty == 0 {
                break;
            }
            while let Some(run) = self.pop_empty(class) {
                give_back(run);
            }
        }
    }

    /// What hardly is the same again after slots of a class were taken, or its list, which begins there, has changed.
    fn look(&self, class: Class, list: *mut u8) -> u32 {
        let Some(runs) = class.small().map(|class| class.of(&self.classes)) else { return 0 };
        let mut look = list.addr() as u64;
        if !runs.current.is_none() {
            // SAFETY: the spot is one of a run of this cache's.
            look ^= runs.spot.first.addr() as u64 ^ unsafe { runs.spot.word.read() };
        }
        (look ^ look >> 32) as u32
    }

    /// Whether a class was used since [`note_look`](Self::note_look).
    pub(super) fn was_used(&self, class: Class, list: *mut u8) -> bool {
        let look = self.look(class, list);
        class.small().is_some_and(|class| class.of(&self.classes).seen != look)
    }

    /// Notes what a class and its list look like.
    pub(super) fn note_look(&mut self, class: Class, list: *mut u8) {
        let look = self.look(class, list);
        if let Some(runs) = self.of(class) {
            runs.seen = look;
        }
    }

    /// Checks that each run is one of this cache's, and counts those that have room. The heap was found sound.
    ///
    /// # Errors
    ///
    /// The first violation found.
    pub(super) fn audit(&self, heap: &Heap) -> Result<u32, AuditError> {
        let mut with_room = 0;
        for runs in &self.classes {
            if !runs.current.is_none() {
                let run = heap.run_of(self.number, runs.current)?;
                // SAFETY: it is a run, and whoever calls is at it alone.
                with_room += u32::from(unsafe { run.free_slots() } > 0);
            }
            for list in [runs.with_room, runs.empty] {
                let (mut prev, mut index) = (Index::NONE, list.first());
                while !index.is_none() {
                    let run = heap.run_of(self.number, index)?;
                    // SAFETY: as above.
                    let (free, links) = unsafe { (run.free_slots(), run.links()) };
                    if free == 0 || links.1 != prev {
                        return Err(AuditError::at(
                            index,
                            "it is on a list of a cache's where it does not belong",
                        ));
                    }
                    with_room += 1;
                    (prev, index) = (index, links.0);
                }
            }
        }
        Ok(with_room)
    }

    /// How many bytes the free slots have.
    pub(super) fn bytes(&self) -> usize {
        let arena = self.arena;
        let free = |runs: &ClassRuns| {
            let current = (!runs.current.is_none()).then(|| Run::at(arena, runs.current));
            // SAFETY: the runs are this cache's, and whoever calls is at it alone.
            unsafe {
                let listed = runs.with_room.iter(arena).chain(runs.empty.iter(arena));
                listed.chain(current).map(|run| run.free_slots()).sum::<u32>()
            }
        };
        SlotSize::all().zip(&self.classes).map(|(slot, runs)| free(runs) as usize * slot.bytes()).sum()
    }
}

/// What came of a slot that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Simply,
    /// The run may be one without a slot in use now.
    Looked,
}

/// The slot was free already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AlreadyFree;
