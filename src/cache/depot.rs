//! The depot: full lists of cached blocks on their way from the threads that free them to those that
//! allocate.
//!
//! It spares both the heap: a list goes in and comes out as a whole. What is in it counts as cached; it is
//! taken back before a request is refused.

use super::class::{ByClass, Class};
use super::lists::{Counted, FullList, list_contains};
use core::cell::UnsafeCell;

/// How many lists of a class there can be.
const DEPTH: usize = 16;

/// After so many lists that were put in, the depot is looked over: several times as many as there can be in it
/// of the classes that are in use.
const PUTS: u16 = 512;

struct Stock {
    lists: ByClass<[Option<FullList>; DEPTH]>,
    counts: ByClass<u8>,
    /// The fewest lists that each class had since the depot was looked over (*low-water marks*, as in tcmalloc).
    fewest: ByClass<u8>,
    /// How many lists were put in since then.
    puts: u16,
    /// Bytes of the blocks on all lists, each counted as what its class promises.
    bytes: usize,
    /// How many blocks there are.
    blocks: usize,
}

/// What may be on its way: so many bytes of blocks, and so many blocks, each of which may be all that a run is kept
/// for.
#[derive(Clone, Copy)]
pub(super) struct Most {
    pub(super) bytes: usize,
    pub(super) blocks: usize,
}

/// Full lists of all classes, to be touched by whoever has the heap's lock.
pub(super) struct Depot(UnsafeCell<Stock>);

// SAFETY: every method is called by whoever has the heap's lock (their contracts).
unsafe impl Sync for Depot {}

// SAFETY: the lists' blocks belong to the depot and may be used from whichever thread has the lock.
unsafe impl Send for Depot {}

impl Depot {
    /// Nothing; all zero bytes.
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(Stock {
            lists: ByClass::new([None; DEPTH]),
            counts: ByClass::new(0),
            fewest: ByClass::new(0),
            puts: 0,
            bytes: 0,
            blocks: 0,
        }))
    }

    /// Puts a full list in; false if there is no room, or if there would be more than `most` then.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock. The list is nobody else's, and its blocks are linked.
    pub(super) unsafe fn put(&self, class: Class, list: FullList, most: Most) -> bool {
        // SAFETY: the caller's contract.
        let stock = unsafe { &mut *self.0.get() };
        let count = stock.counts.get_mut(class);
        let Some(place) = stock.lists.get_mut(class).get_mut(usize::from(*count)) else { return false };
        let (bytes, blocks) = (stock.bytes + list.bytes(class), stock.blocks + list.blocks());
        if bytes > most.bytes || blocks > most.blocks {
            return false;
        }
        *place = Some(list);
        *count += 1;
        (stock.bytes, stock.blocks) = (bytes, blocks);
        stock.puts = stock.puts.saturating_add(1);
        true
    }

    /// Takes the list out that was put in last.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock.
    pub(super) unsafe fn take(&self, class: Class) -> Option<FullList> {
        // SAFETY: the caller's contract.
        let stock = unsafe { &mut *self.0.get() };
        let count = stock.counts.get_mut(class);
        let last = count.checked_sub(1)?;
        *count = last;
        let fewest = stock.fewest.get_mut(class);
        *fewest = last.min(*fewest);
        let list = stock.lists.get_mut(class).get(usize::from(last)).copied()??;
        stock.bytes -= list.bytes(class);
        stock.blocks -= list.blocks();
        Some(list)
    }

    /// Takes the list out that is in the depot for the longest time.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock.
    pub(super) unsafe fn take_oldest(&self, class: Class) -> Option<FullList> {
        // SAFETY: the caller's contract.
        let lists = unsafe { (*self.0.get()).lists.get_mut(class) };
        // The first one becomes the last one, which is taken out.
        // SAFETY: as above.
        let count = usize::from(unsafe { (*self.0.get()).counts.get(class) });
        if let Some(lists) = lists.get_mut(..count).filter(|lists| !lists.is_empty()) {
            lists.rotate_left(1);
        }
        // SAFETY: as above.
        unsafe { self.take(class) }
    }

    /// Takes the lists out, if it is time, that nobody needed since the last time: so many as there always
    /// were.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock.
    pub(super) unsafe fn look_over(&self, mut give_back: impl FnMut(FullList)) {
        // SAFETY: the caller's contract.
        let puts = unsafe { &mut (*self.0.get()).puts };
        if *puts < PUTS {
            return;
        }
        *puts = 0;
        for class in Class::all() {
            // SAFETY: as above.
            let unneeded = unsafe { (*self.0.get()).fewest.get(class) };
            for _ in 0..unneeded {
                // SAFETY: as above.
                unsafe { self.take(class) }.into_iter().for_each(&mut give_back);
            }
            // SAFETY: as above.
            let stock = unsafe { &mut *self.0.get() };
            *stock.fewest.get_mut(class) = stock.counts.get(class);
        }
    }

    /// How many bytes are in the depot.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock.
    pub(super) unsafe fn bytes(&self) -> usize {
        // SAFETY: the caller's contract.
        unsafe { (*self.0.get()).bytes }
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
    /// - The caller has the heap's lock.
    pub(super) unsafe fn try_for_each_list<E>(
        &self,
        mut pass_on: impl FnMut(Counted) -> Result<(), E>,
    ) -> Result<(), E> {
        // SAFETY: the caller's contract.
        let stock = unsafe { &*self.0.get() };
        for class in Class::all() {
            let lists = stock.lists.get(class);
            for list in lists.iter().take(usize::from(stock.counts.get(class))).flatten() {
                pass_on(Counted { class, first: list.first.as_ptr(), blocks: list.blocks() as u32 })?;
            }
        }
        Ok(())
    }

    /// Whether a block whose header has that class is in the depot, by its address.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock.
    pub(super) unsafe fn contains(&self, class: Class, address: usize) -> bool {
        // SAFETY: the caller's contract.
        let stock = unsafe { &*self.0.get() };
        class.listed_as().any(|class| {
            let lists = stock.lists.get(class);
            let lists = lists.iter().take(usize::from(stock.counts.get(class)));
            // SAFETY: the lists' blocks are linked (contract of `put`).
            lists.flatten().any(|list| unsafe { list_contains(list.first.as_ptr(), address) })
        })
    }
}
