//! Guards under which an allocation is an error: for code that must not wait, and for what must not allocate.

use super::slot::Slot;
use super::{exempt, probe, threads};
#[cfg(feature = "std")]
use crate::call_stack;
use core::fmt;
use core::marker::PhantomData;

/// Which calls are an error.
///
/// ```
/// use mem_alloc_rust::watch::{Consequence, Counted, Forbidden, forbid};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let mut numbers = vec![3, 1, 2];
///     let guard = forbid(Forbidden::AllocationsAndReleases, Consequence::Count);
///     numbers.sort_unstable();
///     assert_eq!(guard.violations(), 0);
///     drop(numbers);
///     assert_eq!(guard.violations(), 1);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forbidden {
    /// `alloc`, `alloc_zeroed` and `realloc`.
    Allocations,
    /// These, and `dealloc`.
    AllocationsAndReleases,
}

/// What happens when a call is made that is [`Forbidden`].
///
/// ```
/// use mem_alloc_rust::watch::{Consequence, Counted, Forbidden, forbid};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     // On stderr: mem_alloc_rust: an allocation of 5 bytes where allocations are forbidden
///     let guard = forbid(Forbidden::Allocations, Consequence::Report);
///     let text = String::from("given");
///     assert_eq!((text.len(), guard.violations()), (5, 1));
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consequence {
    /// One sentence on stderr, with `RUST_BACKTRACE=1` where it happened, and the end of the program by an abort: never
    /// a panic, because unwinding out of an allocator is undefined behaviour. Without the feature `std`, a panic that
    /// cannot unwind takes the place of both.
    Abort,
    /// The same sentence; then the call is served. Without the feature `std` as `Count`.
    Report,
    /// The call is served, and [counted](ForbidGuard::violations).
    Count,
}

/// A call that a slot's owner makes.
#[derive(Clone, Copy)]
pub(super) enum Operation {
    /// Of so many bytes.
    Allocation(usize),
    /// From and to so many bytes.
    Reallocation(usize, usize),
    /// Of so many bytes.
    Release(usize),
}

// What a slot's `forbidden` consists of.
const ALLOCATIONS: isize = 1;
const RELEASES: isize = 2;
const ABORT: isize = 4;
const REPORT: isize = 8;

/// Whether allocations are forbidden, and whether releases are.
pub(super) fn what(forbidden: isize) -> (bool, bool) {
    (forbidden & ALLOCATIONS != 0, forbidden & RELEASES != 0)
}

/// Makes calls on this thread an error until the guard is dropped.
///
/// A guard inside of another takes its place. A thread that panics may allocate, so that its message can be told.
///
/// ```
/// use mem_alloc_rust::watch::{Consequence, Counted, Forbidden, forbid, permit_allocations};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let guard = forbid(Forbidden::Allocations, Consequence::Count);
///     let forbidden = Box::new(1);
///     let permitted = {
///         let _exception = permit_allocations();
///         Box::new(2)
///     };
///     assert_eq!((*forbidden, *permitted, guard.violations()), (1, 2, 1));
/// }
/// ```
///
/// # Panics
///
/// If the program's global allocator is not [`Counted`](super::Counted): nothing would be seen.
#[must_use = "what is forbidden is so until the guard is dropped"]
#[track_caller]
pub fn forbid(what: Forbidden, consequence: Consequence) -> ForbidGuard {
    let what = match what {
        Forbidden::Allocations => ALLOCATIONS,
        Forbidden::AllocationsAndReleases => ALLOCATIONS | RELEASES,
    };
    let consequence = match consequence {
        Consequence::Abort => ABORT,
        Consequence::Report => REPORT,
        Consequence::Count => 0,
    };
    let exchange = Exchange::new(probe::counted_slot("forbid"), what | consequence);
    ForbidGuard { violations_before: exchange.slot.violations.get(), exchange }
}

/// Makes an allocation on this thread the end of the program until the guard is dropped; as
/// `forbid(Forbidden::Allocations, Consequence::Abort)`.
///
/// ```
/// use mem_alloc_rust::watch::{Counted, forbid_allocations};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let mut samples = vec![0.0; 64];
///     let guard = forbid_allocations();
///     samples.iter_mut().for_each(|sample| *sample += 0.5);
///     drop(guard);
///     assert_eq!(samples.iter().sum::<f64>(), 32.0);
/// }
/// ```
///
/// # Panics
///
/// As for [`forbid`].
#[must_use = "what is forbidden is so until the guard is dropped"]
#[track_caller]
pub fn forbid_allocations() -> ForbidGuard {
    forbid(Forbidden::Allocations, Consequence::Abort)
}

/// Runs something in which an allocation is the end of the program; see [`forbid_allocations`].
///
/// ```
/// use mem_alloc_rust::watch::{Counted, without_allocations};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let text = String::from("one two");
///     assert_eq!(without_allocations(|| text.split(' ').count()), 2);
/// }
/// ```
///
/// # Panics
///
/// As for [`forbid`].
#[track_caller]
pub fn without_allocations<T>(run: impl FnOnce() -> T) -> T {
    let _guard = forbid_allocations();
    run()
}

