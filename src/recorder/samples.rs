//! The sample: which allocations are in it, and which of those are in use.
//!
//! A thread counts down the bytes that it asks for, and takes the allocation at which it comes to zero. The distance to
//! the next one is random, exponentially distributed: so every byte has the same chance, whatever the sizes (Poisson
//! sampling; tcmalloc and jemalloc do it so). An allocation of `size` bytes is taken with a probability of `1 -
//! exp(-size / interval)`, and stands for `size` divided by that.
//!
//! The table has places that are found by address, each in one of a few neighbours. It has no lock; a thread claims a
//! place, writes it, and publishes the address last. A release looks at one byte for its page first, which says whether
//! any block of the sample may lie there.

use super::call_sites::{self, Path};
use super::{everlasting, set_once, stack, writer};
use core::cell::Cell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Places of the table: at the usual interval enough for 32 GiB in use.
const PLACES: usize = 1 << 16;

/// So many neighbours a block may be in.
const NEIGHBOURS: usize = 64;

/// What a place has instead of an address.
mod state {
    pub(super) const FREE: usize = 0;
    /// A thread writes it.
    pub(super) const CLAIMED: usize = 1;
}

struct Place {
    address: AtomicUsize,
    size: AtomicUsize,
    align: AtomicUsize,
    weight: AtomicU64,
    site: AtomicU32,
    thread: AtomicU32,
}

/// An allocation of the sample that is in use.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) address: usize,
    pub(super) size: usize,
    pub(super) align: usize,
    /// How many bytes it stands for.
    pub(super) weight: u64,
    pub(super) site: u32,
    pub(super) thread: u32,
}

static TABLE: AtomicPtr<Place> = AtomicPtr::new(null_mut());

/// For each page, modulo their number, how many samples were ever there: zero is certain.
static PAGES: [AtomicU8; 1 << 16] = [const { AtomicU8::new(0) }; 1 << 16];
const PAGE_SHIFT: u32 = 12;

struct Local {
    /// Bytes until the next sample; before the first one, none.
    until_next: Cell<usize>,
    /// The state of the random numbers; zero before the first one.
    random: Cell<u64>,
    /// Whether this thread takes a sample: what it allocates meanwhile is in none.
    is_inside: Cell<bool>,
}

std::thread_local! {
    // Initialised by a constant and without a destructor: an access is a plain load.
    static LOCAL: Local =
        const { Local { until_next: Cell::new(0), random: Cell::new(0), is_inside: Cell::new(false) } };
}

/// Counts an allocation that is about to happen, unless it is its turn to be [taken](take). (Before: a caller that has
/// nothing left to do then passes the request on as it came.)
#[inline(always)]
pub(super) fn is_due(size: usize) -> bool {
    LOCAL.with(|local| match local.until_next.get().checked_sub(size) {
        Some(left) => {
            local.until_next.set(left);
            false
        }
        None => true,
    })
}

/// Whether a block may be in the sample.
#[inline(always)]
pub(super) fn may_have(block: *mut u8) -> bool {
    page(block.addr()).load(Ordering::Relaxed) != 0
}

#[inline(always)]
fn page(address: usize) -> &'static AtomicU8 {
    &PAGES[(address >> PAGE_SHIFT) % PAGES.len()]
}

/// Takes an allocation that was due and has succeeded; a thread's first one only if it comes to its turn.
#[cold]
#[inline(never)]
pub(super) fn take(block: *mut u8, size: usize, align: usize, interval: usize) {
    LOCAL.with(|local| {
        if local.is_inside.replace(true) {
            return;
        }
        if local.random.get() == 0 {
            // Whatever differs between threads and runs.
            let seed = core::ptr::from_ref(local).addr() as u64 ^ u64::from(writer::this_thread()) << 32;
            local.random.set(seed | 1);
            local.until_next.set(distance(local, interval));
            if !is_due(size) {
                return local.is_inside.set(false);
            }
        }
        local.until_next.set(distance(local, interval));
        insert(&Sample {
            address: block.addr(),
            size,
            align,
            weight: weight(size, interval),
            site: call_site(),
            thread: writer::this_thread(),
        });
        local.is_inside.set(false);
    });
}

/// The number of the call site of whoever allocates; 0 if there is no memory for one more.
fn call_site() -> u32 {
    if !call_sites::SAMPLED.prepare() {
        return 0;
    }
    let mut frames = [0; stack::MAX_DEPTH];
    let depth = stack::unwind(&mut frames);
    let outermost_first = frames[..depth].iter().rev();
    let number = Path::new().find(&call_sites::SAMPLED, outermost_first, |_| Ok(()));
    number.unwrap_or(0) as u32
}

/// How many bytes are asked for until the next sample.
fn distance(local: &Local, interval: usize) -> usize {
    // xorshift64*: Sebastiano Vigna, *An experimental exploration of Marsaglia's xorshift generators, scrambled*, 2016.
    let mut random = local.random.get();
    random ^= random >> 12;
    random ^= random << 25;
    random ^= random >> 27;
    local.random.set(random);
    let bits = random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
    let uniform = (bits + 1) as f64 / (1u64 << 53) as f64;
    (-uniform.ln() * interval as f64) as usize
}

