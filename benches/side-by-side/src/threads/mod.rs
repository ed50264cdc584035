//! Several threads at once on one allocator: throughput, processor time, single calls, and memory.
//!
//! The program starts itself anew for every measurement ([`race`] is the parent's side, [`perform`] the child's):
//! background threads and memory of one allocator do not disturb the next, and every run of `ThreadCached` begins with
//! caches that nobody has used.

mod child;
mod client;
mod handover;
mod independent;
mod larson;
mod lives;
mod parent;
mod reading;
mod relay;
mod start_line;
mod table;

use std::alloc::GlobalAlloc;
use std::time::Instant;

pub use child::{Purpose, perform};
pub use client::Failure;
use client::Watch;
pub use parent::{Outcome, Row, Summary, run as race};
pub use reading::{Answer, Reading};
use start_line::Finish;

/// Numbers of threads that are measured.
pub const THREADS: [usize; 4] = [1, 2, 4, 8];

/// Bytes of the untouched arena that a fixed-arena allocator gets.
pub const ARENA: usize = 256 << 20;

/// Calls between two looks at the clock.
const STRETCH: usize = 1024;

/// What threads do with their allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Every thread allocates and frees at random in a table of its own.
    Independent,
    /// Every thread frees what the thread before it allocated, and leaves its blocks to the next one.
    Larson,
    /// One thread of a pair allocates, the other one frees.
    Handover,
    /// Threads that live for 200 calls only.
    Lives,
}

impl Workload {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 4] = [Self::Independent, Self::Larson, Self::Handover, Self::Lives];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Larson => "larson",
            Self::Handover => "producer/consumer",
            Self::Lives => "thread churn",
        }
    }

    /// What it does, for the report.
    #[must_use]
    pub fn description(self) -> String {
        match self {
            Self::Independent => format!(
                "each thread picks one of {} slots of its own at random, over and over, and allocates a block into it or \
                 frees the block in it; {}",
                independent::SLOTS,
                independent::SIZES,
            ),
            Self::Larson => format!(
                "each thread takes over a table of {} blocks from the thread before it, {} times frees one at random and \
                 allocates another of 16 to 512 bytes, starts a successor, and ends",
                larson::SLOTS,
                larson::REPLACEMENTS,
            ),
            Self::Handover => format!(
                "pairs of threads (so twice as many): one allocates blocks of 16 to 256 bytes and passes them on in batches \
                 of {} through a bounded queue, the other one frees them",
                handover::BATCH,
            ),
            Self::Lives => format!(
                "each thread allocates {} blocks of 16 to 256 bytes, frees them, starts a successor, and ends; so {} calls \
                 make one life",
                lives::BLOCKS,
                lives::CALLS,
            ),
        }
    }

    /// The workload of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|workload| workload.name() == name)
    }

    /// Calls of one measured run, all threads together: some 50 to 100 ms for the faster allocators.
    const fn calls(self) -> usize {
        match self {
            Self::Independent | Self::Larson => 4_000_000,
            Self::Handover => 3_000_000,
            Self::Lives => 400_000,
        }
    }

    /// Calls that make one life of a thread, where lives are what is counted.
    #[must_use]
    pub const fn calls_per_life(self) -> Option<usize> {
        match self {
            Self::Lives => Some(lives::CALLS),
            _ => None,
        }
    }

    fn run<A: GlobalAlloc + Sync, W: Watch>(self, task: &Task<'_, A>) -> Result<Finish<W>, Failure> {
        match self {
            Self::Independent => independent::run(task),
            Self::Larson => larson::run(task),
            Self::Handover => handover::run(task),
            Self::Lives => lives::run(task),
        }
    }
}

/// One run of a workload.
struct Task<'a, A> {
    /// Who serves all threads.
    allocator: &'a A,
    /// How many threads, or pairs of threads.
    threads: usize,
    /// How many calls they make together.
    calls: usize,
    /// When they stop even so.
    deadline: Instant,
}

impl<A> Task<'_, A> {
    /// Calls that each thread makes.
    fn calls_per_thread(&self) -> usize {
        self.calls / self.threads
    }

    /// Whether to stop; to be asked every few hundred calls, since looking at the clock costs about as much as one.
    fn is_late(&self) -> bool {
        Instant::now() > self.deadline
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::{Layout, System};
    use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
    use std::time::Duration;

    use super::client::Checks;
    use super::*;

    fn check(
        workload: Workload,
        allocator: &(impl GlobalAlloc + Sync),
        threads: usize,
    ) -> Result<u64, Failure> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let task = Task { allocator, threads, calls: 40_000, deadline };
        workload.run::<_, Checks>(&task).map(|finish| finish.calls)
    }

    #[test]
    fn names_are_found_again() {
        for workload in Workload::ALL {
            assert_eq!(Workload::named(workload.name()), Some(workload));
        }
    }

    #[test]
    fn every_workload_makes_the_calls_it_promises() {
        for workload in Workload::ALL {
            for threads in [1, 3] {
                let calls = check(workload, &System, threads).unwrap();
                // The last life or batch of every thread is completed.
                assert!((39_000..=70_000).contains(&calls), "{workload:?}: {calls} calls");
            }
        }
    }

    /// Counts what is live.
    struct Counting(AtomicU64);

    // SAFETY: forwards to the system.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            self.0.fetch_add(1, Ordering::Relaxed);
            // SAFETY: forwarded.
            unsafe { System.alloc(layout) }
        }
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            self.0.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: forwarded.
            unsafe { System.dealloc(block, layout) }
        }
    }

    #[test]
    fn every_workload_frees_what_it_allocates() {
        for workload in Workload::ALL {
            let counting = Counting(AtomicU64::new(0));
            check(workload, &counting, 2).unwrap();
            assert_eq!(counting.0.into_inner(), 0, "{workload:?}");
        }
    }

    /// Hands every block out twice.
    struct Twice(AtomicPtr<u8>);

    // SAFETY: deliberately wrong; blocks are of the largest size that workloads ask for, and stay valid for ever.
    unsafe impl GlobalAlloc for Twice {
        unsafe fn alloc(&self, _layout: Layout) -> *mut u8 {
            let given = self.0.swap(std::ptr::null_mut(), Ordering::Relaxed);
            if !given.is_null() {
                return given;
            }
            let block = Box::leak(Box::new([0_u64; 64])).as_mut_ptr().cast();
            self.0.store(block, Ordering::Relaxed);
            block
        }
        unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
    }

    #[test]
    fn a_block_with_two_owners_is_found_out() {
        for workload in Workload::ALL {
            let found = check(workload, &Twice(AtomicPtr::default()), 2);
            assert!(matches!(found, Err(Failure::Wrong(_))), "{workload:?}: {found:?}");
        }
    }

    /// Has nothing.
    struct Empty;

    // SAFETY: a refusal is always allowed.
    unsafe impl GlobalAlloc for Empty {
        unsafe fn alloc(&self, _layout: Layout) -> *mut u8 {
            std::ptr::null_mut()
        }
        unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
    }

    #[test]
    fn a_refusal_ends_all_threads() {
        for workload in Workload::ALL {
            assert_eq!(check(workload, &Empty, 3), Err(Failure::Refused), "{workload:?}");
        }
    }
}
