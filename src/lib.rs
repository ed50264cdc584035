//! A free-list allocator that a program adopts with one line, and that then serves it from a fixed arena.
//!
//! ```
//! use mem_alloc_rust::{FreeList, Locked};
//!
//! #[global_allocator]
//! static A: Locked<FreeList> = Locked::new();
//!
//! fn main() {
//!     let words: Vec<String> = "one line is all it takes".split(' ').map(str::to_owned).collect();
//!     assert!(A.stats().live_bytes > words.len() * size_of::<String>());
//! }
//! ```
//!
//! The memory that the program can use is decided at build time, and a block costs 4 bytes of bookkeeping. No call
//! of a [`Locked`] over one arena was found that takes more than 3,000 instructions, or 40,000 if it comes to the last
//! step before a refusal, aside from copying and filling memory (4 KiB at most where the caller asks for none, 16 in an
//! arena of 64 MiB or more) and from waiting for the lock; the repository's CI searches for more expensive ones. The
//! crate is `no_std`; its default feature `std` adds what only a hosted program can do.
//!
//! # Ways in
//!
//! | type | for |
//! |---|---|
//! | [`Locked<FreeList>`](Locked) | the global allocator of a program, over a static arena of 1 MiB or [another size](FreeList) |
//! | `ThreadCached<FreeList>` | the same for programs with threads: each has a cache of its own (`std`, Unix; else a `Locked`) |
//! | `ThreadCached<Growing<CAP>>` | as much memory as is needed, from the system, up to a cap (`std`, Unix) |
//! | [`Locked<Region>`](Region) | the same over memory that is found at run time, as in a kernel |
//! | [`Locked<Regions>`](Regions) | the same over several regions, added at run time in any order and at any distance |
//! | [`Locked<OrSystem<FreeList>>`](Locked) | a fast arena that overflows to the operating system instead of refusing (`std`) |
//! | `Arena` | a heap as a value, which a `Vec` or a map has for itself (`allocator-api2`, `nightly`) |
//! | [`Heap`] | the engine itself, over any bytes, without a lock |
//! | [`FreeListAllocator`] | an allocator called by hand, over the crate's own 1 MiB; see [`create_allocator`] |
//! | `watch::Counted`, `watch::Refusing` | around any of them, or the system's: to count, limit and refuse (`alloc`) |
//! | `watch::Traced`, `watch::Sampled` | the same: to write down every call, or who holds the memory (`std`, Unix) |
//!
//! [Choosing](choosing) helps with that: which source, which lock, with caches or without, how large an arena.
//!
//! # The plan of the house
//!
//! These are the layers, and most of their files. A layer uses only those above it; a test holds the order.
//!
//! | file | job | unsafe |
//! |---|---|---|
//! | `size` | granules, alignment arithmetic, `Layout` to block size | forbidden |
//! | `bins` | block size to bin, bitmap search | forbidden |
//! | `sync` | atomics, waiting and thread-locals, or what stands in for them when interleavings are explored | yes |
//! | `text` | reports as text, made from templates | forbidden |
//! | `stats` | figures of a heap, and its picture | forbidden |
//! | `hook` | a function of the program's that is told of something | yes |
//! | `attention` | what takes a thread off the usual way: it tells of a refusal, or there is a watermark (`std`) | no |
//! | `environment` | variables of the environment, without an allocation (`std`) | yes |
//! | `stderr` | text on stderr or in a file, without an allocation (`std`) | yes |
//! | `unwind` | who called whom (`std`, Unix) | yes |
//! | | `unwind/last_callers`: that they are the same as the last time | |
//! | `call_stack` | the call stack of who made a mistake, or was refused, on stderr (`std`) | yes |
//! | `fault` | what can be wrong with a pointer, one sentence each, and the end of the program | yes |
//! | `refusal` | what is told when a request is refused | yes |
//! | `block` | header, footer, links: the one file that knows an offset; the memory layout is drawn there | yes |
//! | | `block/tag`, `block/header`: what a header consists of, and its public face | |
//! | `run` | a block cut into slots, and which pages are such: the second one that knows offsets; drawn there | yes |
//! | `heap` | the engine: its invariants and its public face | yes |
//! | | `heap/slots`: small requests, and which size class earns a run | |
//! | | `heap/take`, `heap/align`: which block, and cutting it to size | |
//! | | `heap/release`, `heap/resize`, `heap/reset`: coalescing, `realloc`, taking all back at once | |
//! | | `heap/owned`: runs that threads' caches own | |
//! | | `heap/growth`: a region that is committed as it is needed, and given back | |
//! | | `heap/extend`: a region that grows at either end, and two heaps that become one | |
//! | | `heap/free_blocks`, `heap/trie`: the bins of free blocks | |
//! | | `heap/check`, `heap/audit`, `heap/census`: misuse, invariants, figures | |
//! | | `heap/figures`, `heap/usable`: what is also read without the lock | |
//! | `raw_lock` | the default lock: spin, then sleep; no atomic read-modify-write while there is one thread | yes |
//! | `report` | figures and picture of an allocator, to a file or when a signal comes (`std`, Unix) | yes |
//! | `mapping` | memory of the system's in whole pages: the few system calls (`std`, Unix) | yes |
//! | `source` | where memory comes from: what there is besides the heap's region | yes |
//! | | `source/free_list`, `source/region`, `source/or_system`: static arena, a caller's region, overflow to the system | |
//! | | `source/regions`: several regions, each a heap of its own, or part of one that it touches | |
//! | | `source/growing`: as much as is needed, from the system: blocks with pages of their own, further heaps, the cap | |
//! | `static_memory` | what lies in the program's static memory, and in no arena there (`std`, Unix) | yes |
//! | `thread_end` | what a thread leaves when it ends (`std`, Unix) | yes |
//! | `locked` | mutex and `GlobalAlloc`: allocation | yes |
//! | | `locked/release`, `locked/resize`: `dealloc` and `realloc`; `locked/refused`: what the heap refused | |
//! | | `locked/regions`: memory that is handed over at run time; `locked/growing`: the cap | |
//! | | `locked/figures`: what needs no lock; `locked/overflow`: blocks of the system; `locked/watermark`, `locked/report` | |
//! | `cache` | `ThreadCached`: per-thread caches in front of a `Locked` (`std`, Unix) | yes |
//! | | `cache/take`, `cache/release`, `cache/resize`, `cache/figures`, `cache/audit`: what callers ask for | |
//! | | `cache/slot`, `cache/runs`, `cache/lists`, `cache/class`: one cache, its gate, its runs and blocks | |
//! | | `cache/report`: what a running program reports | |
//! | | `cache/depot`, `cache/strays`: what is on its way between threads | |
//! | | `cache/drain`, `cache/pressure`: what goes back to the heap, and when | |
//! | | `cache/membership`, `cache/home`, `cache/barrier`: threads that come and go, forks | |
//! | | `cache/virtual_thread`: several threads' caches for one thread, for replaying traces | |
//! | | `cache/regions`: regions that are added while threads have caches | |
//! | `uncached` | `ThreadCached` without caches, where there are none | yes |
//! | `arena` | `Arena`: a heap as a value for collections (`allocator-api2`, `nightly`) | yes |
//! | | `arena/borrowed`, `arena/boxed`, `arena/mapped`: what holds its memory | |
//! | | `arena/allocator`, `arena/blocks`, `arena/shared`: the traits, what they promise, `&A` of a static | |
//! | `trace` | the format of traces: what encodes and decodes it | forbidden |
//! | `recorder` | `Traced`, `Sampled`: writing traces and heap profiles (`std`, Unix) | yes |
//! | | `recorder/file`, `recorder/writer`, `recorder/writers`: the file, one thread's part of it, whose that is | |
//! | | `recorder/stack`, `recorder/call_sites`, `recorder/modules`: who called, and where that lies in which file | |
//! | | `recorder/samples`, `recorder/profile`: what of a sample is in use, and writing it | |
//! | `allocator` | `create_allocator` and `FreeListAllocator` | yes |
//! | `watch` | wrappers around any global allocator (`alloc`) | yes |
//! | | `watch/counted`: counts calls; `watch/counts`: the figures | |
//! | | `watch/counter`, `watch/slot`, `watch/threads`, `watch/totals`: where each thread counts, and their sum | |
//! | | `watch/measure`, `watch/expected`, `watch/limit`, `watch/forbid`, `watch/leaks`, `watch/table`: what is made of it | |
//! | | `watch/refusing`, `watch/policy`, `watch/schedule`, `watch/environment`, `watch/each_refusal`: faults to order | |
//! | | `watch/exempt`, `watch/probe`: what is not watched, and whether anything is | |

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(feature = "nightly", feature(allocator_api))]

