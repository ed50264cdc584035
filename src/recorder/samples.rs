//! The sample: which allocations are in it.
//!
//! A thread counts down the bytes that it asks for, and takes the allocation at which it comes to zero. The distance to
//! the next one is random, exponentially distributed: so every byte has the same chance, whatever the sizes (Poisson
//! sampling; tcmalloc and jemalloc do it so). An allocation of `size` bytes is taken with a probability of `1 -
//! exp(-size / interval)`, and stands for `size` divided by that.

use super::call_sites::{self, Path};
use super::sample_table::{self, Sample};
use super::{stack, writer};
use core::cell::Cell;

struct Local {
    /// Bytes until the next sample; none before the first one.
    until_next: Cell<isize>,
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

/// Counts an allocation that is about to happen. If it is its turn, that has to be [taken back](take_back), and the
/// allocation [taken](take) when it has succeeded. (Before it happens: a caller that has nothing left to do then passes
/// the request on as it came.)
#[inline(always)]
pub(super) fn is_due(size: usize) -> bool {
    // A subtraction in memory and a look at the sign: two instructions.
    LOCAL.with(|local| {
        let left = local.until_next.get().wrapping_sub_unsigned(size);
        local.until_next.set(left);
        left < 0
    })
}

/// Has an allocation that is due not count. It may be refused; and what is asked for on the way, to tell of that,
/// counts as ever.
pub(super) fn take_back(size: usize) {
    LOCAL.with(|local| local.until_next.set(local.until_next.get().wrapping_add_unsigned(size)));
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
        sample_table::insert(&Sample {
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
    let number = Path::new().find(&call_sites::SAMPLED, &frames[..depth], |_| Ok(()));
    number.unwrap_or(0) as u32
}

/// How many bytes are asked for until the next sample. None, if each allocation is one.
fn distance(local: &Local, interval: usize) -> isize {
    if interval == 1 {
        return 0;
    }
    // xorshift64*: Sebastiano Vigna, *An experimental exploration of Marsaglia's xorshift generators, scrambled*, 2016.
    let mut random = local.random.get();
    random ^= random >> 12;
    random ^= random << 25;
    random ^= random >> 27;
    local.random.set(random);
    let bits = random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
    let uniform = (bits + 1) as f64 / (1u64 << 53) as f64;
    (-uniform.ln() * interval as f64) as isize
}

/// How many bytes an allocation of the sample stands for.
fn weight(size: usize, interval: usize) -> u64 {
    if interval == 1 {
        return size as u64;
    }
    let share = size as f64 / interval as f64;
    // With its first terms where one minus nearly one would lose all digits.
    let probability = -(-share).exp_m1();
    if probability <= 0.0 { interval as u64 } else { (size as f64 / probability) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_an_interval_of_one_each_allocation_stands_for_itself() {
        let local = Local { until_next: Cell::new(0), random: Cell::new(1), is_inside: Cell::new(false) };
        assert!((0..1000).all(|_| distance(&local, 1) == 0));
        assert!([1, 8, 1000].iter().all(|&size| weight(size, 1) == size as u64));
    }

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
                until_next -= size as isize;
                if until_next < 0 {
                    until_next = distance(&local, interval);
                    estimated += weight(size, interval);
                }
            }
            let asked_for = (blocks * size) as f64;
            let ratio = estimated as f64 / asked_for;
            assert!((0.85..1.15).contains(&ratio), "{size}: {ratio}");
        }
        assert_eq!(weight(0, 512 << 10), 512 << 10);
    }
}
