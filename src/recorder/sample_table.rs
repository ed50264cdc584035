//! The allocations of the sample that are in use, by address.
//!
//! A hash table in levels, each twice as large as the one before it. A block goes into the first level that has a free
//! place in the block's bucket, so that the memory that is touched is in proportion to the blocks that were there at a
//! time. There is no lock: a thread claims a place, writes it, and publishes the address last. Who reads all places may
//! meet one that is written, or written anew, and tells by its version (a sequence lock; Hans-J. Boehm, *Can seqlocks
//! get along with programming language memory models?*, 2012). The addresses of a bucket are a cache line, so that it
//! is cheap to find that a block is not there; and a release looks at one byte for its page first, which says whether
//! any block of the sample may lie there.

use super::{everlasting, give_back, set_once};
use crate::raw_lock::preserving_errno;
use crate::stderr::write_line;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Buckets of the first level.
const FIRST_BITS: u32 = 4;

/// All levels together have 130,944 places, of which more than nine in ten are used before a bucket of the last one is
/// full.
const LEVEL_COUNT: usize = 10;

/// What a place has instead of an address.
mod state {
    pub(super) const FREE: usize = 0;
    /// A thread writes it.
    pub(super) const CLAIMED: usize = 1;
}

/// Places that are found by the same hash.
#[repr(C, align(64))]
struct Bucket {
    addresses: [AtomicUsize; 8],
    blocks: [Block; 8],
}

struct Block {
    size: AtomicUsize,
    weight: AtomicU64,
    /// The binary logarithm of the alignment.
    align: AtomicU32,
    /// Odd while the block is written, and another one for each that was.
    version: AtomicU32,
    site: AtomicU32,
    thread: AtomicU32,
}

/// An allocation of the sample that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) address: usize,
    pub(super) size: usize,
    pub(super) align: usize,
    /// How many bytes it stands for.
    pub(super) weight: u64,
    pub(super) site: u32,
    pub(super) thread: u32,
}

/// The levels that there are, and null behind them.
static LEVELS: [AtomicPtr<Bucket>; LEVEL_COUNT] = [const { AtomicPtr::new(null_mut()) }; LEVEL_COUNT];

/// For each page, by the low half of its address, how many samples there are: zero is certain. The table is touched
/// where the program has memory, a byte for each 4 KiB.
static PAGES: [AtomicU8; 1 << 20] = [const { AtomicU8::new(0) }; 1 << 20];
const PAGE_SHIFT: u32 = 12;

/// Whether it was told that the sample is without some.
static IS_FULL_TOLD: AtomicBool = AtomicBool::new(false);

/// Whether a block may be in the sample.
#[inline(always)]
pub(super) fn may_have(block: *mut u8) -> bool {
    page(block.addr()).load(Ordering::Relaxed) != 0
}

#[inline(always)]
fn page(address: usize) -> &'static AtomicU8 {
    &PAGES[(address as u32 >> PAGE_SHIFT) as usize]
}

/// How many buckets a level has.
const fn buckets_of(level: usize) -> usize {
    1 << (FIRST_BITS as usize + level)
}

/// The bucket of an address in a level. `None` if there is no such level yet.
fn bucket(level: usize, address: usize) -> Option<&'static Bucket> {
    let buckets = LEVELS[level].load(Ordering::Acquire);
    if buckets.is_null() {
        return None;
    }
    // Fibonacci hashing: the high bits of a product with the golden ratio.
    let hash = (address as u64 >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let index = (hash >> (u64::BITS - FIRST_BITS - level as u32)) as usize;
    // SAFETY: a level is mapped for as long as the program runs, and the index is one of it.
    Some(unsafe { &*buckets.wrapping_add(index) })
}

/// The same, of a level that is made if there is none. `None` if there is no memory for it.
fn bucket_for(level: usize, address: usize) -> Option<&'static Bucket> {
    if LEVELS[level].load(Ordering::Acquire).is_null() {
        let buckets = everlasting::<Bucket>(buckets_of(level))?;
        if !set_once(&LEVELS[level], buckets.as_ptr()) {
            // SAFETY: it was just mapped, for so many, and nobody else knows it.
            unsafe { give_back(buckets, buckets_of(level)) };
        }
    }
    bucket(level, address)
}

