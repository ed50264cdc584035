//! How threads and programs can end while others allocate: by `exit`, and by cancellation.

#![cfg(all(feature = "std", unix))]

#[expect(dead_code, reason = "other tests use more of it")]
#[path = "caches/forked.rs"]
mod forked;
#[path = "caches/marked.rs"]
mod marked;

use fastrand::Rng;
use forked::{WELL, fate_of_a_child};
use libc::c_void;
use marked::{A, Marked, assert_all_is_back, size};
use serial_test::serial;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many threads have begun.
static BEGUN: AtomicU32 = AtomicU32::new(0);

const THREADS: usize = 4;

/// Starts threads of the C library's, which can be ended in ways that std's cannot, and waits until all have
/// begun.
fn start(run: extern "C-unwind" fn(*mut c_void) -> *mut c_void) -> [libc::pthread_t; THREADS] {
    BEGUN.store(0, Ordering::Relaxed);
    // SAFETY: the two kinds of function differ in what they let pass, not in how they are called.
    let run = unsafe {
        std::mem::transmute::<
            extern "C-unwind" fn(*mut c_void) -> *mut c_void,
            extern "C" fn(*mut c_void) -> *mut c_void,
        >(run)
    };
    let threads = [(); THREADS].map(|()| {
        let mut thread = 0;
        // SAFETY: the thread's identity has room, and the function takes no argument.
        assert_eq!(unsafe { libc::pthread_create(&raw mut thread, std::ptr::null(), run, null_mut()) }, 0);
        thread
    });
    while BEGUN.load(Ordering::Acquire) < THREADS as u32 {
        std::thread::yield_now();
    }
    threads
}

/// Fills the thread's cache.
fn fill_a_cache() {
    let mut random = Rng::with_seed(7);
    let mut blocks = [(); 50].map(|()| Marked::new(size(&mut random), 1));
    blocks.iter_mut().for_each(|block| block.resize(size(&mut random)));
}

extern "C-unwind" fn allocate_forever(_: *mut c_void) -> *mut c_void {
    loop {
        fill_a_cache();
        BEGUN.fetch_add(1, Ordering::Release);
    }
}

extern "C-unwind" fn fill_a_cache_and_wait(_: *mut c_void) -> *mut c_void {
    fill_a_cache();
    BEGUN.fetch_add(1, Ordering::Release);
    loop {
        // SAFETY: waiting for a signal is always allowed. The thread is cancelled here, where nothing has to
        // be dropped.
        unsafe { libc::pause() };
    }
}

#[test]
#[serial]
fn a_program_can_exit_while_others_allocate() {
    for _ in 0..20 {
        let fate = fate_of_a_child(|| {
            start(allocate_forever);
            // What runs at exit may allocate.
            extern "C" fn last() {
                fill_a_cache();
            }
            // SAFETY: the function needs nothing that is gone by then.
            unsafe {
                libc::atexit(last);
                libc::exit(0)
            }
        });
        assert_eq!(fate, WELL);
    }
}

#[test]
#[serial]
fn what_a_cancelled_thread_had_cached_comes_back() {
    for _ in 0..20 {
        for thread in start(fill_a_cache_and_wait) {
            let mut result = null_mut();
            // SAFETY: the thread runs until it is cancelled, and is joined once.
            unsafe {
                assert_eq!(libc::pthread_cancel(thread), 0);
                assert_eq!(libc::pthread_join(thread, &raw mut result), 0);
            }
        }
        A.flush_thread();
        assert_all_is_back();
    }
}
