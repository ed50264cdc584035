//! What a leak check finds, over the system's allocator.

#![cfg(feature = "std")]

#[expect(dead_code, reason = "other tests use more of it")]
mod roles;

use mem_alloc_rust::watch::{Counted, LeakCheck};
use roles::alone;
use std::alloc::System;
use std::hint::black_box;

#[global_allocator]
static A: Counted<System> = Counted::new(System);

fn bytes(len: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(len))
}

#[test]
fn three_among_a_hundred_thousand_are_exactly_those_three() {
    let check = LeakCheck::new();
    let mut kept = Vec::new();
    for number in 1..=100_000usize {
        let block = bytes(1 + number % 100);
        match number {
            17 | 50_000 | 99_999 => std::mem::forget(block),
            // Many are live at a time, and released in another order.
            _ if number % 5 == 0 => kept.push(block),
            _ => drop(block),
        }
    }
    kept.reverse();
    drop(kept);
    let leaks = check.leaks();
    assert_eq!((leaks.blocks, leaks.overflowed), (3, 0));
    // (`kept` is one allocation, the sixth, and grows from there.)
    let found = leaks.list().iter().map(|block| (block.allocation, block.bytes)).collect::<Vec<_>>();
    assert_eq!(found, [(18, 18), (50_001, 1), (100_000, 100)]);
}

#[test]
fn the_message_lists_what_was_left() {
    let check = LeakCheck::new();
    check.assert_none();
    let block = bytes(24);
    let address = block.as_ptr();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check.assert_none())).unwrap_err();
    let expected =
        format!("1 block was left behind, of 24 bytes in all:\n  allocation 1: 24 bytes at {address:?}");
    assert_eq!(*panic.downcast::<String>().unwrap(), expected);
    drop(block);
    let more = LeakCheck::new();
    let blocks = [(); 40].map(|()| bytes(10));
    let text = more.leaks().to_string();
    assert!(
        text.starts_with("40 blocks were left behind, of 400 bytes in all:\n  allocation 1: 10 bytes at 0x"),
        "{text}"
    );
    assert!(text.ends_with("\n  and 8 more"), "{text}");
    assert_eq!(text.lines().count(), 1 + 32 + 1);
    drop((blocks, text));
    assert_eq!(more.leaks().to_string(), "no block was left behind");
}

#[test]
fn a_block_that_grows_is_the_block_that_it_was() {
    let mut old = bytes(10);
    let check = LeakCheck::new();
    old.reserve_exact(100_000);
    check.assert_none();
    let mut new = bytes(10);
    new.reserve_exact(100_000);
    new.shrink_to(5);
    drop(old);
    let leaks = check.leaks();
    assert_eq!((leaks.blocks, leaks.bytes, leaks.list()[0].allocation), (1, 5, 1));
    drop(new);
    check.assert_none();
}

#[test]
fn it_does_not_matter_which_thread_releases_a_block() {
    let check = LeakCheck::new();
    let block = bytes(1000);
    // (What it takes to start a thread is in part this one's, and kept for the next.)
    let thread = std::thread::spawn(move || drop(block));
    thread.join().unwrap();
    assert!(check.leaks().list().iter().all(|block| block.bytes != 1000));
}

#[test]
fn what_others_leave_is_not_this_thread_s() {
    // (Of the process's, other tests' blocks may be the first ones.)
    alone("what_others_leave_is_not_this_thread_s", || {
        let check = LeakCheck::new();
        let process = LeakCheck::of_process();
        std::thread::spawn(|| std::mem::forget(bytes(12_345))).join().unwrap();
        let is_there = |check: &LeakCheck| check.leaks().list().iter().any(|block| block.bytes == 12_345);
        assert!(!is_there(&check) && is_there(&process));
    });
}

#[test]
fn checks_begin_and_end_in_any_order() {
    alone("checks_begin_and_end_in_any_order", || {
        let first = LeakCheck::new();
        let one = bytes(1);
        let second = LeakCheck::new();
        let two = bytes(2);
        let bytes_of = |check: &LeakCheck| check.leaks().bytes;
        assert_eq!((bytes_of(&first), bytes_of(&second)), (3, 2));
        drop(first);
        let three = bytes(3);
        assert_eq!(bytes_of(&second), 5);
        drop(second);
        // Not looked at: neither these, nor the release of those.
        let four = bytes(4);
        drop((one, two));
        let third = LeakCheck::new();
        third.assert_none();
        let again = [(); 1000].map(|()| bytes(1));
        assert_eq!(third.leaks().blocks, 1000);
        drop((three, four, again));
        third.assert_none();
    });
}

#[test]
fn what_cannot_be_told_apart_is_told() {
    alone("what_cannot_be_told_apart_is_told", || {
        let check = LeakCheck::new();
        let blocks: Vec<_> = (0..200_000).map(|_| bytes(1)).collect();
        let leaks = check.leaks();
        assert!(leaks.blocks <= 131_072 && leaks.blocks + leaks.overflowed >= 200_000, "{leaks:?}");
        assert!(
            leaks
                .to_string()
                .ends_with("more were live at the same time than can be told apart, and may be live")
        );
        drop(blocks);
        assert_eq!(check.leaks().blocks, 0);
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check.assert_none()));
        assert!(panic.is_err(), "it cannot know");
        // Another one begins anew.
        drop(check);
        let check = LeakCheck::new();
        drop(bytes(1));
        check.assert_none();
    });
}

#[test]
fn threads_that_allocate_while_checks_come_and_go_lose_nothing() {
    alone("threads_that_allocate_while_checks_come_and_go_lose_nothing", || {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..300 {
                        let check = LeakCheck::new();
                        let blocks = [(); 20].map(|()| bytes(round + 1));
                        // The same addresses go from thread to thread.
                        let leaks = check.leaks();
                        assert_eq!((leaks.blocks, leaks.bytes, leaks.overflowed), (20, 20 * (round + 1), 0));
                        drop(blocks);
                        check.assert_none();
                    }
                });
            }
        });
    });
}
