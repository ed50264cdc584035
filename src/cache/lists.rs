//! What one thread's cache has: its runs, and two lists of blocks for each class.
//!
//! On lists are blocks, slots of runs that are not the thread's, and slots of its own that were freed just now,
//! which are likely to be in the processor's cache. They are taken from and put on the *current* list. When that is
//! full, the thread's own slots go back into their runs. If anything else comes, the list becomes the *spare* one,
//! and when the current one is empty, the spare one takes its place. Only when both are full, or both are empty and
//! there is no run to take from, a full list goes to the depot or comes from there, as a whole, without the lock: what
//! a class does many times in a row costs a look at its shelf there for each `batch` blocks only.
//!
//! Of medium blocks there are many classes, of which most have a block or two: the lists of all of these share what
//! the budget leaves, by the blocks that they have. What is full is all of them together then, and lists of many
//! classes go to the depot, or blocks of many classes go back, at once.
//!
//! How long they may be is in `shares`, how much room one has in `room`.
//!
//! (Bonwick and Adams, *Magazines and vmem: extending the slab allocator to many CPUs and arbitrary
//! resources*, 2001.)

mod room;
mod shares;

use super::class::{ByClass, Class, SmallClass};
use super::depot::Depot;
use super::place::Found;
use super::pressure::Pressure;
use super::runs::{AlreadyFree, Put, Runs};
use super::trial::{Call, Progress, Trial};
use crate::block::cached::{self, Keyed};
use crate::heap::Heap;
use crate::run::Run;
use core::ptr::{NonNull, null_mut};
use room::Room;
use shares::bytes_of;
pub(super) use shares::{LARGEST_SHARE_LOG2, Looked};

/// The lists of a cache. The blocks on them are the cache's, and [linked](cached::link).
#[derive(Debug)]
pub(super) struct Lists {
    current: ByClass<*mut u8>,
    room: ByClass<Room>,
    /// How many blocks a full current list has; zero where the cache keeps none of the class. That of a medium class
    /// becomes longer and shorter with each block, and has no room.
    batch: ByClass<u8>,
    /// How many of these are not charged to the budget, because the class has a run.
    granted: ByClass<u8>,
    /// Null, or a list that was full, and how many blocks it has.
    spare: ByClass<*mut u8>,
    spare_count: ByClass<u8>,
    pub(super) runs: Runs,
    /// Whether the class came to the lock since the cache was looked over.
    came: ByClass<bool>,
    /// How many bytes the lists may keep together, and how many of them no class was given yet: less than none
    /// if lists of other caches were longer than this one's.
    budget: usize,
    left: isize,
    /// The medium class that gave back a block last to make room for others, and whether any may have one.
    made_room: Class,
    may_have_medium: bool,
    /// How often a class came to the end of its lists, or of its slots at hand, and how often to the lock, since the
    /// cache was looked over.
    visits: u32,
    at_lock: u32,
    /// How many blocks the lists of small classes had that it has begun to take from in the meantime.
    begun: u32,
    /// How often the cache was looked over since a class was renewed.
    looks: u8,
    /// How many allocations, and releases of what has gone to the depot, were served without such a visit, but for what
    /// is counted elsewhere: in `room`, and by the runs.
    served: i32,
    /// How much less was served than is expected.
    owed: u32,
    /// The class that was renewed last.
    renewed: Class,
    /// Of use while the cache is asleep.
    trial: Trial,
}

/// There are two full lists of a class at most.
pub(super) const LISTS: usize = 2;

/// A list has so many blocks at most. More would only make the turns of the lock longer, where it is filled or goes
/// back.
pub(super) const MOST_BLOCKS: usize = 64;

/// A list of cached blocks, by its first block, and how many they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct FullList {
    pub(super) first: NonNull<u8>,
    count: u8,
}

/// A list as it should be: the class that it is for, its first block or null, and how many blocks it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) class: Class,
    pub(super) first: *mut u8,
    pub(super) blocks: u32,
}

/// What a cache has and does not need.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unneeded {
    Block(NonNull<u8>),
    Run(Run),
}

/// What came of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// The cache has it.
    Yes,
    /// The cache has it, and now more than it may keep.
    TooMuch,
    /// It cannot be cached now, or at all.
    No,
}

impl FullList {
    pub(super) fn new(first: NonNull<u8>, count: u8) -> Self {
        Self { first, count }
    }

    /// How many blocks there are.
    pub(super) fn blocks(self) -> usize {
        self.count.into()
    }

