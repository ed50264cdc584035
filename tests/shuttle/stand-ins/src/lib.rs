//! What stands in for atomics, waiting and thread-locals in the allocator's files when the interleavings of its threads
//! are explored (`src/sync.rs` names all of it), and what runs the explorations.
//!
//! Shuttle's threads are coroutines of one thread of the system. So what belongs to a thread is kept by the number of
//! shuttle's, and what belongs to the process by the execution: each begins with none of it. Each operation on an
//! atomic is a point at which another thread may go on. The value itself is in an atomic of the language's, which
//! is all zero bytes where that is, can be made of a word of an arena, and knows nothing of an execution that is over.
//!
//! # Stores that come late
//!
//! Shuttle knows no weak memory. But the gate of a cache rests on one thing that interleavings alone do not show: what
//! a thread has stored may reach others after its next loads. That much is modelled (see [`Stores::Late`]), as
//! processors do it whose stores are otherwise in order (x86-64): a store waits in a buffer of its thread's until the
//! next one, an atomic read-modify-write or a fence of this thread, a `membarrier` of any, or a moment by chance. Only
//! atomics of statics do that; a word of an arena may be another thing before its store has come. The orderings of the
//! language's memory model that go beyond that are searched in `tests/loom`, in models.
//!
//! # What is explored
//!
//! All of `src/cache`, `src/raw_lock`, `src/heap` and `src/run` as it is, by threads that allocate, release, resize, end,
//! drain, look, fork and run short of memory: turns by chance (random, and by changing priorities), the same ones in
//! each run. Not every interleaving of anything: the smallest scenario has some hundred points.
//!
//! Some numbers are smaller ([`unless_explored`]): four caches, and few visits to the lock before a cache is looked over
//! or wakes. Left out are signal handlers, the child of a fork, the lock of a process that has one thread, how
//! long waiters sleep, sources other than a static arena, and the plain loads and stores between two
//! points, which are one step. Two threads that are at the lists of a cache together are found
//! nevertheless ([`Exclusive`]).

pub mod atomic;
mod buffer;
mod exclusive;
mod execution;
pub mod explore;
pub mod in_place;
mod local;
pub mod membarrier;
mod process;
pub mod thread;
pub mod thread_end;

pub use exclusive::Exclusive;
pub use execution::Stores;
pub use local::LocalKey;
pub use process::{PerExecution, at_fork, fork};
pub use shuttle::hint;

/// How often something is done: a few times, which show as much as many.
pub const fn unless_explored(_: usize, explored: usize) -> usize {
    explored
}

/// Another thread may go on here.
fn point() {
    std::thread_local! {
        /// Loading one of shuttle's atomics is such a point, whichever it is.
        static ANY: shuttle::sync::atomic::AtomicBool = const { shuttle::sync::atomic::AtomicBool::new(false) };
    }
    ANY.with(|any| any.load(std::sync::atomic::Ordering::SeqCst));
    buffer::come_by_chance();
}