/// Enters an allocation. If there is no place and no memory for more, the sample is without it, which is told the first
/// time.
pub(super) fn insert(sample: &Sample) {
    let mut buckets = (0..LEVEL_COUNT).map_while(|level| bucket_for(level, sample.address));
    if !buckets.any(|bucket| bucket.insert(sample)) && !IS_FULL_TOLD.swap(true, Ordering::Relaxed) {
        preserving_errno(|| {
            write_line(
                "mem_alloc_rust: the sample of what is in use has no place for more, and heap profiles lack some of it \
                 from now on; a larger INTERVAL takes fewer",
            );
        });
    }
}

/// A release that is about to happen: the block is in the sample no more. Returns it, if it was.
#[cold]
#[inline(never)]
pub(super) fn release(block: *mut u8) -> Option<Sample> {
    let address = block.addr();
    (0..LEVEL_COUNT).map_while(|level| bucket(level, address)).find_map(|bucket| bucket.remove(address))
}

/// Tells of all allocations of the sample that are in use.
pub(super) fn for_each<E>(mut tell: impl FnMut(Sample) -> Result<(), E>) -> Result<(), E> {
    for (level, buckets) in LEVELS.iter().enumerate() {
        let buckets = buckets.load(Ordering::Acquire);
        let count = if buckets.is_null() { 0 } else { buckets_of(level) };
        for index in 0..count {
            // SAFETY: the level is mapped for as long as the program runs, and the index is one of it.
            let bucket = unsafe { &*buckets.wrapping_add(index) };
            for sample in (0..bucket.addresses.len()).filter_map(|place| bucket.read(place)) {
                tell(sample)?;
            }
        }
    }
    Ok(())
}

