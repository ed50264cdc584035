//! What acts on `Counted`: assertions, guards under which an allocation is an error, limits. Golden sentences.

#![cfg(all(feature = "std", unix))]

mod roles;

use mem_alloc_rust::watch::{
    Consequence, Counted, Forbidden, forbid, limit, measure, permit_allocations, without_allocations,
};
use mem_alloc_rust::{FreeList, ThreadCached, assert_allocations, assert_peak};
use roles::{aborted, alone, child, succeeded};
use std::alloc::Layout;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

#[global_allocator]
static A: Counted<ThreadCached<FreeList<{ 16 << 20 }>>> = Counted::new(ThreadCached::new());

fn bytes(len: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(len))
}

fn try_bytes(len: usize) -> bool {
    black_box(Vec::<u8>::new()).try_reserve_exact(len).is_ok()
}

fn wait_for(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
}

/// What a panic said.
fn message(panics: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(panics)).expect_err("it has to panic");
    *payload.downcast::<String>().expect("the message has figures")
}

#[test]
fn an_assertion_is_the_value_of_its_block() {
    let (text, len) = (assert_allocations!(1, String::from("one").into_bytes()), 3);
    assert_eq!(text.len(), len);
    assert_eq!(assert_peak!(..=100, bytes(100).capacity()), 100);
    // Whatever is a range, and what is expected is not measured itself.
    assert_allocations!(.., ());
    assert_allocations!(0.., ());
    assert_allocations!(1..2, bytes(1));
    assert_allocations!(1..=1, bytes(1));
    assert_allocations!(..2, bytes(1));
    assert_allocations!((std::ops::Bound::Excluded(0), std::ops::Bound::Unbounded), bytes(1));
    assert_allocations!(bytes(7).capacity() - 6, bytes(1));
    // A block is left as any other is.
    let left_early = || -> Option<u32> {
        let number: u32 = assert_allocations!(0, None?);
        Some(number)
    };
    assert_eq!(left_early(), None);
    for number in 0..3 {
        assert_peak!(
            0,
            if number == 1 {
                break;
            }
        );
    }
}

#[test]
fn an_assertion_that_fails_tells_what_was_measured() {
    let too_many = || {
        assert_allocations!(..=3, {
            let mut blocks = [(); 4].map(|()| bytes(10));
            blocks[0].reserve_exact(20);
        })
    };
    assert_eq!(
        message(too_many),
        "expected allocations: ..=3, measured: 5; 5 allocations (4 alloc, 0 alloc_zeroed, 1 realloc), 4 dealloc, 0 refused; \
         50 bytes asked for, 50 live at the peak, 0 live now in 0 blocks"
    );
    assert_eq!(
        message(|| drop(assert_allocations!(2, black_box(vec![0u8; 16])))),
        "expected allocations: 2, measured: 1; 1 allocation (0 alloc, 1 alloc_zeroed, 0 realloc), 0 dealloc, 0 refused; \
         16 bytes asked for, 16 live at the peak, 16 live now in 1 block"
    );
    assert_eq!(
        message(|| assert_peak!(..=64 << 10, drop(bytes(65_537)))),
        "expected bytes at the peak: ..=65536, measured: 65537; 1 allocation (1 alloc, 0 alloc_zeroed, 0 realloc), 1 dealloc, \
         0 refused; 65537 bytes asked for, 65537 live at the peak, 0 live now in 0 blocks"
    );
}

/// The line of the assertion below.
const LINE: u32 = line!() + 4;

#[inline(never)]
fn fails_here() {
    assert_allocations!(0, bytes(1));
}

#[test]
fn an_assertion_that_fails_names_its_caller_s_line() {
    let test = "an_assertion_that_fails_names_its_caller_s_line";
    let Some(child) = child(test, &[], fails_here) else { return };
    let output = child.failure().get_output().clone();
    let stderr = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
    assert!(stderr.contains(&format!("guards.rs:{LINE}:")), "{stderr}");
}

#[test]
fn an_allocation_where_none_may_be_is_one_sentence_and_the_end() {
    let test = "an_allocation_where_none_may_be_is_one_sentence_and_the_end";
    let Some(child) = child(test, &[], || without_allocations(|| drop(bytes(5)))) else { return };
    assert_eq!(aborted(&child), "mem_alloc_rust: an allocation of 5 bytes where allocations are forbidden\n");
}

#[inline(never)]
fn the_one_who_asks() {
    drop(bytes(5));
}

#[test]
fn a_backtrace_names_who_asked() {
    let test = "a_backtrace_names_who_asked";
    let play = || without_allocations(the_one_who_asks);
    let Some(child) = child(test, &[("RUST_BACKTRACE", "1")], play) else { return };
    let stderr = aborted(&child);
    assert!(stderr.contains("stack backtrace:") && stderr.contains("guards::the_one_who_asks"), "{stderr}");
    assert_eq!(stderr.matches("where allocations are forbidden").count(), 1, "{stderr}");
}

#[test]
fn what_is_reported_goes_on() {
    let test = "what_is_reported_goes_on";
    let play = || {
        let mut block = bytes(10);
        let guard = forbid(Forbidden::AllocationsAndReleases, Consequence::Report);
        block.reserve_exact(100);
        let zeroes = black_box(vec![0u8; 30]);
        drop(block);
        assert_eq!((guard.violations(), zeroes.len()), (3, 30));
        drop(guard);
        drop(bytes(10));
    };
    let Some(child) = child(test, &[], play) else { return };
    assert_eq!(
        succeeded(child),
        "mem_alloc_rust: a reallocation from 10 to 100 bytes where allocations and releases are forbidden\n\
         mem_alloc_rust: an allocation of 30 bytes where allocations and releases are forbidden\n\
         mem_alloc_rust: a release of 100 bytes where allocations and releases are forbidden\n"
    );
}

