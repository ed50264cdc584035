//! What is told where there is no hook: reports on stderr, as often as the program or its environment says.

use super::Refusal;
use crate::attention::{is_telling, while_telling};
use crate::call_stack;
use crate::environment::look_at;
use crate::stderr::{Output, write_line};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// How often a refusal is reported on stderr.
///
/// ```
/// use mem_alloc_rust::{FreeList, Locked, RefusalReports, set_refusal_reports};
///
/// #[global_allocator]
/// static A: Locked<FreeList> = Locked::new();
///
/// fn main() {
///     set_refusal_reports(RefusalReports::Each);
///     // Two reports on stderr:
///     assert!((0..2).all(|_| Vec::<u8>::new().try_reserve(2 << 20).is_err()));
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalReports {
    /// The first one of the process, as long as nothing else is said.
    Once,
    /// Each of them.
    Each,
    /// None.
    Never,
}

/// How often to report, as a byte.
mod often {
    /// Nobody has said so, or the environment was not asked yet.
    pub(super) const UNKNOWN: u8 = 0;
    pub(super) const ONCE: u8 = 1;
    pub(super) const EACH: u8 = 2;
    pub(super) const NEVER: u8 = 3;
    /// The environment says nothing.
    pub(super) const UNSAID: u8 = 4;
}

/// What the program has said, and what the environment says.
static SAID: AtomicU8 = AtomicU8::new(often::UNKNOWN);
static ENVIRONMENT: AtomicU8 = AtomicU8::new(often::UNKNOWN);

/// How far the report of a first refusal is.
static PROGRESS: AtomicU32 = AtomicU32::new(progress::NONE);

mod progress {
    pub(super) const NONE: u32 = 0;
    pub(super) const DONE: u32 = 1;

    /// It was begun by this process. A child that was forked meanwhile does not wait for what nobody goes on with.
    pub(super) fn begun() -> u32 {
        std::process::id().wrapping_add(DONE).max(DONE + 1)
    }

    /// Whether it is being written by this process.
    pub(super) fn is_begun(found: u32) -> bool {
        // Nobody is asked for the process where that need not be known.
        found != NONE && found != DONE && found == begun()
    }

    /// Whether the first report is yet to be written by this process.
    pub(super) fn is_open(found: u32) -> bool {
        found == NONE || found != DONE && !is_begun(found)
    }
}

/// Says how often refusals are reported on stderr, where there is no [hook](super::set_refusal_hook): once in a
/// process, unless something else is said. The environment variable `MEM_ALLOC_RUST_REFUSALS`, which is `once`, `each`
/// or `never`, has precedence; it is read once, at the first refusal.
///
/// A report takes a walk through the blocks, under the lock, and is written without allocating, outside of the lock.
/// With `RUST_BACKTRACE=1` (or `RUST_LIB_BACKTRACE=1`) it is followed by the call stack of who asked, for which the
/// system gives memory.
///
/// ```
/// use mem_alloc_rust::{FreeList, Locked, RefusalReports, set_refusal_reports};
///
/// #[global_allocator]
/// static A: Locked<FreeList> = Locked::new();
///
/// fn main() {
///     set_refusal_reports(RefusalReports::Never);
///     // Nothing is written; the program sees by itself that it was refused.
///     assert!(Vec::<u8>::new().try_reserve(2 << 20).is_err());
/// }
/// ```
pub fn set_refusal_reports(reports: RefusalReports) {
    let said = match reports {
        RefusalReports::Once => often::ONCE,
        RefusalReports::Each => often::EACH,
        RefusalReports::Never => often::NEVER,
    };
    SAID.store(said, Ordering::Relaxed);
}

/// How often to report.
fn how_often() -> u8 {
    let mut said = ENVIRONMENT.load(Ordering::Relaxed);
    if said == often::UNKNOWN {
        said = from_environment();
        ENVIRONMENT.store(said, Ordering::Relaxed);
    }
    if said == often::UNSAID {
        said = SAID.load(Ordering::Relaxed);
    }
    said
}

/// Whether the next refusal is to be reported.
pub(super) fn is_wanted() -> bool {
    match how_often() {
        often::NEVER => false,
        often::EACH => true,
        _ => progress::is_open(PROGRESS.load(Ordering::Relaxed)),
    }
}

/// What the environment says.
fn from_environment() -> u8 {
    let look = |value: &[u8]| match value {
        b"once" => often::ONCE,
        b"each" => often::EACH,
        b"never" => often::NEVER,
        _ => {
            write_line("mem_alloc_rust: MEM_ALLOC_RUST_REFUSALS is none of once, each and never");
            often::UNSAID
        }
    };
    look_at(c"MEM_ALLOC_RUST_REFUSALS", look).unwrap_or(often::UNSAID)
}

/// Whether another thread is just reporting what it was refused. The program may end as soon as this one gets null.
pub(crate) fn is_being_told() -> bool {
    progress::is_begun(PROGRESS.load(Ordering::Acquire)) && !is_telling()
}

/// Reports a refusal.
pub(super) fn tell(refusal: &Refusal) {
    let begin = |found| progress::is_open(found).then(progress::begun);
    let begun = PROGRESS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, begin);
    if begun.is_err() && how_often() != often::EACH {
        return;
    }
    let wants_backtrace = call_stack::can_be_written();
    // What this thread is refused meanwhile it does not wait for.
    while_telling(|| write(refusal, wants_backtrace));
    PROGRESS.store(progress::DONE, Ordering::Release);
}

fn write(refusal: &Refusal, wants_backtrace: bool) {
    let mut output = Output::stderr();
    output.write("mem_alloc_rust: ");
    refusal.write_to(&mut output);
    output.write(if wants_backtrace {
        "\n"
    } else {
        "\n  more     RUST_BACKTRACE=1 shows where; MEM_ALLOC_RUST_REFUSALS=each or never shows all, or none;\n  \
         \x20        watch::Traced and the tool insight tell how large it has to be\n"
    });
    output.flush();
    if wants_backtrace {
        call_stack::write();
    }
}

#[cfg(test)]
mod tests {
    use super::progress::*;

    #[test]
    fn what_another_process_has_begun_is_not_waited_for() {
        let other = begun() ^ 1 << 20;
        assert_eq!([NONE, DONE, begun(), other].map(is_open), [true, false, false, true]);
        assert_eq!([NONE, DONE, begun(), other].map(is_begun), [false, false, true, false]);
    }
}