impl Bucket {
    /// False if no place is free.
    fn insert(&self, sample: &Sample) -> bool {
        for (address, block) in self.addresses.iter().zip(&self.blocks) {
            let claimed =
                address.compare_exchange(state::FREE, state::CLAIMED, Ordering::Acquire, Ordering::Relaxed);
            if claimed.is_ok() {
                let version = block.version.load(Ordering::Relaxed);
                block.version.store(version.wrapping_add(1), Ordering::Relaxed);
                // Who sees anything of what follows sees that it is being written.
                core::sync::atomic::fence(Ordering::Release);
                block.size.store(sample.size, Ordering::Relaxed);
                block.align.store(sample.align.trailing_zeros(), Ordering::Relaxed);
                block.weight.store(sample.weight, Ordering::Relaxed);
                block.site.store(sample.site, Ordering::Relaxed);
                block.thread.store(sample.thread, Ordering::Relaxed);
                block.version.store(version.wrapping_add(2), Ordering::Release);
                // A count that would overflow stays where it is: then it is never zero again, which is safe.
                let _ = page(sample.address)
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_add(1));
                address.store(sample.address, Ordering::Release);
                return true;
            }
        }
        false
    }

    fn remove(&self, address: usize) -> Option<Sample> {
        let place = self.addresses.iter().position(|other| other.load(Ordering::Relaxed) == address)?;
        let sample = self.read(place);
        self.addresses[place].store(state::FREE, Ordering::Release);
        let _ = page(address).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            if count == u8::MAX { None } else { count.checked_sub(1) }
        });
        sample
    }

    /// What a place has, if it does not change meanwhile.
    fn read(&self, place: usize) -> Option<Sample> {
        let address = || {
            let address = self.addresses[place].load(Ordering::Relaxed);
            (!matches!(address, state::FREE | state::CLAIMED)).then_some(address)
        };
        // Most places have none: their blocks, which may never have been touched, are not read.
        address()?;
        let block = &self.blocks[place];
        let version = block.version.load(Ordering::Acquire);
        let sample = Sample {
            address: address()?,
            size: block.size.load(Ordering::Relaxed),
            align: 1usize.wrapping_shl(block.align.load(Ordering::Relaxed)),
            weight: block.weight.load(Ordering::Relaxed),
            site: block.site.load(Ordering::Relaxed),
            thread: block.thread.load(Ordering::Relaxed),
        };
        // All of it is of that version, if that is a whole one and still is the last: what a later one has written was
        // behind the fence there, or released, and then its version is seen here.
        core::sync::atomic::fence(Ordering::Acquire);
        let is_whole = version % 2 == 0 && block.version.load(Ordering::Relaxed) == version;
        is_whole.then_some(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};
    use std::vec::Vec;

    /// There is one table: tests that fill it take turns.
    static TURN: Mutex<()> = Mutex::new(());

    fn sample(number: usize) -> Sample {
        Sample {
            // (Some tests have more numbers than 32 bits have such addresses.)
            address: number.wrapping_mul(0x1230).wrapping_add(0x7000_0000),
            size: number,
            align: 8,
            weight: number as u64 * 3,
            site: number as u32 % 100,
            thread: 7,
        }
    }

    fn block(sample: &Sample) -> *mut u8 {
        core::ptr::without_provenance_mut(sample.address)
    }

    fn all() -> Vec<Sample> {
        let mut all = Vec::new();
        for_each(|sample| {
            all.push(sample);
            Ok::<_, ()>(())
        })
        .unwrap();
        all.sort_unstable_by_key(|sample| sample.address);
        all
    }

    #[test]
    fn what_was_entered_is_found_until_it_is_released() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let samples: Vec<_> = (1..=20_000).map(sample).collect();
        for (n, sample) in samples.iter().enumerate() {
            assert_eq!(release(block(sample)), None, "{n}");
            insert(sample);
        }
        assert_eq!(all(), samples);
        for (n, sample) in samples.iter().enumerate() {
            assert!(may_have(block(sample)));
            assert_eq!(release(block(sample)), Some(*sample), "{n}");
            assert_eq!(release(block(sample)), None, "{n}");
        }
        assert_eq!(all(), []);
        assert!(samples.iter().all(|sample| !may_have(block(sample))), "no page has any that was released");
    }

    #[test]
    fn a_hundred_thousand_blocks_can_be_in_it_and_more_do_no_harm() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let samples: Vec<_> = (1..=150_000).map(sample).collect();
        samples[..50_000].iter().for_each(insert);
        assert!(!IS_FULL_TOLD.load(Ordering::Relaxed));
        samples[50_000..].iter().for_each(insert);
        assert!(IS_FULL_TOLD.load(Ordering::Relaxed));
        let found = samples.iter().filter_map(|sample| release(block(sample))).count();
        assert!((100_000..131_000).contains(&found), "{found}");
        assert_eq!(all(), []);
    }

    #[test]
    fn a_page_with_more_than_can_be_counted_is_looked_at_for_ever() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // So many on one page that a byte does not count them: none of them may be missed.
        let samples: Vec<_> =
            (0..400).map(|n| Sample { address: 0x1000_0000 + n * 8, ..sample(1) }).collect();
        samples.iter().for_each(insert);
        for sample in &samples {
            assert!(may_have(block(sample)));
            assert_eq!(release(block(sample)), Some(*sample));
        }
    }

    #[test]
    fn who_reads_a_place_that_is_used_again_gets_all_of_one_block() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // One address again and again: only the rest tells which block it is.
        let numbered = |number: usize| Sample { address: 0x6000_0000, ..sample(number) };
        // The first place is free whenever it is entered.
        let bucket = bucket_for(0, 0x6000_0000).unwrap();
        insert(&numbered(1));
        assert_eq!(bucket.read(0), Some(numbered(1)));
        assert_eq!(release(block(&numbered(1))), Some(numbered(1)));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for number in 1..3_000_000 {
                    let sample = numbered(number);
                    insert(&sample);
                    assert_eq!(release(block(&sample)), Some(sample));
                }
            });
            while !writer.is_finished() {
                if let Some(found) = bucket.read(0) {
                    assert!(found == numbered(found.size), "{found:?} is none that was entered");
                }
            }
        });
        assert_eq!(all(), []);
    }

    #[test]
    fn threads_enter_and_release_beside_each_other() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for round in 0..20 {
                        let own: Vec<_> =
                            (0..1_000).map(|n| sample(1 + thread + 4 * (n + 100 * round))).collect();
                        own.iter().for_each(insert);
                        for sample in own.iter().rev() {
                            assert_eq!(release(block(sample)), Some(*sample));
                        }
                    }
                });
            }
            for _ in 0..20 {
                for found in all() {
                    assert!(found == sample(found.size), "{found:?} is none that was entered");
                }
            }
        });
        assert_eq!(all(), []);
    }
}
