//! What a `ThreadCached` owes to the rest of the program: it finds what is cached before it refuses to resize,
//! leaves the error number alone, relies on no barrier that the kernel did not make, and tells a child
//! which threads are not there any more.

#![cfg(all(feature = "std", unix))]

#[path = "caches/forked.rs"]
mod forked;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "caches/marked.rs"]
mod marked;

use forked::{ABORTED, WELL, fate_of_a_child};
use marked::{A, Marked, assert_all_is_back};
use mem_alloc_rust::{FreeList, ThreadCached};
use nix::errno::Errno;
use serial_test::serial;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Barrier, mpsc};
use std::thread;

/// Has as many blocks in a parked thread's cache as that takes, while `meanwhile` runs.
fn beside_a_full_cache(meanwhile: impl FnOnce()) {
    let parked = &Barrier::new(2);
    thread::scope(|scope| {
        // The thread goes on when this end of the channel is gone, be it by a panic.
        let (_go_on, gone) = mpsc::channel::<()>();
        scope.spawn(move || {
            // Shortages of other tests are over after some turns.
            for _ in 0..100 {
                for bytes in (16..700).step_by(16) {
                    drop((0..20).map(|mark| Marked::new(bytes, mark)).collect::<Vec<_>>());
                }
            }
            assert!(A.caches().bytes > 0);
            parked.wait();
            gone.recv().unwrap_err();
        });
        parked.wait();
        meanwhile();
    });
}

#[test]
#[serial]
fn what_others_have_cached_is_found_before_a_change_of_size_is_refused() {
    assert_all_is_back();
    let whole = A.stats().arena_bytes;
    beside_a_full_cache(|| {
        let mut block = Marked::new(100_000, 1);
        let cached = A.caches().bytes;
        assert!(cached > 0);
        block.resize(whole - 4);
        assert_eq!(A.caches().bytes, 0);
    });
    assert_all_is_back();
}

#[test]
#[serial]
fn one_allocator_of_a_process_has_caches() {
    static B: ThreadCached<FreeList> = ThreadCached::new();
    drop(Marked::new(100, 1));
    let layout = Layout::new::<[u64; 10]>();
    for _ in 0..3 {
        // In a thread that has no cache yet, which would be the other one's.
        thread::scope(|scope| {
            let pair = || {
                // SAFETY: the layout is not of zero bytes, and the block is given back once.
                unsafe { B.dealloc(B.alloc(layout), layout) }
            };
            scope.spawn(move || (0..3).for_each(|_| pair())).join().unwrap();
        });
    }
    let caches = B.caches();
    assert_eq!((caches.are_available, caches.threads, caches.bytes), (false, 0, 0));
    assert!(A.caches().are_available);
}

#[test]
#[serial]
#[cfg(target_os = "linux")]
fn the_error_number_stays_as_it_is() {
    const ERROR: i32 = 77;
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                // Joining a thread that has no cache yet, waiting for the lock, and draining: all call the system.
                for round in 0..2000 {
                    Errno::set_raw(ERROR);
                    drop(Marked::new(40_000 + round, number));
                    if round % 100 == 0 {
                        A.drain();
                    }
                    assert_eq!(Errno::last_raw(), ERROR);
                }
            });
        }
    });
    assert_all_is_back();
}

#[test]
#[serial]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn a_barrier_that_the_kernel_does_not_make_is_not_relied_on() {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog};

    /// Has the kernel refuse `membarrier` from now on.
    fn forbid_membarrier() {
        let instruction = |code: u32, k: u32, jt, jf| sock_filter { code: code as u16, jt, jf, k };
        let mut filter = [
            instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
            instruction(BPF_JMP | BPF_JEQ | BPF_K, libc::SYS_membarrier as u32, 0, 1),
            instruction(BPF_RET | BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0),
            instruction(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
        ];
        let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        nix::sys::prctl::set_no_new_privs().unwrap();
        // SAFETY: the filter is sound, and the kernel copies it.
        let result =
            unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
        assert_eq!(result, 0);
    }

    drop(Marked::new(100, 1));
    drop(Marked::new(100, 1));
    assert!(A.caches().threads > 0);
    let (end, text) = fate_of_a_child(|| {
        forbid_membarrier();
        A.drain();
    });
    assert_eq!(end, ABORTED, "{text}");
    assert!(text.contains("the kernel refuses membarrier"), "{text}");
}

#[test]
#[serial]
fn a_child_has_the_cache_of_its_only_thread_alone() {
    drop(Marked::new(100, 1));
    drop(Marked::new(100, 1));
    beside_a_full_cache(|| {
        assert!(A.caches().threads >= 2);
        let fate = fate_of_a_child(|| {
            assert_eq!(A.caches().threads, 1);
            assert_all_is_back();
        });
        assert_eq!(fate, WELL);
    });
}