    /// How many bytes its blocks have, each counted as what its class promises.
    pub(super) fn bytes(self, class: Class) -> usize {
        self.blocks() * class.payload()
    }
}

impl Lists {
    /// Lists that neither have nor take anything; all zero bytes.
    pub(super) const fn new() -> Self {
        Self {
            current: ByClass::new(null_mut()),
            room: ByClass::new(Room::NONE),
            batch: ByClass::new(0),
            granted: ByClass::new(0),
            spare: ByClass::new(null_mut()),
            spare_count: ByClass::new(0),
            runs: Runs::new(),
            came: ByClass::new(false),
            budget: 0,
            left: 0,
            made_room: Class::NONE,
            may_have_medium: false,
            visits: 0,
            at_lock: 0,
            begun: 0,
            looks: 0,
            served: 0,
            owed: 0,
            renewed: Class::NONE,
            trial: Trial::new(),
        }
    }

    /// What the trial whether lists without a budget are to get one has come to, now that their owner has come to the
    /// heap's lock for the sake of a block, of a class unless it is too large; see [`Trial::has_come`].
    pub(super) fn try_out(
        &mut self,
        call: Call,
        class: Option<Class>,
        pressure: &Pressure,
        budget: impl FnOnce() -> usize,
    ) -> Progress {
        self.trial.has_come(call, class, pressure, budget)
    }

    /// Keeps nothing from now on. The lists are empty, and there are no runs with room.
    pub(super) fn fall_asleep(&mut self, heap: &mut Heap) {
        self.begin(0);
        self.runs.stop(heap);
    }

    /// From now on the lists, which are empty, keep so many bytes together.
    pub(super) fn begin(&mut self, budget: usize) {
        self.trial = Trial::new();
        (self.budget, self.left) = (budget, budget as isize);
        (self.visits, self.at_lock, self.begun) = (0, 0, 0);
        (self.served, self.owed) = (0, 0);
        self.batch = ByClass::new(0);
        self.granted = ByClass::new(0);
        self.room = ByClass::new(Room::NONE);
        self.came = ByClass::new(false);
    }

    /// How many blocks to ask the heap for, for empty lists; zero if the cache keeps none of the class.
    ///
    /// Medium blocks are asked for one by one: there are many classes of them, and a block that nobody asked for
    /// takes much room.
    pub(super) fn refill(&self, class: Class) -> u32 {
        if class.is_small() { self.batch.get(class).into() } else { self.may_have_one(class).into() }
    }

    /// Takes a block from the current list, or a slot from the current run.
    ///
    /// What was freed just now is in the processor's cache, and so is taken first.
    #[inline(always)]
    pub(super) fn take_small(&mut self, class: SmallClass) -> Option<NonNull<u8>> {
        match self.unlink(class.class()) {
            Some(block) => {
                self.room.get_mut(class.class()).take();
                Some(block)
            }
            None => self.runs.take(class),
        }
    }

    /// Takes a block of a class, or of one that is hardly larger, from a current list, or a slot from the current run,
    /// if it lies at a multiple of `align`.
    #[inline(always)]
    pub(super) fn take_aligned(&mut self, class: Class, align: usize) -> Option<NonNull<u8>> {
        let on_lists = class
            .and_larger()
            .find_map(|class| if self.is_first_aligned(class, align) { self.pop(class) } else { None });
        on_lists.or_else(|| self.runs.take(class.small()?))
    }

    /// Takes a slot of a class from the cache's runs.
    pub(super) fn take_of_runs(&mut self, class: Class) -> Option<NonNull<u8>> {
        let slot = self.runs.take_next(class);
        if slot.is_some() {
            self.grant(class);
        }
        slot
    }

    /// Takes what was found, if that is quickly done: onto the current list, or, if that is full, into the run, if
    /// that is the cache's. Returns whether it is done.
    ///
    /// # Safety
    ///
    /// - It was found just now. If it is in use, nobody uses its bytes any more.
    #[inline(always)]
    pub(super) unsafe fn give_simply(&mut self, found: Found) -> bool {
        // SAFETY: what was found is a run with a slot of that number. A block or slot of a class that has room, or of a
        // run that a cache owns, is long enough for a key, and its bytes are the cache's now (contract).
        unsafe {
            match found {
                Found::Block(class, block) => {
                    let block = Keyed::of(block);
                    self.takes(class) && !block.is_cached() && self.push_keyed(class, block)
                }
                Found::Slot { owner, run, number, slot } => {
                    let class = Class::of_slot(run.slot_size());
                    if self.has_room(class) {
                        run.is_used(number) && {
                            let slot = Keyed::of(slot);
                            !slot.is_cached() && self.push_small(class, slot)
                        }
                    } else {
                        self.runs.are_of(owner) && !cached::has_key(slot) && run.put_back_simply(number)
                    }
                }
            }
        }
    }