#[test]
fn a_panic_where_nothing_may_be_allocated_is_told() {
    let test = "a_panic_where_nothing_may_be_allocated_is_told";
    let play = || {
        let number = black_box(3);
        let unwound =
            catch_unwind(|| without_allocations(|| assert_eq!(number, 4, "that {number} is no four")));
        assert!(unwound.is_err());
        // It is over with the guard, too.
        drop(bytes(10));
    };
    let Some(child) = child(test, &[], play) else { return };
    let stderr = succeeded(child);
    assert!(stderr.contains("that 3 is no four") && !stderr.contains("forbidden"), "{stderr}");
}

#[test]
fn guards_lie_inside_of_each_other() {
    let outer = forbid(Forbidden::AllocationsAndReleases, Consequence::Count);
    let first = bytes(1);
    {
        let _exception = permit_allocations();
        drop(bytes(2));
        let inner = forbid(Forbidden::Allocations, Consequence::Count);
        drop(bytes(3));
        assert_eq!(inner.violations(), 1);
        drop(inner);
        drop(bytes(4));
    }
    assert_eq!(outer.violations(), 2);
    drop(first);
    assert_eq!(outer.violations(), 3);
    drop(outer);
    let guard = forbid(Forbidden::Allocations, Consequence::Count);
    drop(bytes(5));
    assert_eq!(guard.violations(), 1);
    // What is forbidden is counted all the same, as if it were not.
    let ((), counts) = measure(|| drop(bytes(70_000)));
    assert_eq!((counts.alloc_calls, counts.dealloc_calls, counts.peak_bytes), (1, 1, 70_000));
}

#[test]
fn what_is_forbidden_on_one_thread_is_not_on_others() {
    let (may_begin, is_done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for(&may_begin);
            drop(bytes(1000));
            is_done.store(true, Ordering::Release);
        });
        without_allocations(|| {
            may_begin.store(true, Ordering::Release);
            wait_for(&is_done);
        });
    });
}

#[test]
fn a_limit_is_held_to_the_byte() {
    let before = bytes(5000);
    limit(1000, || {
        assert!(try_bytes(1000) && !try_bytes(1001));
        let mut half = bytes(500);
        assert!(try_bytes(500) && !try_bytes(501));
        assert!(half.try_reserve_exact(1001).is_err());
        assert!(half.try_reserve_exact(1000).is_ok());
        assert!(!try_bytes(1));
        half.shrink_to(300);
        assert!(try_bytes(700) && !try_bytes(701));
        let layout = Layout::from_size_align(701, 1).unwrap();
        // SAFETY: the layout is not of zero bytes.
        assert!(black_box(unsafe { std::alloc::alloc_zeroed(layout) }).is_null());
        // What is released makes room, whatever it is.
        drop(before);
        assert!(try_bytes(5700) && !try_bytes(5701));
    });
    assert!(try_bytes(100_000));
}

#[test]
fn what_a_limit_refuses_is_counted() {
    let (is_served, counts) = measure(|| limit(10, || try_bytes(11)));
    assert!(!is_served);
    assert_eq!((counts.refusals, counts.alloc_calls, counts.peak_bytes), (1, 0, 0));
}

#[test]
fn limits_lie_inside_of_each_other() {
    limit(1000, || {
        limit(100, || assert!(try_bytes(100) && !try_bytes(101)));
        assert!(try_bytes(1000) && !try_bytes(1001));
        limit(100_000, || assert!(try_bytes(1000) && !try_bytes(1001)));
        limit(usize::MAX, || assert!(try_bytes(1000) && !try_bytes(1001)));
        assert!(try_bytes(1000) && !try_bytes(1001));
    });
    limit(usize::MAX, || assert!(try_bytes(1 << 20)));
}

#[test]
fn a_panic_is_told_in_spite_of_a_limit_and_ends_it() {
    let text = message(|| limit(0, || panic!("{} is one too many", black_box(1))));
    assert_eq!(text, "1 is one too many");
    assert!(try_bytes(1 << 20));
}

#[test]
fn a_thread_has_no_limit_but_its_own() {
    let (may_begin, is_done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for(&may_begin);
            drop(bytes(1 << 20));
            is_done.store(true, Ordering::Release);
        });
        limit(100, || {
            may_begin.store(true, Ordering::Release);
            wait_for(&is_done);
            assert!(try_bytes(100) && !try_bytes(101));
        });
    });
}

#[test]
fn a_limit_ends_what_cannot_fail() {
    let test = "a_limit_ends_what_cannot_fail";
    let Some(child) = child(test, &[], || limit(1000, || drop(bytes(1001)))) else { return };
    assert!(aborted(&child).contains("memory allocation of 1001 bytes failed"));
}

#[test]
fn all_of_it_works_at_once() {
    alone("all_of_it_works_at_once", || {
        let ((), counts) = measure(|| {
            limit(1000, || {
                let guard = forbid(Forbidden::Allocations, Consequence::Count);
                assert!(!try_bytes(1001));
                assert_allocations!(1, drop(bytes(1000)));
                assert_eq!(guard.violations(), 2);
                let _exception = permit_allocations();
                assert!(!try_bytes(1001), "what is permitted has a limit all the same");
            });
        });
        assert_eq!((counts.alloc_calls, counts.refusals, counts.peak_bytes), (1, 2, 1000));
    });
}
