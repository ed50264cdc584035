//! What takes the calling thread off the usual way, for as long as it does: it tells of a refusal, or somebody waits
//! for a watermark. One load and one comparison tell that there is nothing of the kind.

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

std::thread_local! {
    // Initialised by a constant and without a destructor: an access is a plain load.
    static IS_TELLING: Cell<bool> = const { Cell::new(false) };
}

/// How many threads are telling of a refusal, and how many watermarks are set.
static WANTED: AtomicUsize = AtomicUsize::new(0);

/// Whether anything is to be looked at.
#[inline(always)]
pub(crate) fn is_wanted() -> bool {
    WANTED.load(Ordering::Relaxed) != 0
}

/// There is something more to be looked at, until [`dismiss`] is called as often.
pub(crate) fn want() {
    WANTED.fetch_add(1, Ordering::Relaxed);
}

/// There is something less.
pub(crate) fn dismiss() {
    WANTED.fetch_sub(1, Ordering::Relaxed);
}

/// Whether this thread is telling of a refusal.
#[inline(always)]
pub(crate) fn is_telling() -> bool {
    is_wanted() && IS_TELLING.with(Cell::get)
}

/// Does something during which this thread is telling of a refusal.
#[inline(always)]
pub(crate) fn while_telling(tell: impl FnOnce()) {
    want();
    let before = IS_TELLING.replace(true);
    tell();
    IS_TELLING.set(before);
    dismiss();
}
