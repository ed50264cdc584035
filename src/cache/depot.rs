//! The depot: lists of cached blocks on their way from the threads that free them to those that allocate. Those of
//! small classes are full; one of a medium class is what a cache had that has no room for more.
//!
//! It spares both the heap and its lock: a list goes in and comes out as a whole, and each class has a *shelf* of its
//! own, to be had with one atomic exchange. Nobody waits for a shelf that somebody else is just at: as if it were full,
//! or empty, that thread goes the way by the heap instead. What is in the depot counts as cached; it is taken back
//! before a request is refused.
//!
//! Who is at a shelf is inside of its gate or has the heap's lock. So nobody is when all gates are closed under the
//! lock.
//!
//! (Bonwick and Adams, *Magazines and vmem: extending the slab allocator to many CPUs and arbitrary resources*, 2001.)

use super::class::{ByClass, CLASSES, Class};
use super::lists::{Counted, FullList, list_contains};
use crate::sync::Exclusive;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use core::ptr::{NonNull, null_mut};

/// How many lists of a class there can be.
const DEPTH: usize = 16;

/// After so many lists that were put in, the depot is looked over: several times as many as there can be in it
/// of the classes that are in use.
const PUTS: usize = 512;

/// A look over a cache counts as so many: where nothing comes in any more, nobody needs what is here.
const PUTS_OF_A_LOOK: usize = 16;

/// A list on a shelf: its first block, and how many blocks it has.
#[derive(Clone, Copy)]
struct Listed {
    first: *mut u8,
    blocks: u8,
}

// SAFETY: the list's blocks are the shelf's, and may be used from whichever thread is at it.
unsafe impl Send for Listed {}

impl Listed {
    /// All zero bytes.
    const NONE: Self = Self { first: null_mut(), blocks: 0 };

    fn list(self) -> Option<FullList> {
        NonNull::new(self.first).map(|first| FullList::new(first, self.blocks))
    }
}

/// The lists of one class; in cache lines that threads of other classes do not come to.
#[repr(C, align(64))]
struct Shelf {
    /// Somebody is at the lists.
    is_in_use: AtomicBool,
    /// How many lists there are, and the fewest since the depot was looked over (*low-water marks*, as in tcmalloc).
    /// Written by whoever is at them.
    count: AtomicU8,
    fewest: AtomicU8,
    /// The one that came last is at the end.
    lists: Exclusive<[Listed; DEPTH]>,
}

// SAFETY: the lists are touched by one thread at a time (`try_with`).
unsafe impl Sync for Shelf {}

impl Shelf {
    /// Without lists; all zero bytes.
    const fn new() -> Self {
        Self {
            is_in_use: AtomicBool::new(false),
            count: AtomicU8::new(0),
            fewest: AtomicU8::new(0),
            lists: Exclusive::new([Listed::NONE; DEPTH]),
        }
    }

    /// How many lists there are, unless somebody is just at them.
    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed).into()
    }

    /// Runs an operation on the lists and on how many they are, if nobody else is at them.
    fn try_with<T>(&self, operation: impl FnOnce(&mut [Listed], &mut u8) -> Option<T>) -> Option<T> {
        if self.is_in_use.swap(true, Ordering::Acquire) {
            return None;
        }
        let mut count = self.count.load(Ordering::Relaxed);
        // SAFETY: whoever comes now finds the shelf in use.
        let result = unsafe { self.lists.with(|lists| operation(lists, &mut count)) };
        self.count.store(count, Ordering::Relaxed);
        self.fewest.store(self.fewest.load(Ordering::Relaxed).min(count), Ordering::Relaxed);
        self.is_in_use.store(false, Ordering::Release);
        result
    }

    /// The list at a place, if there is one and nobody is at them.
    fn look_at(&self, place: usize) -> Option<FullList> {
        self.try_with(|lists, _| lists.get(place)?.list())
    }

    /// From now on the fewest lists are counted anew.
    fn begin_counting(&self) {
        self.try_with(|_, _| {
            self.fewest.store(u8::MAX, Ordering::Relaxed);
            Some(())
        });
    }
}

/// What is on all shelves together, and may be; in one cache line, because each list that comes in or goes changes it.
#[repr(align(64))]
struct Totals {
    /// Bytes of the blocks on all lists, each counted as what its class promises.
    bytes: AtomicUsize,
    /// How many these may be.
    most: AtomicUsize,
    /// How many lists were put in since the depot was looked over.
    puts: AtomicUsize,
}

/// Lists of all classes, to be touched from inside of a gate, or by whoever has the heap's lock.
pub(super) struct Depot {
    shelves: ByClass<Shelf>,
    totals: Totals,
}

impl Depot {
    /// Nothing; all zero bytes.
    pub(super) const fn new() -> Self {
        Self {
            shelves: ByClass::from_array([const { Shelf::new() }; CLASSES]),
            totals: Totals {
                bytes: AtomicUsize::new(0),
                most: AtomicUsize::new(0),
                puts: AtomicUsize::new(0),
            },
        }
    }

