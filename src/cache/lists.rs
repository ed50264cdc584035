//! The blocks of one thread's cache: two lists for each class.
//!
//! Blocks are taken from and put on the *current* list. When that is full it becomes the *spare* one, and
//! when it is empty, the spare one takes its place. Only when both are full or both are empty, a full list
//! goes to the depot or comes from there, as a whole: what a class does many times in a row costs a turn of
//! the lock for each `batch` blocks only.
//!
//! (Bonwick and Adams, *Magazines and vmem: extending the slab allocator to many CPUs and arbitrary
//! resources*, 2001.)

use super::class::{ByClass, Class, SMALL_CLASSES};
use super::pressure::{Calm, Pressure};
use crate::block::cached;
use core::ptr::{NonNull, null_mut};

/// The lists of a cache. The blocks on them are the cache's, and [linked](cached::link).
#[derive(Debug)]
pub(super) struct Lists {
    current: ByClass<*mut u8>,
    /// How many more blocks the current list may take.
    room: ByClass<u8>,
    /// How many blocks a full list has; zero where the cache keeps none of the class.
    batch: ByClass<u8>,
    /// How many blocks the heap is asked for next.
    refill: ByClass<u8>,
    /// Null, or a full list.
    spare: ByClass<*mut u8>,
    /// Whether the lists take anything.
    is_awake: bool,
    calm: Calm,
}

/// How many blocks of a class the heap is asked for at first. It is asked for twice as many each time: a
/// program that needs a few does not have to touch many. (A thread that takes over the cache of another one
/// goes on where that was.)
const FIRST_REFILL: u8 = 2;

/// A list of as many cached blocks as a full one of its class has, by its first block.
#[derive(Clone, Copy, Debug)]
pub(super) struct FullList(pub(super) NonNull<u8>);

impl Lists {
    /// Lists that neither have nor take anything; all zero bytes.
    pub(super) const fn new() -> Self {
        Self {
            current: ByClass::new(null_mut()),
            room: ByClass::new(0),
            batch: ByClass::new(0),
            refill: ByClass::new(0),
            spare: ByClass::new(null_mut()),
            is_awake: false,
            calm: Calm::new(),
        }
    }

    /// Whether the lists take anything.
    pub(super) fn is_awake(&self) -> bool {
        self.is_awake
    }

    /// Takes nothing any more. The lists are empty.
    pub(super) fn fall_asleep(&mut self) {
        self.set_budget(0);
        (self.is_awake, self.calm) = (false, Calm::new());
    }

    /// Whether lists that are asleep are to [wake](Self::wake), now that their owner has come to the heap's
    /// lock.
    pub(super) fn are_to_wake(&mut self, pressure: &Pressure) -> bool {
        self.calm.has_come(pressure)
    }

    /// From now on the lists, which are empty, keep so many bytes together.
    pub(super) fn wake(&mut self, budget: usize) {
        self.set_budget(budget);
        self.is_awake = true;
    }

    /// Sets how much the empty lists may keep together, in bytes.
    fn set_budget(&mut self, budget: usize) {
        let mut left_for_medium = budget / 2;
        for class in Class::all() {
            let batch = if class.is_small() {
                small_batch(class, budget / 2)
            } else {
                medium_batch(class, &mut left_for_medium)
            };
            *self.batch.get_mut(class) = batch;
            *self.room.get_mut(class) = batch;
            *self.refill.get_mut(class) = batch.min(FIRST_REFILL);
        }
    }

    /// How many blocks to ask the heap for now; zero if the cache keeps none of the class.
    pub(super) fn next_refill(&mut self, class: Class) -> u32 {
        let refill = self.refill.get_mut(class);
        let now = *refill;
        *refill = (2 * now).min(self.batch.get(class));
        now.into()
    }

    /// Takes a block from the current list.
    #[inline(always)]
    pub(super) fn pop(&mut self, class: Class) -> Option<NonNull<u8>> {
        let block = NonNull::new(self.current.get(class))?;
        // SAFETY: what is on a list is linked and the cache's.
        *self.current.get_mut(class) = unsafe { cached::unlink(block) };
        *self.room.get_mut(class) += 1;
        Some(block)
    }

