//! What the owner of a cache does inside of its gate: it takes blocks and slots, gives them, and finds them.

use super::Slot;
use crate::cache::class::{Class, SmallClass};
use crate::cache::depot::Depot;
use crate::cache::lists::{Given, Lists};
use crate::cache::place::{Found, Place};
use core::ptr::NonNull;

impl Slot {
    /// Takes a slot or a block of a small class out of the cache, if it is one of that allocator's.
    ///
    /// # Safety
    ///
    /// - As for [`inside`](Self::inside).
    #[inline(always)]
    pub(in crate::cache) unsafe fn take(
        &self,
        allocator: *const (),
        class: SmallClass,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's contract.
        unsafe { self.inside(allocator, |_, lists| lists.take_small(class))? }
    }

    /// As [`take`](Self::take), if the block lies at a multiple of `align`. A medium one may be of a class that is
    /// a little larger.
    ///
    /// # Safety
    ///
    /// - As for [`take`](Self::take).
    #[inline(always)]
    pub(in crate::cache) unsafe fn take_aligned(
        &self,
        allocator: *const (),
        class: Class,
        align: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's contract.
        unsafe { self.inside(allocator, |_, lists| lists.take_aligned(class, align))? }
    }

    /// Puts a slot into the cache, if that is quickly done and the cache is one of that allocator's. Returns
    /// whether it is done.
    ///
    /// # Safety
    ///
    /// - As for [`take`](Self::take).
    /// - If it is a block of the allocator's in use, nobody uses its bytes any more. Anything else is told,
    ///   or taken for one as `dealloc` would.
    #[inline(always)]
    pub(in crate::cache) unsafe fn give(&self, allocator: *const (), block: *mut u8) -> bool {
        // SAFETY: the caller's contract.
        unsafe { self.give_found(allocator, |place| place.find_slot(block)) }
    }

    /// As [`give`](Self::give), for blocks.
    ///
    /// # Safety
    ///
    /// - As for [`give`](Self::give).
    #[inline(always)]
    pub(in crate::cache) unsafe fn give_block(&self, allocator: *const (), block: *mut u8) -> bool {
        // SAFETY: the caller's contract.
        unsafe { self.give_found(allocator, |place| place.find(block)) }
    }

    /// As [`give`](Self::give), for what is found in a place.
    ///
    /// # Safety
    ///
    /// - As for [`give`](Self::give).
    #[inline(always)]
    unsafe fn give_found(&self, allocator: *const (), find: impl FnOnce(&Place) -> Option<Found>) -> bool {
        // SAFETY: the caller's contract.
        let give = |place: &Place, lists: &mut Lists| unsafe {
            find(place).is_some_and(|found| lists.give_simply(found))
        };
        // SAFETY: the caller's contract.
        unsafe { self.inside(allocator, give) }.unwrap_or(false)
    }

    /// Moves what is in a slot or in a small block to one of another class, if that is quickly done and the cache
    /// is one of that allocator's. Returns where it is then, and whether the old one is yet to be given back; it
    /// stays where it is if it is of that class.
    ///
    /// # Safety
    ///
    /// - As for [`give`](Self::give), if it moves. It has `len` bytes, and so has what the class serves.
    #[inline(always)]
    pub(in crate::cache) unsafe fn resize(
        &self,
        allocator: *const (),
        block: *mut u8,
        class: SmallClass,
        len: usize,
    ) -> Option<(NonNull<u8>, bool)> {
        let resize = |place: &Place, lists: &mut Lists| {
            let found = place.find(block)?;
            let (old_class, old) = found.unless_cached().filter(|&(class, _)| class != Class::NONE)?;
            if old_class == class.class() {
                return Some((old, false));
            }
            let target = lists.take_small(class)?;
            // SAFETY: both hold so many bytes, and do not overlap. Then nobody uses the old one any more (contract).
            unsafe {
                target.copy_from_nonoverlapping(old, len);
                Some((target, !lists.give_simply(found)))
            }
        };
        // SAFETY: the caller's contract.
        unsafe { self.inside(allocator, resize)? }
    }

