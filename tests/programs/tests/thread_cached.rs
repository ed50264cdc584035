//! `ThreadCached` under threads: who frees what where, threads that come and go, draining, forking, misuse.
//!
//! One allocator of a process has caches, so that all tests share one, and take turns.

#![cfg(all(feature = "std", unix))]

mod at_end;
#[path = "../../extent/mod.rs"]
mod extent;
#[path = "caches/forked.rs"]
mod forked;
#[path = "caches/marked.rs"]
mod marked;

use at_end::SetAtEnd;
use extent::is_full;
use fastrand::Rng;
use forked::{ABORTED, End, WELL, fate_of_a_child};
use marked::{A, Marked, assert_all_is_back, size};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use serial_test::serial;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;

/// Comes to the heap's lock so often that this thread's cache takes blocks, even if an earlier test ran short of
/// memory, and left a cache asleep that is this thread's now.
fn wake_the_cache() {
    (0..20_000).for_each(|_| drop(Marked::new(100, 0)));
}

#[test]
#[serial]
fn every_size_comes_back() {
    for bytes in 0..2000 {
        let blocks: Vec<_> = (0..3).map(|mark| Marked::new(bytes, mark)).collect();
        drop(blocks);
    }
    assert_all_is_back();
}

#[test]
#[serial]
fn a_cached_block_is_the_next_one_of_its_size() {
    wake_the_cache();
    let first = Marked::new(100, 1).block;
    assert_eq!(Marked::new(100, 2).block, first);
    A.flush_thread();
    assert_all_is_back();
}

#[test]
#[serial]
fn a_zeroed_block_is_zero_though_it_was_cached() {
    wake_the_cache();
    drop(Marked::new(100, 0xAA));
    let layout = Layout::from_size_align(100, 8).unwrap();
    // SAFETY: the layout is not of zero bytes; the block has 100 of them and is given back once.
    unsafe {
        let block = A.alloc_zeroed(layout);
        assert!(std::slice::from_raw_parts(block, 100).iter().all(|&byte| byte == 0));
        A.dealloc(block, layout);
    }
    assert_all_is_back();
}

#[test]
#[serial]
fn what_a_parked_thread_has_cached_can_be_had_by_another() {
    assert_all_is_back();
    let whole = A.stats().arena_bytes;
    let (parked, go_on) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            for bytes in (8..1000).step_by(8) {
                let blocks: Vec<_> = (0..50).map(|mark| Marked::new(bytes, mark)).collect();
                drop(blocks);
            }
            parked.wait();
            go_on.wait();
            // The cache still works.
            drop(Marked::new(100, 1));
        });
        parked.wait();
        drop(Marked::try_new(whole - 4, 3).expect("all but the bookkeeping"));
        go_on.wait();
    });
    assert_all_is_back();
}

#[test]
#[serial]
fn blocks_may_be_freed_by_another_thread() {
    let (sender, receiver) = mpsc::sync_channel::<Vec<Marked>>(4);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut random = Rng::with_seed(11);
            for round in 0..2000 {
                sender.send((0..20).map(|_| Marked::new(size(&mut random), round as u8)).collect()).unwrap();
            }
        });
        scope.spawn(move || receiver.into_iter().for_each(drop));
    });
    assert_all_is_back();
}

