//! `Refusing`: an allocator that refuses what it is told to, so that a program can test what it does then.

use super::exempt;
use super::policy::Policy;
use super::schedule::{Progress, Schedule};
use core::alloc::{GlobalAlloc, Layout};
use core::marker::PhantomData;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// A global allocator that refuses requests to order: faults for tests of a program's own error paths.
///
/// ```
/// use mem_alloc_rust::{FreeList, Locked, watch::{Policy, Refusing}};
///
/// #[global_allocator]
/// static A: Refusing<Locked<FreeList>> = Refusing::new(Locked::new());
///
/// fn main() {
///     A.refuse(Policy::nth(2));
///     let mut numbers = Vec::<u64>::new();
///     assert!(numbers.try_reserve(10).is_ok());
///     assert!(numbers.try_reserve(1000).is_err());
///     assert!(numbers.try_reserve(1000).is_ok());
///     assert_eq!(A.refused(), 1);
///     A.serve();
///     assert!(A.inner().live_bytes() >= 8000);
/// }
/// ```
///
/// The policy of the process is set by [`refuse`](Self::refuse) or, on Unix with the feature `std`, by the environment:
///
/// ```text
/// MEM_ALLOC_RUST_REFUSE=nth:7                       the seventh request
/// MEM_ALLOC_RUST_REFUSE=every:100                   the hundredth, the two hundredth, …
/// MEM_ALLOC_RUST_REFUSE=random:0.01:42              each with a probability of 0.01, by the seed 42
/// MEM_ALLOC_RUST_REFUSE=every:3,from:4096           of those for 4 KiB and more every third
/// ```
///
/// The environment is looked at once, at the first request; those that std makes before `main` count. A variable that
/// is none of these ends the program with one sentence: a test that runs without the faults that it was to have would
/// pass for no reason. A program with the rights of another user (set-user-ID) does not look at it. On one thread only,
/// it is [`refuse_on_this_thread`], and [`for_each_refusal`](super::for_each_refusal) tries all requests in turn.
///
/// What a panicking thread asks for is served, so that the panic can be told. Releases, and a `realloc` to a smaller
/// size, are always served. As long as there is no policy, a request takes ten instructions more.
pub struct Refusing<A> {
    /// Whether `schedule` has a policy.
    state: AtomicU8,
    schedule: Schedule,
    inner: A,
}

mod state {
    /// The environment is to be looked at.
    pub(super) const NEW: u8 = 0;
    pub(super) const SERVES: u8 = 1;
    pub(super) const REFUSES: u8 = 2;
}

/// How many threads have a policy of their own.
static THREADS: AtomicUsize = AtomicUsize::new(0);

#[cfg(all(feature = "std", unix))]
std::thread_local! {
    // Initialised by a constant and without a destructor: an access is a plain load.
    static OWN: Schedule = const { Schedule::new() };
}

/// Where threads cannot be told apart, all of them are one.
#[cfg(not(all(feature = "std", unix)))]
static OWN: Schedule = Schedule::new();

/// The calling thread's own schedule.
fn with_own<T>(with: impl FnOnce(&Schedule) -> T) -> T {
    #[cfg(all(feature = "std", unix))]
    return OWN.with(with);
    #[cfg(not(all(feature = "std", unix)))]
    with(&OWN)
}

impl<A> Refusing<A> {
    /// Serves all that the allocator serves, until there is a policy.
    pub const fn new(inner: A) -> Self {
        Self { state: AtomicU8::new(state::NEW), schedule: Schedule::new(), inner }
    }

    /// The allocator that requests are passed on to.
    pub const fn inner(&self) -> &A {
        &self.inner
    }

    /// Refuses what the policy says, from the next request on, on all threads that have none of their own. Takes the
    /// place of the policy before, or of the environment's.
    pub fn refuse(&self, policy: Policy) {
        self.schedule.replace(Progress::start(Some(policy)));
        self.state.store(state::REFUSES, Ordering::Release);
    }

    /// Serves all requests, from the next one on. [`refused`](Self::refused) stays.
    pub fn serve(&self) {
        self.state.store(state::SERVES, Ordering::Release);
    }

    /// How many requests were refused by the policy of the process, since it was set.
    pub fn refused(&self) -> usize {
        self.schedule.refused()
    }

