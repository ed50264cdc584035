//! Whether the program's allocations come to where they are watched: what would see nothing must not say that nothing
//! happened.

extern crate alloc;

use super::slot::Slot;
use super::{exempt, threads};
use core::alloc::Layout;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};

/// Makes one allocation and its release, and returns whether it was refused.
pub(super) fn allocate() -> bool {
    let layout = Layout::new::<u64>();
    // SAFETY: the layout is not of zero bytes. The block is given back once, with its layout. (Unless somebody could
    // have looked at the pointer, the compiler may do without the two calls.)
    unsafe {
        let block = black_box(alloc::alloc::alloc(layout));
        if block.is_null() {
            return true;
        }
        alloc::alloc::dealloc(block, layout);
    }
    false
}

/// The slot of the calling thread, in which its allocations are counted.
///
/// # Panics
///
/// If they are not; the message says that `what` needs it.
#[track_caller]
pub(super) fn counted_slot(what: &str) -> &'static Slot {
    static IS_COUNTED: AtomicBool = AtomicBool::new(false);
    let Some(slot) = threads::own() else {
        panic!("`{what}` counts nothing on a thread that has ended but for its last destructors");
    };
    if !IS_COUNTED.load(Ordering::Relaxed) {
        let calls = || (slot.alloc_calls.get(), slot.refusals.get());
        let before = calls();
        exempt::exempt(allocate);
        assert!(
            calls() != before,
            "`{what}` needs the program's allocations to be counted: its `#[global_allocator]` has to be a \
             `mem_alloc_rust::watch::Counted`"
        );
        IS_COUNTED.store(true, Ordering::Relaxed);
    }
    slot
}
