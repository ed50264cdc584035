//! A process with growing memory that forks: the child has all of it, and goes its own way.

#![cfg(all(feature = "std", unix))]

mod at_end;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "caches/forked.rs"]
mod forked;
#[expect(dead_code, reason = "other tests use more of it")]
mod growing;

use at_end::SetAtEnd;
use forked::{WELL, fate_of_a_child};
use growing::{Chain, MIB};
use mem_alloc_rust::{Growing, ThreadCached, set_refusal_hook};
use serial_test::serial;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The first allocator of the process, and so the one that has caches.
static A: ThreadCached<Growing<{ 1 << 30 }>> = ThreadCached::new();

const SIZES: [usize; 6] = [16, 700, 5000, 70_000, MIB, 3 * MIB];

fn bytes(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

/// Makes a block longer, and ends the process if what it contains is not what it was.
fn grow(block: *mut u8, from: usize, to: usize, content: u8) -> *mut u8 {
    // SAFETY: the block is in use, and holds that many bytes.
    unsafe {
        let grown = A.realloc(block, bytes(from), to);
        let is_kept = !grown.is_null() && (0..from).all(|at| grown.add(at).read() == content);
        if !is_kept {
            std::process::abort();
        }
        grown.write_bytes(content, to);
        grown
    }
}

#[test]
#[serial]
fn a_child_has_all_of_it_and_goes_its_own_way() {
    let mut chain = Chain::new(&A);
    for round in 0..60 {
        SIZES
            .iter()
            .filter(|&&size| size < MIB || round % 20 == 0)
            .for_each(|&size| assert!(chain.push(size)));
    }
    // SAFETY: the layout is of more than no bytes, and the block holds as many.
    let block = unsafe {
        let block = A.alloc(bytes(2 * MIB));
        block.write_bytes(1, 2 * MIB);
        block
    };
    let live = A.stats().live_bytes;
    let fate = fate_of_a_child(|| {
        // What the parent had is here; it grows, moves, and is given back.
        let block = grow(block, 2 * MIB, 5 * MIB, 1);
        let mut own = Chain::new(&A);
        for size in SIZES {
            (0..20).for_each(|_| assert!(own.push(size)));
        }
        assert!(A.trim() < 1 << 30);
        drop(chain_of_parent(&mut chain));
        // SAFETY: the block is in use, and given back once in this process.
        unsafe { A.dealloc(block, bytes(5 * MIB)) };
        drop(own);
        assert!(A.audit().is_ok() && A.stats().live_bytes == 0);
        set_refusal_hook(|_| {});
        A.set_cap(MIB);
        let mut own = Chain::new(&A);
        own.fill(5000);
        assert!(own.bytes < MIB && own.count > 100);
    });
    assert_eq!(fate, WELL);
    // The parent has seen nothing of that.
    assert_eq!((A.stats().live_bytes, A.cap()), (live, 1 << 30));
    let block = grow(block, 2 * MIB, 9 * MIB, 1);
    // SAFETY: as above.
    unsafe { A.dealloc(block, bytes(9 * MIB)) };
    drop(chain);
    A.audit().unwrap();
    assert_eq!(A.stats().live_bytes, 0);
}

/// The blocks that the parent has.
fn chain_of_parent<'a>(chain: &mut Chain<'a>) -> Chain<'a> {
    std::mem::replace(chain, Chain::new(&A))
}

#[test]
#[serial]
fn a_child_can_allocate_whatever_other_threads_were_doing() {
    // Not before the first allocation of the process has returned: that is documented.
    assert!(Chain::new(&A).push(100));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = SetAtEnd(&is_over);
        for number in 0..3 {
            let is_over = &is_over;
            scope.spawn(move || {
                // Small ones, and such that are mapped, moved, and given back outside of the lock.
                while !is_over.load(Ordering::Relaxed) {
                    let mut chain = Chain::new(&A);
                    SIZES.iter().for_each(|&size| assert!(chain.push(size + number)));
                    // SAFETY: the layout is of more than no bytes, and each block is given back once.
                    unsafe {
                        let block = A.alloc(bytes(MIB));
                        block.write_bytes(3, MIB);
                        A.dealloc(grow(block, MIB, 2 * MIB, 3), bytes(2 * MIB));
                    }
                }
            });
        }
        let fates: Vec<_> = (0..60)
            .map(|_| {
                fate_of_a_child(|| {
                    let mut chain = Chain::new(&A);
                    SIZES.iter().for_each(|&size| assert!(chain.push(size)));
                    // What the other threads had is in use here, and nobody's.
                    assert!(A.audit().is_ok() && A.committed_bytes() < 1 << 30);
                })
            })
            .take_while(|fate| *fate == WELL)
            .collect();
        drop(end);
        assert_eq!(fates.len(), 60, "the next child did not end well");
    });
    A.audit().unwrap();
    assert_eq!(A.stats().live_bytes, 0);
}
