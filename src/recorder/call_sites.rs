//! Trees of call sites: each has a number, once for the whole process.
//!
//! A call site is a return address, and the call site of the function that called there. They are kept in the order of
//! their numbers, so that the memory that they take is what there are, and an index finds them. Nothing is ever taken
//! from it. Where two threads meet, a call site may come to have two numbers, which is as good as one.

use super::site_index::{Index, NUMBERS};
use super::stack::MAX_DEPTH;
use super::{end, everlasting, give_back, set_once};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// There are fewer call sites than this. Their memory is touched as they are used.
pub(super) const MOST: usize = NUMBERS;

struct Site {
    /// The return address; 0 until the call site is complete.
    address: AtomicUsize,
    /// The caller's number.
    caller: AtomicU32,
}

/// A call site that was not known before.
pub(super) struct NewSite {
    pub(super) number: u64,
    pub(super) caller: u64,
    pub(super) address: u64,
}

/// A tree of call sites, each with its number.
pub(super) struct CallSites {
    /// By number; null before they are mapped.
    sites: AtomicPtr<Site>,
    index: Index,
    /// The last number.
    last: AtomicU32,
}

/// Those that the recording has told of: each is in the file.
pub(super) static RECORDED: CallSites = CallSites::new();

/// Those of the sample, which a profile tells of.
pub(super) static SAMPLED: CallSites = CallSites::new();

impl CallSites {
    const fn new() -> Self {
        Self { sites: AtomicPtr::new(null_mut()), index: Index::new(), last: AtomicU32::new(0) }
    }

    /// Maps the tree, if nobody has. False if there is no address space for it.
    pub(super) fn prepare(&self) -> bool {
        if !self.sites.load(Ordering::Acquire).is_null() {
            return true;
        }
        if !self.index.prepare() {
            return false;
        }
        let Some(sites) = everlasting::<Site>(MOST) else { return false };
        if !set_once(&self.sites, sites.as_ptr()) {
            // SAFETY: it was just mapped, for so many, and nobody else knows it.
            unsafe { give_back(sites, MOST) };
        }
        true
    }

    /// The call site with a number that was given to one. `None` if there is none.
    pub(super) fn get(&self, number: u32) -> Option<NewSite> {
        let (caller, address) = self.site(number)?;
        Some(NewSite { number: number.into(), caller: caller.into(), address: address as u64 })
    }

    /// The caller and the return address of a call site that is complete.
    #[inline(always)]
    fn site(&self, number: u32) -> Option<(u32, usize)> {
        let sites = self.sites.load(Ordering::Acquire);
        if sites.is_null() || number as usize >= MOST {
            return None;
        }
        // SAFETY: they are mapped for as long as the program runs, and the number is one of theirs.
        let site = unsafe { &*sites.wrapping_add(number as usize) };
        let address = site.address.load(Ordering::Acquire);
        (address != 0).then(|| (site.caller.load(Ordering::Relaxed), address))
    }

    /// The number of a call site; it is told if it is new.
    #[inline(always)]
    fn number_of(
        &self,
        caller: u32,
        address: usize,
        tell: &mut impl FnMut(NewSite) -> Result<(), u64>,
    ) -> Result<u32, u64> {
        let hash = hash(caller, address);
        match self.index.find(hash, |number| self.site(number) == Some((caller, address))) {
            Some(number) => Ok(number),
            None => self.add(caller, address, hash, tell),
        }
    }

    #[cold]
    #[inline(never)]
    fn add(
        &self,
        caller: u32,
        address: usize,
        hash_of_it: u64,
        tell: &mut impl FnMut(NewSite) -> Result<(), u64>,
    ) -> Result<u32, u64> {
        let sites = self.sites.load(Ordering::Acquire);
        // Looked at before, so that it does not go on for ever, and after, because others may have been faster.
        if self.last.load(Ordering::Relaxed) as usize >= MOST - 1 {
            return Err(end::TOO_MANY_CALL_SITES);
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        if number as usize >= MOST {
            return Err(end::TOO_MANY_CALL_SITES);
        }
        tell(NewSite { number: number.into(), caller: caller.into(), address: address as u64 })?;
        // SAFETY: they are mapped for as long as the program runs, and the number is one of theirs.
        let site = unsafe { &*sites.wrapping_add(number as usize) };
        site.caller.store(caller, Ordering::Relaxed);
        // Last: who finds it complete may use it, and it was told.
        site.address.store(address, Ordering::Release);
        let hash_of = |number| self.site(number).map(|(caller, address)| hash(caller, address));
        if self.index.enter(hash_of_it, number, hash_of) { Ok(number) } else { Err(end::NO_MEMORY) }
    }
}

/// Fibonacci hashing: the high bits of a product with the golden ratio; and those below them.
fn hash(caller: u32, address: usize) -> u64 {
    let product = (address as u64 ^ u64::from(caller) << 44).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ product >> 32
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
