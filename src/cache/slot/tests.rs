//! The gate, and what a cache does that has fallen asleep.

use super::*;
use crate::block::cached;
use crate::cache::class::Class;
use crate::cache::depot::Depot;
use crate::cache::lists::FullList;
use core::alloc::Layout;
use core::ptr::NonNull;

#[test]
fn who_closes_the_gate_waits_until_the_owner_is_outside() {
    static SLOT: Slot = Slot::new();
    let (is_inside, is_done) = (&AtomicBool::new(false), &AtomicBool::new(false));
    let stay_for_a_while = |_: &Place, _: &mut Lists| {
        is_inside.store(true, Ordering::Release);
        std::thread::sleep(core::time::Duration::from_millis(50));
        is_done.store(true, Ordering::Release);
    };
    let (mut heap, mut region) = (Heap::new(), [0u64; 16]);
    // SAFETY: the region is the heap's as long as it is in use. The slot is vacant and this test's alone.
    unsafe {
        heap.init(region.as_mut_ptr().cast(), size_of_val(&region), true).unwrap();
        SLOT.occupy((&raw const SLOT).cast(), Heap::FIRST_OWNER, &mut heap, 0);
    }
    std::thread::scope(|scope| {
        // SAFETY: that thread is the owner.
        scope.spawn(|| assert!(unsafe { SLOT.inside_slowly(stay_for_a_while) }.is_some()));
        while !is_inside.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        SLOT.close();
        barrier::everywhere();
        SLOT.wait();
        assert!(is_done.load(Ordering::Acquire));
    });
}

#[test]
fn a_cache_that_fell_asleep_takes_nothing_from_the_depot() {
    static SLOT: Slot = Slot::new();
    let (mut heap, mut region, mut block) = (Heap::new(), [0u64; 16], [0u64; 2]);
    let (depot, class) = (Depot::new(), Class::serving_small(12).class());
    depot.allow(usize::MAX);
    let first = NonNull::from(&mut block).cast();
    // SAFETY: the region is the heap's as long as it is in use, and the block the depot's. The slot is this
    // thread's alone.
    unsafe {
        cached::link(first, null_mut());
        heap.init(region.as_mut_ptr().cast(), size_of_val(&region), true).unwrap();
        SLOT.occupy((&raw const SLOT).cast(), Heap::FIRST_OWNER, &mut heap, 1 << 20);
        assert!(depot.put(class, FullList::new(first, 1)));
        assert_eq!(SLOT.take_slowly(class, 1, &depot), Some(first));
        cached::link(first, null_mut());
        assert!(depot.put(class, FullList::new(first, 1)));
        let other = heap.alloc(Layout::new::<[u8; 40]>()).unwrap().as_ptr();
        assert!(SLOT.find(other).is_some());
        SLOT.fall_asleep(&mut heap);
        assert_eq!(SLOT.take_slowly(class, 1, &depot), None);
        assert_eq!(SLOT.take_instead(other, class, 1, &depot), None);
    }
    assert!(depot.bytes() > 0);
}

#[test]
fn whoever_is_inside_does_not_enter_again() {
    static SLOT: Slot = Slot::new();
    let allocator = (&raw const SLOT).cast::<()>();
    let (mut heap, mut region) = (Heap::new(), [0u64; 16]);
    // SAFETY: the region is the heap's as long as it is in use.
    unsafe { heap.init(region.as_mut_ptr().cast(), size_of_val(&region), true).unwrap() };
    // SAFETY: the slot is this thread's alone.
    unsafe {
        assert!(SLOT.inside(allocator, |_, _| ()).is_none(), "a vacant slot has no token");
        SLOT.occupy(allocator, Heap::FIRST_OWNER, &mut heap, 0);
        let again = SLOT.inside(allocator, |_, _| {
            assert!(SLOT.is_entered());
            SLOT.inside(allocator, |_, _| ()).is_some()
        });
        assert_eq!(again, barrier::is_available().then_some(false));
        assert!(!SLOT.is_entered());
        SLOT.close();
        assert!(SLOT.inside(allocator, |_, _| ()).is_none() && SLOT.inside_slowly(|_, _| ()).is_none());
        SLOT.open();
        assert!(SLOT.inside_slowly(|_, _| ()).is_some());
    }
}