    /// From now on there may be so many bytes.
    pub(super) fn allow(&self, bytes: usize) {
        let most = &self.totals.most;
        // What threads read all the time is written only if it changes.
        if most.load(Ordering::Relaxed) != bytes {
            most.store(bytes, Ordering::Relaxed);
        }
    }

    /// Counts a list of a class; false, and nothing is done, if that is more than what there may be.
    fn count_in(&self, class: Class, list: FullList) -> bool {
        let Totals { bytes, most, puts } = &self.totals;
        let more = list.bytes(class);
        if bytes.fetch_add(more, Ordering::Relaxed) + more > most.load(Ordering::Relaxed) {
            bytes.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        puts.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Counts a list of a class that is not here any more.
    fn count_out(&self, class: Class, list: FullList) {
        self.totals.bytes.fetch_sub(list.bytes(class), Ordering::Relaxed);
    }

    /// Puts a list in; false if there is no room, if there would be more than is [allowed](Self::allow) then, or
    /// if somebody is just at that class.
    ///
    /// # Safety
    ///
    /// - The list is nobody else's, and its blocks are linked.
    /// - The caller is inside of its gate, or has the heap's lock.
    pub(super) unsafe fn put(&self, class: Class, list: FullList) -> bool {
        let shelf = self.shelves.at(class);
        if shelf.count() == DEPTH || !self.count_in(class, list) {
            return false;
        }
        let put = shelf.try_with(|lists, count| {
            *lists.get_mut(usize::from(*count))? =
                Listed { first: list.first.as_ptr(), blocks: list.blocks() as u8 };
            *count += 1;
            Some(())
        });
        if put.is_none() {
            self.count_out(class, list);
        }
        put.is_some()
    }

    /// Takes the list out that was put in last; nothing if there is none, or if somebody is just at that class.
    ///
    /// # Safety
    ///
    /// - The caller is inside of its gate, or has the heap's lock.
    pub(super) unsafe fn take(&self, class: Class) -> Option<FullList> {
        self.take_after(class, |_| ())
    }

    /// As [`take`](Self::take), the one that is in the depot for the longest time.
    ///
    /// # Safety
    ///
    /// - As for [`take`](Self::take).
    pub(super) unsafe fn take_oldest(&self, class: Class) -> Option<FullList> {
        // The first one becomes the last one, which is taken out.
        self.take_after(class, |lists| lists.rotate_left(1))
    }

    /// Takes the last list out, after something was done to them all, which are one at least.
    fn take_after(&self, class: Class, prepare: impl FnOnce(&mut [Listed])) -> Option<FullList> {
        let shelf = self.shelves.at(class);
        if shelf.count() == 0 {
            return None;
        }
        let list = shelf.try_with(|lists, count| {
            let last = count.checked_sub(1)?;
            prepare(lists.get_mut(..=usize::from(last))?);
            *count = last;
            lists.get(usize::from(last))?.list()
        })?;
        self.count_out(class, list);
        Some(list)
    }

    /// Takes the lists out, if it is time, that nobody needed since the last time: so many as there always
    /// were. To be called when a cache is looked over.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock.
    pub(super) unsafe fn look_over(&self, mut give_back: impl FnMut(FullList)) {
        if self.totals.puts.fetch_add(PUTS_OF_A_LOOK, Ordering::Relaxed) < PUTS {
            return;
        }
        self.totals.puts.store(0, Ordering::Relaxed);
        for class in Class::all() {
            let shelf = self.shelves.at(class);
            for _ in 0..shelf.fewest.load(Ordering::Relaxed) {
                // SAFETY: the caller's contract.
                unsafe { self.take(class) }.into_iter().for_each(&mut give_back);
            }
            shelf.begin_counting();
        }
    }

    /// Whether there is half of what is [allowed](Self::allow), or more.
    pub(super) fn is_half_full(&self) -> bool {
        self.bytes() >= self.totals.most.load(Ordering::Relaxed) / 2
    }

    /// How many bytes are in the depot.
    pub(super) fn bytes(&self) -> usize {
        self.totals.bytes.load(Ordering::Relaxed)
    }

    /// Passes on every list, by its first block or null, with the class that it is for, as long as that succeeds. (A
    /// plain loop: a signal handler has little stack, and an iterator that is not optimised takes all of it.)
    ///
    /// # Errors
    ///
    /// The first one of `pass_on`.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock, and all gates are closed.
    pub(super) unsafe fn try_for_each_list<E>(
        &self,
        mut pass_on: impl FnMut(Counted) -> Result<(), E>,
    ) -> Result<(), E> {
        for class in Class::all() {
            let shelf = self.shelves.at(class);
            for place in 0..shelf.count() {
                let Some(list) = shelf.look_at(place) else { continue };
                pass_on(Counted { class, first: list.first.as_ptr(), blocks: list.blocks() as u32 })?;
            }
        }
        Ok(())
    }

    /// Whether a block whose header has that class is in the depot, by its address.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock, and all gates are closed.
    pub(super) unsafe fn contains(&self, class: Class, address: usize) -> bool {
        class.listed_as().any(|class| {
            let shelf = self.shelves.at(class);
            let mut lists = (0..shelf.count()).filter_map(|place| shelf.look_at(place));
            // SAFETY: the lists' blocks are linked (contract of `put`).
            lists.any(|list| unsafe { list_contains(list.first.as_ptr(), address) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;
    use std::vec::Vec;

    const MUCH: usize = usize::MAX;

    /// Lists of one block.
    fn lists(memory: &mut [[u64; 2]]) -> Vec<FullList> {
        memory.iter_mut().map(|block| FullList::new(NonNull::from(block).cast(), 1)).collect()
    }

    fn class() -> Class {
        Class::serving_small(12).class()
    }

    impl Depot {
        fn puts(&self, list: FullList) -> bool {
            // SAFETY: nobody else is at the depot, which links nothing, nor at the list.
            unsafe { self.put(class(), list) }
        }

        fn takes(&self) -> Option<NonNull<u8>> {
            // SAFETY: as above.
            unsafe { self.take(class()) }.map(|list| list.first)
        }
    }

    #[test]
    fn as_much_comes_in_as_is_allowed() {
        let mut memory = [[0u64; 2]; DEPTH + 1];
        let (depot, lists) = (Depot::new(), lists(&mut memory));
        assert!(!depot.puts(lists[0]), "nothing is allowed yet");
        let bytes = lists[0].bytes(class());
        depot.allow(3 * bytes);
        assert!(lists[..3].iter().all(|&list| depot.puts(list)) && !depot.puts(lists[3]));
        assert_eq!(depot.bytes(), 3 * bytes);
        assert!((0..3).rev().all(|list| depot.takes() == Some(lists[list].first)));
        assert_eq!((depot.takes(), depot.bytes()), (None, 0));
        depot.allow(MUCH);
        assert!(lists[..DEPTH].iter().all(|&list| depot.puts(list)) && !depot.puts(lists[DEPTH]));
        assert_eq!(depot.bytes(), DEPTH * bytes, "what was not taken does not count");
        // SAFETY: nobody else is at the depot.
        assert_eq!(unsafe { depot.take_oldest(class()) }.map(|list| list.first), Some(lists[0].first));
        assert_eq!(depot.takes(), Some(lists[DEPTH - 1].first));
    }

    #[test]
    fn nobody_waits_for_a_shelf() {
        let mut memory = [[0u64; 2]; 2];
        let (depot, lists) = (Depot::new(), lists(&mut memory));
        depot.allow(MUCH);
        assert!(depot.puts(lists[0]));
        let before = depot.bytes();
        let meanwhile =
            depot.shelves.at(class()).try_with(|_, _| Some((depot.puts(lists[1]), depot.takes())));
        assert_eq!(meanwhile, Some((false, None)));
        assert_eq!((depot.bytes(), depot.takes()), (before, Some(lists[0].first)));
    }

    #[test]
    fn what_nobody_needed_is_given_back() {
        let mut memory = [[0u64; 2]; 5];
        let (depot, lists) = (Depot::new(), lists(&mut memory));
        depot.allow(MUCH);
        assert!(lists[..4].iter().all(|&list| depot.puts(list)));
        let looks = || {
            while depot.totals.puts.load(Ordering::Relaxed) < PUTS {
                assert!(depot.puts(lists[4]) && depot.takes() == Some(lists[4].first));
            }
            let mut given_back = Vec::new();
            // SAFETY: nobody else is at the depot.
            unsafe { depot.look_over(|list| given_back.push(list.first)) };
            given_back
        };
        assert!(looks().is_empty(), "there were none in the beginning");
        assert_eq!(looks(), [3, 2, 1, 0].map(|list: usize| lists[list].first));
        // SAFETY: as above.
        let Ok(()) =
            unsafe { depot.try_for_each_list(|list| -> Result<(), Infallible> { panic!("{list:?}") }) };
        assert_eq!(depot.bytes(), 0);
    }

    #[test]
    fn where_nothing_comes_in_what_is_there_is_given_back() {
        let mut memory = [[0u64; 2]; 3];
        let (depot, lists) = (Depot::new(), lists(&mut memory));
        depot.allow(MUCH);
        assert!(lists.iter().all(|&list| depot.puts(list)));
        let mut given_back = 0;
        // The second time that it is looked over, it has been so for a whole time.
        for _ in 0..2 * (PUTS.div_ceil(PUTS_OF_A_LOOK) + 1) {
            // SAFETY: nobody else is at the depot.
            unsafe { depot.look_over(|_| given_back += 1) };
        }
        assert_eq!((given_back, depot.bytes()), (3, 0));
    }
}
