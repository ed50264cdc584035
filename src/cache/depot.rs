//! The depot: full lists of cached blocks on their way from the threads that free them to those that
//! allocate.
//!
//! It spares both the heap: a list goes in and comes out as a whole. What is in it counts as cached; it is
//! taken back before a request is refused.

use super::class::{ByClass, Class};
use super::lists::{FullList, list_contains};
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};

/// How many lists of a class there can be.
const DEPTH: usize = 16;

/// How many lists of all classes there can be: so many that they are hardly more than one thread's cache may
/// keep.
const MOST_LISTS: u8 = 128;

struct Stock {
    lists: ByClass<[*mut u8; DEPTH]>,
    counts: ByClass<u8>,
    count: u8,
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
            lists: ByClass::new([null_mut(); DEPTH]),
            counts: ByClass::new(0),
            count: 0,
        }))
    }

    /// Puts a full list in; false if there is no room.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock. The list is nobody else's, and its blocks are linked.
    pub(super) unsafe fn put(&self, class: Class, list: FullList) -> bool {
        // SAFETY: the caller's contract.
        let stock = unsafe { &mut *self.0.get() };
        let count = stock.counts.get_mut(class);
        let Some(place) = stock.lists.get_mut(class).get_mut(usize::from(*count)) else { return false };
        if stock.count == MOST_LISTS {
            return false;
        }
        *place = list.0.as_ptr();
        *count += 1;
        stock.count += 1;
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
        stock.count -= 1;
        let list = stock.lists.get_mut(class).get(usize::from(last)).copied()?;
        NonNull::new(list).map(FullList)
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
            lists.copied().any(|list| unsafe { list_contains(list, address) })
        })
    }
}