#[cfg(all(feature = "alloc", any(feature = "allocator-api2", feature = "nightly")))]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

/// Asserts what the code relies on, in this crate's own tests only: a panic in a `GlobalAlloc` would wait
/// forever for the lock that its own thread holds, or unwind where that is undefined behaviour.
macro_rules! invariant {
    ($($condition:tt)*) => {
        if cfg!(any(test, mem_alloc_rust_shuttle)) {
            assert!($($condition)*);
        }
    };
}

mod allocator;
#[cfg(any(feature = "allocator-api2", feature = "nightly"))]
mod arena;
#[cfg(feature = "std")]
mod attention;
mod bins;
mod block;
#[cfg(all(feature = "std", unix))]
// The documentation does not say that `ThreadCached` needs these: there is one without caches elsewhere.
#[cfg_attr(docsrs, doc(auto_cfg = false))]
mod cache;
#[cfg(feature = "std")]
mod call_stack;
#[doc = include_str!("../docs/choosing.md")]
pub mod choosing {}
#[cfg(feature = "std")]
mod environment;
mod fault;
mod heap;
mod hook;
mod locked;
#[cfg(all(feature = "std", unix))]
mod mapping;
mod raw_lock;
#[cfg(all(feature = "std", unix))]
mod recorder;
mod refusal;
#[cfg(all(feature = "std", unix))]
mod report;
mod run;
mod size;
mod source;
#[cfg(all(feature = "std", unix))]
mod static_memory;
mod stats;
#[cfg(feature = "std")]
mod stderr;
mod sync;
mod text;
#[cfg(all(feature = "std", unix, not(mem_alloc_rust_shuttle)))]
mod thread_end;
#[cfg(mem_alloc_rust_shuttle)]
use mem_alloc_rust_stand_ins::thread_end;
pub mod trace;
#[cfg(not(all(feature = "std", unix)))]
mod uncached;
#[cfg(all(feature = "std", unix))]
mod unwind;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub mod watch;