#[test]
#[serial]
fn threads_that_do_everything_at_once_leave_nothing_behind() {
    const THREADS: u64 = 6;
    let steps = if is_full() { 60_000 } else { 20_000 };
    let done = AtomicBool::new(false);
    let (sender, receiver) = mpsc::sync_channel::<Marked>(256);
    thread::scope(|scope| {
        let workers: Vec<_> = (1..=THREADS)
            .map(|number| {
                let sender = sender.clone();
                scope.spawn(move || {
                    let mut random = Rng::with_seed(number * 0x9E37_79B9);
                    let mut own: Vec<Marked> = Vec::new();
                    for _ in 0..steps {
                        match random.u32(..16) {
                            0..7 => own.extend(Marked::try_new(size(&mut random), number as u8)),
                            7..13 if !own.is_empty() => drop(own.swap_remove(random.usize(..own.len()))),
                            13 if !own.is_empty() => {
                                let which = random.usize(..own.len());
                                own[which].resize(size(&mut random));
                            }
                            14 if !own.is_empty() => {
                                let _ = sender.try_send(own.swap_remove(random.usize(..own.len())));
                            }
                            15 if random.u32(..500) == 0 => A.flush_thread(),
                            _ if own.len() > 300 => own.truncate(100),
                            _ => {}
                        }
                    }
                })
            })
            .collect();
        drop(sender);
        scope.spawn(move || receiver.into_iter().for_each(drop));
        let end = SetAtEnd(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                A.drain();
                thread::yield_now();
            }
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        drop(end);
    });
    assert_all_is_back();
}

#[test]
#[serial]
fn ten_thousand_threads_leave_nothing_behind() {
    for _ in 0..2500 {
        thread::scope(|scope| {
            for number in 0..4 {
                scope.spawn(move || {
                    let blocks: Vec<_> = (0..10).map(|step| Marked::new(20 * step, number)).collect();
                    drop(blocks);
                });
            }
        });
    }
    assert_all_is_back();
}

#[test]
#[serial]
fn more_threads_than_there_are_caches_are_served() {
    const THREADS: usize = 100;
    let all_here = Barrier::new(THREADS);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let all_here = &all_here;
            scope.spawn(move || {
                let blocks: Vec<_> = (0..50).map(|step| Marked::new(10 * step, number as u8)).collect();
                all_here.wait();
                drop(blocks);
                all_here.wait();
            });
        }
    });
    assert_all_is_back();
}

#[test]
#[serial]
fn destructors_of_thread_locals_may_use_it() {
    struct AtTheEnd(Vec<Marked>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            self.0.push(Marked::new(200, 9));
            self.0.clear();
        }
    }
    thread_local! {
        static EARLY: RefCell<AtTheEnd> = const { RefCell::new(AtTheEnd(Vec::new())) };
    }
    for _ in 0..100 {
        // Joining waits for the destructors, which the end of a scope does not.
        thread::spawn(|| EARLY.with_borrow_mut(|early| early.0.push(Marked::new(100, 1)))).join().unwrap();
    }
    assert_all_is_back();
}

#[test]
#[serial]
fn a_child_that_is_forked_while_others_allocate_can_allocate_and_free() {
    let done = AtomicBool::new(false);
    let inherited: Vec<_> = (0..50).map(|step| Marked::new(1 + 30 * step, 7)).collect();
    thread::scope(|scope| {
        let end = SetAtEnd(&done);
        for number in 0..3 {
            let done = &done;
            scope.spawn(move || {
                let mut random = Rng::with_seed(77 + number);
                while !done.load(Ordering::Relaxed) {
                    let blocks: Vec<_> =
                        (0..20).map(|_| Marked::new(size(&mut random), number as u8)).collect();
                    drop(blocks);
                }
            });
        }
        for _ in 0..100 {
            let fate = fate_of_a_child(|| {
                let code = in_the_child(&inherited);
                // SAFETY: leaving at once is always allowed.
                unsafe { libc::_exit(code) }
            });
            assert_eq!(fate, WELL, "the child did not get through");
        }
        drop(end);
    });
    drop(inherited);
    assert_all_is_back();
}