    /// What is to become of a block that was on a list: `None` if it is a slot of a run of the cache's, into which it
    /// goes back.
    pub(super) fn retire(&mut self, block: NonNull<u8>) -> Option<Unneeded> {
        if let Some((run, number)) = self.runs.find(block) {
            // SAFETY: it is a run of the cache's with a slot of that number, which was on a list.
            let put = unsafe { self.runs.put(run, number) };
            invariant!(put.is_ok());
            return None;
        }
        Some(Unneeded::Block(block))
    }

    /// Takes what was found: onto a list, if there is room, or else into the run, if that is the cache's.
    ///
    /// # Safety
    ///
    /// - It was found just now and is in use, and nobody uses its bytes any more.
    pub(super) unsafe fn give(&mut self, found: Found) -> Given {
        let Some((class, block)) = found.unless_free() else { return Given::No };
        match found {
            Found::Slot { run, number, .. } if !self.has_room(class) && self.runs.own(run) => {
                // SAFETY: what was found is a run with a slot of that number, and as below.
                return match unsafe { self.runs.put(run, number) } {
                    Err(AlreadyFree) => Given::No,
                    Ok(Put::Looked) if self.has_many_empty_runs() => Given::TooMuch,
                    Ok(_) => Given::Yes,
                };
            }
            _ => {}
        }
        // SAFETY: the caller's contract.
        if unsafe { self.push_either(class, block) } { Given::Yes } else { Given::No }
    }

    /// As [`give`](Self::give); if both lists are full, one of them goes to the depot.
    ///
    /// # Safety
    ///
    /// - As for [`give`](Self::give), and for [`pass_on`](Self::pass_on). It is of that class.
    pub(super) unsafe fn give_or_pass_on(&mut self, found: Found, class: Class, depot: &Depot) -> Given {
        // SAFETY: the caller's contract. What was not given is as it was.
        unsafe {
            let given = self.give(found);
            if given == Given::No && self.pass_on(class, depot) { self.give(found) } else { given }
        }
    }

    /// Takes a block from the current list.
    #[inline(always)]
    pub(super) fn pop(&mut self, class: Class) -> Option<NonNull<u8>> {
        let block = self.unlink(class)?;
        if class.is_small() {
            self.room.get_mut(class).take();
        } else {
            self.note_taken(class);
        }
        Some(block)
    }

    /// Takes a block from the current list, which is not counted yet.
    #[inline(always)]
    fn unlink(&mut self, class: Class) -> Option<NonNull<u8>> {
        let block = NonNull::new(self.current.get(class))?;
        // SAFETY: what is on a list is linked and the cache's.
        *self.current.get_mut(class) = unsafe { cached::unlink(block) };
        Some(block)
    }

    /// Whether the current list of a small class has room. One of [`Class::NONE`] never has.
    #[inline(always)]
    pub(super) fn has_room(&self, class: Class) -> bool {
        self.room.get(class).blocks() != 0
    }

    /// Whether the current list takes another block. One of [`Class::NONE`] never does.
    #[inline(always)]
    fn takes(&self, class: Class) -> bool {
        if class.is_small() { self.has_room(class) } else { self.may_have_another(class) }
    }