    /// Where what is in a slot or in a block is to go that is to be of another class and at a multiple of `align`: to
    /// one that the cache or the depot has, which is taken. It stays where it is if that may serve the class.
    ///
    /// # Safety
    ///
    /// - The caller is the owner.
    pub(in crate::cache) unsafe fn take_instead(
        &self,
        block: *mut u8,
        class: Class,
        align: usize,
        depot: &Depot,
    ) -> Option<NonNull<u8>> {
        let take = |place: &Place, lists: &mut Lists| {
            // It may have fallen asleep just now, and is to keep nothing then.
            if !self.is_awake() {
                return None;
            }
            let (old_class, old) =
                place.find(block)?.unless_cached().filter(|&(class, _)| class != Class::NONE)?;
            if class.and_larger().any(|class| class == old_class) {
                return Some(old);
            }
            lists.begin_spare(class);
            // SAFETY: the owner is inside of the gate.
            lists.take_aligned(class, align).or_else(|| unsafe { lists.take_passed_on(class, align, depot) })
        };
        // SAFETY: the caller's contract.
        unsafe { self.inside_slowly(take)? }
    }

    /// As [`take_aligned`](Self::take_aligned), also from other runs, from the spare list and from the depot, and where
    /// the gate is never plainly open.
    ///
    /// # Safety
    ///
    /// - The caller is the owner.
    pub(in crate::cache) unsafe fn take_slowly(
        &self,
        class: Class,
        align: usize,
        depot: &Depot,
    ) -> Option<NonNull<u8>> {
        let take = |_: &Place, lists: &mut Lists| {
            lists.begin_spare(class);
            if lists.is_first_aligned(class, align) {
                if let Some(block) = lists.pop(class) {
                    return Some(block);
                }
            }
            // It may have fallen asleep just now, and is to keep nothing then.
            if !self.is_awake() || !lists.count_visit(class) {
                return None;
            }
            // What comes as a whole is had at once. SAFETY: the owner is inside of the gate.
            unsafe { lists.take_passed_on(class, align, depot) }.or_else(|| lists.take_of_runs(class))
        };
        // SAFETY: the caller's contract.
        unsafe { self.inside_slowly(take)? }
    }

    /// Puts a block or a slot into the cache, also on a new list, for which a full one goes to the depot if need be,
    /// and where the gate is never plainly open. It is looked for anew: between two passages of the gate, the run that
    /// it was a slot of may have been broken up.
    ///
    /// # Safety
    ///
    /// - The caller is the owner. It is in use, and nobody uses its bytes any more.
    pub(in crate::cache) unsafe fn give_slowly(&self, block: *mut u8, depot: &Depot) -> Given {
        // SAFETY: the caller's contract. The owner is inside of the gate.
        let give = |place: &Place, lists: &mut Lists| unsafe {
            let found = place.find(block)?;
            let (class, _) = found.unless_cached()?;
            let given = lists.give(found);
            if given != Given::No || !lists.count_visit(class) {
                return Some(given);
            }
            lists.lengthen(class);
            lists.pass_on_others(class, depot);
            Some(lists.give_or_pass_on(found, class, depot))
        };
        // SAFETY: the caller's contract.
        unsafe { self.inside_slowly(give) }.flatten().unwrap_or(Given::No)
    }

    /// What looks like a block or a slot in use that is in no cache and small enough for this one, and its class;
    /// nothing while the gate is closed.
    ///
    /// # Safety
    ///
    /// - The caller is the owner.
    pub(in crate::cache) unsafe fn find(&self, block: *mut u8) -> Option<(Found, Class)> {
        // What a run's header says is looked at inside of the gate: outside, the run may be broken up.
        let find = |place: &Place, _: &mut Lists| {
            let found = place.find(block)?;
            found.unless_cached().map(|(class, _)| (found, class))
        };
        // SAFETY: the caller's contract.
        unsafe { self.inside_slowly(find)? }
    }
}