/// How many bytes an allocation of the sample stands for.
fn weight(size: usize, interval: usize) -> u64 {
    let share = size as f64 / interval as f64;
    // With its first terms where one minus nearly one would lose all digits.
    let probability = -(-share).exp_m1();
    if probability <= 0.0 { interval as u64 } else { (size as f64 / probability) as u64 }
}

/// The places in which a block of that address may be.
fn places(address: usize) -> impl Iterator<Item = &'static Place> {
    let table = TABLE.load(Ordering::Acquire);
    let hash = (address as u64 >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let first = (hash >> (64 - PLACES.trailing_zeros())) as usize;
    let count = if table.is_null() { 0 } else { NEIGHBOURS };
    // SAFETY: the table is mapped for as long as the program runs, and the index is one of it.
    (0..count).map(move |n| unsafe { &*table.wrapping_add((first + n) % PLACES) })
}

/// Enters an allocation, or one that stays because its `realloc` was refused.
pub(super) fn insert(sample: &Sample) {
    if TABLE.load(Ordering::Acquire).is_null() {
        let Some(table) = everlasting::<[Place; PLACES]>() else { return };
        set_once(&TABLE, table.as_ptr().cast());
    }
    for place in places(sample.address) {
        let claimed =
            place.address.compare_exchange(state::FREE, state::CLAIMED, Ordering::Acquire, Ordering::Relaxed);
        if claimed.is_ok() {
            place.size.store(sample.size, Ordering::Relaxed);
            place.align.store(sample.align, Ordering::Relaxed);
            place.weight.store(sample.weight, Ordering::Relaxed);
            place.site.store(sample.site, Ordering::Relaxed);
            place.thread.store(sample.thread, Ordering::Relaxed);
            // A count that would overflow stays where it is: then it is never zero again, which is safe.
            let _ = page(sample.address)
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_add(1));
            place.address.store(sample.address, Ordering::Release);
            return;
        }
    }
    // Where all neighbours are taken, the sample is without this one.
}

/// What a place has, if it does not change meanwhile.
fn read(place: &Place) -> Option<Sample> {
    let address = place.address.load(Ordering::Acquire);
    if matches!(address, state::FREE | state::CLAIMED) {
        return None;
    }
    let sample = Sample {
        address,
        size: place.size.load(Ordering::Relaxed),
        align: place.align.load(Ordering::Relaxed),
        weight: place.weight.load(Ordering::Relaxed),
        site: place.site.load(Ordering::Relaxed),
        thread: place.thread.load(Ordering::Relaxed),
    };
    core::sync::atomic::fence(Ordering::Acquire);
    (place.address.load(Ordering::Relaxed) == address).then_some(sample)
}

/// A release that is about to happen: the block is in the sample no more. Returns it, if it was.
#[cold]
#[inline(never)]
pub(super) fn release(block: *mut u8) -> Option<Sample> {
    let address = block.addr();
    let place = places(address).find(|place| place.address.load(Ordering::Relaxed) == address)?;
    let sample = read(place);
    place.address.store(state::FREE, Ordering::Release);
    let _ = page(address).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
        if count == u8::MAX { None } else { count.checked_sub(1) }
    });
    sample
}

/// Tells of all allocations of the sample that are in use.
pub(super) fn for_each<E>(mut tell: impl FnMut(Sample) -> Result<(), E>) -> Result<(), E> {
    let table = TABLE.load(Ordering::Acquire);
    let count = if table.is_null() { 0 } else { PLACES };
    for index in 0..count {
        // SAFETY: the table is mapped for as long as the program runs, and the index is one of it.
        if let Some(sample) = read(unsafe { &*table.wrapping_add(index) }) {
            tell(sample)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sample_stands_for_is_what_was_asked_for_in_the_mean() {
        // So many blocks of a size are asked for that the sample's share is known well.
        for size in [16usize, 1000, 60_000, 3_000_000] {
            let local = Local {
                until_next: Cell::new(0),
                random: Cell::new(0x1234_5678_9ABC),
                is_inside: Cell::new(false),
            };
            let interval = 512 << 10;
            let blocks = (4_000_000_000 / size).min(20_000_000);
            let (mut until_next, mut estimated) = (distance(&local, interval), 0);
            for _ in 0..blocks {
                match until_next.checked_sub(size) {
                    Some(left) => until_next = left,
                    None => {
                        until_next = distance(&local, interval);
                        estimated += weight(size, interval);
                    }
                }
            }
            let asked_for = (blocks * size) as f64;
            let ratio = estimated as f64 / asked_for;
            assert!((0.85..1.15).contains(&ratio), "{size}: {ratio}");
        }
        assert_eq!(weight(0, 512 << 10), 512 << 10);
    }
}
