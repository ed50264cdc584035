//! Trees of call sites: each has a number, once for the whole process.
//!
//! A call site is a return address, and the call site of the function that called there. The table is a hash table with
//! open addressing, from which nothing is taken. An entry is claimed by its address and then completed; who finds one
//! that is not complete yet goes on. Then a call site may come to have two numbers, which is as good as one.

use super::stack::MAX_DEPTH;
use super::{end, everlasting, set_once};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// So many entries the table has; three quarters of them are used at most. Their memory is touched as they are used.
pub(super) const ENTRIES: usize = 1 << 21;
const MAX_USED: u32 = (ENTRIES / 4 * 3) as u32;

struct Entry {
    /// The return address; 0 while the entry is free.
    address: AtomicU64,
    /// The caller's number in the high half, its own in the low one; 0 until it is complete.
    numbers: AtomicU64,
}

/// A call site that was not known before.
pub(super) struct NewSite {
    pub(super) number: u64,
    pub(super) caller: u64,
    pub(super) address: u64,
}

/// A tree of call sites, each with its number.
pub(super) struct CallSites {
    /// The entries; null before they are mapped.
    table: AtomicPtr<Entry>,
    /// Where the entry of each number is, plus one; 0 before that is known.
    by_number: AtomicPtr<AtomicU32>,
    /// The last number.
    last: AtomicU32,
}

/// Those that the recording has told of: each is in the file.
pub(super) static RECORDED: CallSites = CallSites::new();

/// Those of the sample, which a profile tells of.
pub(super) static SAMPLED: CallSites = CallSites::new();

impl CallSites {
    const fn new() -> Self {
        Self {
            table: AtomicPtr::new(null_mut()),
            by_number: AtomicPtr::new(null_mut()),
            last: AtomicU32::new(0),
        }
    }

    /// Maps the table, if nobody has. False if there is no address space for it.
    pub(super) fn prepare(&self) -> bool {
        if !self.table.load(Ordering::Acquire).is_null() {
            return true;
        }
        let (Some(table), Some(by_number)) =
            (everlasting::<[Entry; ENTRIES]>(), everlasting::<[AtomicU32; ENTRIES]>())
        else {
            return false;
        };
        // Who comes second takes the first one's; address space is all that it loses.
        set_once(&self.by_number, by_number.as_ptr().cast());
        set_once(&self.table, table.as_ptr().cast());
        true
    }

    /// The call site with a number that was given to one. `None` if there is none.
    pub(super) fn get(&self, number: u32) -> Option<NewSite> {
        let (table, by_number) = (self.table.load(Ordering::Acquire), self.by_number.load(Ordering::Acquire));
        if table.is_null() || number as usize >= ENTRIES {
            return None;
        }
        // SAFETY: both are mapped for as long as the program runs, and the indices are some of theirs.
        let index =
            unsafe { (*by_number.wrapping_add(number as usize)).load(Ordering::Acquire) }.checked_sub(1)?;
        // SAFETY: as above.
        let entry = unsafe { &*table.wrapping_add(index as usize) };
        // Whoever has the number has seen the entry complete.
        let caller = entry.numbers.load(Ordering::Relaxed) >> 32;
        Some(NewSite { number: number.into(), caller, address: entry.address.load(Ordering::Relaxed) })
    }

    /// The number of a call site; it is told if it is new.
    fn number_of(
        &self,
        caller: u32,
        address: usize,
        tell: &mut impl FnMut(NewSite) -> Result<(), u64>,
    ) -> Result<u32, u64> {
        let table = self.table.load(Ordering::Acquire);
        let address = address as u64;
        // Fibonacci hashing: the high bits of a product with the golden ratio.
        let hash = (address ^ u64::from(caller) << 44).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut index = (hash >> (64 - ENTRIES.trailing_zeros())) as usize;
        loop {
            // SAFETY: the table is mapped for as long as the program runs, and the index is one of it.
            let entry = unsafe { &*table.wrapping_add(index) };
            let found = entry.address.load(Ordering::Relaxed);
            if found == address {
                let numbers = entry.numbers.load(Ordering::Acquire);
                if numbers != 0 && (numbers >> 32) as u32 == caller {
                    return Ok(numbers as u32);
                }
            } else if found == 0 {
                if self.last.load(Ordering::Relaxed) >= MAX_USED {
                    return Err(end::TOO_MANY_CALL_SITES);
                }
                let claimed =
                    entry.address.compare_exchange(0, address, Ordering::Relaxed, Ordering::Relaxed);
                if claimed.is_ok() {
                    let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
                    tell(NewSite { number: number.into(), caller: caller.into(), address })?;
                    let by_number = self.by_number.load(Ordering::Acquire);
                    // SAFETY: it is mapped for as long as the program runs, and has room for all numbers.
                    unsafe {
                        (*by_number.wrapping_add(number as usize)).store(index as u32 + 1, Ordering::Release)
                    };
                    // Last: who finds the number can find the entry by it.
                    entry.numbers.store(u64::from(caller) << 32 | u64::from(number), Ordering::Release);
                    return Ok(number);
                }
                continue;
            }
            index = (index + 1) % ENTRIES;
        }
    }
}

/// The way from the outermost call site to the last one of a thread: the next one mostly shares its beginning.
pub(super) struct Path {
    sites: [(usize, u32); MAX_DEPTH],
    depth: usize,
}

impl Path {
    pub(super) const fn new() -> Self {
        Self { sites: [(0, 0); MAX_DEPTH], depth: 0 }
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.depth = 0;
    }

    /// The number of the call site with those return addresses, the outermost first; 0 if there are none. New call
    /// sites on the way are told before they are used.
    pub(super) fn find<'a>(
        &mut self,
        sites: &CallSites,
        addresses: impl Iterator<Item = &'a usize>,
        mut tell: impl FnMut(NewSite) -> Result<(), u64>,
    ) -> Result<u64, u64> {
        let (mut caller, mut depth, mut is_shared) = (0, 0, true);
        for (&address, site) in addresses.zip(&mut self.sites) {
            is_shared = is_shared && depth < self.depth && site.0 == address;
            if !is_shared {
                // Valid only as far as it was written: if telling fails, the rest is of another path.
                self.depth = self.depth.min(depth);
                *site = (address, sites.number_of(caller, address, &mut tell)?);
            }
            caller = site.1;
            depth += 1;
        }
        self.depth = depth;
        Ok(caller.into())
    }
}