    /// Puts a block on the current list, if that has room.
    ///
    /// # Safety
    ///
    /// - It is a block of this class that nobody uses, or the class is [`Class::NONE`].
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, class: Class, block: NonNull<u8>) -> bool {
        // SAFETY: the caller's contract.
        unsafe { self.push_keyed(class, Keyed::of(block)) }
    }

    /// As [`push`](Self::push).
    ///
    /// # Safety
    ///
    /// - As for [`push`](Self::push).
    #[inline(always)]
    unsafe fn push_keyed(&mut self, class: Class, block: Keyed) -> bool {
        if class.is_small() {
            // SAFETY: the caller's contract.
            return unsafe { self.push_small(class, block) };
        }
        if !self.may_have_another(class) {
            return false;
        }
        self.note_given(class);
        // SAFETY: the block is the cache's now (contract).
        unsafe { self.link(class, block) };
        true
    }

    /// As [`push`](Self::push), for a small class.
    ///
    /// # Safety
    ///
    /// - As for [`push`](Self::push).
    #[inline(always)]
    unsafe fn push_small(&mut self, class: Class, block: Keyed) -> bool {
        let has_room = self.room.get_mut(class).put();
        if has_room {
            // SAFETY: the block is the cache's now (contract; `NONE` never has room).
            unsafe { self.link(class, block) };
        }
        has_room
    }

    /// Puts a block on the current list, which knows of it already.
    ///
    /// # Safety
    ///
    /// - It is a block of this class that nobody uses.
    #[inline(always)]
    unsafe fn link(&mut self, class: Class, block: Keyed) {
        let current = self.current.get_mut(class);
        // SAFETY: the caller's contract.
        unsafe { block.link(*current) };
        *current = block.block().as_ptr();
    }

    /// Whether the block that [`pop`](Self::pop) would take, if there is one, lies at a multiple of `align`.
    /// Slots have their size's alignment; blocks, which may be on the same list, need not.
    #[inline(always)]
    pub(super) fn is_first_aligned(&self, class: Class, align: usize) -> bool {
        self.current.get(class).addr() & (align - 1) == 0
    }

    /// As [`pop`](Self::pop), from the spare list if the current one is empty.
    pub(super) fn pop_either(&mut self, class: Class) -> Option<NonNull<u8>> {
        self.begin_spare(class);
        self.pop(class)
    }

    /// Makes the spare list the current one, if that is empty.
    pub(super) fn begin_spare(&mut self, class: Class) {
        if self.current.get(class).is_null() {
            if let Some(spare) = self.take_spare(class) {
                self.adopt(class, spare);
            }
        }
    }

    /// As [`push`](Self::push), on a new list if the current one is full and there is no spare one.
    ///
    /// # Safety
    ///
    /// - As for [`push`](Self::push).
    pub(super) unsafe fn push_either(&mut self, class: Class, block: NonNull<u8>) -> bool {
        if self.is_full(class) && self.spare.get(class).is_null() {
            *self.spare.get_mut(class) = self.current.get(class);
            *self.spare_count.get_mut(class) = self.batch.get(class);
            *self.current.get_mut(class) = null_mut();
            if class.is_small() {
                self.room.get_mut(class).set(self.batch.get(class));
            } else {
                *self.batch.get_mut(class) = 0;
            }
        }
        // SAFETY: the caller's contract.
        unsafe { self.push(class, block) }
    }

    /// Makes a full list, which may be one of another cache, the current one, which is empty.
    pub(super) fn adopt(&mut self, class: Class, list: FullList) {
        invariant!(self.current.get(class).is_null());
        if class.is_small() {
            self.begun += u32::from(list.count);
        } else {
            self.may_have_medium = true;
        }
        *self.current.get_mut(class) = list.first.as_ptr();
        let batch = self.batch.get_mut(class);
        if *batch < list.count {
            self.left -= bytes_of(class, (list.count - *batch).into());
            *batch = list.count;
        }
        self.room.get_mut(class).set(*batch - list.count);
    }

    /// The spare list, if there is one.
    fn spare(&self, class: Class) -> Option<FullList> {
        NonNull::new(self.spare.get(class))
            .map(|first| FullList { first, count: self.spare_count.get(class) })
    }

    /// Gives the spare list up, if there is one.
    pub(super) fn take_spare(&mut self, class: Class) -> Option<FullList> {
        let spare = self.spare(class)?;
        *self.spare.get_mut(class) = null_mut();
        if !class.is_small() {
            self.left += bytes_of(class, spare.blocks());
        }
        Some(spare)
    }

    /// Puts the spare list into the depot, if there is one and that takes it. Returns whether it is done.
    ///
    /// # Safety
    ///
    /// - The caller is inside of the gate, or has the heap's lock.
    pub(super) unsafe fn pass_on(&mut self, class: Class, depot: &Depot) -> bool {
        // SAFETY: the list is linked, and this cache's until the depot has it; the caller's contract.
        let is_passed_on = self.spare(class).is_some_and(|list| unsafe { depot.put(class, list) });
        if is_passed_on {
            self.take_spare(class).into_iter().for_each(|list| self.note_leaving(list));
        }
        is_passed_on
    }

    /// Takes a block of a class, at a multiple of `align`, from a list of the depot's, if the current list is empty.
    ///
    /// # Safety
    ///
    /// - As for [`pass_on`](Self::pass_on).
    pub(super) unsafe fn take_passed_on(
        &mut self,
        class: Class,
        align: usize,
        depot: &Depot,
    ) -> Option<NonNull<u8>> {
        if !self.current.get(class).is_null() {
            return None;
        }
        // SAFETY: the caller's contract.
        let list = unsafe { depot.take(class) }?;
        self.adopt(class, list);
        if self.is_first_aligned(class, align) { self.pop(class) } else { None }
    }

    /// How many bytes the blocks on all lists have, each counted as what its class promises, and the free slots of all
    /// runs.
    pub(super) fn bytes(&self) -> usize {
        self.runs.bytes() + self.all().map(|list| list.blocks as usize * list.class.payload()).sum::<usize>()
    }

    /// Every list.
    pub(super) fn all(&self) -> impl Iterator<Item = Counted> {
        Class::all().flat_map(|class| {
            let (current, spare) = (self.current.get(class), self.spare.get(class));
            let on_current = self.batch.get(class) - self.room.get(class).blocks();
            let on_spare = if spare.is_null() { 0 } else { self.spare_count.get(class) };
            [(current, on_current), (spare, on_spare)].map(|(first, blocks)| Counted {
                class,
                first,
                blocks: blocks.into(),
            })
        })
    }

    /// Passes on every block that is on a list.
    pub(super) fn for_each(&self, mut pass_on: impl FnMut(NonNull<u8>)) {
        for list in self.all() {
            // SAFETY: the lists' blocks are linked.
            unsafe { each_of_list(list.first) }.for_each(&mut pass_on);
        }
    }

    /// Whether a block whose header has that class is on any list, by its address.
    pub(super) fn contains(&self, class: Class, address: usize) -> bool {
        class.listed_as().flat_map(|class| [self.current.get(class), self.spare.get(class)]).any(|list| {
            // SAFETY: the lists' blocks are linked.
            unsafe { list_contains(list, address) }
        })
    }
}

