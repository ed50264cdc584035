//! Strays: slots that were freed, and of which the heap can make nothing, because a thread's cache owns their run.
//!
//! They wait for that cache: its thread puts them into their runs when it comes to the heap's lock for want of slots.
//! Nobody waits for anybody then. Where a thread does not come, and more strays wait for it than it may keep itself,
//! somebody else does that for it, with its gate closed. They count as cached, and are taken back before a request is
//! refused.
//!
//! (Slots that come back to a run's owner in one go: Leijen, Zorn and de Moura, *Mimalloc: free list sharding in
//! action*, 2019. There they wait at the run, without a lock.)

use super::SLOTS;
use super::class::Class;
use super::lists::{Counted, MOST_BLOCKS, list_contains};
use crate::block::cached;
use crate::heap::Heap;
use crate::run::Owner;
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};

/// What may wait for one cache: so many bytes of slots, and so many slots, each of which may be all that a run is kept
/// for.
#[derive(Clone, Copy)]
pub(super) struct Most {
    pub(super) bytes: usize,
    pub(super) blocks: usize,
}

/// What waits for one cache.
#[derive(Clone, Copy)]
struct List {
    /// Null, or the stray that came last.
    first: *mut u8,
    blocks: u32,
    bytes: usize,
}

impl List {
    /// All zero bytes.
    const EMPTY: Self = Self { first: null_mut(), blocks: 0, bytes: 0 };
}

struct Waiting {
    /// By the owners' numbers, counted from the first one.
    lists: [List; SLOTS],
    /// A bit for each list that is as long as a full one of a cache's.
    long: u64,
}

const _: () = assert!(SLOTS <= u64::BITS as usize);

/// However small they are, no more may wait for one cache: for so many it takes some ten microseconds to put them into
/// their runs under the lock, and no longer to keep their owner out. As much as a full list of a cache's always may: to
/// keep a thread out of its cache for less would cost more than it is worth.
pub(super) const MOST_WAITING: usize = 512;

/// The strays of all caches, to be touched by whoever has the heap's lock.
pub(super) struct Strays(UnsafeCell<Waiting>);

// SAFETY: every method is called by whoever has the heap's lock (their contracts).
unsafe impl Sync for Strays {}

// SAFETY: the slots are nobody else's, and may be used from whichever thread has the lock.
unsafe impl Send for Strays {}

/// Where the cache of a number is among all, if it is one.
pub(super) fn place_of(owner: Owner) -> usize {
    usize::from(owner).wrapping_sub(usize::from(Heap::FIRST_OWNER))
}