pub use allocator::{FreeListAllocator, InitOutcome, create_allocator};
#[cfg(all(feature = "std", unix, any(feature = "allocator-api2", feature = "nightly")))]
pub use arena::Mapped;
#[cfg(any(feature = "allocator-api2", feature = "nightly"))]
pub use arena::{Arena, Borrowed};
#[cfg(all(feature = "alloc", any(feature = "allocator-api2", feature = "nightly")))]
pub use arena::{ArenaError, Boxed};
pub use block::BlockHeader;
#[cfg(all(feature = "std", unix))]
#[cfg_attr(docsrs, doc(auto_cfg = false))]
pub use cache::ThreadCached;
#[cfg(all(feature = "std", unix))]
#[doc(hidden)]
pub use cache::VirtualThread;
pub use fault::{Action, Fault, set_fault_hook};
pub use heap::{AuditError, Blocks, Heap, RegionError};
/// The traits of locks, for one of your own under a [`Locked`]; its documentation says what such a lock may not do.
///
/// ```
/// use mem_alloc_rust::lock_api::RawMutex;
/// use mem_alloc_rust::{FreeList, Locked};
///
/// /// The free bytes, whatever the lock.
/// fn free_bytes<R: RawMutex>(allocator: &Locked<FreeList, R>) -> usize {
///     allocator.stats().free_bytes
/// }
///
/// #[global_allocator]
/// static A: Locked<FreeList> = Locked::new();
///
/// fn main() {
///     let _first = Box::new(1);
///     assert!(free_bytes(&A) > 1_000_000);
/// }
/// ```
pub use lock_api;
pub use locked::Locked;
pub use raw_lock::SpinThenSleep;
pub use refusal::{GrowthLimit, Refusal, Remedy, Verdict, set_refusal_hook};
#[cfg(feature = "std")]
pub use refusal::{RefusalReports, set_refusal_reports};
#[cfg(all(feature = "std", unix))]
#[cfg_attr(docsrs, doc(auto_cfg = false))]
pub use source::Growing;
#[cfg(feature = "std")]
pub use source::OrSystem;
pub use source::{DEFAULT_ARENA, FreeList, Region, Regions, RunTimeSource, Source};
pub use stats::{CacheStats, MapCell, SizeClass, SizeClasses, Stats};
#[cfg(not(all(feature = "std", unix)))]
pub use uncached::ThreadCached;

/// The README's programs, compiled and run with the documentation's.
#[cfg(all(doctest, feature = "std", feature = "allocator-api2"))]
#[doc = include_str!("../README.md")]
struct Readme;