/// Allows this thread what is [forbidden](forbid) until the guard is dropped. Where nothing is forbidden, it does
/// nothing.
///
/// ```
/// use mem_alloc_rust::watch::{Counted, permit_allocations, without_allocations};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let message = without_allocations(|| {
///         let _exception = permit_allocations();
///         format!("{} samples were late", 2)
///     });
///     assert_eq!(message, "2 samples were late");
/// }
/// ```
#[must_use = "what is permitted is so until the guard is dropped"]
pub fn permit_allocations() -> PermitGuard {
    PermitGuard { _exchange: threads::own().map(|slot| Exchange::new(slot, 0)) }
}

/// What is forbidden on this thread, until it is dropped. Guards have to be dropped in the reverse of their order.
///
/// ```
/// use mem_alloc_rust::watch::{Consequence, Counted, ForbidGuard, Forbidden, forbid};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let guard: ForbidGuard = forbid(Forbidden::Allocations, Consequence::Count);
///     drop(vec![1, 2, 3]);
///     assert_eq!(guard.violations(), 1);
/// }
/// ```
#[derive(Debug)]
pub struct ForbidGuard {
    exchange: Exchange,
    violations_before: isize,
}

impl ForbidGuard {
    /// How many calls were made that were forbidden since the guard was made, those that a guard inside of it forbade
    /// included.
    pub fn violations(&self) -> usize {
        self.exchange.slot.violations.get().wrapping_sub(self.violations_before) as usize
    }
}

/// An exception of what is forbidden on this thread, until it is dropped. Guards have to be dropped in the reverse of
/// their order.
///
/// ```
/// use mem_alloc_rust::watch::{Counted, PermitGuard, forbid_allocations, permit_allocations};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let _guard = forbid_allocations();
///     let exception: PermitGuard = permit_allocations();
///     assert_eq!(vec![1, 2, 3].len(), 3);
///     drop(exception);
/// }
/// ```
#[derive(Debug)]
pub struct PermitGuard {
    _exchange: Option<Exchange>,
}

/// Something else is forbidden until it is dropped, on the thread that made it: it is not `Send`.
struct Exchange {
    slot: &'static Slot,
    before: isize,
    not_send: PhantomData<*mut ()>,
}

impl Exchange {
    fn new(slot: &'static Slot, forbidden: isize) -> Self {
        let before = slot.forbidden.get();
        slot.forbidden.set(forbidden);
        slot.settle();
        Self { slot, before, not_send: PhantomData }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.slot.forbidden.set(self.before);
        self.slot.settle();
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("before", &self.before).finish_non_exhaustive()
    }
}

/// A call that was forbidden, as one sentence.
struct Violation {
    operation: Operation,
    forbids_releases: bool,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operation {
            Operation::Allocation(bytes) => write!(f, "an allocation of {bytes} bytes")?,
            Operation::Reallocation(from, to) => write!(f, "a reallocation from {from} to {to} bytes")?,
            Operation::Release(bytes) => write!(f, "a release of {bytes} bytes")?,
        }
        let what = if self.forbids_releases { "allocations and releases" } else { "allocations" };
        write!(f, " where {what} are forbidden")
    }
}

/// Does what has to be done if a call is forbidden. Never unwinds: a panic stops at this function.
#[allow(improper_ctypes_definitions, reason = "extern \"C\" only for its rule that no panic leaves it")]
pub(super) extern "C" fn check(slot: &Slot, operation: Operation) {
    let forbidden = slot.forbidden.get();
    let (forbids_allocations, forbids_releases) = what(forbidden);
    let is_forbidden = match operation {
        Operation::Release(_) => forbids_releases,
        Operation::Allocation(_) | Operation::Reallocation(..) => forbids_allocations,
    };
    if !is_forbidden || exempt::is_exempt() {
        return;
    }
    slot.violations.add_shared(1);
    if forbidden & (ABORT | REPORT) == 0 {
        return;
    }
    let violation = Violation { operation, forbids_releases };
    #[cfg(feature = "std")]
    tell(&violation);
    if forbidden & ABORT != 0 {
        #[cfg(feature = "std")]
        std::process::abort();
        #[cfg(not(feature = "std"))]
        panic!("{violation}");
    }
}

/// Writes the sentence to stderr and, if it is asked for, where it happened.
#[cfg(feature = "std")]
fn tell(violation: &Violation) {
    let write = || {
        crate::stderr::write_formatted(&format_args!("mem_alloc_rust: {violation}"));
        exempt::exempt(call_stack::write_if_wanted);
    };
    #[cfg(unix)]
    crate::raw_lock::preserving_errno(write);
    #[cfg(not(unix))]
    write();
}
