//! A process that forks before any thread has a cache: all of its blocks are too large for one. A process of
//! its own, because any smaller block would change that.

#![cfg(all(feature = "std", unix))]

mod at_end;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "caches/forked.rs"]
mod forked;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "caches/marked.rs"]
mod marked;

use at_end::SetAtEnd;
use forked::{WELL, fate_of_a_child};
use marked::{A, Marked};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const LARGE: usize = 20_000;

#[test]
fn a_child_can_allocate_though_another_thread_had_the_lock() {
    drop(Marked::new(LARGE, 0));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = SetAtEnd(&done);
        for mark in 1..4 {
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    drop(Marked::new(LARGE, mark));
                }
            });
        }
        let fates: Vec<_> = (0..200)
            .map(|_| {
                fate_of_a_child(|| {
                    drop(Marked::new(LARGE, 9));
                })
            })
            .take_while(|fate| *fate == WELL)
            .collect();
        drop(end);
        assert_eq!(fates.len(), 200, "the next child did not end well");
    });
    A.audit().unwrap();
}
