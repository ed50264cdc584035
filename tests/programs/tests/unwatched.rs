//! Where the program's allocator is not wrapped as it has to be, nothing passes for no reason. The wrappers' other
//! order, and each of them without the other, are used by hand.

#![cfg(feature = "std")]

use mem_alloc_rust::watch::{
    Counted, LeakCheck, Policy, Refusing, for_each_refusal, forbid_allocations, limit, measure,
    refuse_on_this_thread, without_allocations,
};
use mem_alloc_rust::{assert_allocations, assert_peak};
use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::catch_unwind;

fn message(panics: fn()) -> String {
    *catch_unwind(panics).expect_err("it has to panic").downcast::<String>().expect("it has a name in it")
}

#[test]
fn what_would_count_nothing_says_so() {
    let needs: [(&str, fn()); 8] = [
        ("measure", || assert_eq!(measure(|| ()).1.allocations(), 0)),
        ("assert_allocations!", || assert_allocations!(0, ())),
        ("assert_peak!", || assert_peak!(0, ())),
        ("forbid", || drop(forbid_allocations())),
        ("forbid", || without_allocations(|| ())),
        ("limit", || limit(1, || ())),
        ("LeakCheck", || LeakCheck::new().assert_none()),
        ("LeakCheck", || LeakCheck::of_process().assert_none()),
    ];
    for (what, panics) in needs {
        assert_eq!(
            message(panics),
            format!(
                "`{what}` needs the program's allocations to be counted: its `#[global_allocator]` has to be a \
                 `mem_alloc_rust::watch::Counted`"
            )
        );
    }
}

#[test]
fn what_would_refuse_nothing_says_so() {
    let payload = catch_unwind(|| for_each_refusal(|| ())).unwrap_err();
    assert_eq!(
        *payload.downcast::<&str>().unwrap(),
        "`for_each_refusal` needs the program's allocations to come to a `mem_alloc_rust::watch::Refusing`: its \
         `#[global_allocator]` has to be one, or to have one inside"
    );
}

#[test]
fn a_refusing_allocator_around_a_counted_one_hides_what_it_refuses() {
    static WRAPPED: Refusing<Counted<System>> = Refusing::new(Counted::new(System));
    let layout = Layout::new::<[u8; 100]>();
    let counts = || WRAPPED.inner().thread_counts();
    let before = counts();
    WRAPPED.refuse(Policy::nth(2));
    // SAFETY: the layout is not of zero bytes; what is had is given back once.
    unsafe {
        let [first, second, third] = [(); 3].map(|()| WRAPPED.alloc(layout));
        assert!(!first.is_null() && second.is_null() && !third.is_null());
        let grown = WRAPPED.realloc(first, layout, 200);
        WRAPPED.dealloc(grown, Layout::new::<[u8; 200]>());
        WRAPPED.dealloc(third, layout);
    }
    let after = counts();
    assert_eq!((after.alloc_calls - before.alloc_calls, after.refusals - before.refusals), (2, 0));
    assert_eq!(
        (after.realloc_calls, after.dealloc_calls),
        (before.realloc_calls + 1, before.dealloc_calls + 2)
    );
    assert_eq!((after.live_bytes, after.live_blocks), (before.live_bytes, before.live_blocks));
    // The thread's policy is for whatever it calls.
    WRAPPED.serve();
    let guard = refuse_on_this_thread(Policy::nth(1));
    // SAFETY: the layout is not of zero bytes.
    assert!(unsafe { WRAPPED.alloc(layout) }.is_null());
    assert_eq!((guard.refused(), WRAPPED.refused()), (1, 1));
}