    #[inline(always)]
    fn is_refused(&self, bytes: usize) -> bool {
        let is_common =
            self.state.load(Ordering::Relaxed) == state::SERVES && THREADS.load(Ordering::Relaxed) == 0;
        !is_common && self.decide(bytes)
    }

    #[cold]
    #[inline(never)]
    fn decide(&self, bytes: usize) -> bool {
        if self.state.load(Ordering::Relaxed) == state::NEW {
            self.look_at_the_environment();
        }
        if exempt::is_exempt() {
            return false;
        }
        if let Some(is_refused) = with_own(|own| own.decide(bytes)) {
            return is_refused;
        }
        self.state.load(Ordering::Acquire) == state::REFUSES && self.schedule.decide(bytes) == Some(true)
    }

    fn look_at_the_environment(&self) {
        let exchange = |from, to| self.state.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed);
        if exchange(state::NEW, state::SERVES).is_ok() {
            #[cfg(all(feature = "std", unix))]
            if let Some(policy) = super::environment::policy() {
                self.refuse(policy);
            }
        }
    }
}

// SAFETY: every call is passed on to an allocator that keeps the contract, as it came, or gets null, which is always
// allowed. Nothing here unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Refusing<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.is_refused(layout.size()) {
            return null_mut();
        }
        // SAFETY: the caller's contract.
        unsafe { self.inner.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if self.is_refused(layout.size()) {
            return null_mut();
        }
        // SAFETY: the caller's contract.
        unsafe { self.inner.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { self.inner.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if new_size > layout.size() && self.is_refused(new_size) {
            return null_mut();
        }
        // SAFETY: the caller's contract.
        unsafe { self.inner.realloc(block, layout, new_size) }
    }
}

impl<A: core::fmt::Debug> core::fmt::Debug for Refusing<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let is_refusing = self.state.load(Ordering::Relaxed) == state::REFUSES;
        let policy = self.schedule.policy().filter(|_| is_refusing);
        f.debug_struct("Refusing").field("policy", &policy).field("inner", &self.inner).finish()
    }
}

/// Refuses what the policy says on this thread until the guard is dropped, whatever the process's policy is. Other
/// threads are not concerned.
///
/// Without the feature `std`, and on systems other than Unix, they are: there it is for programs with one thread.
///
/// ```
/// use mem_alloc_rust::watch::{Policy, Refusing, refuse_on_this_thread};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Refusing<System> = Refusing::new(System);
///
/// fn main() {
///     let guard = refuse_on_this_thread(Policy::every(1).from_size(1000));
///     assert!(Vec::<u8>::new().try_reserve(1000).is_err());
///     assert!(Vec::<u8>::new().try_reserve(999).is_ok());
///     assert_eq!(guard.refused(), 1);
///     drop(guard);
///     assert!(Vec::<u8>::new().try_reserve(1000).is_ok());
/// }
/// ```
#[must_use = "requests are refused until the guard is dropped"]
pub fn refuse_on_this_thread(policy: Policy) -> RefuseGuard {
    let before = with_own(|own| own.replace(Progress::start(Some(policy))));
    THREADS.fetch_add(1, Ordering::Relaxed);
    RefuseGuard { before, not_send: PhantomData }
}

/// What is refused on this thread, until it is dropped. Guards have to be dropped in the reverse of their order; one
/// inside of another takes its place, and what happens meanwhile is not counted for the outer one.
///
/// ```
/// use mem_alloc_rust::watch::{Policy, RefuseGuard, Refusing, refuse_on_this_thread};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Refusing<System> = Refusing::new(System);
///
/// fn main() {
///     let guard: RefuseGuard = refuse_on_this_thread(Policy::nth(1));
///     assert!(Vec::<u8>::new().try_reserve(1).is_err());
///     assert_eq!(guard.refused(), 1);
/// }
/// ```
pub struct RefuseGuard {
    before: Progress,
    not_send: PhantomData<*mut ()>,
}

impl RefuseGuard {
    /// How many requests were refused on this thread since the guard was made.
    pub fn refused(&self) -> usize {
        with_own(Schedule::refused)
    }
}

impl Drop for RefuseGuard {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::Relaxed);
        with_own(|own| own.replace(self.before));
    }
}

impl core::fmt::Debug for RefuseGuard {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RefuseGuard").field("refused", &self.refused()).finish_non_exhaustive()
    }
}
