//! What is done for the watching itself, or for a panic, is neither refused nor forbidden.

#[cfg(all(feature = "std", unix))]
use core::cell::Cell;
#[cfg(not(all(feature = "std", unix)))]
use core::sync::atomic::{AtomicBool, Ordering};

#[cfg(all(feature = "std", unix))]
std::thread_local! {
    // Initialised by a constant and without a destructor: an access is a plain load.
    static IS_EXEMPT: Cell<bool> = const { Cell::new(false) };
}

#[cfg(not(all(feature = "std", unix)))]
static IS_EXEMPT: AtomicBool = AtomicBool::new(false);

/// Runs something in which this thread's allocations are neither refused, nor forbidden, nor held against a limit, nor
/// leaks.
pub(super) fn exempt<T>(run: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            replace(self.0);
        }
    }
    let _restore = Restore(replace(true));
    run()
}

fn replace(is_exempt: bool) -> bool {
    #[cfg(all(feature = "std", unix))]
    return IS_EXEMPT.with(|flag| flag.replace(is_exempt));
    #[cfg(not(all(feature = "std", unix)))]
    IS_EXEMPT.swap(is_exempt, Ordering::Relaxed)
}

/// Whether this thread is exempt: also while it panics, so that the panic's message can be told.
pub(super) fn is_exempt() -> bool {
    #[cfg(feature = "std")]
    if std::thread::panicking() {
        return true;
    }
    #[cfg(all(feature = "std", unix))]
    return IS_EXEMPT.with(Cell::get);
    #[cfg(not(all(feature = "std", unix)))]
    IS_EXEMPT.load(Ordering::Relaxed)
}
