//! What `Refusing` refuses: by code and by the environment, in the process, on a thread, and one request after the
//! other. It is inside of one `Counted` and around another, so that what composes is what is tested.

#![cfg(all(feature = "std", unix))]

mod roles;

use mem_alloc_rust::watch::{
    Counted, LeakCheck, Policy, Refusing, for_each_refusal, limit, measure, refuse_on_this_thread,
};
use mem_alloc_rust::{FreeList, ThreadCached};
use roles::{aborted, alone, child, succeeded};
use std::collections::TryReserveError;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

#[global_allocator]
static A: Counted<Refusing<ThreadCached<FreeList<{ 64 << 20 }>>>> =
    Counted::new(Refusing::new(ThreadCached::new()));

/// More than anything but the tests asks for.
const LARGE: usize = 1 << 20;

fn try_bytes(len: usize) -> bool {
    black_box(Vec::<u8>::new()).try_reserve_exact(len).is_ok()
}

/// The numbers of those of so many requests that are refused, from 1 on.
fn refused(requests: usize) -> Vec<usize> {
    // What collects them must not be refused.
    let mut numbers = [0; 100];
    let mut len = 0;
    for number in 1..=requests {
        if !try_bytes(LARGE) {
            numbers[len] = number;
            len += 1;
        }
    }
    A.inner().serve();
    numbers[..len].to_vec()
}

#[test]
fn a_policy_of_the_process_is_for_all_threads() {
    alone("a_policy_of_the_process_is_for_all_threads", || {
        assert_eq!(refused(100), []);
        A.inner().refuse(Policy::nth(3).from_size(LARGE));
        assert_eq!(refused(100), [3]);
        assert_eq!(A.inner().refused(), 1);
        A.inner().refuse(Policy::every(10).from_size(LARGE));
        assert_eq!(refused(35), [10, 20, 30]);
        assert_eq!(A.inner().refused(), 3);
        A.inner().refuse(Policy::random(0.1, 42).from_size(LARGE));
        let random = refused(100);
        A.inner().refuse(Policy::random(0.1, 42).from_size(LARGE));
        assert_eq!(refused(100), random);
        assert!((3..25).contains(&random.len()), "{random:?}");
        // Each on one thread.
        static SERVED: AtomicUsize = AtomicUsize::new(0);
        A.inner().refuse(Policy::every(2).from_size(LARGE));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let served = (0..1000).filter(|_| try_bytes(LARGE)).count();
                    SERVED.fetch_add(served, Ordering::Relaxed);
                });
            }
        });
        A.inner().serve();
        assert_eq!((SERVED.load(Ordering::Relaxed), A.inner().refused()), (2000, 2000));
    });
}

#[test]
fn a_policy_of_a_thread_is_for_that_thread() {
    let guard = refuse_on_this_thread(Policy::every(1).from_size(LARGE));
    assert!(!try_bytes(LARGE) && try_bytes(LARGE - 1));
    std::thread::scope(|scope| scope.spawn(|| assert!(try_bytes(LARGE))).join()).unwrap();
    {
        let inner = refuse_on_this_thread(Policy::nth(2).from_size(LARGE));
        assert!(try_bytes(LARGE) && !try_bytes(LARGE) && try_bytes(LARGE));
        assert_eq!(inner.refused(), 1);
    }
    assert!(!try_bytes(LARGE));
    assert_eq!(guard.refused(), 2);
    drop(guard);
    assert!(try_bytes(LARGE));
}

#[test]
fn what_cannot_be_refused_is_not() {
    let mut block: Vec<u8> = black_box(Vec::with_capacity(8000));
    let guard = refuse_on_this_thread(Policy::every(1));
    block.shrink_to(6000);
    assert!(block.try_reserve_exact(7000).is_err());
    assert_eq!((block.capacity(), guard.refused()), (6000, 1));
    let layout = std::alloc::Layout::new::<[u8; 100]>();
    // SAFETY: the layout is not of zero bytes.
    assert!(black_box(unsafe { std::alloc::alloc_zeroed(layout) }).is_null());
    drop(block);
    assert_eq!(guard.refused(), 2);
    // A panic has to be told.
    let panic = std::panic::catch_unwind(|| panic!("{} times", black_box(2))).unwrap_err();
    assert_eq!(*panic.downcast::<String>().unwrap(), "2 times");
    assert_eq!(guard.refused(), 2);
}

