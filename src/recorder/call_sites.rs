//! Trees of call sites: each has a number, once for the whole process.
//!
//! A call site is a return address, and the call site of the function that called there. They are kept in the order of
//! their numbers, so that the memory that they take is what there are, and an index finds them. Nothing is ever taken
//! from it. Where two threads meet, a call site may come to have two numbers, which is as good as one.

use super::site_index::{Index, Table};
use super::stack::MAX_DEPTH;
use super::{end, everlasting, give_back, set_once};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// The numbers of call sites are lower than this. Their memory is touched as they are used.
pub(super) const MOST: usize = 1 << 21;

struct Site {
    /// The return address; 0 until the call site is complete.
    address: AtomicUsize,
    /// The caller's number.
    caller: AtomicU32,
}

impl Site {
    /// The caller's number and the return address, once they are complete.
    fn read(&self) -> Option<(u32, usize)> {
        let address = self.address.load(Ordering::Acquire);
        (address != 0).then(|| (self.caller.load(Ordering::Relaxed), address))
    }

    fn complete(&self, caller: u32, address: usize) {
        self.caller.store(caller, Ordering::Relaxed);
        self.address.store(address, Ordering::Release);
    }

    #[inline(always)]
    fn is(&self, caller: u32, address: usize) -> bool {
        self.address.load(Ordering::Acquire) == address && self.caller.load(Ordering::Relaxed) == caller
    }
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
        let mapped = self.mapped().filter(|_| (number as usize) < MOST)?;
        let (caller, address) = mapped.site(number).read()?;
        Some(NewSite { number: number.into(), caller: caller.into(), address: address as u64 })
    }

    #[inline(always)]
    fn mapped(&self) -> Option<Mapped<'_>> {
        let sites = NonNull::new(self.sites.load(Ordering::Acquire))?;
        Some(Mapped { sites, table: self.index.table()?, index: &self.index, last: &self.last })
    }
}

/// A tree that has been mapped.
#[derive(Clone, Copy)]
struct Mapped<'a> {
    sites: NonNull<Site>,
    /// What the index is now: in a larger one there may be more.
    table: Table,
    index: &'a Index,
    last: &'a AtomicU32,
}

impl Mapped<'_> {
    /// The call site of a number, which is less than [`MOST`].
    #[inline(always)]
    fn site(&self, number: u32) -> &Site {
        // Without a branch: a remainder that nobody ever needs, but for this to be sound.
        let number = number as usize % MOST;
        // SAFETY: they are mapped for as long as the program runs, and there is one for each number below that.
        unsafe { self.sites.add(number).as_ref() }
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
        let is_right = |number| self.site(number).is(caller, address);
        match self.table.find(hash, is_right) {
            Some(number) => Ok(number),
            None => self.add(caller, address, tell),
        }
    }

    #[cold]
    #[inline(never)]
    fn add(
        &self,
        caller: u32,
        address: usize,
        tell: &mut impl FnMut(NewSite) -> Result<(), u64>,
    ) -> Result<u32, u64> {
        let hash_of = |number| {
            let (caller, address) = self.site(number).read()?;
            Some(hash(caller, address))
        };
        // Looked at before it is counted, so that this does not go on for ever; others may be faster all the same.
        let next = self.last.load(Ordering::Relaxed) + 1;
        if next as usize >= MOST {
            return Err(end::TOO_MANY_CALL_SITES);
        }
        // So is the room for it: a number that cannot be found again would be lost with each try.
        self.index.table_for(next, hash_of).ok_or(end::NO_MEMORY)?;
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        if number as usize >= MOST {
            return Err(end::TOO_MANY_CALL_SITES);
        }
        // First: whoever finds it may use it.
        tell(NewSite { number: number.into(), caller: caller.into(), address: address as u64 })?;
        self.site(number).complete(caller, address);
        // Where others were faster there may be no room for it after all. It is none the worse for not being found.
        if let Some(table) = self.index.table_for(number, hash_of) {
            table.enter(hash(caller, address), number);
        }
        Ok(number)
    }
}