/// Whether a block is on a list, by its address.
///
/// # Safety
///
/// - The list is null, or its blocks are [linked](cached::link).
pub(super) unsafe fn list_contains(list: *mut u8, address: usize) -> bool {
    // SAFETY: the caller's contract.
    unsafe { each_of_list(list) }.any(|block| block.addr().get() == address)
}

/// The blocks of a list.
///
/// # Safety
///
/// - The list is null, or its blocks are [linked](cached::link), and stay so as long as the iterator is used.
pub(super) unsafe fn each_of_list(list: *mut u8) -> impl Iterator<Item = NonNull<u8>> {
    // SAFETY: the caller's contract.
    let next = |block: &NonNull<u8>| NonNull::new(unsafe { cached::next(*block) });
    core::iter::successors(NonNull::new(list), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// So much that 64 blocks of the class are not too much.
    pub(super) const BUDGET: usize = 1 << 20;

    pub(super) fn blocks_of(memory: &mut [[u64; 2]]) -> Vec<NonNull<u8>> {
        memory.iter_mut().map(|block| NonNull::from(block).cast::<u8>()).collect()
    }

    /// What a thread does that comes to the lock for the sake of a class's lists.
    pub(super) fn come(
        lists: &mut Lists,
        class: Class,
        budget: usize,
        give_back: impl FnMut(Unneeded),
    ) -> Option<Class> {
        let looked = lists.visit(class, budget, 1, give_back);
        lists.lengthen(class);
        looked.map(|looked| looked.renewed)
    }

    pub(super) fn nothing_is_given_back(unneeded: Unneeded) {
        panic!("{unneeded:?} is given back");
    }

    #[test]
    fn lists_take_two_batches_and_give_the_last_block_first() {
        let mut memory = [[0u64; 2]; 8];
        let blocks = blocks_of(&mut memory);
        let class = Class::serving_small(12).class();
        let mut lists = Lists::new();
        // SAFETY: each block has 16 bytes and is on one list at a time.
        unsafe {
            assert!(!lists.push_either(class, blocks[0]), "without a budget nothing is kept");
            lists.begin((3 * 16 * LISTS) << LARGEST_SHARE_LOG2);
            come(&mut lists, class, BUDGET, nothing_is_given_back);
            come(&mut lists, class, BUDGET, nothing_is_given_back);
            assert!(blocks[..6].iter().all(|&block| lists.push_either(class, block)));
            assert!(!lists.push_either(class, blocks[6]), "both lists are full");
            assert_eq!(lists.bytes(), 6 * 16);
            assert!(!lists.push(Class::NONE, blocks[6]));
        }
        assert!(
            lists.contains(class, blocks[0].addr().get()) && !lists.contains(class, blocks[6].addr().get())
        );
        let popped: Vec<_> = core::iter::from_fn(|| lists.pop_either(class)).collect();
        assert!(popped.iter().eq(blocks[..6].iter().rev()));
        assert_eq!(lists.bytes(), 0);
    }
}
