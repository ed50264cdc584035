//! What is told when a request is refused: one sentence, once in a process, or a value for a hook of the program's.

use crate::hook::Hook;
use core::alloc::Layout;
use core::fmt;
#[cfg(feature = "std")]
use core::sync::atomic::{AtomicUsize, Ordering};

/// A request that the allocator could not serve, and what the arena looked like.
///
/// Displayed, it is the sentence that is written to stderr.
///
/// ```
/// use core::alloc::{GlobalAlloc, Layout};
/// use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
/// use mem_alloc_rust::{FreeList, Locked, Refusal, set_refusal_hook};
///
/// static REFUSED_BYTES: AtomicUsize = AtomicUsize::new(0);
///
/// fn note(refusal: &Refusal) {
///     assert!(refusal.largest_free_bytes < refusal.layout.size());
///     assert_eq!(
///         refusal.to_string(),
///         "no memory for 2000 bytes: of 992 bytes of arena 0 are in use, and the largest free block holds 988; \
///          a larger arena is FreeList<SIZE>, and OrSystem takes the rest from the system",
///     );
///     REFUSED_BYTES.fetch_add(refusal.layout.size(), Relaxed);
/// }
///
/// static A: Locked<FreeList<1000>> = Locked::new();
///
/// set_refusal_hook(note);
/// // SAFETY: the layout is of more than no bytes.
/// assert!(unsafe { A.alloc(Layout::new::<[u8; 2000]>()) }.is_null());
/// assert_eq!(REFUSED_BYTES.load(Relaxed), 2000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// What was asked for.
    pub layout: Layout,
    /// Bytes of the arena, or of the cap; zero if the allocator has no memory yet.
    pub arena_bytes: usize,
    /// Bytes in use, as in [`Stats`](crate::Stats). What threads' caches keep was taken back before.
    pub live_bytes: usize,
    /// Bytes that the largest free block would hold. A request for that many may be refused all the same, if
    /// they are to lie at a multiple of more than eight.
    pub largest_free_bytes: usize,
    /// What a `Growing` allocator may have from the system, and has; `None` where the arena is fixed.
    pub growth: Option<GrowthLimit>,
}

/// How far an allocator over growing memory may go, and has gone.
///
/// ```
/// # #[cfg(all(unix, feature = "std"))] {
/// use core::alloc::{GlobalAlloc, Layout};
/// use mem_alloc_rust::{GrowthLimit, Growing, Locked, set_refusal_hook};
///
/// static A: Locked<Growing<{ 1 << 20 }>> = Locked::new();
///
/// set_refusal_hook(|refusal| {
///     let GrowthLimit { cap_bytes, committed_bytes, .. } = refusal.growth.unwrap();
///     assert!(cap_bytes == 1 << 20 && committed_bytes <= cap_bytes);
/// });
/// // SAFETY: the layout is of more than no bytes.
/// assert!(unsafe { A.alloc(Layout::new::<[u8; 2 << 20]>()) }.is_null());
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrowthLimit {
    /// Bytes that the allocator may have from the system.
    pub cap_bytes: usize,
    /// Bytes that it has.
    pub committed_bytes: usize,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layout, arena_bytes, live_bytes, largest_free_bytes, growth } = *self;
        write!(f, "no memory for {} bytes", layout.size())?;
        if layout.align() > 8 {
            write!(f, " at a multiple of {}", layout.align())?;
        }
        if let Some(GrowthLimit { cap_bytes, committed_bytes }) = growth {
            if layout.size() > cap_bytes.saturating_sub(committed_bytes) {
                return write!(
                    f,
                    ": of the {cap_bytes} bytes of its cap {live_bytes} are in use, and {largest_free_bytes} are to be had \
                     in one piece; MEM_ALLOC_RUST_CAP sets the cap, and OrSystem takes the rest from the system"
                );
            }
            return write!(
                f,
                ": the system gives no more than the {committed_bytes} bytes that are committed, of which {live_bytes} \
                 are in use; the cap is {cap_bytes}"
            );
        }
        if arena_bytes == 0 {
            return f.write_str(": the allocator was given none yet");
        }
        write!(
            f,
            ": of {arena_bytes} bytes of arena {live_bytes} are in use, and the largest free block holds \
             {largest_free_bytes}; a larger arena is FreeList<SIZE>, and OrSystem takes the rest from the system"
        )
    }
}

