//! Finds call sites by hash: a table of their numbers, open-addressed, which doubles before it is half full.
//!
//! The table is a hint: what is not found in it is given one more number, which is as good as the first. So growing
//! takes no lock. A thread fills a table of its own with all that there is and puts it in the place of the old one,
//! which stays, because others may be reading it; what they enter there meanwhile is lost.

use super::{everlasting, give_back};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// There are fewer numbers than this, and none is zero.
pub(super) const NUMBERS: usize = 1 << NUMBER_BITS;
const NUMBER_BITS: u32 = 21;

/// The first table is a page, of the least that there are.
const FIRST_BITS: u32 = 10;

/// The bits of an address that say how many slots a table has.
const TAG: usize = 63;

pub(super) struct Index {
    /// The table; in the low bits of its address, which is a page's, the binary logarithm of how many slots it has.
    table: AtomicPtr<AtomicU32>,
}

/// A slot has a number, and above it as many bits of the hash as there is room for; 0 while it is free.
#[derive(Clone, Copy)]
struct Table {
    slots: NonNull<AtomicU32>,
    bits: u32,
}

impl Index {
    pub(super) const fn new() -> Self {
        Self { table: AtomicPtr::new(null_mut()) }
    }

    /// Makes the first table, if nobody has. False if there is no memory for it.
    pub(super) fn prepare(&self) -> bool {
        self.table().is_some() || self.replace(null_mut(), FIRST_BITS, |_| {})
    }

    fn table(&self) -> Option<Table> {
        Table::from_tagged(self.table.load(Ordering::Acquire))
    }

    /// The number that has this hash and is the right one.
    #[inline(always)]
    pub(super) fn find(&self, hash: u64, is_right: impl Fn(u32) -> bool) -> Option<u32> {
        let table = self.table()?;
        let mut place = table.home(hash);
        loop {
            let found = table.slot(place).load(Ordering::Acquire);
            if found == 0 {
                return None;
            }
            let number = found % NUMBERS as u32;
            if found == entry(hash, number) && is_right(number) {
                return Some(number);
            }
            place += 1;
        }
    }

    /// Enters a number, the greatest so far or nearly so. `hash_of` is asked for those of others, as far as they have
    /// one. False if there is no memory for a larger table.
    pub(super) fn enter(&self, hash: u64, number: u32, hash_of: impl Fn(u32) -> Option<u64>) -> bool {
        loop {
            let tagged = self.table.load(Ordering::Acquire);
            let Some(table) = Table::from_tagged(tagged) else { return false };
            if number <= table.most() {
                table.enter(hash, number);
                return true;
            }
            let fill = |larger: Table| {
                for other in 1..=larger.most().min(number) {
                    if let Some(hash) = hash_of(other) {
                        larger.enter(hash, other);
                    }
                }
            };
            if !self.replace(tagged, table.bits + 1, fill) {
                return false;
            }
        }
    }

    /// Puts a new table in the place of another, unless a different thread has been faster. False if there is no memory
    /// for it.
    fn replace(&self, old: *mut AtomicU32, bits: u32, fill: impl FnOnce(Table)) -> bool {
        let Some(slots) = everlasting::<AtomicU32>(1 << bits) else { return false };
        let table = Table { slots, bits };
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
    fn tagged(self) -> *mut AtomicU32 {
        self.slots.as_ptr().map_addr(|address| address | self.bits as usize)
    }

    fn from_tagged(tagged: *mut AtomicU32) -> Option<Self> {
        let bits = (tagged.addr() & TAG) as u32;
        NonNull::new(tagged.map_addr(|address| address & !TAG)).map(|slots| Self { slots, bits })
    }

    /// The greatest number that is entered here: so half of the slots stay free.
    fn most(self) -> u32 {
        1 << (self.bits - 1)
    }

    /// Where the search for a hash begins.
    fn home(self, hash: u64) -> usize {
        (hash >> (u64::BITS - self.bits)) as usize
    }

    fn slot(self, place: usize) -> &'static AtomicU32 {
        let place = place & ((1 << self.bits) - 1);
        // SAFETY: a table that others know is never unmapped, one that they do not know is not used after that; and the
        // place is one of it.
        unsafe { self.slots.add(place).as_ref() }
    }

    fn enter(self, hash: u64, number: u32) {
        let entry = entry(hash, number);
        let mut place = self.home(hash);
        // Ends: more slots are free than there are numbers.
        while let Err(found) =
            self.slot(place).compare_exchange(0, entry, Ordering::Release, Ordering::Relaxed)
        {
            if found == entry {
                // Whoever made the table has entered it.
                return;
            }
            place += 1;
        }
    }
}

/// What a slot has: bits of the hash that no table goes by.
fn entry(hash: u64, number: u32) -> u32 {
    (hash as u32) << NUMBER_BITS | number
}