impl Strays {
    /// None; all zero bytes.
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(Waiting { lists: [List::EMPTY; SLOTS], long: 0 }))
    }

    /// A slot of so many bytes waits for that cache now.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock. It is a slot in use, and nobody uses its bytes any more.
    pub(super) unsafe fn put(&self, owner: Owner, slot: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's contract.
        let Waiting { lists, long } = unsafe { &mut *self.0.get() };
        let Some(list) = lists.get_mut(place_of(owner)) else {
            invariant!(false);
            return;
        };
        // SAFETY: the slot's bytes are this list's now (contract).
        unsafe { cached::link(slot, list.first) };
        *list = List { first: slot.as_ptr(), blocks: list.blocks + 1, bytes: list.bytes + bytes };
        if list.blocks >= MOST_BLOCKS as u32 {
            *long |= 1 << place_of(owner);
        }
    }

    /// Takes all that waits for a cache out, as a list.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock.
    pub(super) unsafe fn take(&self, owner: Owner) -> Option<NonNull<u8>> {
        // SAFETY: the caller's contract.
        let Waiting { lists, long } = unsafe { &mut *self.0.get() };
        let list = lists.get_mut(place_of(owner))?;
        *long &= !(1 << place_of(owner));
        NonNull::new(core::mem::replace(list, List::EMPTY).first)
    }

    /// A cache for which more strays wait than `most`, or than [`MOST_WAITING`].
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock.
    #[inline]
    pub(super) unsafe fn owner_of_many(&self, most: impl FnOnce() -> Most) -> Option<Owner> {
        // SAFETY: the caller's contract.
        let Waiting { lists, long } = unsafe { &*self.0.get() };
        if *long == 0 {
            return None;
        }
        let Most { bytes, blocks } = most();
        let blocks = blocks.min(MOST_WAITING);
        let is_many = |list: &List| list.bytes > bytes || list.blocks as usize > blocks;
        let has_many = |&(owner, list): &(Owner, &List)| *long >> place_of(owner) & 1 != 0 && is_many(list);
        (Heap::FIRST_OWNER..).zip(lists).find(has_many).map(|(owner, _)| owner)
    }

    /// How many bytes wait.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock.
    pub(super) unsafe fn bytes(&self) -> usize {
        // SAFETY: the caller's contract.
        unsafe { (*self.0.get()).lists.iter().map(|list| list.bytes).sum() }
    }

    /// Passes on every list, as one of blocks of any class, as long as that succeeds. (A plain loop, as for the depot.)
    ///
    /// # Errors
    ///
    /// The first one of `pass_on`.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock.
    pub(super) unsafe fn try_for_each_list<E>(
        &self,
        mut pass_on: impl FnMut(Counted) -> Result<(), E>,
    ) -> Result<(), E> {
        // SAFETY: the caller's contract.
        for &List { first, blocks, .. } in unsafe { &(*self.0.get()).lists } {
            pass_on(Counted { class: Class::NONE, first, blocks })?;
        }
        Ok(())
    }

    /// Whether a slot waits, by its address.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock.
    pub(super) unsafe fn contain(&self, address: usize) -> bool {
        // SAFETY: the caller's contract. Strays are linked.
        unsafe { (*self.0.get()).lists.iter().any(|list| list_contains(list.first, address)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Where two do not come, each of them is told of, however what waits for them came.
    #[test]
    fn everybody_for_whom_many_wait_is_told_of() {
        const LONG: usize = MOST_BLOCKS;
        let mut memory = [[0u64; 2]; 2 * LONG + 1];
        let mut blocks = memory.iter_mut().map(|block| NonNull::from(block).cast::<u8>());
        let (one, other) = (Heap::FIRST_OWNER, Heap::FIRST_OWNER + 1);
        let (strays, most) = (Strays::new(), Most { bytes: 16 * LONG, blocks: LONG });
        let is_waiting = |owner| {
            // SAFETY: nobody else is at them.
            unsafe { strays.owner_of_many(|| most) == owner }
        };
        // SAFETY: as above; each block has 16 bytes, and is on one list at a time.
        unsafe {
            for _ in 0..LONG {
                strays.put(one, blocks.next().unwrap(), 16);
                strays.put(other, blocks.next().unwrap(), 8);
            }
            assert!(is_waiting(None), "a full list may wait");
            let less = Most { bytes: 8 * LONG, blocks: LONG };
            assert_eq!(strays.owner_of_many(|| less), Some(one));
            assert_eq!(strays.owner_of_many(|| Most { bytes: 0, blocks: 0 }), Some(one));
            strays.put(other, blocks.next().unwrap(), 8);
            assert!(is_waiting(Some(other)), "though bytes are few");
            assert_eq!(strays.bytes(), LONG * 24 + 8);
            let mut lists = Vec::new();
            let Ok(()) = strays.try_for_each_list(|list| {
                lists.push(list.blocks);
                Ok::<_, core::convert::Infallible>(())
            });
            assert_eq!(lists[..3], [LONG as u32, LONG as u32 + 1, 0]);
            let first = strays.take(other).unwrap();
            assert!(!strays.contain(first.addr().get()) && strays.take(other).is_none());
            assert_eq!(strays.owner_of_many(|| Most { bytes: 0, blocks: 0 }), Some(one));
            strays.take(one).unwrap();
            assert!(strays.owner_of_many(|| Most { bytes: 0, blocks: 0 }).is_none() && strays.bytes() == 0);
            assert!(strays.take(Owner::MAX).is_none());
        }
    }
}
