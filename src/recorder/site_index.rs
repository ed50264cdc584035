//! Finds call sites by hash: a table of their numbers, open-addressed, which doubles before it is half full.
//!
//! The table is a hint: what is not found in it is given one more number, which is as good as the first. So growing
//! takes no lock. A thread fills a table of its own with all that there is and puts it in the place of the old one,
//! which stays, because others may be reading it; what they enter there meanwhile is lost.

use super::{everlasting, give_back};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The first table is a page, of the least that there are.
const FIRST_BITS: u32 = 10;

/// The bits of an address that say how many slots a table has.
const SIZE: usize = 63;

pub(super) struct Index {
    /// The table; in the low bits of its address, which is a page's, the binary logarithm of how many slots it has.
    table: AtomicPtr<AtomicU32>,
}

/// The table at some time.
#[derive(Clone, Copy)]
pub(super) struct Table {
    /// A slot has a number; 0 while it is free.
    slots: NonNull<AtomicU32>,
    bits: u32,
    /// The greatest place.
    mask: usize,
}

impl Index {
    pub(super) const fn new() -> Self {
        Self { table: AtomicPtr::new(null_mut()) }
    }

    /// Makes the first table, if nobody has. False if there is no memory for it.
    pub(super) fn prepare(&self) -> bool {
        self.table().is_some() || self.replace(null_mut(), FIRST_BITS, |_| {})
    }

    /// The table as it is now, if there is one.
    #[inline(always)]
    pub(super) fn table(&self) -> Option<Table> {
        Table::from_tagged(self.table.load(Ordering::Acquire))
    }

    /// Makes room for a number, and returns the table that has it. `hash_of` is asked for the hashes of lower ones, as
    /// far as they have one. `None` if there is no memory for a larger table.
    pub(super) fn table_for(&self, number: u32, hash_of: impl Fn(u32) -> Option<u32>) -> Option<Table> {
        loop {
            let tagged = self.table.load(Ordering::Acquire);
            let table = Table::from_tagged(tagged)?;
            if number <= table.most() {
                return Some(table);
            }
            let fill = |larger: Table| {
                for lower in 1..number.min(larger.most()) {
                    if let Some(hash) = hash_of(lower) {
                        larger.enter(hash, lower);
                    }
                }
            };
            if !self.replace(tagged, table.bits + 1, fill) {
                return None;
            }
        }
    }

    /// Puts a new table in the place of another, unless a different thread has been faster. False if there is no memory
    /// for it.
    fn replace(&self, old: *mut AtomicU32, bits: u32, fill: impl FnOnce(Table)) -> bool {
        let Some(slots) = everlasting::<AtomicU32>(1 << bits) else { return false };
        let table = Table::new(slots, bits);
        fill(table);
        let replaced = self.table.compare_exchange(old, table.tagged(), Ordering::AcqRel, Ordering::Relaxed);
        if replaced.is_err() {
            // SAFETY: it was mapped here, for so many, and nobody else knows it.
            unsafe { give_back(slots, 1 << bits) };
        }
        true
    }
}

impl Table {
    #[inline(always)]
    fn new(slots: NonNull<AtomicU32>, bits: u32) -> Self {
        Self { slots, bits, mask: (1 << bits) - 1 }
    }

    fn tagged(self) -> *mut AtomicU32 {
        self.slots.as_ptr().map_addr(|address| address | self.bits as usize)
    }

    #[inline(always)]
    fn from_tagged(tagged: *mut AtomicU32) -> Option<Self> {
        let slots = NonNull::new(tagged.map_addr(|address| address & !SIZE))?;
        Some(Self::new(slots, (tagged.addr() & SIZE) as u32))
    }

    /// The greatest number that is entered here: so half of the slots stay free.
    fn most(self) -> u32 {
        1 << (self.bits - 1)
    }

    /// Where the search for a hash begins: by its high bits.
    #[inline(always)]
    fn home(self, hash: u32) -> usize {
        (hash >> (u32::BITS - self.bits)) as usize
    }

    /// Where it goes on.
    #[inline(always)]
    fn next(self, place: usize) -> usize {
        (place + 1) & self.mask
    }

    #[inline(always)]
    fn slot(self, place: usize) -> &'static AtomicU32 {
        // SAFETY: a table that others know is never unmapped, and one that they do not know is not used after that. The
        // place is one of it: it comes from `home` and `next`.
        unsafe { self.slots.add(place).as_ref() }
    }

    /// The number with that hash that is the right one. It is asked about 0, too, which is none.
    #[inline(always)]
    pub(super) fn find(self, hash: u32, is_right: impl Fn(u32) -> bool) -> Option<u32> {
        let mut place = self.home(hash);
        loop {
            let number = self.slot(place).load(Ordering::Acquire);
            if is_right(number) {
                return Some(number);
            }
            if number == 0 {
                return None;
            }
            place = self.next(place);
        }
    }

    /// Enters a number for which the table [has room](Index::table_for).
    pub(super) fn enter(self, hash: u32, number: u32) {
        let mut place = self.home(hash);
        // Ends: more slots are free than there are numbers.
        while let Err(found) =
            self.slot(place).compare_exchange(0, number, Ordering::Release, Ordering::Relaxed)
        {
            if found == number {
                // Whoever made the table has entered it.
                return;
            }
            place = self.next(place);
        }
    }
}