    /// Puts a block on the current list, if that has room.
    ///
    /// # Safety
    ///
    /// - It is a block of this class that nobody uses, or the class is [`Class::NONE`].
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, class: Class, block: NonNull<u8>) -> bool {
        let room = self.room.get_mut(class);
        let Some(less) = room.checked_sub(1) else { return false };
        *room = less;
        let current = self.current.get_mut(class);
        // SAFETY: the block is the cache's now (contract; `NONE` never has room).
        unsafe { cached::link(block, *current) };
        *current = block.as_ptr();
        true
    }

    /// As [`pop`](Self::pop), from the spare list if the current one is empty.
    pub(super) fn pop_either(&mut self, class: Class) -> Option<NonNull<u8>> {
        if self.current.get(class).is_null()
            && let Some(spare) = self.take_spare(class)
        {
            self.adopt(class, spare);
        }
        self.pop(class)
    }

    /// As [`push`](Self::push), on a new list if the current one is full and there is no spare one.
    ///
    /// # Safety
    ///
    /// - As for [`push`](Self::push).
    pub(super) unsafe fn push_either(&mut self, class: Class, block: NonNull<u8>) -> bool {
        if self.room.get(class) == 0 && self.batch.get(class) != 0 && self.spare.get(class).is_null() {
            *self.spare.get_mut(class) = self.current.get(class);
            *self.current.get_mut(class) = null_mut();
            *self.room.get_mut(class) = self.batch.get(class);
        }
        // SAFETY: the caller's contract.
        unsafe { self.push(class, block) }
    }

    /// Makes a full list the current one, which is empty.
    pub(super) fn adopt(&mut self, class: Class, list: FullList) {
        invariant!(self.current.get(class).is_null());
        *self.current.get_mut(class) = list.0.as_ptr();
        *self.room.get_mut(class) = 0;
    }

    /// Gives the spare list up, if there is one.
    pub(super) fn take_spare(&mut self, class: Class) -> Option<FullList> {
        let spare = NonNull::new(self.spare.get(class))?;
        *self.spare.get_mut(class) = null_mut();
        Some(FullList(spare))
    }

    /// How many bytes the blocks on all lists have, each counted as what its class promises.
    pub(super) fn bytes(&self) -> usize {
        let on_lists = |class: Class| {
            let batch = usize::from(self.batch.get(class));
            let spare = if self.spare.get(class).is_null() { 0 } else { batch };
            batch - usize::from(self.room.get(class)) + spare
        };
        Class::all().map(|class| on_lists(class) * class.payload()).sum()
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
    let next = |block: &NonNull<u8>| NonNull::new(unsafe { cached::next(*block) });
    core::iter::successors(NonNull::new(list), next).any(|block| block.addr().get() == address)
}

/// There are two full lists of a class at most.
const LISTS: usize = 2;

/// How many blocks a full list of small ones has where all of them have that many bytes. The classes share
/// them equally; where there are few, the larger classes keep nothing.
fn small_batch(class: Class, budget: usize) -> u8 {
    /// More would only make the turns of the lock longer.
    const MOST: usize = 64;
    (budget / (SMALL_CLASSES * LISTS) / class.payload()).min(MOST) as u8
}

/// How many blocks a full list of medium ones has: one, as long as there are bytes left for it.
fn medium_batch(class: Class, left: &mut usize) -> u8 {
    let rest = left.checked_sub(LISTS * class.payload());
    *left = rest.unwrap_or(0);
    u8::from(rest.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_lists_stay_within_the_budget() {
        for budget in [0, 100, 4096, 32 << 10, 1 << 19, 1 << 20] {
            let mut lists = Lists::new();
            lists.wake(budget);
            let kept = |class: Class| LISTS * usize::from(lists.batch.get(class)) * class.payload();
            let all: usize = Class::all().map(kept).sum();
            assert!(all <= budget, "{all} of {budget}");
            assert!(budget < 8192 || all > 0);
            assert!(
                budget < 1 << 20 || Class::all().all(|class| kept(class) > 0),
                "every class keeps something"
            );
        }
    }

    #[test]
    fn lists_take_two_batches_and_give_the_last_block_first() {
        let mut memory = [[0u64; 2]; 8];
        let blocks: std::vec::Vec<_> =
            memory.iter_mut().map(|block| NonNull::from(block).cast::<u8>()).collect();
        let class = Class::serving_small(12);
        let mut lists = Lists::new();
        // SAFETY: each block has 16 bytes and is on one list at a time.
        unsafe {
            assert!(!lists.push_either(class, blocks[0]), "without a budget nothing is kept");
            lists.wake(2 * 3 * 16 * LISTS * SMALL_CLASSES);
            let refills = [(); 4].map(|()| lists.next_refill(class));
            assert_eq!(refills, [2, 3, 3, 3]);
            assert!(blocks[..6].iter().all(|&block| lists.push_either(class, block)));
            assert!(!lists.push_either(class, blocks[6]), "both lists are full");
            assert_eq!(lists.bytes(), 6 * 16);
            assert!(!lists.push(Class::NONE, blocks[6]));
        }
        assert!(
            lists.contains(class, blocks[0].addr().get()) && !lists.contains(class, blocks[6].addr().get())
        );
        let popped: std::vec::Vec<_> = core::iter::from_fn(|| lists.pop_either(class)).collect();
        assert!(popped.iter().eq(blocks[..6].iter().rev()));
        assert_eq!(lists.bytes(), 0);
    }
}
