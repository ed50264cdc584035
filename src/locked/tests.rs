//! What a static is in the beginning.

use super::*;
use crate::FreeList;

const ARENA: usize = 256;

/// Whether an allocator's source begins with so many zeros. When the compiler evaluates it, it refuses to read what is
/// not initialised.
const fn begins_with_zeros<S: Source>(locked: &Locked<S>, bytes: usize) -> bool {
    let start: *const u8 = (&raw const locked.source).cast();
    let mut at = 0;
    // SAFETY: the source has so many bytes.
    while at < bytes && unsafe { start.add(at).read() } == 0 {
        at += 1;
    }
    at == bytes
}

#[test]
fn an_arena_is_zero_and_not_uninitialised() {
    const { assert!(begins_with_zeros(&Locked::<FreeList<ARENA>>::new(), ARENA)) };
    #[cfg(feature = "std")]
    const {
        assert!(begins_with_zeros(&Locked::<crate::OrSystem<FreeList<ARENA>>>::new(), ARENA))
    };
    let made_at_run_time = Locked::<FreeList<ARENA>>::new();
    assert!(begins_with_zeros(&made_at_run_time, ARENA));
}
