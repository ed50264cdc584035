//! Everything that threads can do to `ThreadCached`, each beside each: two threads at a time, one for each of
//! a pair of actions.
//!
//! Every block carries its owner's mark, which is checked before each release and each change of size. After
//! each pair nothing is live, nothing is cached, and all of the arena is one block.

#![cfg(all(feature = "std", unix))]

#[path = "../../extent/mod.rs"]
mod extent;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "caches/forked.rs"]
mod forked;
#[path = "caches/marked.rs"]
mod marked;

use extent::is_full;
use fastrand::Rng;
use forked::{WELL, fate_of_a_child};
use marked::{A, Marked, assert_all_is_back, size};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long each pair goes on.
fn each() -> Duration {
    Duration::from_millis(if is_full() { 60 } else { 25 })
}

/// Blocks that a thread has at most.
const MOST: usize = 200;

/// What a thread does over and over, with the other one's mailbox and its own.
type Action = fn(&mut Rng, &mut Vec<Marked>, &SyncSender<Marked>, &Receiver<Marked>);

const ACTIONS: [(&str, Action); 7] = [
    ("allocate and release", |random, own, _, _| {
        if own.len() < MOST && random.bool() {
            own.push(Marked::new(size(random), 1));
        } else if !own.is_empty() {
            own.swap_remove(random.usize(..own.len()));
        }
    }),
    ("release what the other allocated", |random, _, other, mailbox| {
        mailbox.try_iter().take(10).for_each(drop);
        let _ = other.try_send(Marked::new(size(random), 2));
    }),
    ("change sizes", |random, own, _, _| {
        if own.len() < MOST / 10 {
            own.push(Marked::new(size(random), 3));
        }
        let which = random.usize(..own.len());
        own[which].resize(size(random));
    }),
    ("begin and end threads", |random, _, _, _| {
        let (bytes, count) = (size(random), random.usize(..30));
        let work = move || (0..count).for_each(|_| drop(Marked::new(bytes, 4)));
        thread::spawn(work).join().unwrap();
    }),
    ("drain", |random, own, _, _| {
        own.truncate(MOST / 2);
        own.push(Marked::new(size(random), 5));
        A.drain();
    }),
    ("flush", |random, own, _, _| {
        own.truncate(MOST / 2);
        own.extend((0..5).map(|_| Marked::new(size(random), 6)));
        A.flush_thread();
    }),
    ("fork", |random, own, _, _| {
        own.truncate(MOST / 2);
        own.push(Marked::new(size(random), 7));
        fork_and_wait(own);
    }),
];

/// Forks a child that allocates, releases what it inherited, and audits the heap.
fn fork_and_wait(inherited: &mut Vec<Marked>) {
    let fate = fate_of_a_child(|| {
        let fresh = Marked::try_new(100, 8);
        let is_served = fresh.is_some();
        drop(fresh);
        inherited.drain(..).for_each(drop);
        // SAFETY: leaving at once is always allowed.
        unsafe { libc::_exit(i32::from(!is_served || A.audit().is_err())) }
    });
    assert_eq!(fate, WELL, "the child did not get through");
}

/// Does the two actions at the same time.
fn side_by_side(first: Action, second: Action) {
    let done = AtomicBool::new(false);
    let (to_first, of_first) = sync_channel(64);
    let (to_second, of_second) = sync_channel(64);
    let work = |seed: u64, action: Action, other: SyncSender<Marked>, mailbox: Receiver<Marked>| {
        let (mut random, mut own) = (Rng::with_seed(seed), Vec::with_capacity(MOST));
        while !done.load(Ordering::Relaxed) {
            action(&mut random, &mut own, &other, &mailbox);
        }
    };
    thread::scope(|scope| {
        let work = &work;
        scope.spawn(move || work(0x9E37_79B9, first, to_second, of_first));
        scope.spawn(move || work(0x85EB_CA6B, second, to_first, of_second));
        let end = Instant::now() + each();
        while Instant::now() < end {
            thread::sleep(each() / 10);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn every_pair_of_actions_leaves_nothing_behind() {
    for (index, (name, first)) in ACTIONS.into_iter().enumerate() {
        for (other, second) in ACTIONS.into_iter().skip(index) {
            side_by_side(first, second);
            println!("{name}, {other}");
            assert_all_is_back();
        }
    }
}