/// What a forked child does; zero if all is well. No panic: its output could wait for a lock that a thread of
/// the parent had.
fn in_the_child(inherited: &[Marked]) -> i32 {
    for block in inherited {
        // SAFETY: in the child, the parent's blocks are the child's, and are given back once.
        unsafe { A.dealloc(block.block, block.layout) };
    }
    let layout = Layout::from_size_align(100, 8).unwrap();
    // SAFETY: the layout is not of zero bytes, and each block is given back once.
    unsafe {
        for _ in 0..1000 {
            let block = A.alloc(layout);
            if block.is_null() {
                return 1;
            }
            A.dealloc(block, layout);
        }
    }
    // SAFETY: as for its parent; the layout is not of zero bytes.
    match unsafe { fork() } {
        // SAFETY: leaving at once is always allowed.
        Ok(ForkResult::Child) => unsafe { libc::_exit(i32::from(A.alloc(layout).is_null())) },
        Ok(ForkResult::Parent { child }) if waitpid(child, None) == Ok(WaitStatus::Exited(child, 0)) => {}
        _ => return 2,
    }
    i32::from(A.audit().is_err()) * 3
}

#[test]
#[serial]
fn a_block_that_is_in_a_cache_is_not_freed_again() {
    wake_the_cache();
    let layout = Layout::from_size_align(100, 8).unwrap();
    // SAFETY: the layout is not of zero bytes.
    let block = unsafe { A.alloc(layout) };
    // SAFETY: the second release is the misuse that ends the child.
    let (end, text) = fate_of_a_child(|| unsafe {
        A.dealloc(block, layout);
        A.dealloc(block, layout);
    });
    assert_eq!(end, ABORTED);
    assert!(text.contains("double free") && text.contains(&format!("{block:p}")), "{text:?}");
    // SAFETY: the misuse ends the child.
    let (end, text) = fate_of_a_child(|| unsafe {
        A.dealloc(block.wrapping_add(4), layout);
    });
    assert_eq!(end, ABORTED);
    assert!(text.contains("not a multiple of 8") || text.contains("misaligned"), "{text:?}");
    // SAFETY: in this process, the block is still live.
    unsafe { A.dealloc(block, layout) };
    assert_all_is_back();
}

#[test]
#[serial]
fn an_audit_finds_what_an_overflow_has_destroyed() {
    let (large, behind) = (Marked::new(50_000, 1), Marked::new(50_000, 2));
    let fate = fate_of_a_child(|| {
        // SAFETY: the header of either block is in front of it; what is destroyed is the child's.
        unsafe {
            large.block.max(behind.block).sub(4).write_bytes(b'A', 4);
            libc::_exit(i32::from(A.audit().is_err()));
        }
    });
    assert_eq!(fate, (End::Exit(1), String::new()));
    drop((large, behind));
    assert_all_is_back();
}

#[test]
#[serial]
fn a_cached_block_is_not_resized() {
    wake_the_cache();
    let layout = Layout::from_size_align(100, 8).unwrap();
    // SAFETY: the layout is not of zero bytes; the misuse ends the child.
    let block = unsafe { A.alloc(layout) };
    for new_size in [97, 400, 5000] {
        // SAFETY: as above.
        let (end, text) = fate_of_a_child(|| unsafe {
            A.dealloc(block, layout);
            A.realloc(block, layout, new_size);
        });
        assert_eq!(end, ABORTED, "{new_size}");
        assert!(text.contains(&format!("{block:p}")), "{text:?}");
    }
    // SAFETY: in this process, the block is still live.
    unsafe { A.dealloc(block, layout) };
    assert_all_is_back();
}

#[test]
#[serial]
fn a_block_shrinks_and_grows_in_a_full_arena() {
    let mut block = Marked::new(988, 1);
    let neighbour = Marked::new(900, 2);
    let mut rest: Vec<_> = (0..24).rev().flat_map(|log2| Marked::try_new(1 << log2, 3)).collect();
    while let Some(more) = Marked::try_new(1, 3) {
        rest.push(more);
    }
    A.drain();
    block.resize(16);
    block.resize(900);
    drop(neighbour);
    drop(block);
    drop(rest);
    assert_all_is_back();
}