static HOOK: Hook<Refusal> = Hook::new();

/// Sets a function that is told of every request that is refused, before the program gets null.
///
/// Without one, a program with `std` writes the first refusal of the process to stderr, as one sentence and without
/// allocating, and with `RUST_BACKTRACE=1` where it was asked for. A hook takes the place of that; `|_| {}` is
/// silence.
///
/// A program that goes on after a refusal, as with `try_reserve`, may be refused often: the hook should be quick.
/// It runs outside of the allocator's lock. It may allocate with `std`: the system serves that, as it serves a
/// thread that panics. Without `std` it must not. It must not unwind; if it does, the program ends.
///
/// ```
/// use mem_alloc_rust::{FreeList, Locked, set_refusal_hook};
///
/// #[global_allocator]
/// static A: Locked<FreeList> = Locked::new();
///
/// fn main() {
///     set_refusal_hook(|refusal| println!("{refusal}"));
///     assert!(Vec::<u8>::new().try_reserve(2 << 20).is_err());
/// }
/// ```
pub fn set_refusal_hook(hook: fn(&Refusal)) {
    HOOK.set(hook);
}

/// Whether somebody is to be told of the next refusal: not of one that happens while it is told of another.
pub(crate) fn is_wanted() -> bool {
    #[cfg(feature = "std")]
    if is_telling() {
        return false;
    }
    HOOK.get().is_some() || by_default::is_wanted()
}

/// Tells of a refusal. Never unwinds: a panic of the hook's stops at this function.
#[allow(improper_ctypes_definitions, reason = "extern \"C\" only for its rule that no panic leaves it")]
pub(crate) extern "C" fn tell(refusal: &Refusal) {
    match HOOK.get() {
        Some(hook) => while_telling(|| hook(refusal)),
        None => by_default::tell(refusal),
    }
}

#[cfg(feature = "std")]
std::thread_local! {
    // Initialised by a constant and without a destructor: an access is a plain load.
    static IS_TELLING: core::cell::Cell<bool> = const { core::cell::Cell::new(false) };
}

/// How many threads are telling of a refusal: as long as there are none, nobody need look whether it is one.
#[cfg(feature = "std")]
static TELLING: AtomicUsize = AtomicUsize::new(0);

/// Whether this thread is telling of a refusal.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) fn is_telling() -> bool {
    TELLING.load(Ordering::Relaxed) != 0 && IS_TELLING.with(core::cell::Cell::get)
}

/// Runs something in which this thread is served by the system, as one that panics is.
#[cfg(feature = "std")]
pub(crate) fn while_telling(tell: impl FnOnce()) {
    TELLING.fetch_add(1, Ordering::Relaxed);
    IS_TELLING.with(|is_telling| {
        is_telling.set(true);
        tell();
        is_telling.set(false);
    });
    TELLING.fetch_sub(1, Ordering::Relaxed);
}

#[cfg(not(feature = "std"))]
fn while_telling(tell: impl FnOnce()) {
    tell();
}

/// The first refusal of the process, on stderr.
#[cfg(feature = "std")]
mod by_default {
    use super::{Refusal, while_telling};
    use crate::stderr::write_line;
    use core::sync::atomic::{AtomicBool, Ordering};
    use std::backtrace::{Backtrace, BacktraceStatus};
    use std::io::Write;

    static IS_TOLD: AtomicBool = AtomicBool::new(false);

    pub(super) fn is_wanted() -> bool {
        !IS_TOLD.load(Ordering::Relaxed)
    }

    pub(super) fn tell(refusal: &Refusal) {
        if IS_TOLD.swap(true, Ordering::Relaxed) {
            return;
        }
        write_line(&format_args!("mem_alloc_rust: {refusal}"));
        while_telling(|| {
            let backtrace = Backtrace::capture();
            if backtrace.status() == BacktraceStatus::Captured {
                let _ = writeln!(std::io::stderr(), "stack backtrace:\n{backtrace}");
            }
        });
    }
}

/// Nobody is told where there is no stderr.
#[cfg(not(feature = "std"))]
mod by_default {
    use super::Refusal;

    pub(super) fn is_wanted() -> bool {
        false
    }

    pub(super) fn tell(_: &Refusal) {}
}