/// Fibonacci hashing: the high bits of a product with the golden ratio.
#[inline(always)]
fn hash(caller: u32, address: usize) -> u32 {
    ((address as u64 ^ u64::from(caller) << 44).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
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

    /// The number of the call site with those return addresses, the innermost first; 0 if there are none. New call
    /// sites on the way are told before they are used. The tree has to be [prepared](CallSites::prepare).
    #[inline(never)]
    pub(super) fn find(
        &mut self,
        sites: &CallSites,
        addresses: &[usize],
        mut tell: impl FnMut(NewSite) -> Result<(), u64>,
    ) -> Result<u64, u64> {
        let Some(sites) = sites.mapped() else { return Err(end::NO_MEMORY) };
        let outermost_first = addresses.iter().rev().zip(&self.sites[..self.depth]);
        let shared = outermost_first.take_while(|&(&address, site)| site.0 == address).count();
        // If telling fails, the rest is of another path.
        self.depth = shared;
        let mut caller = if shared == 0 { 0 } else { self.sites[shared - 1].1 };
        let others = &addresses[..addresses.len() - shared];
        for (&address, site) in others.iter().rev().zip(&mut self.sites[shared..]) {
            caller = sites.number_of(caller, address, &mut tell)?;
            *site = (address, caller);
        }
        self.depth = addresses.len().min(self.sites.len());
        Ok(caller.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::refusals;
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::vec::Vec;

    /// What was told, by number.
    type Told = BTreeMap<u64, (u64, u64)>;

    /// The path of return addresses that a number makes, the innermost first.
    fn path(number: usize) -> [usize; 3] {
        [0x40_0000 + number * 5, 0x50_0000 + number / 7, 0x60_0000 + number / 1000]
    }

    fn find(sites: &CallSites, path: &[usize], told: &mut Told) -> Result<u64, u64> {
        Path::new().find(sites, path, |site| {
            let before = told.insert(site.number, (site.caller, site.address));
            assert_eq!(before, None, "a number is given once");
            Ok(())
        })
    }

    /// The return addresses that lead to a number, the innermost first.
    fn path_to(sites: &CallSites, mut number: u64) -> Vec<usize> {
        let mut path = Vec::new();
        while let Some(site) = sites.get(number as u32) {
            path.push(site.address as usize);
            number = site.caller;
        }
        path
    }

    #[test]
    fn a_call_site_keeps_its_number_while_the_index_grows() {
        let (sites, mut told) = (CallSites::new(), Told::new());
        assert!(sites.get(1).is_none() && sites.prepare() && sites.get(1).is_none());
        let numbers: Vec<_> = (0..20_000).map(|n| find(&sites, &path(n), &mut told).unwrap()).collect();
        let first = told.len();
        assert!(first > 22_000, "{first}: the index has grown several times");
        for (n, &number) in numbers.iter().enumerate() {
            assert_eq!(find(&sites, &path(n), &mut told), Ok(number));
            assert_eq!(path_to(&sites, number), path(n));
        }
        assert_eq!(told.len(), first, "nothing was told twice");
        for (&number, &(caller, address)) in &told {
            let site = sites.get(number as u32).unwrap();
            assert_eq!((site.caller, site.address), (caller, address));
        }
    }

    #[test]
    fn threads_that_meet_find_the_same_call_sites() {
        let sites = CallSites::new();
        let told = Mutex::new(Told::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    assert!(sites.prepare());
                    let mut own = Told::new();
                    for n in 0..20_000 {
                        let number = find(&sites, &path(n), &mut own).unwrap();
                        assert_eq!(path_to(&sites, number), path(n));
                    }
                    let mut told = told.lock().unwrap();
                    let before = told.len();
                    let count = own.len();
                    told.append(&mut own);
                    assert_eq!(told.len(), before + count, "no two threads gave the same number");
                });
            }
        });
        // Whoever is behind finds what others have entered: otherwise there would be four times as many.
        let most = told.lock().unwrap().len();
        assert!(most < 60_000, "{most}");
    }

    #[test]
    fn a_path_is_found_by_what_it_shares_with_the_last_one() {
        let (sites, mut told) = (CallSites::new(), Told::new());
        assert!(sites.prepare());
        let mut known = Path::new();
        let mut find_next = |path: &[usize]| {
            let number = known.find(&sites, path, |_| Ok(())).unwrap();
            assert_eq!(number, find(&sites, path, &mut told).unwrap());
            assert_eq!(path_to(&sites, number), path);
        };
        for path in [&[4, 3, 2, 1][..], &[3, 2, 1], &[], &[3, 2, 1], &[5, 4, 3, 2, 1], &[5, 4, 9, 2, 1], &[7]]
        {
            find_next(path);
        }
        // Telling fails in the middle: what is known stays true.
        let failed =
            known.find(&sites, &[12, 11, 7], |site| if site.address == 12 { Err(1) } else { Ok(()) });
        assert_eq!(failed, Err(1));
        assert_eq!(known.find(&sites, &[7], |_| panic!()), find(&sites, &[7], &mut told));
        assert_eq!(path_to(&sites, known.find(&sites, &[12, 11, 7], |_| Ok(())).unwrap()), [12, 11, 7]);
    }

    #[test]
    fn memory_that_is_refused_is_told_and_asked_for_again() {
        let (sites, mut told) = (CallSites::new(), Told::new());
        refusals::refuse_next(1);
        assert!(!sites.prepare());
        assert_eq!(find(&sites, &path(0), &mut told), Err(end::NO_MEMORY));
        assert!(sites.prepare());
        let mut refused = 0;
        for n in 0..2_000 {
            // Most need no memory: then the refusal waits for the one that does.
            refusals::begin_after(0);
            let outcome = find(&sites, &path(n), &mut told);
            if refusals::end() && outcome == Err(end::NO_MEMORY) {
                refused += 1;
            } else {
                assert!(outcome.is_ok());
            }
            let number = find(&sites, &path(n), &mut Told::new()).unwrap();
            assert_eq!(path_to(&sites, number), path(n));
        }
        assert!(refused >= 2, "the index has grown from a page to what 2,000 need");
    }

    #[test]
    fn without_memory_no_numbers_are_lost() {
        let sites = CallSites::new();
        assert!(sites.prepare());
        let find = |address: usize| Path::new().find(&sites, &[address * 16], |_| Ok(()));
        let most = (1..).find(|&number| {
            refusals::refuse_next(1);
            let outcome = find(number);
            refusals::end();
            outcome == Err(end::NO_MEMORY)
        });
        let most = most.unwrap();
        for _ in 0..100 {
            refusals::refuse_next(1);
            assert_eq!(find(most), Err(end::NO_MEMORY));
        }
        assert_eq!(find(most), Ok(most as u64));
    }

    #[test]
    fn the_last_number_is_the_last() {
        let sites = CallSites::new();
        assert!(sites.prepare());
        let find = |address: usize| Path::new().find(&sites, &[address], |_| Ok(()));
        for number in 1..MOST {
            assert_eq!(find(number * 16), Ok(number as u64));
        }
        for _ in 0..3 {
            assert_eq!(find(MOST * 16), Err(end::TOO_MANY_CALL_SITES));
        }
        assert!(sites.get(MOST as u32).is_none() && sites.get(u32::MAX).is_none());
        for number in (1..MOST).step_by(1000) {
            assert_eq!(find(number * 16), Ok(number as u64));
        }
    }
}