#[test]
#[serial]
fn data_that_looks_like_the_mark_of_a_cached_block_accuses_nobody() {
    let layout = Layout::from_size_align(100, 8).unwrap();
    // What earlier threads have left goes.
    A.drain();
    wake_the_cache();
    // SAFETY: the layout is not of zero bytes, the words lie in the block, and it is given back once at a
    // time.
    unsafe {
        let block = A.alloc(layout);
        A.dealloc(block, layout);
        // The mark of a cached block is read from where it is and written over the same block in use.
        let mark = block.add(8).cast::<u32>().read();
        assert_ne!(mark, 0);
        assert_eq!(A.alloc(layout), block);
        block.add(8).cast::<u32>().write(mark);
        A.dealloc(block, layout);
        // It went to the heap, because of the mark. The search for it has left the cache open.
        A.dealloc(A.alloc(layout), layout);
        assert!(A.caches().bytes >= 100);
    }
    assert_all_is_back();
}

#[test]
#[serial]
fn a_block_that_was_not_rounded_grows_only_where_it_has_room() {
    // Some of these threads have no cache, and get blocks to the byte; this thread has one, and resizes them.
    const THREADS: usize = 80;
    drop(Marked::new(8, 0));
    let all_here = Barrier::new(THREADS);
    let (sender, receiver) = mpsc::channel::<Vec<Marked>>();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (all_here, sender) = (&all_here, sender.clone());
            scope.spawn(move || {
                drop(Marked::new(8, 0));
                all_here.wait();
                let sizes = (240..1000).skip(number).step_by(7);
                sender.send(sizes.map(|bytes| Marked::new(bytes, number as u8)).collect()).unwrap();
                all_here.wait();
            });
        }
        drop(sender);
        for mut blocks in receiver {
            for block in &mut blocks {
                block.resize(block.layout.size() + 7);
            }
        }
    });
    assert_all_is_back();
}

#[test]
#[serial]
fn a_forked_child_can_have_threads_of_its_own() {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = SetAtEnd(&done);
        for number in 0..3 {
            let done = &done;
            scope.spawn(move || {
                let mut random = Rng::with_seed(99 + number);
                while !done.load(Ordering::Relaxed) {
                    // Larger ones take the lock, so that some of these threads wait for it when the process
                    // forks.
                    let blocks: Vec<_> =
                        (0..20).map(|_| Marked::new(8000 + size(&mut random), number as u8)).collect();
                    drop(blocks);
                }
            });
        }
        let fates: Vec<_> = (0..10)
            .map(|_| {
                fate_of_a_child(|| {
                    let work = |number: u8| {
                        for step in 0..3000 {
                            drop(Marked::new(if step % 2 == 0 { 100 } else { 9000 }, number));
                        }
                    };
                    // Threads by the C library: std's own allocate from `System`, whose state in a forked
                    // child is its own affair.
                    extern "C" fn run(work: *mut libc::c_void) -> *mut libc::c_void {
                        // SAFETY: the argument is that of `pthread_create` below, which outlives the thread.
                        unsafe { (*work.cast::<&dyn Fn(u8)>())(1) };
                        std::ptr::null_mut()
                    }
                    let mut work: &dyn Fn(u8) = &work;
                    let mut threads = [0; 4];
                    for thread in &mut threads {
                        // SAFETY: `work` lives until the threads were joined.
                        let result = unsafe {
                            libc::pthread_create(thread, std::ptr::null(), run, (&raw mut work).cast())
                        };
                        assert_eq!(result, 0);
                    }
                    for thread in threads {
                        // SAFETY: the thread was created and is joined once.
                        assert_eq!(unsafe { libc::pthread_join(thread, std::ptr::null_mut()) }, 0);
                    }
                })
            })
            .collect();
        // The threads end, whatever became of the children.
        drop(end);
        assert!(fates.iter().all(|fate| *fate == WELL), "{fates:?}");
    });
    assert_all_is_back();
}
