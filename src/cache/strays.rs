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
    /// Who had many strays when one came, or nobody: zero.
    has_many: Owner,
}

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
        Self(UnsafeCell::new(Waiting { lists: [List::EMPTY; SLOTS], has_many: 0 }))
    }

    /// A slot of so many bytes waits for that cache now.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock. It is a slot in use, and nobody uses its bytes any more.
    pub(super) unsafe fn put(&self, owner: Owner, slot: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's contract.
        let Waiting { lists, has_many } = unsafe { &mut *self.0.get() };
        let Some(list) = lists.get_mut(place_of(owner)) else {
            invariant!(false);
            return;
        };
        // SAFETY: the slot's bytes are this list's now (contract).
        unsafe { cached::link(slot, list.first) };
        *list = List { first: slot.as_ptr(), blocks: list.blocks + 1, bytes: list.bytes + bytes };
        if list.blocks >= MOST_BLOCKS as u32 {
            *has_many = owner;
        }
    }

    /// Takes all that waits for a cache out, as a list.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock.
    pub(super) unsafe fn take(&self, owner: Owner) -> Option<NonNull<u8>> {
        // SAFETY: the caller's contract.
        let list = unsafe { (*self.0.get()).lists.get_mut(place_of(owner))? };
        NonNull::new(core::mem::replace(list, List::EMPTY).first)
    }

    /// The cache for which so many strays wait that it had better not be waited for: as many as a full list has, and
    /// more than so many bytes.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock.
    #[inline]
    pub(super) unsafe fn owner_of_many(&self, most: impl FnOnce() -> usize) -> Option<Owner> {
        // SAFETY: the caller's contract.
        let Waiting { lists, has_many } = unsafe { &mut *self.0.get() };
        if *has_many == 0 {
            return None;
        }
        let owner = core::mem::take(has_many);
        let list = lists.get(place_of(owner))?;
        (list.blocks >= MOST_BLOCKS as u32 && list.bytes > most()).then_some(owner)
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