#[test]
fn what_is_refused_is_counted_by_who_is_outside() {
    let ((), counts) = measure(|| {
        let _guard = refuse_on_this_thread(Policy::nth(2));
        assert!(try_bytes(10) && !try_bytes(10) && try_bytes(10));
    });
    assert_eq!((counts.alloc_calls, counts.refusals, counts.peak_bytes), (2, 1, 10));
    // The same for a block that does not become larger.
    let mut block: Vec<u8> = black_box(Vec::with_capacity(10));
    let ((), counts) = measure(|| {
        let _guard = refuse_on_this_thread(Policy::nth(1));
        assert!(block.try_reserve_exact(50).is_err() && block.try_reserve_exact(30).is_ok());
    });
    assert_eq!((counts.realloc_calls, counts.refusals, counts.requested_bytes), (1, 1, 20));
    assert_eq!((counts.live_bytes, counts.peak_bytes), (20, 20));
    // What the outer one refuses, the inner one never hears of.
    let guard = refuse_on_this_thread(Policy::nth(2));
    limit(100, || assert!(!try_bytes(101) && try_bytes(10) && !try_bytes(10) && try_bytes(10)));
    assert_eq!(guard.refused(), 1);
}

/// What the child with that variable does first, before anything else is asked for.
fn fate(test: &str, variable: &str) -> Option<assert_cmd::assert::Assert> {
    let play = || {
        let refused = refused(40);
        println!("refused: {refused:?}, {} in all", A.inner().refused());
    };
    child(test, &[("MEM_ALLOC_RUST_REFUSE", variable)], play)
}

#[test]
fn the_environment_gives_a_policy() {
    let test = "the_environment_gives_a_policy";
    for (variable, expected) in [
        ("nth:7,from:1048576", "refused: [7], 1 in all"),
        ("every:9,from:1048576", "refused: [9, 18, 27, 36], 4 in all"),
        ("random:0:1", "refused: [], 0 in all"),
        ("nth:1000000", "refused: [], 0 in all"),
    ] {
        let Some(child) = fate(test, variable) else { return };
        let child = child.success();
        let stdout = String::from_utf8_lossy(&child.get_output().stdout);
        assert!(stdout.contains(expected), "{variable}: {stdout}");
    }
    // The first request of all is std's, which cannot go on without it.
    let first = fate(test, "nth:1").unwrap();
    assert!(aborted(&first).contains("memory allocation of"), "{}", aborted(&first));
}

#[test]
fn the_environment_is_overruled_by_code() {
    let test = "the_environment_is_overruled_by_code";
    let play = || {
        A.inner().refuse(Policy::nth(2).from_size(LARGE));
        assert_eq!(refused(10), [2]);
    };
    if let Some(child) = child(test, &[("MEM_ALLOC_RUST_REFUSE", "every:1,from:1048576")], play) {
        assert_eq!(succeeded(child), "");
    }
}

#[test]
fn what_is_no_policy_ends_the_program_with_one_sentence() {
    let test = "what_is_no_policy_ends_the_program_with_one_sentence";
    for variable in ["", "nth", "nth:0", "often", "random:1.5:1"] {
        let Some(child) = fate(test, variable) else { return };
        assert_eq!(
            aborted(&child),
            "mem_alloc_rust: MEM_ALLOC_RUST_REFUSE is none of nth:7, every:100 and random:0.01:42 (a probability and a seed), \
             with or without ,from:1024 (bytes) behind it: the program ends, because a test without faults would pass\n"
        );
    }
}

/// Copies lines, and forgets one of them if the second request is refused, where that is wanted.
fn copied(lines: &[&str], leaks: bool) -> Result<Vec<String>, TryReserveError> {
    let mut copies = Vec::new();
    copies.try_reserve_exact(lines.len())?;
    for line in lines {
        let mut copy = String::new();
        if let Err(error) = copy.try_reserve_exact(line.len()) {
            if leaks {
                std::mem::forget(copies);
            }
            return Err(error);
        }
        copy.push_str(line);
        copies.push(copy);
    }
    Ok(copies)
}

#[test]
fn each_request_is_refused_in_turn() {
    let mut errors = 0;
    let refusals = for_each_refusal(|| {
        let check = LeakCheck::new();
        match copied(&["one", "two", "three"], false) {
            Ok(copies) => assert_eq!(copies, ["one", "two", "three"]),
            Err(_) => errors += 1,
        }
        check.assert_none();
    });
    assert_eq!((refusals, errors), (4, 4));
    assert_eq!(for_each_refusal(|| ()), 0);
    // What tries again is refused once.
    assert_eq!(for_each_refusal(|| assert!(try_bytes(10) || try_bytes(10))), 1);
}

#[test]
fn a_run_that_panics_is_told_by_its_number() {
    let test = "a_run_that_panics_is_told_by_its_number";
    let play = || {
        let unwound = std::panic::catch_unwind(|| {
            for_each_refusal(|| {
                let check = LeakCheck::new();
                drop(copied(&["one", "two", "three"], true));
                check.assert_none();
            })
        });
        assert!(unwound.is_err());
        // It is over.
        assert!(try_bytes(10));
    };
    let Some(child) = child(test, &[], play) else { return };
    let stderr = succeeded(child);
    let leak = format!("\n  allocation 1: {} bytes at 0x", 3 * size_of::<String>());
    assert!(stderr.contains(&leak), "{stderr}");
    assert!(stderr.ends_with("mem_alloc_rust: that was with request 2 of the run refused\n"), "{stderr}");
}
